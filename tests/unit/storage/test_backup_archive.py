"""The archive of a backup: back as it was, or refused."""

import io
import os
import random
import subprocess
import tarfile
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from posthouse.storage.backup.archive import (
    PART,
    ArchiveWriter,
    DamagedArchive,
    unpack,
)

JOURNAL = "journal/" + "ab" * 16
MEMBERS = {
    "backup.json": b'{"format":1}',
    "secret.key": b"s" * 43 + b"\n",
    f"{JOURNAL}/0000000001.segment": b"PHJ1" + bytes(range(256)) * 3,
    "keys/" + "名" * 64: b"sk-123\n",
    "posthouse.db": b"SQLite format 3\0" + bytes(5000),
}


@pytest.fixture(autouse=True)
def nobody_cuts_the_power(monkeypatch):
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)


def write(path: Path, members: dict[str, bytes] = MEMBERS) -> Path:
    with path.open("xb") as file:
        archive = ArchiveWriter(file, 1_700_000_000_000)
        for name, content in members.items():
            archive.add(name, content)
        archive.finish()
    return path


def read(path: Path, folder: Path) -> dict[str, bytes]:
    unpack(path, folder)
    return {
        str(found.relative_to(folder)): found.read_bytes()
        for found in folder.rglob("*")
        if found.is_file()
    }


def refused(content: bytes, folder: Path) -> bool:
    """Whether bytes are refused; what is not must be what was written."""
    folder.mkdir()
    path = folder / "archive"
    path.write_bytes(content)
    try:
        found = read(path, folder / "out")
    except DamagedArchive:
        return True
    assert found == MEMBERS
    return False


def test_what_goes_in_comes_out_for_its_owner_alone(tmp_path):
    out = tmp_path / "out"
    assert read(write(tmp_path / "a"), out) == MEMBERS
    for path in out.rglob("*"):
        assert path.stat().st_mode & 0o077 == 0, path


def test_other_programs_can_unpack_and_check_it(tmp_path):
    """`tar` and `sha256sum`, as the guide says."""
    path = write(tmp_path / "a")
    subprocess.run(["tar", "xf", path, "-C", tmp_path], check=True)
    subprocess.run(
        ["sha256sum", "--quiet", "-c", "SHA256SUMS"], cwd=tmp_path, check=True
    )
    assert (tmp_path / "secret.key").read_bytes() == MEMBERS["secret.key"]


def test_a_part_of_it_is_refused_wherever_it_ends(tmp_path):
    """Every block's beginning, and many places between."""
    whole = write(tmp_path / "a").read_bytes()
    ends = {*range(0, len(whole), 512), *range(1, len(whole), 997), len(whole) - 1}
    for end in sorted(ends):
        assert refused(whole[:end], tmp_path / str(end)), end


def test_a_changed_bit_is_refused_or_means_nothing(tmp_path):
    """Contents never pass changed; the padding of a tar may."""
    whole = write(tmp_path / "a").read_bytes()
    chosen = random.Random(1)
    places = [chosen.randrange(len(whole)) for _ in range(400)]
    caught = 0
    for number, place in enumerate(places):
        changed = bytearray(whole)
        changed[place] ^= 1 << chosen.randrange(8)
        caught += refused(bytes(changed), tmp_path / str(number))
    assert caught > len(places) / 2


@settings(max_examples=60, deadline=None)
@given(junk=st.binary(min_size=0, max_size=3000))
def test_any_file_is_refused(junk, tmp_path_factory):
    folder = tmp_path_factory.mktemp("junk")
    assert refused(junk, folder / "a")


@pytest.mark.parametrize("more", [b"\0", b"x", bytes(10_240), b"x" * 10_240])
def test_nothing_may_follow_it(more, tmp_path):
    whole = write(tmp_path / "a").read_bytes()
    found = refused(whole + more, tmp_path / "b")
    assert found or not more.strip(b"\0")
    assert found or len(more) % tarfile.RECORDSIZE == 0


@pytest.mark.parametrize(
    "name",
    [
        "../escape",
        "/etc/passwd",
        "keys/../../escape",
        "keys/.hidden",
        "keys/a/b",
        "journal/../escape",
        "journal/" + "ab" * 16 + "/lock",
        "posthouse.db-wal",
        "else",
    ],
)
def test_a_name_that_no_backup_has_is_refused(name, tmp_path):
    path = write(tmp_path / "a", {**MEMBERS, name: b"x"})
    with pytest.raises(DamagedArchive, match="which no backup does"):
        unpack(path, tmp_path / "out")
    assert not (tmp_path / "escape").exists()


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE])
def test_a_member_that_is_no_file_is_refused(kind, tmp_path):
    path = tmp_path / "a"
    with tarfile.open(path, "w") as archive:
        info = tarfile.TarInfo("secret.key")
        info.type, info.linkname = kind, "/etc/passwd"
        archive.addfile(info)
    with pytest.raises(DamagedArchive, match="which no backup does"):
        unpack(path, tmp_path / "out")


def test_a_member_that_stands_twice_is_refused(tmp_path):
    path = tmp_path / "a"
    with path.open("xb") as file:
        archive = ArchiveWriter(file, 0)
        for content in (b"one", b"two"):
            archive.add("secret.key", content)
        archive.finish()
    with pytest.raises(DamagedArchive, match="twice"):
        unpack(path, tmp_path / "out")


def test_a_member_that_was_left_out_is_missed(tmp_path):
    """Its checksum tells of it."""
    path = write(tmp_path / "a")
    poor = tmp_path / "poor"
    with tarfile.open(path) as whole, tarfile.open(poor, "w") as archive:
        for info in whole:
            if info.name != "secret.key":
                archive.addfile(info, whole.extractfile(info))
    with pytest.raises(DamagedArchive, match=r"secret\.key is not what was written"):
        unpack(poor, tmp_path / "out")


def test_a_large_member_takes_little_memory(tmp_path):
    """Written and read in parts."""
    large = tmp_path / "large"
    with large.open("wb") as file:
        for _ in range(24):
            file.write(os.urandom(PART))
    path = tmp_path / "a"
    tracemalloc.start()
    with path.open("xb") as file:
        archive = ArchiveWriter(file, 0)
        archive.add("backup.json", b"{}")
        archive.add_file("posthouse.db", large)
        archive.finish()
    unpack(path, tmp_path / "out")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 6 * PART
    with large.open("rb") as one, (tmp_path / "out/posthouse.db").open("rb") as two:
        while part := one.read(PART):
            assert io.BytesIO(part).getvalue() == two.read(PART)

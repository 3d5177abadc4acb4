"""The content of callers' files is in a backup, and comes back with it."""

import json
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.faults.probe import Memory
from tests.integration.test_backup import KEY, Elsewhere, source_of
from tests.support import raw
from tests.support.posthouse import Posthouse

from posthouse.storage.backup.archive import DamagedArchive
from posthouse.storage.backup.files import KeptFiles
from posthouse.storage.backup.series import Retention, Series
from posthouse.storage.backup.writing import make_backup

CONFIGURATION = f"""
[[channels]]
name = "sandbox"
provider = "sandbox"

[[keys]]
name = "app"
key = "{KEY}"
balance_usd = "10"
"""
LARGE = 700_000
BEARER = ("Authorization", f"Bearer {KEY}")


@pytest.fixture(scope="module")
def posthouse(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Posthouse]:
    with Posthouse(tmp_path_factory.mktemp("files"), CONFIGURATION) as running:
        yield running


def put(posthouse: Posthouse, content: bytes) -> str:
    """Store a file; give its id."""
    parts = (
        b'--x\r\nContent-Disposition: form-data; name="purpose"\r\n\r\nuser_data\r\n',
        b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.bin"\r\n\r\n',
        content,
        b"\r\n--x--\r\n",
    )
    headers = (BEARER, ("Content-Type", "multipart/form-data; boundary=x"))
    reply = raw.send(posthouse.url, "/v1/files", b"".join(parts), headers=headers)
    assert reply.status == 200, reply.body
    return str(json.loads(reply.body)["id"])


def get(posthouse: Posthouse, file: str, method: str = "GET") -> raw.RawReply:
    """Read a file's content, or delete it."""
    path = f"/v1/files/{file}" + ("/content" if method == "GET" else "")
    return raw.send(posthouse.url, path, method=method, headers=(BEARER,))


def blobs(data: Path) -> dict[str, bytes]:
    """The content in a data folder."""
    return {path.name: path.read_bytes() for path in (data / "files").glob("??/*")}


def test_a_backup_holds_files_and_gives_them_back(posthouse, tmp_path):
    """Whoever had stored one reads it where it is restored; nobody else may."""
    content = os.urandom(LARGE)
    file = put(posthouse, content)
    archive = tmp_path / "b"
    posthouse.ask("backup", str(archive))
    without = tmp_path / "without"
    posthouse.ask("backup", str(without), "--without-files")
    assert without.stat().st_size < archive.stat().st_size - len(content)
    there = Elsewhere(archive, tmp_path / "elsewhere" / "data")
    assert there.done.missing_files == 0
    for path in (there.data / "files").rglob("*"):
        assert path.stat().st_mode & 0o077 == 0, path
    with Posthouse(tmp_path / "elsewhere", CONFIGURATION) as other:
        assert get(other, file).body == content
    assert Elsewhere(without, tmp_path / "none").done.missing_files >= 1
    damaged = bytearray(archive.read_bytes())
    damaged[damaged.index(content) + 5] ^= 1
    archive.write_bytes(damaged)
    with pytest.raises(DamagedArchive, match="files/"):
        Elsewhere(archive, tmp_path / "damaged")


def test_no_file_is_half_in_a_backup_while_others_come(posthouse, tmp_path):
    """What was stored before the instant is whole; what came later is not there."""
    stored: dict[str, float] = {}
    over = threading.Event()

    def store() -> None:
        while not over.is_set():
            file = put(posthouse, os.urandom(20_000))
            stored[file] = time.time()

    thread = threading.Thread(target=store)
    thread.start()
    made = []
    try:
        for number in range(3):
            had = len(stored)
            while len(stored) < had + 3:
                time.sleep(0.01)
            before = time.time()
            made.append(
                (before, make_backup(source_of(posthouse.data), tmp_path / f"{number}"))
            )
    finally:
        over.set()
        thread.join()
    for before, backup in made:
        there = Elsewhere(backup.file, tmp_path / f"{backup.file.name}.data")
        assert there.done.missing_files == 0
        rows = {name for (name,) in there.ask("SELECT id FROM files")}
        assert {name for name, at in stored.items() if at < before} <= rows
        assert len(blobs(there.data)) == len(rows)


def test_a_series_keeps_each_file_once_for_as_long_as_it_is_needed(posthouse, tmp_path):
    """It is copied when it is new, checked when it comes back, removed in the end."""
    folder = tmp_path / "backups"
    beside = folder / "files"
    source = source_of(posthouse.data)
    now = time.time()
    first = put(posthouse, b"first" * 1000)
    with Series(source, folder, Retention(3600, 2)) as series:
        series.write(now)
        copied = {path: path.stat().st_mtime_ns for path in beside.glob("??/*")}
        second = put(posthouse, b"second" * 1000)
        part = series.write(now + 30)
        assert part.size < LARGE
        again = {path: path.stat().st_mtime_ns for path in beside.glob("??/*")}
        assert len(again) == len(copied) + 1
        assert copied.items() <= again.items(), "it was written once more"
        there = Elsewhere(part.file, tmp_path / "both" / "data")
        assert there.done.missing_files == 0
        with Posthouse(tmp_path / "both", CONFIGURATION) as other:
            assert get(other, first).body == b"first" * 1000
            assert get(other, second).body == b"second" * 1000
        assert get(posthouse, first, "DELETE").status == 200
    # A later process goes on with it; what is needed no more goes when nobody can ask.
    (beside / "00").mkdir(exist_ok=True)
    left = beside / "00" / ("0" * 30 + ".draft")
    left.write_bytes(b"half")
    with Series(source, folder, Retention(3600, 2)) as series:
        assert not left.exists()
        series.write(now + 60)
        assert again.keys() == set(beside.glob("??/*"))
        series.write(now + 4000)
        assert again.keys() == set(beside.glob("??/*"))
        newest = series.write(now + 8000)
    kept = set(beside.glob("??/*"))
    assert len(kept) == len(again) - 1
    assert Elsewhere(newest.file, tmp_path / "newest").done.missing_files == 0
    victim = min(kept)
    victim.write_bytes(victim.read_bytes()[:-1])
    with pytest.raises(DamagedArchive, match="files/"):
        Elsewhere(newest.file, tmp_path / "damaged")


def test_a_large_file_takes_no_memory(tmp_path):
    """Neither on its way out nor on its way back."""
    size = 64 << 20
    name = "ab/" + "0" * 30
    (tmp_path / "ab").mkdir()
    with (tmp_path / name).open("wb") as large:
        large.truncate(size)
    with Memory() as memory:
        kept = KeptFiles(tmp_path / "kept")
        kept.add(tmp_path, iter([name]), 1.0, again=False)
        KeptFiles(tmp_path / "kept").restore(iter([name]), tmp_path / "back")
    assert (tmp_path / "back" / name).stat().st_size == size
    assert memory.grown < 16 << 20

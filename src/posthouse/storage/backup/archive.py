"""A backup's file: a tar of plain members, whose last one sums up the others.

Any tar unpacks it, and `sha256sum -c SHA256SUMS` checks it then. Rules: what is
not exactly as it was written is refused; only names that a backup has are taken,
and none of them leads out of the folder; contents go through in parts, so that
memory does not grow with them.
"""

import hashlib
import os
import re
import tarfile
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import IO, Final

FACTS: Final = "backup.json"
DATABASE: Final = "posthouse.db"
CHANGES: Final = "changes.db"
"""Instead of the database, in those of a series that follow a whole one."""
CONFIGURATION: Final = "posthouse.toml"
SUMS: Final = "SHA256SUMS"
PART: Final = 1024 * 1024
MOST_IN_MEMORY: Final = 64 * 1024 * 1024
"""Facts and sums are read as a whole; so long they never are."""

_TAKEN: Final = re.compile(
    r"backup\.json|secret\.key|home\.id|posthouse\.(?:db|toml)|changes\.db"
    r"|keys/(?!\.)[^/\\\x00-\x1f]+"
    r"|journal/[0-9a-f]{32}/\d{10}\.segment"
    r"|files/[0-9a-f]{2}/[0-9a-f]{30}"
)
_SUM: Final = re.compile(r"([0-9a-f]{64})  (.+)")
_END: Final = 2 * tarfile.BLOCKSIZE
"""Zeros at the end of a tar, at least."""


class DamagedArchive(Exception):
    """The file is no backup, or not as it was written; str() tells what is wrong."""


class ArchiveWriter:
    """Writes members one after the other; `finish` makes the archive whole."""

    def __init__(self, file: IO[bytes], at_ms: int) -> None:
        """Begin an archive in an open, empty file.

        Args:
            file: is written to.
            at_ms: the time that all members have, Unix milliseconds.
        """
        self._file = file
        self._time = at_ms // 1000
        self._tar = tarfile.TarFile(fileobj=file, mode="w", format=tarfile.PAX_FORMAT)
        self._sums: list[str] = []

    def add(self, name: str, content: bytes) -> None:
        """Add a small member."""
        self._write(name, BytesIO(content), len(content))

    def add_file(self, name: str, path: Path) -> None:
        """Add what a file holds now."""
        with path.open("rb") as content:
            self._write(name, content, os.fstat(content.fileno()).st_size)

    def finish(self) -> None:
        """Write the sums and the end, and have it all on the disk."""
        self.add(SUMS, "".join(self._sums).encode())
        self._tar.close()
        self._file.flush()
        os.fsync(self._file.fileno())

    def _write(self, name: str, content: IO[bytes], size: int) -> None:
        info = tarfile.TarInfo(name)
        info.size, info.mode, info.mtime = size, 0o600, self._time
        summing = _Summing(content)
        self._tar.addfile(info, summing)  # type: ignore[arg-type]  # it only reads
        self._sums.append(f"{summing.hexdigest}  {name}\n")
        self._tar.members = []  # type: ignore[attr-defined]  # it would keep them all


class _Summing:
    """A file that is read, and the checksum of what was read of it."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._sum = hashlib.sha256()

    @property
    def hexdigest(self) -> str:
        return self._sum.hexdigest()

    def read(self, size: int) -> bytes:
        data = self._file.read(size)
        self._sum.update(data)
        return data


def unpack(file: Path, folder: Path) -> None:
    """Unpack an archive into an empty folder, every file on the disk.

    Raises DamagedArchive, and then what is in the folder means nothing.
    """
    found: dict[str, str] = {}
    stated: dict[str, str] | None = None
    with file.open("rb") as opened:
        try:
            tar = tarfile.TarFile(fileobj=opened, mode="r")
            for info in _members(tar):
                if stated is not None:
                    raise DamagedArchive("something follows its checksums")
                content = tar.extractfile(info)
                if content is None or info.issparse():
                    raise DamagedArchive(f"it holds {info.name!r}, which is no file")
                if info.name == SUMS:
                    stated = _read_sums(content, info.size)
                else:
                    found[info.name] = _store(content, info, folder)
        except (tarfile.TarError, UnicodeError, EOFError) as error:
            raise DamagedArchive(
                f"it is no archive, or a part of one: {error}"
            ) from None
        _check_end(opened, tar.offset)
    if stated is None:
        raise DamagedArchive("it ends before its checksums: only a part of it is there")
    for name in sorted(found.keys() | stated.keys()):
        if found.get(name) != stated.get(name):
            raise DamagedArchive(f"{name} is not what was written")
    if FACTS not in found:
        raise DamagedArchive(f"it holds no {FACTS}")


def _members(tar: tarfile.TarFile) -> Iterator[tarfile.TarInfo]:
    """Give the members and keep none; a whole file's are all plain files."""
    while (info := tar.next()) is not None:
        tar.members = []  # type: ignore[attr-defined]  # as above
        if info.type != tarfile.REGTYPE or not (
            info.name == SUMS or _TAKEN.fullmatch(info.name)
        ):
            raise DamagedArchive(f"it holds {info.name!r}, which no backup does")
        yield info


def _store(content: IO[bytes], info: tarfile.TarInfo, folder: Path) -> str:
    """Write a member below the folder, for its owner alone; give its checksum."""
    path = folder / info.name
    for parent in reversed(Path(info.name).parents):
        (folder / parent).mkdir(mode=0o700, exist_ok=True)
    summing = _Summing(content)
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        raise DamagedArchive(f"it holds {info.name} twice") from None
    with os.fdopen(descriptor, "wb") as target:
        while data := summing.read(PART):
            target.write(data)
        if target.tell() != info.size:
            raise DamagedArchive(f"it ends within {info.name}")
        target.flush()
        os.fsync(target.fileno())
    return summing.hexdigest


def _read_sums(content: IO[bytes], size: int) -> dict[str, str]:
    """Read the checksums, by name."""
    text = content.read(min(size, MOST_IN_MEMORY)).decode()
    lines = text.split("\n")
    found = [_SUM.fullmatch(line) for line in lines[:-1]]
    if len(text.encode()) != size or lines[-1] or None in found:
        raise DamagedArchive("its checksums cannot be read")
    return {line[2]: line[1] for line in found if line is not None}


def read_first(file: Path, name: str) -> bytes:
    """Read an archive's first member, of which nothing is checked."""
    with file.open("rb") as opened:
        try:
            tar = tarfile.TarFile(fileobj=opened, mode="r")
            info = tar.next()
            content = None if info is None else tar.extractfile(info)
        except (tarfile.TarError, UnicodeError, EOFError) as error:
            raise DamagedArchive(f"it is no archive: {error}") from None
        if info is None or content is None or info.name != name:
            raise DamagedArchive(f"it does not begin with {name}")
        return content.read(min(info.size, MOST_IN_MEMORY))


def _check_end(file: IO[bytes], offset: int) -> None:
    """See that what follows the last member is a tar's end: zeros, and enough."""
    file.seek(offset)
    rest = file.read(2 * tarfile.RECORDSIZE)
    is_whole = len(rest) >= _END and not (offset + len(rest)) % tarfile.RECORDSIZE
    if not is_whole or rest.strip(b"\0") or file.read(1):
        raise DamagedArchive("its end is not as it was written")


def sync_folder(folder: Path) -> None:
    """Have a folder's list of names on the disk."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

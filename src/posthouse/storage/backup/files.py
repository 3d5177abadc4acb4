"""The content of callers' files in backups, where a folder has it.

A blob is written once and never changed, and no row of the database names one that is
not whole. So those that a copy of the database names can be copied after the instant;
one that is gone by then had been deleted since, and is missing from what is restored
as if it had been lost: its file says so when it is read, and can be deleted.

In an archive they are members like all others. A series keeps them beside its
archives, each once, however many of its backups it belongs to, under a name that ends
with its checksum:

    files/3f/a2…c1.9b74…e0

What none of the backups that are kept can need is removed with the last that did.
"""

import hashlib
import os
import re
import sqlite3
from collections.abc import Iterable
from contextlib import closing, suppress
from pathlib import Path
from typing import IO, Final

from posthouse.storage.backup.archive import PART, DamagedArchive, sync_folder

FOLDER: Final = "files"
"""In an archive, and beside a series."""
_REMOVED: Final = "blob_removals"
"""The table that names those that nobody wants."""
_BLOB: Final = re.compile(r"[0-9a-f]{2}/[0-9a-f]{30}")
_DRAFT: Final = ".draft"
_CHECKSUM: Final = 64
"""Characters."""


def blobs_of(database: Path) -> list[str]:
    """Give the name of each blob that a database needs, once.

    All at once: what reads on is closed by the thread that opened it, even when
    nobody wants the rest.
    """
    with closing(sqlite3.connect(database)) as connection:
        found = connection.execute(
            "SELECT t.name, c.name FROM sqlite_master t, pragma_table_info(t.name) c"
            " WHERE t.type = 'table' AND t.name <> ?"
            " AND (c.name = 'blob' OR c.name LIKE '%\\_blob' ESCAPE '\\')",
            (_REMOVED,),
        ).fetchall()
        queries = [
            f'SELECT "{column}" FROM "{table}" WHERE "{column}" IS NOT NULL'  # noqa: S608 - the schema's own names
            for table, column in found
        ]
        if not queries:
            return []
        rows = connection.execute(" UNION ".join(queries))
        return [name for (name,) in rows if _BLOB.fullmatch(name)]


class KeptFiles:
    """The blobs beside a series; their names are in memory, and nothing else."""

    def __init__(self, folder: Path) -> None:
        """Look what there is in a folder, if it is there at all."""
        self._folder = folder
        self._kept: dict[str, str] = {}
        """Of each blob, its checksum."""
        for path in folder.glob(f"??/*.{'?' * _CHECKSUM}"):
            name, _, checksum = path.name.partition(".")
            self._kept[f"{path.parent.name}/{name}"] = checksum

    def clean(self) -> None:
        """Remove what a crash has left; of who alone writes there."""
        for path in self._folder.glob(f"??/*{_DRAFT}"):
            path.unlink()

    def add(
        self, source: Path, names: Iterable[str], now: float, *, again: bool
    ) -> None:
        """Copy those that are not here yet, onto the disk; raises OSError.

        Args:
            source: the folder where they are.
            names: what is needed.
            now: a Unix time in seconds, at which they are.
            again: note that of those, too, that are here.
        """
        changed: set[Path] = set()
        for name in names:
            if name not in self._kept:
                with suppress(FileNotFoundError):
                    changed.add(self._copy(source / name, name, now))
            elif again:
                os.utime(self._path(name), (now, now))
        for folder in changed:
            sync_folder(folder)
        if changed:
            sync_folder(self._folder)

    def _copy(self, path: Path, name: str, now: float) -> Path:
        with path.open("rb") as content:
            place = self._folder / name
            place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            draft = place.with_name(place.name + _DRAFT)
            checksum = _write(content, draft)
        os.utime(draft, (now, now))
        draft.rename(self._folder / f"{name}.{checksum}")
        self._kept[name] = checksum
        return place.parent

    def _path(self, name: str) -> Path:
        return self._folder / f"{name}.{self._kept[name]}"

    def forget(self, before: float) -> None:
        """Remove what has not been needed since a Unix time in seconds."""
        for name in list(self._kept):
            path = self._path(name)
            if path.stat().st_mtime < before:
                path.unlink()
                del self._kept[name]

    def restore(self, names: Iterable[str], target: Path) -> None:
        """Copy those that are here to a new folder.

        Raises DamagedArchive if one is not what was written.
        """
        for name in names:
            if name not in self._kept:
                continue
            place = target / name
            place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            with self._path(name).open("rb") as content:
                if _write(content, place) != self._kept[name]:
                    raise DamagedArchive(f"{FOLDER}/{name} is not what was written")


def _write(content: IO[bytes], place: Path) -> str:
    """Write a new file for its owner alone, onto the disk; give its checksum."""
    summing = hashlib.sha256()
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
    with os.fdopen(os.open(place, flags, 0o600), "wb") as target:
        while data := content.read(PART):
            summing.update(data)
            target.write(data)
        target.flush()
        os.fsync(target.fileno())
    return summing.hexdigest()

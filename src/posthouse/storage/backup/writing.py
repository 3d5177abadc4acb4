"""A backup of a running installation: one file, as of one instant.

The instant is short: while nobody may write to the ledger, a reader's snapshot of
it begins and the last records of the journals are copied. So a backup is what a
kill -9 at that instant would have left, and what restores it is what recovers
from one. The database is then copied from the snapshot, however long it takes.

On PostgreSQL the database is not ours to copy: a backup is the node's own part of
the installation, and must be made before PostgreSQL's (docs/guide/backup.md).

Everything is made in a hidden folder beside the file, for the owner alone. The
file appears whole, or not at all, and never instead of another.
"""

import os
import secrets
import shutil
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import IO, Final

from msgspec import Struct, structs

from posthouse import __version__
from posthouse.settings.secret import FILE_NAME, Secret
from posthouse.storage.backup.archive import (
    CHANGES,
    CONFIGURATION,
    DATABASE,
    FACTS,
    ArchiveWriter,
    sync_folder,
)
from posthouse.storage.backup.files import FOLDER as FILES
from posthouse.storage.backup.files import blobs_of
from posthouse.storage.backup.journals import JournalCopies
from posthouse.storage.file_keys import FOLDER as KEYS
from posthouse.storage.ledger.choice import HOME
from posthouse.storage.ownership import now_ms
from posthouse.wire import json

FORMAT: Final = 1
PART_FORMAT: Final = 2
"""Of those that have only what changed; older versions must not take them."""
JOURNALS: Final = "journal"
SECRET_CHECK: Final = b"posthouse/backup/secret-check/1"
WAIT_SECONDS: Final = 60.0
"""For others to end what they write, before the instant."""
PAGES: Final = 2048
"""Pages of the database that are copied at a time."""


class BackupRefused(Exception):
    """A backup cannot be made, or not be restored; str() tells why."""


class Place(Struct, frozen=True):
    """Where in a series of backups one is, and how far it goes."""

    name: str
    """The series', which is that of its first one, a whole backup."""
    number: int
    """0 is the whole one; each of the others has what changed since the last."""
    schema: str
    """The database's."""
    newest: int
    """The number of its newest transfer."""
    mark: str
    """By which that transfer is known to be the same one."""
    run: int
    """The newest of its runs."""
    kept: int = 0
    """The number of the newest response that it keeps."""
    kept_mark: str = ""
    """That response's name."""


class Facts(Struct, frozen=True):
    """What a backup says of itself."""

    format: int
    posthouse: str
    """The version that made it."""
    instant_ms: int
    """As of when it is, Unix milliseconds."""
    has_database: bool
    """Whether the database is in it; PostgreSQL's is not."""
    secret_check: str
    """By which a secret is known to be the right one."""
    series: Place | None = None
    """Its place among those of a series; see `backup_series`."""


class Source(Struct, frozen=True):
    """What a backup is made of."""

    data: Path
    database: Path | None
    """SQLite's file; None on PostgreSQL."""
    secret: Secret
    with_secret: bool
    """Whether the data folder's secret, if there is one, goes with it."""
    configuration: Path | None
    files: Path | None = None
    """The folder with the content of callers' files; None leaves it out."""


class Instant(Struct, frozen=True):
    """As of when a backup is."""

    at_ms: int
    """Unix milliseconds."""
    database: Path | None = None
    """The copy of the database, until it is in the archive."""
    finished: frozenset[str] = frozenset()
    """Journals of which the ledger has everything."""
    blocked_ms: float = 0.0
    """For how long nobody could write to the ledger."""
    series: Place | None = None


class Backup(Struct, frozen=True):
    """A backup that was made."""

    file: Path
    size: int
    """Bytes."""
    instant: Instant


def secret_check(secret: Secret) -> str:
    """Give what tells one secret from another, and nothing else of it."""
    return secret.derive(SECRET_CHECK).hex()[:16]


def make_backup(source: Source, file: Path) -> Backup:
    """Write a backup; the server may run meanwhile.

    Raises BackupRefused, OSError and sqlite3.Error; then there is no file.
    """
    return write_backup(source, file, _copy_whole)


def _copy_whole(reader: sqlite3.Connection, target: Path, instant: Instant) -> Instant:
    copy_database(reader, target)
    return structs.replace(instant, database=target)


Copy = Callable[[sqlite3.Connection, Path, Instant], Instant]
"""Copies what is wanted from a snapshot to a new file; gives the instant with it."""


Keep = Callable[[Path], None]
"""Keeps the files that a copy of the database needs beside the archive."""


def write_backup(
    source: Source, file: Path, copy: Copy, keep: Keep | None = None
) -> Backup:
    """Write a backup of what `copy` takes of the database; see `make_backup`.

    Without `keep`, files are in the archive.
    """
    if file.exists():
        raise BackupRefused(f"{file} is there already; a backup replaces nothing")
    with _draft(file) as draft:
        copies = JournalCopies(source.data / JOURNALS, draft / JOURNALS)
        copies.advance()
        if source.database is None:
            instant = Instant(now_ms())
        else:
            with _snapshot(source.database, copies) as (reader, begun):
                instant = copy(reader, draft / DATABASE, begun)
        if keep is not None and instant.database is not None:
            keep(instant.database)
        archive = draft / "archive"
        journals = copies.files(without=instant.finished)
        # Whatever the umask says, and before there is anything in it.
        archive.touch(mode=0o600, exist_ok=False)
        with archive.open("r+b") as opened:
            _write(opened, source, instant, journals, with_files=keep is None)
        size = archive.stat().st_size
        _publish(archive, file)
    return Backup(file, size, instant)


@contextmanager
def _snapshot(
    path: Path, copies: JournalCopies
) -> Iterator[tuple[sqlite3.Connection, Instant]]:
    """Choose the instant, and give the database and copy the journals as of it."""
    with closing(_connect(path)) as writer, closing(_connect(path)) as reader:
        writer.execute("BEGIN IMMEDIATE")
        begun = time.monotonic()
        try:
            reader.execute("BEGIN")
            over = reader.execute("SELECT id FROM journals WHERE state <> 'open'")
            finished = frozenset(row[0] for row in over)
            copies.advance()
            at_ms = now_ms()
        finally:
            writer.execute("ROLLBACK")
        blocked_ms = (time.monotonic() - begun) * 1000
        yield reader, Instant(at_ms, finished=finished, blocked_ms=blocked_ms)


def copy_database(reader: sqlite3.Connection, target: Path) -> None:
    """Copy all of a snapshot, which is the reader's: so no page is copied twice."""
    with closing(_connect(target)) as copy:
        copy.execute("PRAGMA synchronous = OFF")
        copy.execute("PRAGMA journal_mode = OFF")
        reader.backup(copy, pages=PAGES, sleep=0)


def _connect(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(path, timeout=WAIT_SECONDS, isolation_level=None)


def _write(
    opened: IO[bytes],
    source: Source,
    instant: Instant,
    journals: list[Path],
    *,
    with_files: bool,
) -> None:
    """Write the archive's members."""
    at_ms = instant.at_ms
    check = secret_check(source.secret)
    place = instant.series
    whole = place is None or place.number == 0
    facts = Facts(
        format=FORMAT if whole else PART_FORMAT,
        posthouse=__version__,
        instant_ms=at_ms,
        has_database=instant.database is not None,
        secret_check=check,
        series=place,
    )
    archive = ArchiveWriter(opened, at_ms)
    archive.add(FACTS, json.encode(facts))
    for name, path in _own_files(source):
        archive.add_file(name, path)
    for path in journals:
        archive.add_file(f"{JOURNALS}/{path.parent.name}/{path.name}", path)
    if instant.database is not None:
        archive.add_file(DATABASE if whole else CHANGES, instant.database)
        if with_files and source.files is not None:
            for blob in blobs_of(instant.database):
                # It may have been deleted since the instant.
                with suppress(FileNotFoundError):
                    archive.add_file(f"{FILES}/{blob}", source.files / blob)
    archive.finish()


def _own_files(source: Source) -> Iterator[tuple[str, Path]]:
    """Give the small files of an installation, by their names in the archive."""
    if source.with_secret:
        yield FILE_NAME, source.data / FILE_NAME
    if (source.data / HOME).exists():
        yield HOME, source.data / HOME
    if source.configuration is not None:
        yield CONFIGURATION, source.configuration
    folder = source.data / KEYS
    if folder.is_dir():
        for path in sorted(folder.iterdir()):
            if path.is_file() and not path.name.startswith("."):
                yield f"{KEYS}/{path.name}", path


@contextmanager
def _draft(file: Path) -> Iterator[Path]:
    """A folder beside the file to make it in; it is gone afterwards."""
    draft = file.with_name(f".{file.name}.{secrets.token_hex(8)}")
    draft.mkdir(mode=0o700)
    try:
        yield draft
    finally:
        shutil.rmtree(draft)


def _publish(archive: Path, file: Path) -> None:
    """Give a whole archive its name, unless something has that name by now."""
    try:
        # A link, unlike a rename, does not replace what another has written.
        os.link(archive, file)
    except FileExistsError:
        raise BackupRefused(f"{file} was made by somebody else meanwhile") from None
    except OSError:
        # A file system without links.
        archive.rename(file)
    sync_folder(file.parent)

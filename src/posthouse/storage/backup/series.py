"""Backups in a row: a whole one now and then, and between them what has changed.

    20261121T184500Z-000000.tar     whole
    20261121T184500Z-000001.tar     what changed since 000000
    20261121T184500Z-000002.tar     what changed since 000001

What is in the ledger stays as it is, so of its tables only rows with higher numbers
than the last ones' are new; they are found without looking at the others. So it is
with responses that are kept, some of which go: what has gone since stays in what is
restored until it expires. All other tables are small, and are taken whole. Each
backup is of one instant, with the journals of then (see `backup`), so restoring one
is restoring the whole one, adding what follows up to it, and then recovering as after
a crash.

A series goes on after a pause, and begins anew when the database's schema has
changed, or its newest transfer is not the one that was there.
"""

import shutil
import sqlite3
from calendar import timegm
from contextlib import closing, suppress
from pathlib import Path
from time import gmtime, strftime, strptime
from typing import Final, Self

from msgspec import Struct, structs

from posthouse.billing.journal_lock import FileLock, try_lock
from posthouse.storage.backup.archive import (
    FACTS,
    DamagedArchive,
    read_first,
    sync_folder,
)
from posthouse.storage.backup.files import FOLDER as FILES
from posthouse.storage.backup.files import KeptFiles, blobs_of
from posthouse.storage.backup.writing import (
    Backup,
    BackupRefused,
    Facts,
    Instant,
    Keep,
    Place,
    Source,
    copy_database,
    write_backup,
)
from posthouse.wire import json

APPENDED: Final = {
    "transfers": "id",
    "entries": "transfer_id",
    "calls": "seq",
    "runs": "up_to",
    "run_transfers": "run",
    "run_calls": "run",
}
"""The tables whose rows are never changed, and the number by which they grow."""
RUNS: Final = frozenset({"runs", "run_transfers", "run_calls"})
"""Those of them that go by the numbers of runs, not of transfers."""
KEPT: Final = "responses"
"""Grows by SQLite's own numbers, which it gives again only when the newest are gone."""
REPLACED: Final = "replaced"
"""In a part, the names of the tables that it has whole."""
LOCK: Final = ".series.lock"
SLACK: Final = 3600.0
"""Seconds for which a file is kept longer than it is needed."""
SUFFIX: Final = ".tar"
_TIME: Final = "%Y%m%dT%H%M%SZ"
_NAME: Final = "[0-9]*Z-[0-9][0-9][0-9][0-9][0-9][0-9]" + SUFFIX
_LAST: Final = 999_999
_TABLES: Final = (
    "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'"
)


class Retention(Struct, frozen=True):
    """How long a series is, and how many are kept."""

    whole_seconds: float
    """After which a new one begins, with a whole backup."""
    keep: int


class Series:
    """Writes backups into a folder, one after the other; a context manager."""

    def __init__(self, source: Source, folder: Path, retention: Retention) -> None:
        """Take what is to be backed up, and where; raises BackupRefused."""
        if source.database is None:
            raise BackupRefused(
                "PostgreSQL archives its own log: see the guide to backups"
            )
        self._source = source
        self._folder = folder
        self._retention = retention
        self._place: Place | None = None
        """Of the last one."""
        self._began = 0.0
        """When the series did, in Unix seconds."""
        self._lock: FileLock | None = None
        self._files: KeptFiles | None = None

    def __enter__(self) -> Self:
        """Look where an earlier process has come to; raises BackupRefused."""
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._lock = try_lock(self._folder / LOCK)
        if self._lock is None:
            raise BackupRefused(f"{self._folder} is written to by another process")
        for draft in self._folder.glob(f".{_NAME}.*"):
            shutil.rmtree(draft)
        if self._source.files is not None:
            self._files = KeptFiles(self._folder / FILES)
            self._files.clean()
        files = list_series(self._folder)
        if files:
            self._go_on(files[-1])
        return self

    def __exit__(self, *_: object) -> None:
        """Let others write there."""
        if self._lock is not None:
            self._lock.release()

    def write(self, now: float) -> Backup:
        """Write the next backup, at a Unix time in seconds.

        Raises BackupRefused, OSError and sqlite3.Error; then the next one has what
        this one lacks.
        """
        place = self._place
        due = now - self._began >= self._retention.whole_seconds
        if place is not None and not due and place.number < _LAST:
            file = _path(self._folder, place.name, place.number + 1)
            with suppress(_Unrelated):
                changes = _Changes(place).copy
                made = write_backup(self._source, file, changes, self._keeper(now))
                self._place = made.instant.series
                return made
        return self._write_whole(now)

    def _write_whole(self, now: float) -> Backup:
        name = strftime(_TIME, gmtime(now))

        def copy(reader: sqlite3.Connection, target: Path, instant: Instant) -> Instant:
            copy_database(reader, target)
            place = _describe(reader, name, 0)
            return structs.replace(instant, database=target, series=place)

        keep = self._keeper(now, again=True)
        made = write_backup(self._source, _path(self._folder, name, 0), copy, keep)
        self._place, self._began = made.instant.series, now
        self._forget()
        return made

    def _keeper(self, now: float, *, again: bool = False) -> Keep:
        """What keeps the files that a copy of the database needs."""

        def keep(database: Path) -> None:
            source = self._source.files
            if self._files is not None and source is not None:
                self._files.add(source, blobs_of(database), now, again=again)

        return keep

    def _go_on(self, last: Path) -> None:
        """Take up the newest series, unless it cannot be read."""
        try:
            whole = read_facts(_path(self._folder, _series_of(last), 0))
            facts = read_facts(last)
        except (DamagedArchive, OSError):
            return
        self._place, self._began = facts.series, whole.instant_ms / 1000

    def _forget(self) -> None:
        """Remove the oldest series, each from its end."""
        names = sorted({_series_of(file) for file in list_series(self._folder)})
        for name in names[: -self._retention.keep]:
            for file in sorted(self._folder.glob(f"{name}-*{SUFFIX}"), reverse=True):
                file.unlink()
        sync_folder(self._folder)
        if self._files is not None:
            oldest = names[-self._retention.keep :][0]
            self._files.forget(timegm(strptime(oldest, _TIME)) - SLACK)


class _Unrelated(Exception):
    """The database is not what the last backup was made of."""


class _Changes:
    """Copies what a database has beyond a backup of it."""

    def __init__(self, since: Place) -> None:
        self._since = since

    def copy(
        self, reader: sqlite3.Connection, target: Path, instant: Instant
    ) -> Instant:
        """Copy from a snapshot."""
        since = self._since
        place = _describe(reader, since.name, since.number + 1)
        if place.schema != since.schema or _mark(reader, since.newest) != since.mark:
            raise _Unrelated
        with closing(sqlite3.connect(target, isolation_level=None)) as part:
            part.execute("PRAGMA journal_mode = OFF")
            part.execute("PRAGMA synchronous = OFF")
            part.execute("BEGIN")
            part.execute(f"CREATE TABLE {REPLACED} (name)")
            for (table,) in reader.execute(_TABLES).fetchall():
                after = _number_after(reader, table, since)
                _copy_table(reader, part, table, after)
                if after is None:
                    part.execute(f"INSERT INTO {REPLACED} VALUES (?)", (table,))  # noqa: S608 - our own name
            part.execute("COMMIT")
        return structs.replace(instant, database=target, series=place)


After = tuple[str, int]
"""A column, and the number above which rows are new."""


def _number_after(reader: sqlite3.Connection, table: str, since: Place) -> After | None:
    """What tells a table's new rows from the others; None takes them all."""
    if table in APPENDED:
        return APPENDED[table], since.run if table in RUNS else since.newest
    if table == KEPT and since.kept:
        query = f"SELECT id FROM {KEPT} WHERE rowid = ?"  # noqa: S608 - our own name
        row = reader.execute(query, (since.kept,)).fetchone()
        if row == (since.kept_mark,):
            return "rowid", since.kept
    return None


def _copy_table(
    reader: sqlite3.Connection,
    part: sqlite3.Connection,
    table: str,
    after: After | None,
) -> None:
    column, number = after or ("1", 0)
    query = f"SELECT * FROM {table} WHERE {column} > ?"  # noqa: S608 - the schema's own names
    rows = reader.execute(query, (number,))
    names = ",".join(f'"{name}"' for name, *_ in rows.description)
    marks = ",".join("?" * len(rows.description))
    part.execute(f"CREATE TABLE {table} ({names})")
    part.executemany(f"INSERT INTO {table} VALUES ({marks})", rows)  # noqa: S608 - as above


def add_changes(database: Path, changes: Path, schema: str) -> None:
    """Bring a database from the backup before to the one that has the changes.

    Raises DamagedArchive where they do not fit.
    """
    with closing(sqlite3.connect(database, isolation_level=None)) as connection:
        if _schema(connection) != schema:
            raise DamagedArchive("it is of another version of the schema")
        connection.execute("ATTACH ? AS part", (str(changes),))
        connection.execute("BEGIN")
        try:
            whole = set(connection.execute(f"SELECT name FROM part.{REPLACED}"))  # noqa: S608 - our own name
            for (table,) in connection.execute(_TABLES).fetchall():
                if (table,) in whole:
                    connection.execute(f"DELETE FROM {table}")  # noqa: S608 - the schema's own names
                connection.execute(
                    f"INSERT INTO {table} SELECT * FROM part.{table}"  # noqa: S608 - as above
                )
            connection.execute("COMMIT")
        except sqlite3.Error as error:
            raise DamagedArchive(f"its changes do not fit: {error}") from None


def read_facts(file: Path) -> Facts:
    """Read what a backup says of itself; raises DamagedArchive and OSError."""
    try:
        return json.decode(read_first(file, FACTS), Facts)
    except json.MalformedJSON as error:
        raise DamagedArchive(f"{FACTS}: {error}") from None


def list_series(folder: Path) -> list[Path]:
    """Give the backups of all series in a folder, the oldest first."""
    return sorted(folder.glob(_NAME))


def needed_for(file: Path) -> list[Path]:
    """Give the backups that one is made of, the whole one first; or itself alone.

    For a folder, those that its newest is made of. Raises BackupRefused.
    """
    if file.is_dir():
        found = list_series(file)
        if not found:
            raise BackupRefused("there is no series of backups in it")
        file = found[-1]
    place = read_facts(file).series
    if place is None or place.number == 0:
        return [file]
    needed = [_path(file.parent, place.name, n) for n in range(place.number)]
    for path in needed:
        if not path.exists():
            raise BackupRefused(f"{path.name}, on which it builds, is not beside it")
    return [*needed, file]


def _describe(reader: sqlite3.Connection, name: str, number: int) -> Place:
    ((newest,),) = reader.execute("SELECT coalesce(max(id), 0) FROM transfers")
    ((run,),) = reader.execute("SELECT coalesce(max(up_to), 0) FROM runs")
    mark = _mark(reader, newest)
    place = Place(name, number, _schema(reader), newest, mark, run)
    if (KEPT,) not in reader.execute(_TABLES).fetchall():
        return place
    query = f"SELECT rowid, id FROM {KEPT} ORDER BY rowid DESC LIMIT 1"  # noqa: S608 - our own name
    row = reader.execute(query).fetchone() or (0, "")
    return structs.replace(place, kept=row[0], kept_mark=row[1])


def _mark(reader: sqlite3.Connection, transfer: int) -> str:
    """What tells a transfer from another of its number."""
    query = "SELECT account_id, created_ms, reference FROM transfers WHERE id = ?"
    row = reader.execute(query, (transfer,)).fetchone()
    return "" if row is None else " ".join(map(str, row))


def _schema(connection: sqlite3.Connection) -> str:
    rows = connection.execute("SELECT version_num FROM alembic_version").fetchall()
    return ",".join(sorted(row[0] for row in rows))


def _series_of(file: Path) -> str:
    return file.name.rpartition("-")[0]


def _path(folder: Path, name: str, number: int) -> Path:
    return folder / f"{name}-{number:06}{SUFFIX}"

"""A backup becomes an installation again, in an empty data folder.

Everything is unpacked and checked in a hidden folder within it: the archive's
checksums, the secret, the database, and, after the journals were recovered as
after a crash, the books. Only then do the files move to their places, the
database last: until then there is no installation.
"""

import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Final

from msgspec import Struct, structs

from posthouse.billing.audit import AuditReport
from posthouse.billing.journal_lock import LOCK_NAME, try_lock
from posthouse.billing.recovery import Recovery, recover
from posthouse.settings.environment import Settings
from posthouse.settings.secret import FILE_NAME, load_secret
from posthouse.storage.audit import audit
from posthouse.storage.backup.archive import (
    CHANGES,
    CONFIGURATION,
    DATABASE,
    FACTS,
    DamagedArchive,
    sync_folder,
    unpack,
)
from posthouse.storage.backup.files import FOLDER as FILES
from posthouse.storage.backup.files import KeptFiles, blobs_of
from posthouse.storage.backup.series import add_changes, needed_for
from posthouse.storage.backup.writing import (
    FORMAT,
    JOURNALS,
    PART_FORMAT,
    BackupRefused,
    Facts,
    secret_check,
)
from posthouse.storage.database import Database, sqlite_url
from posthouse.storage.ledger.sqlite import SqliteLedger
from posthouse.storage.migrate import migrate
from posthouse.wire import json

DRAFT: Final = ".restoring"
PART: Final = ".part"
LOCK: Final = ".restoring.lock"
NOTHING: Final = frozenset({DRAFT, LOCK, "lost+found"})
"""What an empty folder may hold: ours, and what a new file system does."""


class Restored(Struct, frozen=True):
    """What was restored."""

    facts: Facts
    recovery: Recovery
    """What became of the calls that were under way at the instant."""
    report: AuditReport | None
    """None where there was none: it was skipped, or the database is not ours."""
    configuration: Path | None
    """Where the configuration file of that time is now."""
    missing_files: int = 0
    """How many files have rows and no content, where a folder should have it."""


async def restore(
    file: Path, settings: Settings, *, skip_audit: bool = False
) -> Restored:
    """Restore a backup into the empty folder `settings.data`.

    Args:
        file: the backup; of a series, those before it are beside it. Or a series'
            folder, whose newest is taken.
        settings: name the folder, the database and perhaps the secret.
        skip_audit: take the books as they are, without looking for faults.

    Raises BackupRefused, DamagedArchive and what a database raises; then the
    folder is empty again.
    """
    with _draft(settings.data) as draft:
        archives = needed_for(file)
        facts = _assemble(archives, draft)
        _check_place(settings, facts)
        _check_secret(settings, facts, draft)
        _own(draft / JOURNALS)
        recovery, report, missing = Recovery(), None, 0
        if facts.has_database:
            missing = _gather_files(archives[-1], draft, settings)
            recovery, report = await _check_books(draft, skip_audit=skip_audit)
        if report is not None and not report.clean:
            names = ", ".join(c.name for c in report.checks if not c.passed)
            raise BackupRefused(
                f"the audit finds faults in it ({names}); --skip-audit takes it"
            )
        _install(draft, settings.data)
    configuration = settings.data / CONFIGURATION
    found = configuration if configuration.exists() else None
    return Restored(facts, recovery, report, found, missing)


def _assemble(files: list[Path], draft: Path) -> Facts:
    """Unpack a whole backup, add what follows it, and give the last one's facts."""
    whole, *parts = files
    unpack(whole, draft)
    facts = _read_facts(draft, FORMAT)
    for file in parts:
        folder = draft / PART
        folder.mkdir(mode=0o700)
        unpack(file, folder)
        before, facts = facts, _read_facts(folder, PART_FORMAT)
        place = facts.series
        if (
            place is None
            or before.series is None
            or (place.name, place.number)
            != (before.series.name, before.series.number + 1)
        ):
            raise DamagedArchive(f"{file.name} does not follow the one before it")
        add_changes(draft / DATABASE, folder / CHANGES, place.schema)
        (folder / CHANGES).unlink()
        for path in draft.iterdir():
            if path.is_dir() and path != folder:
                shutil.rmtree(path)
        for path in folder.iterdir():
            path.rename(draft / path.name)
        folder.rmdir()
    return facts


def _gather_files(archive: Path, draft: Path, settings: Settings) -> int:
    """Add the files that are beside a series; tell how many are nowhere."""
    database = draft / DATABASE
    beside = archive.parent / FILES
    if not (draft / FILES).exists() and beside.is_dir():
        KeptFiles(beside).restore(blobs_of(database), draft / FILES)
    if settings.files is not None:
        return 0
    return sum(not (draft / FILES / blob).exists() for blob in blobs_of(database))


def _read_facts(draft: Path, known: int) -> Facts:
    """Read what the backup says of itself, and see that we can understand it."""
    try:
        facts = json.decode((draft / FACTS).read_bytes(), Facts)
    except json.MalformedJSON as error:
        raise DamagedArchive(f"{FACTS}: {error}") from None
    if facts.format != known:
        raise BackupRefused(f"posthouse {facts.posthouse} made it; use that version")
    return facts


def _check_place(settings: Settings, facts: Facts) -> None:
    """Refuse a backup that is of another kind of installation."""
    if facts.has_database and settings.database is not None:
        raise BackupRefused(
            "it holds a SQLite database, which is not restored into PostgreSQL;"
            " unset POSTHOUSE_DATABASE"
        )
    if not facts.has_database and settings.database is None:
        raise BackupRefused(
            "it is of a node whose database is on PostgreSQL; set POSTHOUSE_DATABASE"
        )


def _check_secret(settings: Settings, facts: Facts, draft: Path) -> None:
    """Refuse to restore what no key and no credential would work with."""
    if settings.secret is None and not (draft / FILE_NAME).exists():
        raise BackupRefused(
            "the secret is not in it; set POSTHOUSE_SECRET to what it was made with"
        )
    secret = load_secret(structs.replace(settings, data=draft))
    if secret_check(secret) != facts.secret_check:
        raise BackupRefused("POSTHOUSE_SECRET is not the one that it was made with")


async def _check_books(
    draft: Path, *, skip_audit: bool
) -> tuple[Recovery, AuditReport | None]:
    """Make the database ready to serve, and look whether its books are right."""
    path = draft / DATABASE
    with closing(sqlite3.connect(path)) as connection:
        [found] = connection.execute("PRAGMA quick_check(1)").fetchone()
    if found != "ok":
        raise DamagedArchive(f"its database is damaged: {found}")
    database = Database(sqlite_url(path), durable=True)
    try:
        await migrate(database)
        with closing(SqliteLedger(path, durable=True)) as ledger:
            recovery = recover(draft / JOURNALS, ledger)
        report = None if skip_audit else await audit(database, draft / JOURNALS)
    finally:
        await database.close()
    return recovery, report


def _own(journals: Path) -> None:
    """Make unpacked journals ones that whoever starts next can lock and recover."""
    if journals.is_dir():
        for directory in journals.iterdir():
            (directory / LOCK_NAME).touch(mode=0o600)


@contextmanager
def _draft(data: Path) -> Iterator[Path]:
    """A folder within the empty data folder; it is gone afterwards."""
    data.mkdir(mode=0o700, parents=True, exist_ok=True)
    lock = try_lock(data / LOCK)
    if lock is None:
        raise BackupRefused(f"{data} is being restored to by another process")
    try:
        _require_empty(data)
        draft = data / DRAFT
        shutil.rmtree(draft, ignore_errors=True)
        draft.mkdir(mode=0o700)
        try:
            yield draft
        finally:
            shutil.rmtree(draft)
    finally:
        lock.path.unlink()
        lock.release()


def _require_empty(data: Path) -> None:
    """Raise BackupRefused where there is anything that we could destroy."""
    for path in data.iterdir():
        if path.name not in NOTHING:
            raise BackupRefused(
                f"{data} is not empty (it holds {path.name}); name an empty folder"
            )


def _install(draft: Path, data: Path) -> None:
    """Move everything to its place, the database last."""
    for path in draft.rglob("*"):
        if path.is_dir():
            sync_folder(path)
    _require_empty(data)
    (draft / FACTS).unlink()
    database = draft / DATABASE
    for path in sorted(draft.iterdir()):
        if path != database:
            path.rename(data / path.name)
    sync_folder(data)
    if database.exists():
        database.rename(data / DATABASE)
        sync_folder(data)

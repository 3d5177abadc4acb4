"""`posthouse backup` and `restore`: an installation as one file, and back."""

import signal
import sqlite3
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final

from cyclopts import Parameter
from msgspec import structs, to_builtins

from posthouse.billing.ports import LedgerUnavailable
from posthouse.cli.failures import CommandFailed
from posthouse.cli.installation import Books, open_books
from posthouse.cli.options import AsJSON, Config, Data, command, run
from posthouse.cli.output import iso_time, print_json, print_line, print_note, working
from posthouse.settings.environment import load_settings
from posthouse.settings.failure import ConfigurationError
from posthouse.settings.secret import FILE_NAME, load_secret
from posthouse.storage.backup.archive import DATABASE, DamagedArchive
from posthouse.storage.backup.restore import Restored
from posthouse.storage.backup.restore import restore as restore_backup
from posthouse.storage.backup.series import Retention, Series
from posthouse.storage.backup.writing import Backup, BackupRefused, Source, make_backup
from posthouse.storage.blobs import folder_of

File = Annotated[Path, Parameter(help="The backup's file.")]
DAY: Final = 86_400.0


@dataclass(frozen=True)
class Row:
    """How backups follow one another."""

    every: Annotated[
        float | None,
        Parameter(
            help="Go on until SIGTERM: one each so many seconds, into the folder FILE."
        ),
    ] = None
    whole_every: Annotated[
        float,
        Parameter(
            help="Seconds after which one is whole again; between, what changed."
        ),
    ] = DAY
    keep: Annotated[
        int, Parameter(help="Whole ones that are kept, with those that follow them.")
    ] = 2


@dataclass(frozen=True)
class Without:
    """What is left out."""

    without_secret: Annotated[
        bool,
        Parameter(show_default=False, help="Leave the data folder's secret out."),
    ] = False
    without_files: Annotated[
        bool,
        Parameter(show_default=False, help="Leave the content of files out."),
    ] = False


def backup(
    file: File,
    *,
    config: Config = None,
    without: Annotated[Without, Parameter(name="*")] = Without(),
    data: Data = None,
    as_json: AsJSON = False,
    row: Annotated[Row, Parameter(name="*")] = Row(),
) -> None:
    """Write a backup of the data folder; the server may run.

    It holds the database and what the journals have not handed to it yet, as of
    one instant, the data folder's secret (unless POSTHOUSE_SECRET is set, or
    --without-secret given), the keys made for the configuration file, and that
    file; and the content of callers' files, where a folder has it. On PostgreSQL it
    holds all but the database and the content of files. It is for its owner's eyes
    only, and replaces no file.

    With --every it goes on: FILE is a folder, and what has changed since the last
    one is all that most of them hold.
    """

    async def find() -> Source:
        async with open_books(load_settings(config=config, data=data)) as books:
            return _source(books, with_secret=not without.without_secret)

    source = run(find())
    if without.without_files:
        source = structs.replace(source, files=None)
    try:
        if row.every is not None:
            _go_on(source, file, row, as_json=as_json)
            return
        with working("Writing the backup"):
            made = make_backup(source, file)
    except BackupRefused as error:
        raise CommandFailed(str(error)) from None
    _tell(made, as_json=as_json)
    if made.instant.database is None and not as_json:
        print_note("The database is not in it: now make PostgreSQL's own backup.")


def _go_on(source: Source, folder: Path, row: Row, *, as_json: bool) -> None:
    """Write backups until SIGTERM or SIGINT; one that fails is told of."""
    every = row.every or 0.0
    if every <= 0 or row.whole_every <= 0 or row.keep < 1:
        reason = "--every, --whole-every and --keep must be above zero"
        raise CommandFailed(reason)
    over = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: over.set())
    with Series(source, folder, Retention(row.whole_every, row.keep)) as series:
        due = time.monotonic()
        while not over.wait(max(0.0, due - time.monotonic())):
            due = max(due, time.monotonic() - every) + every
            try:
                _tell(series.write(time.time()), as_json=as_json)
                sys.stdout.flush()
            except (BackupRefused, OSError, sqlite3.Error) as error:
                # The next one has what this one lacks.
                print_note(f"There is no backup this time: {error}")


def _tell(made: Backup, *, as_json: bool) -> None:
    instant = made.instant
    if as_json:
        print_json(
            {
                "file": str(made.file),
                "bytes": made.size,
                "instant": iso_time(instant.at_ms),
                "instant_ms": instant.at_ms,
                "database": instant.database is not None,
                "blocked_ms": round(instant.blocked_ms, 3),
            }
        )
        return
    print_line(f"{made.file}: {made.size} bytes, as of {iso_time(instant.at_ms)}")


def _source(books: Books, *, with_secret: bool) -> Source:
    """Say what there is to back up; raises ConfigurationError without a secret."""
    settings = books.settings
    path = settings.data / FILE_NAME
    if settings.secret is None and not path.exists():
        reason = "is not there, and POSTHOUSE_SECRET is not set"
        raise ConfigurationError(str(path), None, reason)
    return Source(
        data=settings.data,
        database=None if settings.database else settings.data / DATABASE,
        secret=load_secret(settings),
        with_secret=with_secret and settings.secret is None,
        configuration=settings.config,
        files=None if settings.database else folder_of(settings),
    )


def restore(
    file: File,
    *,
    skip_audit: Annotated[
        bool,
        Parameter(
            show_default=False,
            help="Take the books as they are: sooner, or in spite of faults.",
        ),
    ] = False,
    data: Data = None,
    as_json: AsJSON = False,
) -> None:
    """Restore a backup into an empty data folder, once it has proved whole.

    FILE may be a folder that `backup --every` writes to, whose newest is taken, or
    one of the backups in it.

    What was under way at the instant is ended as after a crash, and the books
    are audited, which takes most of the time. Nothing is left in the folder if
    anything is wrong.
    """
    settings = load_settings(data=data)
    with working("Restoring"):
        try:
            done = run(restore_backup(file, settings, skip_audit=skip_audit))
        except DamagedArchive as error:
            raise CommandFailed(f"{file} is no whole backup: {error}") from None
        except BackupRefused as error:
            raise CommandFailed(f"{file} is not restored: {error}") from None
        except LedgerUnavailable as error:
            raise CommandFailed(f"the journals of {file}: {error}") from None
    if as_json:
        _print_restored(done, settings.data)
    else:
        _tell_restored(done, settings.data)


def _print_restored(done: Restored, data: Path) -> None:
    print_json(
        {
            "data": str(data),
            "instant": iso_time(done.facts.instant_ms),
            "instant_ms": done.facts.instant_ms,
            "recovery": to_builtins(done.recovery),
            "audit": to_builtins(done.report),
            "missing_files": done.missing_files,
            "config": None if done.configuration is None else str(done.configuration),
        }
    )


def _tell_restored(done: Restored, data: Path) -> None:
    print_line(f"{data}: as of {iso_time(done.facts.instant_ms)}")
    if not done.facts.has_database:
        print_note("The database is PostgreSQL's: restore it before you serve.")
    else:
        found = done.recovery
        print_note(
            f"Of the calls under way then, {found.charged} were charged for what had"
            f" been delivered and {found.voided} released."
        )
        print_note(
            "The audit is clean."
            if done.report is not None
            else "The books were not looked at: run `posthouse audit`."
        )
    if done.missing_files:
        print_note(f"The content of {done.missing_files} files is not in it.")
    if done.configuration is not None:
        print_note(f"The configuration file of that time is {done.configuration}.")


backup_command = command(backup)
restore_command = command(restore)

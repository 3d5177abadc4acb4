"""`posthouse doctor`: everything that a healthy installation needs.

It changes nothing and goes on where one thing is at fault, to tell of all.
"""

import os
import resource
import shutil
import stat
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final, Literal

from msgspec import Struct, structs

from posthouse.app import build_snapshot
from posthouse.billing.journal_lock import LOCK_NAME, WRITER_LOCK, try_lock
from posthouse.catalog.load import load_catalog
from posthouse.cli.failures import explain
from posthouse.cli.installation import Books, open_books, open_installation
from posthouse.cli.options import AsJSON, Config, Data, run
from posthouse.cli.options import command as make_command
from posthouse.cli.output import Column, print_json, print_table, working
from posthouse.files.ports import BlobUnavailable
from posthouse.files.service import new_blob
from posthouse.relay.authorize import unusable_credentials
from posthouse.settings.coordination import read_coordination
from posthouse.settings.environment import Settings, load_settings, unknown_variables
from posthouse.settings.failure import ConfigurationError
from posthouse.settings.loader import load_file
from posthouse.settings.secret import FILE_NAME
from posthouse.storage.audit import audit
from posthouse.storage.blobs import FOLDER, ObjectBlobs
from posthouse.storage.configuration import load_configuration

LEAST_FREE_BYTES: Final = 256 * 1024 * 1024
LEAST_FILES: Final = 4096
COLUMNS: Final = (Column("subject"), Column("result"), Column("detail"))


class Finding(Struct, frozen=True):
    """One thing that the doctor looked at."""

    subject: str
    result: Literal["ok", "warning", "fault"]
    detail: str


def doctor(
    *, config: Config = None, data: Data = None, as_json: AsJSON = False
) -> None:
    """Look at everything that a healthy installation needs.

    It changes nothing, but for a file that it stores and removes where callers'
    files are in a bucket. Exit code 1 if anything is a fault; warnings alone are
    no reason.
    """
    settings = load_settings(config=config, data=data)
    with working("Looking at the installation"):
        findings = [*_look_at_machine(settings), run(_look_at_file(settings))]
        if settings.coordination is not None:
            findings.append(run(_look_at_coordination(settings, settings.coordination)))
        if settings.files is not None or settings.database is not None:
            findings.append(run(look_at_files(settings)))
        findings += run(_look_at_installation(settings))
    if as_json:
        print_json([structs.asdict(finding) for finding in findings])
    else:
        rows = [[found.subject, found.result, found.detail] for found in findings]
        print_table(COLUMNS, rows, empty="")
    sys.exit(1 if any(found.result == "fault" for found in findings) else 0)


def _look_at_machine(settings: Settings) -> list[Finding]:
    """The environment, the disk, the limit on open files, the data folder."""
    findings = [
        Finding("environment", "warning", f"{name} means nothing")
        for name in unknown_variables(os.environ)
    ]
    folder = settings.data if settings.data.is_dir() else Path.cwd()
    free = shutil.disk_usage(folder).free
    findings.append(
        Finding(
            "disk",
            "ok" if free >= LEAST_FREE_BYTES else "fault",
            f"{free // 1024**2} MiB free for {settings.data}",
        )
    )
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    findings.append(
        Finding(
            "open files",
            "ok" if files >= LEAST_FILES else "warning",
            f"{files} allowed; each stream needs two",
        )
    )
    if settings.data.is_dir():
        findings += _look_at_folder(settings)
    return findings


def _look_at_folder(settings: Settings) -> list[Finding]:
    """Who may write the data folder, and who may read its secret."""
    findings = []
    if not os.access(settings.data, os.W_OK | os.X_OK):
        detail = f"{settings.data} cannot be written by this user"
        findings.append(Finding("data folder", "fault", detail))
    if settings.secret is not None:
        findings.append(Finding("secret", "ok", "POSTHOUSE_SECRET"))
        return findings
    path = settings.data / FILE_NAME
    if not path.exists():
        return findings
    if stat.S_IMODE(path.stat().st_mode) & 0o077:
        detail = f"others may read {path}; chmod 600 it"
        findings.append(Finding("secret", "warning", detail))
    else:
        detail = f"{path}; without a copy of it, keys and credentials are lost with it"
        findings.append(Finding("secret", "ok", detail))
    return findings


async def _look_at_file(settings: Settings) -> Finding:
    """Apply the file to an installation that nobody needs, as `serve` would."""
    if settings.config is None:
        return Finding("configuration file", "ok", "none is used")
    try:
        file = load_file(settings.config)
        with TemporaryDirectory() as folder:
            nobodys = structs.replace(settings, data=Path(folder), database=None)
            async with open_installation(nobodys) as installation:
                await installation.apply(file)
    except ConfigurationError as error:
        return Finding("configuration file", "fault", str(error))
    return Finding("configuration file", "ok", str(settings.config))


async def _look_at_coordination(settings: Settings, url: str) -> Finding:
    """Whether limits can be shared; a node without that serves nevertheless."""
    # Its driver is loaded only where it is used.
    from posthouse.storage.coordination.valkey_check import (  # noqa: PLC0415 - see above
        look,
    )

    seen = await look(read_coordination(url), settings.coordination_seconds)
    return Finding("coordination", seen.result, seen.detail)


async def look_at_files(settings: Settings) -> Finding:
    """Whether the place of callers' files takes one, gives it, and lets it go."""
    if settings.files is None:
        detail = f"are in {settings.data / FOLDER}, which all nodes must share"
        return Finding("files", "warning", detail)
    blobs = ObjectBlobs(settings)
    blob = new_blob()
    try:
        writer = blobs.writer(blob)
        await writer.write(b"posthouse doctor")
        await writer.finish()
        await blobs.read_part(blob, 0, 1)
        await blobs.remove(blob)
    except BlobUnavailable as error:
        detail = f"{settings.files} cannot be used: {error}"
        return Finding("files", "fault", detail)
    return Finding("files", "ok", settings.files)


async def _look_at_installation(settings: Settings) -> list[Finding]:
    """The database and what is in it; a reason why not is a finding, too."""
    findings = []
    try:
        async with open_books(settings) as books:
            async for found in _look_inside(books):
                findings.append(found)  # noqa: PERF401 - what was found is kept when the next look fails
    except Exception as error:
        failure = explain(error)
        if failure is None:
            raise
        findings.append(Finding("database", "fault", failure.message))
    return findings


async def _look_inside(books: Books) -> AsyncIterator[Finding]:
    """The schema, the journals, the books, the configuration."""
    yield Finding("database", "ok", "the schema is up to date")
    yield _look_at_journals(books.journals)
    report = await audit(books.database, books.journals)
    for check in report.checks:
        if not check.passed:
            detail = f"{check.title}: {'; '.join(check.examples)}"
            yield Finding(f"books {check.name}", "fault", detail)
    if report.clean:
        detail = f"{report.counts['transfers']} transfers, all invariants hold"
        yield Finding("books", "ok", detail)
    stored = await load_configuration(books.database, books.open_box())
    try:
        snapshot = build_snapshot(load_catalog(), stored, books.settings)
    except ValueError as error:
        yield Finding("channels", "fault", str(error))
        return
    table = snapshot.table
    count = len(table.channels)
    yield Finding("channels", "ok" if count else "warning", f"{count} enabled")
    for channel in table.channels.values():
        if channel.credentials == ("",) and channel.provider.auth != "none":
            detail = f"{channel.name} has no api_key"
            yield Finding("credentials", "warning", detail)
        for reason in unusable_credentials(channel):
            yield Finding("credentials", "warning", f"{channel.name}: {reason}")
    for name in snapshot.unpriced():
        yield Finding("prices", "warning", f"{name} has no price and is refused")


def _look_at_journals(root: Path) -> Finding:
    """Whether a server runs, and whether one has left work for the next."""
    writer = try_lock(root / WRITER_LOCK, create=False)
    if writer is None and (root / WRITER_LOCK).exists():
        return Finding("journals", "ok", "a server is running")
    left = 0
    for path in root.glob(f"*/{LOCK_NAME}"):
        lock = try_lock(path, create=False)
        if lock is not None:
            lock.release()
            left += 1
    if writer is not None:
        writer.release()
    if left:
        detail = f"{left} are left of a crash; the next start settles what is in them"
        return Finding("journals", "warning", detail)
    return Finding("journals", "ok", "no server is running, nothing is left to do")


command = make_command(doctor)

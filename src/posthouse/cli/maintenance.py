"""`posthouse init`, `migrate` and `doctor`: setting up and looking after."""

import os
import resource
import shutil
import sys
from collections.abc import AsyncIterator
from pathlib import Path

from msgspec import Struct, structs

from posthouse.app import build_snapshot
from posthouse.cli.installation import Installation, open_installation
from posthouse.cli.options import AsJSON, Config, Data, run
from posthouse.cli.output import print_json, print_line, print_note, print_table
from posthouse.settings.environment import Settings, load_settings, unknown_variables
from posthouse.settings.failure import ConfigurationError
from posthouse.settings.file import ChannelSpec, KeySpec
from posthouse.settings.loader import load_file
from posthouse.storage.audit import audit
from posthouse.storage.channels import ChannelDesk, list_channels
from posthouse.storage.configuration import load_configuration
from posthouse.storage.database import Database
from posthouse.storage.keys import KeyDesk, list_keys
from posthouse.storage.ledger_accounts import open_account
from posthouse.storage.migrate import migrate as migrate_database

LEAST_FREE_BYTES = 256 * 1024 * 1024
LEAST_FILES = 4096

OK = "ok"
WARNING = "warning"
FAULT = "fault"


def init(*, data: Data = None) -> None:
    """Set up a data folder: secret, database, the sandbox, a first key.

    Running it again changes nothing.
    """

    async def work() -> None:
        async with open_installation(load_settings(data=data)) as installation:
            async with installation.database.write() as connection:
                if not await list_channels(connection, installation.box):
                    spec = ChannelSpec(name="sandbox", provider="sandbox")
                    await ChannelDesk(installation.box).add(connection, spec)
                    print_note("The channel sandbox answers without any provider.")
                made = None
                if not await list_keys(connection):
                    desk = KeyDesk(installation.pepper, open_account)
                    made = await desk.create(connection, KeySpec(name="first"))
            if made is None:
                print_note("There are keys already; nothing was changed.")
            else:
                print_note("The first key; it is shown this once, keep it:")
                print_line(made.key)
            print_note("Next: posthouse channel add, then posthouse serve.")

    run(work())


def migrate(*, data: Data = None) -> None:
    """Bring the database's schema up to date; say what was done."""
    settings = load_settings(data=data)

    async def work() -> list[str]:
        settings.data.mkdir(parents=True, exist_ok=True, mode=0o700)
        database = Database(settings.database)
        try:
            return await migrate_database(database)
        finally:
            await database.close()

    done = run(work())
    for step in done:
        print_line(step)
    if not done:
        print_note("The schema is up to date.")


class Finding(Struct, frozen=True):
    """One thing that the doctor looked at."""

    subject: str
    result: str
    detail: str


def doctor(
    *, config: Config = None, data: Data = None, as_json: AsJSON = False
) -> None:
    """Look at everything that a healthy installation needs.

    Exit code 1 if anything is a fault; warnings alone are no reason.
    """
    settings = load_settings(config=config, data=data)

    async def work() -> list[Finding]:
        findings = [*_look_at_machine(settings), _look_at_file(settings)]
        async with open_installation(settings) as installation:
            findings += [found async for found in _look_inside(installation)]
        return findings

    findings = run(work())
    if as_json:
        print_json([structs.asdict(finding) for finding in findings])
    else:
        rows = [[found.subject, found.result, found.detail] for found in findings]
        print_table(("subject", "result", "detail"), rows, empty="")
    sys.exit(1 if any(found.result == FAULT for found in findings) else 0)


def _look_at_machine(settings: Settings) -> list[Finding]:
    """The environment, the disk and the limit on open files."""
    findings = [
        Finding("environment", WARNING, f"{name} means nothing")
        for name in unknown_variables(os.environ)
    ]
    folder = settings.data if settings.data.exists() else Path.cwd()
    free = shutil.disk_usage(folder).free
    findings.append(
        Finding(
            "disk",
            OK if free >= LEAST_FREE_BYTES else FAULT,
            f"{free // 1024**2} MiB free for {settings.data}",
        )
    )
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    findings.append(
        Finding(
            "open files",
            OK if files >= LEAST_FILES else WARNING,
            f"{files} allowed; each stream needs two",
        )
    )
    return findings


def _look_at_file(settings: Settings) -> Finding:
    if settings.config is None:
        return Finding("configuration file", OK, "none is used")
    try:
        load_file(settings.config)
    except ConfigurationError as error:
        return Finding("configuration file", FAULT, str(error))
    return Finding("configuration file", OK, str(settings.config))


async def _look_inside(installation: Installation) -> AsyncIterator[Finding]:
    """The database, its configuration and the books."""
    yield Finding("database", OK, "the schema is up to date")
    stored = await load_configuration(installation.database, installation.box)
    try:
        snapshot = build_snapshot(installation.catalog, stored, installation.settings)
    except ValueError as error:
        yield Finding("channels", FAULT, str(error))
        return
    table = snapshot.table
    count = len(table.channels)
    yield Finding("channels", OK if count else WARNING, f"{count} enabled")
    for channel in table.channels.values():
        if channel.credentials == ("",) and channel.provider.auth != "none":
            detail = f"{channel.name} has no api_key"
            yield Finding("credentials", WARNING, detail)
    for name in snapshot.unpriced():
        yield Finding("prices", WARNING, f"{name} has no price and is refused")
    report = await audit(installation.database, installation.journals)
    for check in report.checks:
        if not check.passed:
            detail = f"{check.title}: {'; '.join(check.examples)}"
            yield Finding(f"books {check.name}", FAULT, detail)
    if report.clean:
        detail = f"{report.counts['transfers']} transfers, all invariants hold"
        yield Finding("books", OK, detail)

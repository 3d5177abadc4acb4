"""`posthouse channel`: accounts at providers."""

import os
import sys
from dataclasses import dataclass
from getpass import getpass
from pathlib import Path
from typing import Annotated, Any, Final

from cyclopts import App, Parameter
from msgspec import structs

from posthouse.cli.channel_status import status
from posthouse.cli.installation import Installation, open_books, open_installation
from posthouse.cli.options import PLAIN, AsJSON, Data, run
from posthouse.cli.output import (
    Column,
    print_json,
    print_note,
    print_table,
    working,
)
from posthouse.cli.trial import try_channel
from posthouse.routing.table import ChannelDefaults, make_channel
from posthouse.settings.credentials import is_reference, resolve
from posthouse.settings.environment import load_settings
from posthouse.settings.failure import ConfigurationError
from posthouse.settings.file import ChannelLimits, ChannelSpec, ModelEntry
from posthouse.storage.channels import (
    ChannelDesk,
    StoredChannel,
    find_channel,
    list_channels,
)
from posthouse.storage.engine import AsyncConnection
from posthouse.storage.ownership import Refused, now_ms
from posthouse.storage.refusals import fingerprint, forget_refusals

STDIN = "-"
COLUMNS: Final = (
    Column("name"),
    Column("provider"),
    Column("state"),
    Column("priority", right=True),
    Column("weight", right=True),
    Column("keys", 2, right=True),
    Column("models", 3),
    Column("base_url", 4),
    Column("concurrency", 5, right=True),
    Column("rpm", 5, right=True),
    Column("owner", 6),
)
TRIAL_COLUMNS: Final = (
    Column("channel"),
    Column("model"),
    Column("result"),
    Column("status", right=True),
    Column("milliseconds", right=True),
)

ChannelName = Annotated[str, Parameter(help="The channel.")]

app = App(
    name="channel",
    default_parameter=PLAIN,
    help="Accounts at providers: add, list, test.",
)
app.command(status)


@dataclass(frozen=True)
class NewChannel:
    """How a new channel reaches its provider."""

    base_url: Annotated[
        str | None,
        Parameter(help="Address, version included; default: the provider's."),
    ] = None
    api_key: Annotated[
        tuple[str, ...],
        Parameter(
            allow_leading_hyphen=True,
            show_default=False,
            help="env:NAME, file:PATH, - for standard input, or the key itself; "
            "repeatable.",
        ),
    ] = ()
    model: Annotated[
        tuple[str, ...],
        Parameter(
            show_default=False,
            help="Model offered, * for any run, PUBLIC=UPSTREAM for another name; "
            "repeatable. Default: the provider's.",
        ),
    ] = ()
    priority: Annotated[int, Parameter(help="Higher first.")] = 0
    weight: Annotated[int, Parameter(help="Share within a priority.")] = 1
    concurrency: Annotated[int | None, Parameter(help="Calls at a time.")] = None
    rpm: Annotated[int | None, Parameter(help="Requests per minute.")] = None
    proxy: Annotated[str | None, Parameter(help="http:// or socks5:// URL.")] = None


@app.command
def add(
    name: ChannelName,
    /,
    *,
    provider: str,
    options: Annotated[NewChannel, Parameter(name="*")] = NewChannel(),
    data: Data = None,
) -> None:
    """Add a channel; running servers use it within two seconds."""
    try:
        api_key = tuple(_credential(value) for value in options.api_key)
    except ValueError as error:
        raise ConfigurationError("--api-key", None, str(error)) from None
    spec = ChannelSpec(
        name=name,
        provider=provider,
        base_url=options.base_url,
        api_key=api_key,
        models=tuple(_model(text) for text in options.model) or None,
        priority=options.priority,
        weight=options.weight,
        limits=ChannelLimits(concurrency=options.concurrency, rpm=options.rpm),
        proxy=options.proxy,
    )

    async def work() -> None:
        async with open_installation(load_settings(data=data)) as installation:
            try:
                _check(installation, spec)
                async with installation.database.write() as connection:
                    await ChannelDesk(installation.box).add(connection, spec)
            except (Refused, ValueError) as refusal:
                raise ConfigurationError("channel", None, str(refusal)) from None

    run(work())
    print_note(
        f"The channel {name} is added; try it with: posthouse channel test {name}"
    )


def _check(installation: Installation, spec: ChannelSpec) -> None:
    """Raise ValueError when the catalogue cannot serve such a channel."""
    row = installation.catalog.get(spec.provider)
    if row is None:
        known = ", ".join(sorted(installation.catalog))
        raise ValueError(f"there is no provider {spec.provider!r}; there are {known}")
    make_channel(spec, row, (), ChannelDefaults())


def _credential(value: str) -> str:
    """Give the credential itself; the database keeps it, sealed."""
    if value == STDIN:
        if sys.stdin.isatty():
            return getpass("API key: ").strip()
        return sys.stdin.readline().strip()
    if is_reference(value):
        return resolve(value, Path.cwd(), os.environ)
    print_note(
        "warning: the shell's history and the list of processes may now hold this "
        "key; env:NAME, file:PATH or - (standard input) keep it out of both",
        "yellow",
    )
    return value


def _model(text: str) -> str | ModelEntry:
    public, equals, upstream = text.partition("=")
    return ModelEntry(public, upstream) if equals else text


@app.command(name="list")
def list_(*, data: Data = None, as_json: AsJSON = False) -> None:
    """List channels; credentials are never shown."""

    async def work() -> list[StoredChannel]:
        async with open_books(load_settings(data=data)) as books:
            box = books.open_box()
            async with books.database.read() as connection:
                return await list_channels(connection, box)

    found = [_describe(channel) for channel in run(work())]
    if as_json:
        print_json(found)
        return
    cells = [
        [
            " ".join(value) if isinstance(value, list) else value
            for value in (entry[column.name] for column in COLUMNS)
        ]
        for entry in found
    ]
    print_table(COLUMNS, cells, empty="There are no channels yet.")


def _describe(channel: StoredChannel) -> dict[str, Any]:
    """Write a channel for scripts; what the provider decides is null."""
    spec = channel.spec
    return {
        "name": spec.name,
        "provider": spec.provider,
        "state": "enabled" if spec.enabled else "disabled",
        "owner": channel.owner,
        "priority": spec.priority,
        "weight": spec.weight,
        "keys": len(spec.api_key),
        "base_url": spec.base_url,
        "models": None
        if spec.models is None
        else [
            f"{entry.public}={entry.upstream}"
            if isinstance(entry, ModelEntry)
            else entry
            for entry in spec.models
        ],
        **structs.asdict(spec.limits),
    }


@app.command
def enable(
    name: ChannelName,
    /,
    *,
    credential: Annotated[
        int | None,
        Parameter(help="Only this refused credential, counted from 0; default: all."),
    ] = None,
    data: Data = None,
) -> None:
    """Use a channel, and credentials that its provider refused, again.

    Running servers know within two seconds.
    """
    done = run(_enable(name, credential, data))
    print_note(" ".join(done) if done else f"The channel {name} was in use already.")


async def _enable(name: str, credential: int | None, data: Path | None) -> list[str]:
    """Do what `enable` says; tell what has changed."""
    done = []
    settings = load_settings(data=data)
    async with (
        open_installation(settings, make=False) as installation,
        installation.database.write() as connection,
    ):
        channel = await _find(connection, installation, name)
        if credential is None and not channel.spec.enabled:
            await _switch(connection, installation, name, enabled=True)
            done.append(f"The channel {name} is used.")
        names = None
        if credential is not None:
            given = channel.spec.api_key or ("",)
            if not 0 <= credential < len(given):
                reason = f"the channel {name!r} has no credential {credential}"
                raise ConfigurationError("channel", None, reason)
            names = [fingerprint(given[credential], installation.pepper)]
        count = await forget_refusals(connection, name, names, now_ms())
        if count:
            done.append(f"Credentials of {name} that are tried again: {count}.")
    return done


@app.command
def disable(name: ChannelName, /, *, data: Data = None) -> None:
    """Use a channel no more, for now; running servers know within two seconds."""
    settings = load_settings(data=data)

    async def work() -> None:
        async with (
            open_installation(settings, make=False) as installation,
            installation.database.write() as connection,
        ):
            await _find(connection, installation, name)
            await _switch(connection, installation, name, enabled=False)

    run(work())
    print_note(f"The channel {name} is not used.")


async def _find(
    connection: AsyncConnection, installation: Installation, name: str
) -> StoredChannel:
    """Give a channel; raises ConfigurationError."""
    channel = await find_channel(connection, installation.box, name)
    if channel is None:
        raise ConfigurationError("channel", None, f"there is no channel {name!r}")
    return channel


async def _switch(
    connection: AsyncConnection, installation: Installation, name: str, *, enabled: bool
) -> None:
    """Set whether a channel is used; raises ConfigurationError."""
    try:
        desk = ChannelDesk(installation.box)
        await desk.set_enabled(connection, name, enabled=enabled)
    except Refused as refusal:
        raise ConfigurationError("channel", None, str(refusal)) from None


@app.command(name="test")
def try_(
    name: ChannelName,
    /,
    *,
    model: Annotated[
        str | None, Parameter(help="Model to ask; default: the channel's first.")
    ] = None,
    data: Data = None,
    as_json: AsJSON = False,
) -> None:
    """Send one small chat through a channel and say how it went.

    It is not billed and not recorded; the provider may charge for it. Exit code
    1 if it was not answered.
    """
    settings = load_settings(data=data)

    async def work() -> dict[str, str | int]:
        async with open_books(settings) as books:
            return await try_channel(books, name, model)

    with working(f"Trying {name}"):
        result = run(work())
    if as_json:
        print_json(result)
    else:
        cells = [result[column.name] for column in TRIAL_COLUMNS]
        print_table(TRIAL_COLUMNS, [cells], empty="")
    sys.exit(0 if result["result"] == "ok" else 1)

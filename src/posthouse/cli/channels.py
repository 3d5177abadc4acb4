"""`posthouse channel`: accounts at providers."""

import os
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter
from msgspec import structs

from posthouse.app import build_snapshot
from posthouse.cli.installation import Installation, open_installation
from posthouse.cli.options import AsJSON, Data, run
from posthouse.cli.output import print_json, print_line, print_note, print_table
from posthouse.errors import PosthouseError
from posthouse.model.exchange import ExchangeFailure, UpstreamRequest
from posthouse.providers import registry
from posthouse.relay.snapshot import Snapshot, find_dialect
from posthouse.routing.health import HealthTable
from posthouse.routing.plan import Plan, Target
from posthouse.settings.credentials import is_reference, resolve
from posthouse.settings.environment import load_settings
from posthouse.settings.failure import ConfigurationError
from posthouse.settings.file import ChannelSpec
from posthouse.storage.channels import ChannelDesk, list_channels
from posthouse.storage.configuration import load_configuration
from posthouse.storage.ownership import Refused
from posthouse.upstream.sender import Upstream
from posthouse.wire import json

REPLY_LIMIT = 1024 * 1024

app = App(name="channel", help="Accounts at providers: add, list, test.")


@dataclass(frozen=True)
class NewChannel:
    """How a new channel reaches its provider."""

    base_url: Annotated[str | None, Parameter(help="Default: the provider's.")] = None
    api_key: Annotated[
        tuple[str, ...], Parameter(help="Literal, env:NAME or file:PATH.")
    ] = ()
    model: Annotated[tuple[str, ...], Parameter(help="Model offered.")] = ()
    priority: Annotated[int, Parameter(help="Higher first.")] = 0
    weight: Annotated[int, Parameter(help="Share within a priority.")] = 1


@app.command
def add(
    name: str,
    *,
    provider: str,
    options: Annotated[NewChannel, Parameter(name="*")] = NewChannel(),
    data: Data = None,
) -> None:
    """Add a channel; running servers use it within two seconds."""

    async def work() -> None:
        async with open_installation(load_settings(data=data)) as installation:
            if provider not in installation.catalog:
                known = ", ".join(sorted(installation.catalog))
                reason = f"there is no provider {provider!r}; there are {known}"
                raise ConfigurationError("channel", None, reason)
            try:
                spec = ChannelSpec(
                    name=name,
                    provider=provider,
                    base_url=options.base_url,
                    api_key=tuple(_credential(key) for key in options.api_key),
                    models=options.model or None,
                    priority=options.priority,
                    weight=options.weight,
                )
                async with installation.database.write() as connection:
                    await ChannelDesk(installation.box).add(connection, spec)
            except (Refused, ValueError) as refusal:
                raise ConfigurationError("channel", None, str(refusal)) from None
        print_note(f"The channel {name} is added.")

    run(work())


def _credential(value: str) -> str:
    """Resolve a reference; the database keeps the credential, sealed."""
    return resolve(value, Path.cwd(), os.environ) if is_reference(value) else value


@app.command(name="list")
def list_(*, data: Data = None, as_json: AsJSON = False) -> None:
    """List channels; credentials are never shown."""

    async def work() -> list[dict[str, str | int]]:
        async with (
            open_installation(load_settings(data=data)) as installation,
            installation.database.read() as connection,
        ):
            found = await list_channels(connection, installation.box)
        return [
            {
                "name": channel.spec.name,
                "provider": channel.spec.provider,
                "state": "enabled" if channel.spec.enabled else "disabled",
                "owner": channel.owner,
                "priority": channel.spec.priority,
                "weight": channel.spec.weight,
                "keys": len(channel.spec.api_key),
            }
            for channel in found
        ]

    rows = run(work())
    if as_json:
        print_json(rows)
    else:
        columns = ("name", "provider", "state", "owner", "priority", "weight", "keys")
        cells = [[row[column] for column in columns] for row in rows]
        print_table(columns, cells, empty="There are no channels yet.")


@app.command(name="test")
def try_channel(
    name: str,
    *,
    model: str | None = None,
    data: Data = None,
    as_json: AsJSON = False,
) -> None:
    """Send one small chat through a channel and say how it went.

    It is not billed and not recorded; the provider may charge for it.

    Args:
        name: The channel.
        model: The model to ask; default is the channel's first.
        data: Data folder; default ./data.
        as_json: Print JSON.
    """
    settings = load_settings(data=data)

    async def work() -> dict[str, str | int]:
        async with open_installation(settings) as installation:
            snapshot = await _only(installation, name)
            target, request = _small_chat(snapshot, model)
            return await _try(target, request)

    result = run(work())
    if as_json:
        print_json(result)
    else:
        print_line("\t".join(f"{field}={value}" for field, value in result.items()))
    sys.exit(0 if result["result"] == "ok" else 1)


async def _only(installation: Installation, name: str) -> Snapshot:
    """A snapshot in which there is nothing but one channel."""
    stored = await load_configuration(installation.database, installation.box)
    channels = tuple(
        structs.replace(channel, spec=structs.replace(channel.spec, enabled=True))
        for channel in stored.channels
        if channel.spec.name == name
    )
    if not channels:
        raise ConfigurationError("channel", None, f"there is no channel {name!r}")
    return build_snapshot(
        installation.catalog,
        structs.replace(stored, channels=channels),
        installation.settings,
    )


def _small_chat(
    snapshot: Snapshot, model: str | None
) -> tuple[Target, UpstreamRequest]:
    """Render the smallest chat for a channel's target."""
    named = [name for name, _ in snapshot.table.listed(sandbox=False)]
    asked = model or next(
        (name for name in named if snapshot.table.resolve(name, "chat", sandbox=False)),
        None,
    )
    routes = asked and snapshot.table.resolve(asked, "chat", sandbox=False)
    if not routes or not asked:
        reason = "name a chat model with --model"
        raise ConfigurationError("channel", None, reason)
    target = Plan((routes,), (b"", b""), HealthTable()).next(0.0)
    if target is None:
        raise ConfigurationError("channel", None, "the channel has no target")
    prepared = snapshot.prepared(target, "chat")
    body = json.encode(
        {"model": asked, "messages": [{"role": "user", "content": "Say hello."}]}
    )
    parsed = find_dialect("openai_chat").parse_request(body)
    return target, UpstreamRequest(
        method="POST",
        origin=prepared.origin,
        target=prepared.target,
        headers=prepared.headers,
        body=prepared.dialect.render_request(parsed, snapshot.edits(target, "chat")),
        timeouts=prepared.timeouts,
        proxy=prepared.proxy,
    )


async def _try(target: Target, request: UpstreamRequest) -> dict[str, str | int]:
    """Send the request; tell what came of it, without the provider's words."""
    upstream = Upstream(play=registry.play)
    began = time.monotonic()
    status = 0
    result = "ok"
    try:
        response = await upstream.send(request)
        status = response.status
        body = await response.read_all(REPLY_LIMIT)
        if status != 200:
            result = find_dialect("openai_chat").parse_error(status, body).code
    except ExchangeFailure as failure:
        result = str(failure)
    except PosthouseError as error:
        result = error.code
    finally:
        await upstream.close()
    return {
        "channel": target.member.channel.name,
        "model": target.member.upstream_model,
        "result": result,
        "status": status,
        "milliseconds": round((time.monotonic() - began) * 1000),
    }

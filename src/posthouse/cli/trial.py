"""One small chat through one channel, without a server, a key or a charge."""

import time

from msgspec import Struct, structs

from posthouse.app import build_snapshot
from posthouse.catalog.load import load_catalog
from posthouse.cli.installation import Books
from posthouse.dialects.base import Dialect, ParsedRequest
from posthouse.errors import PosthouseError
from posthouse.model.exchange import ExchangeFailure, UpstreamRequest
from posthouse.providers import registry
from posthouse.relay.authorize import Authorizer
from posthouse.relay.faults import AttemptFailed
from posthouse.relay.prepare import find_dialect
from posthouse.relay.snapshot import Snapshot
from posthouse.routing.health import HealthTable
from posthouse.routing.plan import Plan, Target
from posthouse.settings.failure import ConfigurationError
from posthouse.storage.configuration import load_configuration
from posthouse.upstream.sender import Upstream
from posthouse.wire import json

REPLY_LIMIT = 1024 * 1024


class _Trial(Struct, frozen=True):
    """A request, and what is needed to judge its reply."""

    target: Target
    dialect: Dialect
    parsed: ParsedRequest
    request: UpstreamRequest
    authorizer: Authorizer | None


async def try_channel(
    books: Books, name: str, model: str | None
) -> dict[str, str | int]:
    """Ask a channel's model to say hello; tell how it went.

    Args:
        books: the installation.
        name: the channel; a disabled one is tried as if it were enabled.
        model: the public name of the model; None takes the channel's first.
    """
    trial = _small_chat(await _only(books, name), model)
    began = time.monotonic()
    status, result = await _send(trial)
    return {
        "channel": trial.target.member.channel.name,
        "model": trial.target.member.upstream_model,
        "result": result,
        "status": status,
        "milliseconds": round((time.monotonic() - began) * 1000),
    }


async def _only(books: Books, name: str) -> Snapshot:
    """A snapshot in which there is nothing but one channel."""
    stored = await load_configuration(books.database, books.open_box())
    channels = tuple(
        structs.replace(channel, spec=structs.replace(channel.spec, enabled=True))
        for channel in stored.channels
        if channel.spec.name == name
    )
    if not channels:
        raise ConfigurationError("channel", None, f"there is no channel {name!r}")
    one = structs.replace(stored, channels=channels)
    return build_snapshot(load_catalog(), one, books.settings)


def _small_chat(snapshot: Snapshot, model: str | None) -> _Trial:
    """Render the smallest chat for a channel's target."""
    table = snapshot.table
    asked = model or next(
        (
            name
            for name, _ in table.listed(sandbox=False)
            if table.resolve(name, "chat", sandbox=False)
        ),
        None,
    )
    routes = asked and table.resolve(asked, "chat", sandbox=False)
    if not routes or not asked:
        reason = (
            f"the channel has no chat model {model!r}"
            if model
            else "name a chat model with --model"
        )
        raise ConfigurationError("channel", None, reason)
    target = Plan((routes,), (b"", b""), HealthTable()).next(0.0)
    if target is None:
        raise ConfigurationError("channel", None, "the channel has no target")
    prepared = snapshot.prepared(target.member, "chat", "openai_chat")
    body = json.encode(
        {"model": asked, "messages": [{"role": "user", "content": "Say hello."}]}
    )
    parsed = find_dialect("openai_chat").parse_request(body)
    rendered = prepared.dialect.render_request(parsed, prepared.edits)
    request = structs.replace(prepared.whole, body=rendered)
    return _Trial(target, prepared.dialect, parsed, request, prepared.authorizer)


async def _send(trial: _Trial) -> tuple[int, str]:
    """Send the request; give the status and what came of it.

    That is `ok`, an error's code, or why there was no reply: never the
    provider's own words.
    """
    upstream = Upstream(play=registry.play)
    status = 0
    result = "ok"
    try:
        if trial.authorizer is None:
            response = await upstream.send(trial.request)
        else:
            response = await trial.authorizer.send(upstream, trial.request)
        status = response.status
        body = await response.read_all(REPLY_LIMIT)
        if status == 200:
            trial.dialect.parse_reply(trial.parsed, body, None)
        else:
            result = trial.dialect.parse_error(status, body).code
    except ExchangeFailure as failure:
        result = str(failure)
    except AttemptFailed as failed:
        status, result = failed.status, failed.error.code
    except PosthouseError as error:
        result = error.code
    finally:
        await upstream.close()
    return status, result

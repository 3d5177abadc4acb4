"""The sandbox's transport: scripts reach the reader as a socket's bytes would."""

import asyncio
import time

import pytest
from tests.fakes.steps import LAST_CHUNK, chunk, head, reply
from tests.support.cases import each
from tests.unit.upstream.support import chat_request, failure_of, fetch

from posthouse.model.exchange import (
    Certainty,
    ExchangeFailure,
    FailureKind,
    Script,
    ScriptEnd,
    ScriptStep,
    UpstreamRequest,
)
from posthouse.upstream.sender import Upstream

LOCAL = "sandbox://local"


def playing(*data: bytes, end: ScriptEnd = ScriptEnd.KEEP) -> Upstream:
    """A sandbox that answers with these bytes."""
    script = Script(tuple(ScriptStep(0.0, item) for item in data), end)
    return Upstream(play=lambda _: script)


async def test_the_request_is_given_to_the_player() -> None:
    """As it is: method, target, headers and body."""
    seen: list[UpstreamRequest] = []

    def play(request: UpstreamRequest) -> Script:
        seen.append(request)
        return Script((ScriptStep(0.0, reply(200, request.body)),))

    upstream = Upstream(play=play)
    request = chat_request(LOCAL)
    assert await fetch(upstream, request) == (200, request.body)
    assert seen == [request]
    assert upstream.open_connections == 0
    await upstream.close()


async def test_delays_are_kept() -> None:
    """Bytes arrive when the script says."""
    steps = (
        ScriptStep(0.05, head(200, chunked=True) + chunk(b"one")),
        ScriptStep(0.5, chunk(b"two") + LAST_CHUNK),
    )
    upstream = Upstream(play=lambda _: Script(steps))
    begin = time.monotonic()
    response = await upstream.send(chat_request(LOCAL))
    assert await response.read() == b"one"
    assert 0.04 < time.monotonic() - begin < 0.5
    assert await response.read() == b"two"
    assert time.monotonic() - begin > 0.5
    assert await response.read() == b""
    await upstream.close()


@each(
    ("data", "end", "kind", "certainty"),
    [
        (b"", ScriptEnd.CLOSE, "reset", Certainty.POSSIBLY_ACCEPTED),
        (b"", ScriptEnd.RESET, "reset", Certainty.POSSIBLY_ACCEPTED),
        (head(200, length=9), ScriptEnd.CLOSE, "reset", Certainty.RESPONSE_STARTED),
        (head(200) + b"ab", ScriptEnd.RESET, "reset", Certainty.RESPONSE_STARTED),
        (b"nonsense\r\n", ScriptEnd.KEEP, "protocol", Certainty.RESPONSE_STARTED),
    ],
    ids=["close", "reset", "truncated", "reset in the body", "not HTTP"],
)
async def test_ends_are_those_of_a_socket(
    data: bytes, end: ScriptEnd, kind: str, certainty: Certainty
) -> None:
    """The same kinds and certainties come of them."""
    upstream = playing(*([data] if data else []), end=end)
    seen = await failure_of(upstream, chat_request(LOCAL))
    assert seen == (FailureKind(kind), certainty)
    await asyncio.sleep(0)
    assert upstream.open_connections == 0
    await upstream.close()


async def test_a_body_until_the_end_of_the_connection_is_whole() -> None:
    """CLOSE is a proper end for it."""
    upstream = playing(head(200), b"abc", end=ScriptEnd.CLOSE)
    assert await fetch(upstream, chat_request(LOCAL)) == (200, b"abc")
    await upstream.close()


async def test_an_empty_step_is_only_a_pause() -> None:
    """Nothing arrives, the script goes on."""
    upstream = playing(b"", reply(200, b"x"), b"")
    assert await fetch(upstream, chat_request(LOCAL)) == (200, b"x")
    await upstream.close()


async def test_aborting_stops_the_script() -> None:
    """No timer of it is left behind."""
    steps = (ScriptStep(0.0, head(200)), ScriptStep(60.0, b"late"))
    upstream = Upstream(play=lambda _: Script(steps))
    response = await upstream.send(chat_request(LOCAL))
    reader = asyncio.create_task(response.read())
    await asyncio.sleep(0.01)
    response.abort()
    with pytest.raises(ExchangeFailure, match="aborted"):
        await reader
    assert upstream.open_connections == 0
    await upstream.close()


async def test_closing_the_sender_ends_scripts_and_refuses_more() -> None:
    """As it does with sockets."""
    upstream = playing(head(200))
    response = await upstream.send(chat_request(LOCAL))
    await upstream.close()
    with pytest.raises(ExchangeFailure, match="aborted"):
        await response.read()
    assert (await failure_of(upstream, chat_request(LOCAL)))[1] is Certainty.NOT_SENT


async def test_without_a_sandbox_its_origin_is_refused() -> None:
    """Nothing is sent anywhere."""
    upstream = Upstream()
    seen = await failure_of(upstream, chat_request(LOCAL))
    assert seen == (FailureKind.CONNECT, Certainty.NOT_SENT)
    await upstream.close()

"""A reader that does not read makes the provider wait, not our memory grow."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.fakes.steps import LAST_CHUNK, Behaviour, Send, Step, chunk, head
from tests.fakes.upstream import FakeUpstream
from tests.unit.upstream.certificates import make_certificate
from tests.unit.upstream.support import chat_request

from posthouse.model.exchange import (
    ExchangeFailure,
    FailureKind,
    Script,
    ScriptEnd,
    ScriptStep,
)
from posthouse.upstream.connection import HIGH_WATER
from posthouse.upstream.pieces import PIECE_BYTES
from posthouse.upstream.response import Response
from posthouse.upstream.sender import Upstream

PIECE = b"x" * 50_000
SEGMENT = 256 * 1024
"""The most that one read of a socket brings."""


def large(pieces: int) -> Iterator[Step]:
    """A reply of many pieces, as fast as the socket takes them."""
    yield Send(head(200, chunked=True))
    for _ in range(pieces):
        yield Send(chunk(PIECE))
    yield Send(LAST_CHUNK, terminal=True)


async def test_what_nobody_reads_is_not_buffered() -> None:
    """200 MB wait at the provider; when reading goes on, all of it comes."""
    async with FakeUpstream([Behaviour("large", large(4000))]) as provider:
        upstream = Upstream()
        response = await upstream.send(chat_request(provider.origin))
        assert isinstance(response, Response)
        await asyncio.sleep(0.3)
        assert response.unread <= HIGH_WATER + SEGMENT
        assert sum(map(len, response.chunks)) <= HIGH_WATER + SEGMENT
        assert provider.served[0].sent < 40_000_000
        taken = len(await response.read())
        size = 0
        while size < 20_000_000:
            await asyncio.sleep(0)
            assert response.unread <= HIGH_WATER + PIECE_BYTES
            size += len(await response.read())
            assert not (response.paused and response.unread)
        assert taken <= HIGH_WATER + SEGMENT
        response.abort()
        await upstream.close()


@pytest.mark.parametrize("secured", [False, True], ids=["plain", "tls"])
async def test_a_paused_reply_comes_whole_and_keeps_its_connection(
    secured: bool, tmp_path: Path
) -> None:
    """Pausing and resuming many times loses nothing, nor does the next reply."""
    server, client = make_certificate(tmp_path, "127.0.0.1")
    replies = [Behaviour("large", large(200)), Behaviour("again", large(20))]
    async with FakeUpstream(replies, tls=server if secured else None) as provider:
        upstream = Upstream(tls=lambda: client)
        for pieces in (200, 20):
            response = await upstream.send(chat_request(provider.origin))
            size = 0
            while data := await response.read():
                assert data.strip(b"x") == b""
                size += len(data)
                if size % 7 == 0:
                    await asyncio.sleep(0.002)
            assert size == pieces * len(PIECE)
            assert upstream.idle_connections == 1
        assert provider.connections == 1
        await upstream.close()
        await asyncio.sleep(0.01)


async def test_read_all_stops_at_its_limit() -> None:
    """A body that is too large is cut off early, and its connection closed."""
    async with FakeUpstream([Behaviour("large", large(4000))]) as provider:
        upstream = Upstream()
        response = await upstream.send(chat_request(provider.origin))
        with pytest.raises(ExchangeFailure) as caught:
            await response.read_all(64 * 1024)
        assert caught.value.kind is FailureKind.TOO_LARGE
        await asyncio.sleep(0.05)
        assert (upstream.open_connections, len(provider.open)) == (0, 0)
        assert provider.served[0].sent < 40_000_000
        await upstream.close()


async def test_a_small_whole_body_over_the_limit_is_refused_too() -> None:
    """The limit holds also when everything came in one piece."""
    body = Behaviour("small", (Send(head(200, length=10) + b"0123456789"),))
    async with FakeUpstream([body, body]) as provider:
        upstream = Upstream()
        response = await upstream.send(chat_request(provider.origin))
        with pytest.raises(ExchangeFailure, match="too_large"):
            await response.read_all(9)
        response = await upstream.send(chat_request(provider.origin))
        assert await response.read_all(10) == b"0123456789"
        await upstream.close()


async def test_a_script_waits_for_its_reader() -> None:
    """The sandbox's transport honours a pause, too."""
    steps = [ScriptStep(0.0, head(200))]
    steps += [ScriptStep(0.0, PIECE)] * 400
    upstream = Upstream(play=lambda _: Script(tuple(steps), ScriptEnd.CLOSE))
    response = await upstream.send(chat_request("sandbox://local"))
    assert isinstance(response, Response)
    await asyncio.sleep(0.05)
    assert HIGH_WATER < response.unread <= HIGH_WATER + SEGMENT
    assert len(await response.read_all(30_000_000)) == 400 * len(PIECE)
    await upstream.close()

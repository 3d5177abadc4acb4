"""Keep-alive: which connections are used again, which never."""

import asyncio

import pytest
from tests.fakes import openai
from tests.fakes.steps import (
    LAST_CHUNK,
    Behaviour,
    Close,
    Hang,
    Reset,
    Send,
    Wait,
    chunk,
    head,
    reply,
)
from tests.fakes.upstream import FakeUpstream
from tests.unit.upstream.support import chat_request, failure_of, fetch

from posthouse.model.exchange import Certainty, FailureKind
from posthouse.upstream import connection as connection_module
from posthouse.upstream.sender import Upstream

GOOD = Behaviour("good", (Send(reply(200, b"good")),))


async def settle() -> None:
    """Let sockets tell what happened to them."""
    await asyncio.sleep(0.05)


async def test_replies_share_one_connection() -> None:
    """One after the other, unary and streamed calls use one connection."""
    async with FakeUpstream(openai.answer) as provider:
        upstream = Upstream()
        for stream in (False, True, False, True):
            request = chat_request(provider.origin, stream=stream)
            assert (await fetch(upstream, request))[0] == 200
        assert (provider.connections, upstream.open_connections) == (1, 1)
        assert upstream.idle_connections == 1
        await upstream.close()
        assert upstream.open_connections == 0


async def test_the_connection_used_last_is_used_next() -> None:
    """The pool is a stack, so that unused connections can grow old."""
    slow = Behaviour("slow", (Wait(0.05), Send(reply(200, b"slow"))))
    async with FakeUpstream([slow, slow, GOOD, GOOD, GOOD]) as provider:
        upstream = Upstream()
        request = chat_request(provider.origin)
        await asyncio.gather(fetch(upstream, request), fetch(upstream, request))
        assert upstream.idle_connections == 2
        for _ in range(3):
            await fetch(upstream, request)
        used = [served.request.connection for served in provider.served]
        assert len(set(used[2:])) == 1
        await upstream.close()


async def test_an_idle_connection_is_closed_when_its_time_is_over() -> None:
    """Idle connections do not stay for ever, neither here nor there."""
    async with FakeUpstream(openai.answer) as provider:
        upstream = Upstream(keep_alive=0.1)
        await fetch(upstream, chat_request(provider.origin))
        await asyncio.sleep(0.7)
        assert (upstream.open_connections, len(provider.open)) == (0, 0)
        await upstream.close()


@pytest.mark.parametrize("ending", [Close(), Reset()], ids=["close", "reset"])
async def test_a_connection_that_the_provider_closed_while_idle_is_forgotten(
    ending: Close | Reset,
) -> None:
    """The end is seen at once, not at the next request."""
    short = Behaviour("short", (Send(reply(200, b"x")), Wait(0.02), ending))
    async with FakeUpstream([short, GOOD]) as provider:
        upstream = Upstream()
        await fetch(upstream, chat_request(provider.origin))
        await asyncio.sleep(0.1)
        assert upstream.open_connections == 0
        assert await fetch(upstream, chat_request(provider.origin)) == (200, b"good")
        await upstream.close()


async def test_bytes_on_an_idle_connection_never_reach_the_next_request() -> None:
    """A reply that nobody asked for is not anybody's answer."""
    poison = (
        Send(reply(200, b"first")),
        Wait(0.02),
        Send(reply(200, b"somebody else's")),
        Hang(),
    )
    async with FakeUpstream([Behaviour("poison", poison), GOOD]) as provider:
        upstream = Upstream()
        assert await fetch(upstream, chat_request(provider.origin)) == (200, b"first")
        await settle()
        assert upstream.open_connections == 0
        assert await fetch(upstream, chat_request(provider.origin)) == (200, b"good")
        await upstream.close()


async def test_a_connection_that_is_just_closing_is_passed_over() -> None:
    """Its socket is gone already, though nobody was told yet."""
    async with FakeUpstream([GOOD, GOOD]) as provider:
        upstream = Upstream()
        request = chat_request(provider.origin)
        await fetch(upstream, request)
        (site,) = upstream._http1._direct.values()
        (connection,) = site.idle
        assert connection._transport is not None
        connection._transport.abort()
        assert await fetch(upstream, request) == (200, b"good")
        assert provider.connections == 2
        await upstream.close()


async def test_surplus_bytes_are_cut_and_the_connection_discarded() -> None:
    """Row U10: the body ends where Content-Length says."""
    surplus = Behaviour("surplus", (Send(reply(200, b"body") + b"tail"), Hang()))
    async with FakeUpstream([surplus, GOOD]) as provider:
        upstream = Upstream()
        assert await fetch(upstream, chat_request(provider.origin)) == (200, b"body")
        assert await fetch(upstream, chat_request(provider.origin)) == (200, b"good")
        assert provider.connections == 2
        await upstream.close()


@pytest.mark.parametrize("ending", [Close(), Reset()], ids=["close", "reset"])
async def test_a_kept_connection_closed_under_us_is_replaced_once(
    ending: Close | Reset,
) -> None:
    """The request is sent again on a fresh connection, unseen by the caller."""
    die = Behaviour("die", (ending,))
    async with FakeUpstream([GOOD, die, GOOD]) as provider:
        upstream = Upstream()
        request = chat_request(provider.origin)
        assert await fetch(upstream, request) == (200, b"good")
        assert await fetch(upstream, request) == (200, b"good")
        assert [served.script for served in provider.served] == ["good", "die", "good"]
        assert provider.connections == 2
        await upstream.close()


async def test_a_request_is_replaced_at_most_once() -> None:
    """The fresh connection is the last try."""
    die = Behaviour("die", (Close(),))
    async with FakeUpstream([GOOD, die, die, GOOD]) as provider:
        upstream = Upstream()
        request = chat_request(provider.origin)
        await fetch(upstream, request)
        seen = await failure_of(upstream, request)
        assert seen == (FailureKind.RESET, Certainty.POSSIBLY_ACCEPTED)
        assert len(provider.served) == 3
        await upstream.close()


async def test_a_fresh_connection_that_closes_is_not_tried_again() -> None:
    """What a provider does to a first request is its answer."""
    die = Behaviour("die", (Close(),))
    async with FakeUpstream([die, GOOD]) as provider:
        upstream = Upstream()
        seen = await failure_of(upstream, chat_request(provider.origin))
        assert seen == (FailureKind.RESET, Certainty.POSSIBLY_ACCEPTED)
        assert len(provider.served) == 1
        await upstream.close()


async def test_a_begun_reply_is_never_asked_for_again() -> None:
    """One byte is enough: the provider is at work."""
    begin = Behaviour("begin", (Send(b"H"), Wait(0.02), Close()))
    async with FakeUpstream([GOOD, begin, GOOD]) as provider:
        upstream = Upstream()
        await fetch(upstream, chat_request(provider.origin))
        seen = await failure_of(upstream, chat_request(provider.origin))
        assert seen == (FailureKind.RESET, Certainty.RESPONSE_STARTED)
        assert len(provider.served) == 2
        await upstream.close()


async def test_a_reply_before_the_request_was_whole_ends_the_connection() -> None:
    """What is left of the request would be the next request's beginning."""
    heads = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal heads
        await reader.readuntil(b"\r\n\r\n")
        heads += 1
        writer.write(reply(413, b"too much"))
        await asyncio.sleep(0.2)
        writer.transport.abort()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, limit=1024)
    port = server.sockets[0].getsockname()[1]
    upstream = Upstream()
    big = chat_request(f"http://127.0.0.1:{port}", body=b"x" * 30_000_000)
    assert await fetch(upstream, big) == (413, b"too much")
    assert (upstream.idle_connections, upstream.open_connections) == (0, 0)
    assert await fetch(upstream, big) == (413, b"too much")
    assert heads == 2
    await upstream.close()
    server.close()
    await server.wait_closed()
    await asyncio.sleep(0.25)


async def test_releasing_a_reply_that_ends_soon_keeps_the_connection() -> None:
    """The rest is discarded and the connection serves the next request."""
    tail = (
        Send(head(200, chunked=True) + chunk(b"wanted")),
        Wait(0.05),
        Send(chunk(b"unwanted") + LAST_CHUNK),
    )
    async with FakeUpstream([Behaviour("tail", tail), GOOD]) as provider:
        upstream = Upstream()
        response = await upstream.send(chat_request(provider.origin))
        assert await response.read() == b"wanted"
        response.release()
        await asyncio.sleep(0.15)
        assert upstream.idle_connections == 1
        assert await fetch(upstream, chat_request(provider.origin)) == (200, b"good")
        assert provider.connections == 1
        await upstream.close()


async def test_releasing_a_reply_that_does_not_end_closes_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Nobody waits for the rest of a stalled reply."""
    monkeypatch.setattr(connection_module, "RELEASE_SECONDS", 0.1)
    stall = (Send(head(200, chunked=True) + chunk(b"wanted")), Hang())
    async with FakeUpstream([Behaviour("stall", stall)]) as provider:
        upstream = Upstream()
        response = await upstream.send(chat_request(provider.origin))
        assert await response.read() == b"wanted"
        response.release()
        await asyncio.sleep(0.6)
        assert (upstream.open_connections, len(provider.open)) == (0, 0)
        await upstream.close()


async def test_releasing_an_endless_reply_closes_it_by_volume() -> None:
    """What is discarded has a bound, too."""

    def endless() -> object:
        yield Send(head(200, chunked=True))
        piece = Send(chunk(b"x" * 60_000))
        while True:
            yield piece

    behaviour = Behaviour("endless", endless())  # type: ignore[arg-type]
    async with FakeUpstream([behaviour]) as provider:
        upstream = Upstream()
        response = await upstream.send(chat_request(provider.origin))
        await response.read()
        response.release()
        await asyncio.sleep(0.2)
        assert upstream.open_connections == 0
        await upstream.close()


async def test_closing_the_sender_ends_what_is_under_way() -> None:
    """Waiting readers are told; later requests are refused."""
    stall = Behaviour("stall", (Send(head(200, chunked=True)), Hang()))
    async with FakeUpstream([stall]) as provider:
        upstream = Upstream()
        response = await upstream.send(chat_request(provider.origin))
        reader = asyncio.create_task(response.read())
        await asyncio.sleep(0.01)
        await upstream.close()
        with pytest.raises(Exception, match="aborted"):
            await reader
        seen = await failure_of(upstream, chat_request(provider.origin))
        assert seen == (FailureKind.ABORTED, Certainty.NOT_SENT)
        assert upstream.open_connections == 0

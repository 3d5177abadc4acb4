"""Every limit of an exchange, held within a second, and what does not count."""

import asyncio
import time

import pytest
from tests.fakes.steps import Behaviour, Hang, Send, Wait, chunk, head, reply
from tests.fakes.upstream import FakeUpstream, silent_origin
from tests.unit.upstream.support import chat_request, failure_of, fetch

from posthouse.model.exchange import (
    Certainty,
    ExchangeFailure,
    FailureKind,
    Script,
    ScriptStep,
    Timeouts,
)
from posthouse.upstream.sender import Upstream

BEGIN = Send(head(200, chunked=True) + chunk(b"begin"))
POSSIBLY = Certainty.POSSIBLY_ACCEPTED
BEGUN = Certainty.RESPONSE_STARTED


async def test_connect_limit() -> None:
    """A host that does not answer costs the connect limit, nothing was sent."""
    with silent_origin() as origin:
        upstream = Upstream()
        begin = time.monotonic()
        request = chat_request(origin, timeouts=Timeouts(connect=0.3))
        seen = await failure_of(upstream, request)
        assert seen == (FailureKind.CONNECT, Certainty.NOT_SENT)
        assert 0.25 <= time.monotonic() - begin < 1.3
        await upstream.close()


@pytest.mark.parametrize(
    ("steps", "timeouts", "kind", "certainty"),
    [
        ((Hang(),), Timeouts(first_byte=0.3), "first_byte_timeout", POSSIBLY),
        (
            (Send(b"HTTP/1.1 200 OK\r\n"), Hang()),
            Timeouts(first_byte=0.3),
            "first_byte_timeout",
            BEGUN,
        ),
        ((BEGIN, Hang()), Timeouts(idle=0.3), "idle_timeout", BEGUN),
        (
            (Send(head(200, chunked=True)), Hang()),
            Timeouts(idle=0.3),
            "idle_timeout",
            BEGUN,
        ),
        ((Hang(),), Timeouts(total=0.3), "total_timeout", POSSIBLY),
        (
            (BEGIN, *(Wait(0.05), Send(chunk(b"x"))) * 20, Hang()),
            Timeouts(idle=0.3, total=0.5),
            "total_timeout",
            BEGUN,
        ),
    ],
    ids=["first byte", "head", "body", "body's first", "total", "total in a stream"],
)
async def test_a_limit_ends_the_exchange(
    steps: tuple[object, ...], timeouts: Timeouts, kind: str, certainty: Certainty
) -> None:
    """The failure names the limit, comes in time, and closes the connection."""
    async with FakeUpstream([Behaviour("slow", steps)]) as provider:  # type: ignore[arg-type]
        upstream = Upstream()
        begin = time.monotonic()
        request = chat_request(provider.origin, timeouts=timeouts)

        seen = await failure_of(upstream, request)

        assert seen == (FailureKind(kind), certainty)
        assert 0.25 <= time.monotonic() - begin < 1.5
        await asyncio.sleep(0.02)
        assert (upstream.open_connections, len(provider.open)) == (0, 0)
        await upstream.close()


async def test_steady_progress_never_meets_the_idle_limit() -> None:
    """Idle counts from the last byte, not from the beginning."""
    steps = (BEGIN, *(Wait(0.2), Send(chunk(b"x"))) * 4, Send(b"0\r\n\r\n"))
    async with FakeUpstream([Behaviour("steady", steps)]) as provider:
        upstream = Upstream()
        request = chat_request(provider.origin, timeouts=Timeouts(idle=0.6))
        assert await fetch(upstream, request) == (200, b"beginxxxx")
        await upstream.close()


async def test_a_slow_reader_is_not_the_providers_silence() -> None:
    """While bytes wait to be read, the idle clock stands."""
    steps = (BEGIN, Wait(0.9), Send(chunk(b"end") + b"0\r\n\r\n"))
    async with FakeUpstream([Behaviour("late", steps)]) as provider:
        upstream = Upstream()
        request = chat_request(provider.origin, timeouts=Timeouts(idle=0.4))
        response = await upstream.send(request)
        await asyncio.sleep(0.8)
        assert await response.read() == b"begin"
        assert await response.read_all(10) == b"end"
        await upstream.close()


async def test_a_read_that_is_cut_short_and_repeated_does_not_reset_idle() -> None:
    """A reader may look up every now and then; the silence still adds up."""
    async with FakeUpstream([Behaviour("stall", (BEGIN, Hang()))]) as provider:
        upstream = Upstream()
        request = chat_request(provider.origin, timeouts=Timeouts(idle=0.5))
        response = await upstream.send(request)
        assert await response.read() == b"begin"
        begin = time.monotonic()
        kind = None
        while kind is None:
            try:
                async with asyncio.timeout(0.1):
                    await response.read()
            except TimeoutError:
                assert time.monotonic() - begin < 1.5
            except ExchangeFailure as failure:
                kind = failure.kind
        assert kind is FailureKind.IDLE_TIMEOUT
        await upstream.close()


async def test_a_read_that_was_cut_short_loses_nothing() -> None:
    """Bytes that come between two reads belong to the second."""
    steps = (BEGIN, Wait(0.1), Send(chunk(b"end") + b"0\r\n\r\n"))
    async with FakeUpstream([Behaviour("late", steps)]) as provider:
        upstream = Upstream()
        response = await upstream.send(chat_request(provider.origin))
        assert await response.read() == b"begin"
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.02):
                await response.read()
        await asyncio.sleep(0.15)
        assert await response.read() == b"end"
        assert await response.read() == b""
        assert upstream.idle_connections == 1
        await upstream.close()


async def test_an_upload_that_moves_is_not_late() -> None:
    """The wait for a reply begins with the request's last byte."""
    async with FakeUpstream([Behaviour("good", (Send(reply(200, b"x")),))]) as provider:
        upstream = Upstream()
        body = b"x" * 12_000_000
        timeouts = Timeouts(first_byte=0.5)
        request = chat_request(provider.origin, body=body, timeouts=timeouts)
        sending = asyncio.create_task(fetch(upstream, request))
        await asyncio.sleep(0.01)
        # The provider takes a piece every now and then, 1.5 s in all.
        for _ in range(10):
            for player in provider.open:
                player._transport.pause_reading()
            await asyncio.sleep(0.15)
            for player in provider.open:
                player._transport.resume_reading()
            await asyncio.sleep(0.001)
        assert await sending == (200, b"x")
        await upstream.close()


async def test_limits_hold_for_the_sandbox_too() -> None:
    """The same sweep watches scripts that are played in this process."""
    script = Script((ScriptStep(0.0, b"HTTP/1.1 200 OK\r\n\r\nabc"),))
    upstream = Upstream(play=lambda _: script)
    request = chat_request("sandbox://local", timeouts=Timeouts(idle=0.3))

    seen = await failure_of(upstream, request)

    assert seen == (FailureKind.IDLE_TIMEOUT, BEGUN)
    assert upstream.open_connections == 0
    await upstream.close()

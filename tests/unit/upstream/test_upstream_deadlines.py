"""Every limit of an exchange, held within a second, and what does not count."""

import asyncio
import time

import pytest
from tests.fakes.steps import Behaviour, Hang, Send, Wait, chunk, head
from tests.fakes.upstream import FakeUpstream, silent_origin
from tests.support.cases import each
from tests.unit.upstream.support import (
    ByteTransport,
    Keeper,
    chat_request,
    failure_of,
    fetch,
)

from posthouse.model.exchange import (
    Certainty,
    ExchangeFailure,
    FailureKind,
    Script,
    ScriptStep,
    Timeouts,
)
from posthouse.upstream.connection import Connection
from posthouse.upstream.pace import Pace
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


@each(
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
    steps = (BEGIN, *(Wait(0.3), Send(chunk(b"x"))) * 4, Send(b"0\r\n\r\n"))
    async with FakeUpstream([Behaviour("steady", steps)]) as provider:
        upstream = Upstream()
        request = chat_request(provider.origin, timeouts=Timeouts(idle=0.9))
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


class Clock:
    """A clock that the test sets."""

    now = 100.0

    def __call__(self) -> float:
        """Give the time."""
        return self.now


@pytest.mark.parametrize("moves", [True, False], ids=["moves", "stuck"])
async def test_the_wait_for_a_reply_begins_with_the_requests_last_byte(
    moves: bool,
) -> None:
    """An upload that moves is not late; one that is stuck is."""
    clock, transport = Clock(), ByteTransport()
    connection = Connection(Keeper(), clock)
    connection.connection_made(transport)
    limits = Timeouts(first_byte=1.0)
    exchange = connection.exchange((b"large",), limits, clock(), body_less=False)
    task = asyncio.create_task(exchange)
    await asyncio.sleep(0)
    connection.pause_writing()
    transport.unsent = 100
    for _ in range(4):
        clock.now += 0.7
        transport.unsent -= 10 if moves else 0
        assert transport.closed or connection.due <= clock.now
        connection.check(clock.now, 30.0, Pace())
    assert transport.closed is not moves
    if moves:
        connection.resume_writing()
        clock.now += 0.9
        connection.check(clock.now, 30.0, Pace())
        assert not transport.closed
        assert connection.due <= clock.now + 0.1001
        clock.now += 0.2
        connection.check(clock.now, 30.0, Pace())
    with pytest.raises(ExchangeFailure, match="first_byte_timeout"):
        await task


async def test_a_check_is_due_before_any_limit_can_be_passed() -> None:
    """The sweep skips what cannot be late yet, and nothing else."""
    clock, transport = Clock(), ByteTransport()
    connection = Connection(Keeper(), clock)
    connection.connection_made(transport)
    limits = Timeouts(first_byte=9.0, idle=3.0, total=20.0)
    exchange = connection.exchange((b"x",), limits, clock(), body_less=False)
    task = asyncio.create_task(exchange)
    await asyncio.sleep(0)

    def due_after_check() -> float:
        assert connection.due <= clock.now
        connection.check(clock.now, 30.0, Pace())
        return connection.due - 100.0

    assert due_after_check() == 9.0
    clock.now += 5.0
    connection.data_received(head(200, length=6))
    response = await task
    assert due_after_check() == 8.0  # silent from now on, at the earliest
    clock.now += 3.0
    connection.data_received(b"abc")
    assert due_after_check() == 11.0
    assert await response.read() == b"abc"
    clock.now += 3.0
    connection.data_received(b"def")
    clock.now += 1.0
    assert due_after_check() == 12.0 + 30.0 - 1.0  # idle since the reply's end


async def test_limits_hold_for_the_sandbox_too() -> None:
    """The same sweep watches scripts that are played in this process."""
    script = Script((ScriptStep(0.0, b"HTTP/1.1 200 OK\r\n\r\nabc"),))
    upstream = Upstream(play=lambda _: script)
    request = chat_request("sandbox://local", timeouts=Timeouts(idle=0.3))

    seen = await failure_of(upstream, request)

    assert seen == (FailureKind.IDLE_TIMEOUT, BEGUN)
    assert upstream.open_connections == 0
    await upstream.close()

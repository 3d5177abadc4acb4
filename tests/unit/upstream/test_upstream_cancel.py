"""Cancelled at any await, a request never leaves its mess to another one."""

import asyncio
import contextlib
import random

from tests.fakes.steps import (
    LAST_CHUNK,
    Behaviour,
    Close,
    Hang,
    Request,
    Reset,
    Send,
    Step,
    Wait,
    chunk,
    head,
    reply,
)
from tests.fakes.upstream import FakeUpstream
from tests.unit.upstream.support import LIMIT, chat_request, fetch

from posthouse.model.exchange import ExchangeFailure
from posthouse.upstream.sender import Upstream


def echo(request: Request) -> Behaviour:
    """Answer with the request's own mark, in some of many ways."""
    mark = request.header(b"x-mark") or b""
    chance = random.Random(mark)
    pauses = [Wait(chance.choice((0.0, 0.001, 0.003))) for _ in range(5)]
    way = chance.randrange(6)
    steps: tuple[Step, ...]
    if way < 2:
        whole = reply(200, mark)
        cut = chance.randrange(len(whole))
        steps = (pauses[0], Send(whole[:cut]), pauses[1], Send(whole[cut:]))
    elif way < 4:
        start = Send(head(200, chunked=True))
        body = [Send(chunk(bytes([byte]))) for byte in mark]
        steps = (start, pauses[0], *body, pauses[1], Send(LAST_CHUNK))
    elif way == 4:
        steps = (Send(head(200)), pauses[0], Send(mark), Close())
    else:
        steps = (pauses[0], Reset())
    return Behaviour("echo", steps)


async def call(upstream: Upstream, origin: str, mark: bytes) -> bytes | None:
    """Ask for an echo; None if the connection broke."""
    request = chat_request(origin, headers=((b"X-Mark", mark),), body=b"x" * 2000)
    response = None
    try:
        response = await upstream.send(request)
        return await response.read_all(LIMIT)
    except ExchangeFailure:
        return None
    finally:
        if response is not None:
            response.abort()


async def test_cancelling_at_random_points_never_mixes_up_replies() -> None:
    """Of 3,000 calls that are cancelled anywhere, each whole one is its own."""
    chance = random.Random(7)
    whole = cancelled = 0

    async def one(upstream: Upstream, origin: str, number: int) -> None:
        nonlocal whole, cancelled
        mark = b"mark-%d-" % number + b"m" * chance.randrange(200)
        task = asyncio.create_task(call(upstream, origin, mark))
        for _ in range(chance.choice((0, 1, 2, 3, 5, 8))):
            await asyncio.sleep(0)
        if chance.random() < 0.7:
            await asyncio.sleep(chance.choice((0.0, 0.0005, 0.001, 0.002, 0.004)))
            task.cancel()
        try:
            got = await task
        except asyncio.CancelledError:
            cancelled += 1
        else:
            whole += 1
            assert got in {mark, None}

    async with FakeUpstream(echo) as provider:
        upstream = Upstream()
        for start in range(0, 3000, 50):
            numbers = range(start, start + 50)
            await asyncio.gather(*(one(upstream, provider.origin, n) for n in numbers))
        await asyncio.sleep(0.05)
        assert upstream.open_connections == upstream.idle_connections
        assert len(provider.open) == upstream.open_connections
        await upstream.close()
    assert min(whole, cancelled) > 500


async def test_cancelling_a_wait_for_the_head_closes_at_once() -> None:
    """The provider need not go on for nobody."""
    stuck = Behaviour("stuck", (Hang(),))
    good = Behaviour("good", (Send(reply(200, b"good")),))
    async with FakeUpstream([good, stuck, good]) as provider:
        upstream = Upstream()
        request = chat_request(provider.origin)
        await fetch(upstream, request)
        task = asyncio.create_task(upstream.send(request))
        await asyncio.sleep(0.02)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await asyncio.sleep(0.02)
        assert (upstream.open_connections, len(provider.open)) == (0, 0)
        assert await fetch(upstream, request) == (200, b"good")
        await upstream.close()


async def test_cancelling_read_all_closes_at_once() -> None:
    """What it had read so far is lost, so the rest is of no use."""
    stall = (Send(head(200, chunked=True) + chunk(b"begin")), Hang())
    async with FakeUpstream([Behaviour("stall", stall)]) as provider:
        upstream = Upstream()
        response = await upstream.send(chat_request(provider.origin))
        task = asyncio.create_task(response.read_all(LIMIT))
        await asyncio.sleep(0.02)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await asyncio.sleep(0.02)
        assert (upstream.open_connections, len(provider.open)) == (0, 0)
        await upstream.close()


async def test_aborting_closes_at_once_and_twice_is_fine() -> None:
    """The waiting read ends, the provider sees the end."""
    stall = (Send(head(200, chunked=True) + chunk(b"begin")), Wait(60.0))
    async with FakeUpstream([Behaviour("stall", stall)]) as provider:
        upstream = Upstream()
        response = await upstream.send(chat_request(provider.origin))
        assert await response.read() == b"begin"
        reader = asyncio.create_task(response.read())
        await asyncio.sleep(0.01)
        response.abort()
        response.abort()
        outcome = (await asyncio.gather(reader, return_exceptions=True))[0]
        assert isinstance(outcome, ExchangeFailure)
        assert outcome.kind.value == "aborted"
        await asyncio.sleep(0.02)
        assert (upstream.open_connections, len(provider.open)) == (0, 0)
        await upstream.close()


async def test_aborting_a_complete_reply_spares_its_connection() -> None:
    """The connection may serve somebody else already."""
    good = Behaviour("good", (Send(reply(200, b"good")),))
    async with FakeUpstream([good, good]) as provider:
        upstream = Upstream()
        first = await upstream.send(chat_request(provider.origin))
        second = asyncio.create_task(fetch(upstream, chat_request(provider.origin)))
        await asyncio.sleep(0)
        first.abort()
        assert await second == (200, b"good")
        assert provider.connections == 1
        await upstream.close()


async def test_cancelling_while_connecting_leaves_no_socket() -> None:
    """Neither before the connection stands nor in the very moment it does."""
    good = [Behaviour("good", (Send(reply(200, b"good")),))] * 200
    async with FakeUpstream(good) as provider:
        upstream = Upstream()
        for turns in range(100):
            coroutine = fetch(upstream, chat_request(provider.origin))
            task = asyncio.create_task(coroutine)
            for _ in range(turns % 10):
                await asyncio.sleep(0)
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
            for player in tuple(provider.open):
                player.abort()
        await asyncio.sleep(0.1)
        assert upstream.open_connections == 0
        assert len(provider.open) == 0
        await upstream.close()

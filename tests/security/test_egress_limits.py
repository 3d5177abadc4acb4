"""Fetching what users point at takes no more time, memory and places than it may.

`world` says who plays whom.
"""

import asyncio
import gzip
import time
import zlib

import pytest
from tests.fakes.steps import (
    Behaviour,
    Close,
    Hang,
    Request,
    Send,
    Wait,
    head,
    reply,
)
from tests.security.egress_world import ANSWER, HERE, PUBLIC, sending, world
from tests.support.cases import each

from posthouse.errors import Overloaded, URLNotFetched


@each(
    "steps",
    [
        (Hang(),),
        (Send(b"HTTP/1.1 200 OK\r\n"), Hang()),
        (Send(head(200, length=10) + b"a"), Hang()),
    ],
    ids=["silent", "half a head", "half a body"],
)
async def test_silence_has_an_end(steps: tuple[Send | Hang, ...]) -> None:
    """Before, inside and behind the head."""
    async with world(
        lambda _: Behaviour("silent", steps), idle=0.2, first_byte=0.2
    ) as (there):
        began = time.monotonic()
        error = await there.error(HERE)
        assert isinstance(error, URLNotFetched)
        assert "too long" in error.message
        assert time.monotonic() - began < 2


async def test_dripping_gains_no_time() -> None:
    """All hops together have one limit."""
    drip = (Send(head(200, length=10_000)), *((Wait(0.05), Send(b"a")) * 500))
    async with world(lambda _: Behaviour("drip", drip), total=0.6) as there:
        began = time.monotonic()
        error = await there.error(HERE)
        assert isinstance(error, URLNotFetched)
        assert 0.5 < time.monotonic() - began < 2
    slow = (Wait(0.25), Send(reply(302, b"", headers=[("Location", "/")])))
    async with world(lambda _: Behaviour("slow", slow), total=0.6) as there:
        assert "too long" in (await there.error(HERE)).message


def bomb(request: Request) -> Behaviour:
    """Answer with more than may be, in the way that the path names."""
    zeros = b"\0" * 5_000_000
    match request.target:
        case "/told":
            return sending(head(200, length=1 << 40), b"a" * 1000)
        case "/chunks":
            piece = b"10000\r\n" + b"a" * 65536 + b"\r\n"
            return sending(head(200, chunked=True), *[piece] * 200)
        case "/eof":
            steps = (*[Send(b"a" * 65536)] * 200, Close())
            return Behaviour("eof", (Send(head(200)), *steps))
        case "/deflate":
            body, coding = zlib.compress(zeros), "deflate"
        case "/twice":
            body, coding = gzip.compress(gzip.compress(zeros)), "gzip, gzip"
        case "/br":
            body, coding = b"\x0b\x02\x80hello\x03", "br"
        case _:
            body, coding = gzip.compress(zeros), "gzip"
    return sending(reply(200, body, headers=[("Content-Encoding", coding)]))


@each("path", ["/told", "/chunks", "/eof", "/gzip", "/deflate", "/twice", "/br"])
async def test_size_has_an_end(path: str) -> None:
    """As told, as it comes, and as it is once unpacked."""
    async with world(bomb, body_bytes=1_000_000) as there:
        error = await there.error(HERE + path)
        assert isinstance(error, URLNotFetched)
        unread = path in {"/twice", "/br"}
        assert ("read" if unread else "too large") in error.message
        assert there.egress._held == 0


async def test_what_is_packed_is_unpacked() -> None:
    """Also though nobody asked for it."""
    headers = [("Content-Encoding", "gzip")]
    packed = gzip.compress(ANSWER)
    async with world(lambda _: sending(reply(200, packed, headers=headers))) as there:
        assert (await there.fetch(HERE)).body == ANSWER


@each(
    "data",
    [
        b"HTTP/1.1 200\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\nabc",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nabc",
        b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc",
        b"HTTP/1.1 200 OK\r\nX: a\0b\r\n\r\n",
        b"HTTP/1.1 101 Upgrade\r\n\r\n",
        b"SSH-2.0-OpenSSH\r\n",
        b"",
    ],
)
async def test_what_is_not_http_is_not_read(data: bytes) -> None:
    """Nor is what a second reader would take for something else."""
    broken = Behaviour("broken", (Send(data), Close()))
    async with world(lambda _: broken) as there:
        error = await there.error(HERE)
        assert isinstance(error, URLNotFetched)
        assert PUBLIC not in str(error)


async def test_fetches_together_have_limits() -> None:
    """In number and in bytes; a further one is told to come back."""
    big = sending(head(200, length=900_000), b"a" * 600_000)
    hang = Behaviour("hang", (*big.steps, Hang()))
    async with world(lambda _: hang, together=2, idle=1.0) as there:
        under_way = [asyncio.ensure_future(there.error(HERE)) for _ in range(2)]
        await asyncio.sleep(0.1)
        error = await there.error(HERE)
        assert isinstance(error, Overloaded)
        assert error.retry_after == 1
        assert there.egress._held == 2 * 600_000
        assert {type(e) for e in await asyncio.gather(*under_way)} == {URLNotFetched}
        assert there.egress._held == 0
    async with world(lambda _: hang, held_bytes=1_000_000, idle=0.5) as there:
        under_way = [asyncio.ensure_future(there.error(HERE)) for _ in range(2)]
        found = {type(error) for error in await asyncio.gather(*under_way)}
        assert found == {Overloaded, URLNotFetched}


async def test_a_fetch_that_is_given_up_leaves_nothing() -> None:
    """Neither a connection nor its place."""
    hang = Behaviour("hang", (Send(head(200, length=10) + b"a"), Hang()))
    async with world(lambda _: hang, together=1) as there:
        for _ in range(3):
            task = asyncio.ensure_future(there.fetch(HERE))
            await asyncio.sleep(0.05)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert there.egress.open_connections == 0
        assert (there.egress._running, there.egress._held) == (0, 0)

"""An open socket as its owner uses it: order, back-pressure and times."""

import asyncio
from typing import Any

from websockets.protocol import Protocol, Side

from posthouse.upstream.duplex import (
    DEAD_AFTER,
    FAREWELL_SECONDS,
    HIGH_WATER,
    PARTIAL_WINDOW,
    PING_AFTER,
    Duplex,
)
from posthouse.wire.websocket import PING, TEXT
from posthouse.wire.websocket_end import LOST, Closing, SocketEnd


class Wire:
    """A transport and its flow."""

    def __init__(self) -> None:
        self.write_paused = False
        self.reading = True
        self.data = b""
        self.eof = self.closed = self.aborted = False
        self.writable = asyncio.Event()

    def write(self, data: bytes) -> None:
        self.data += data

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        self.eof = True

    def is_closing(self) -> bool:
        return self.closed or self.aborted

    def close(self) -> None:
        self.closed = True

    def abort(self) -> None:
        self.aborted = True

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True

    async def drain(self) -> None:
        await self.writable.wait()


class Pair:
    """Our end, the other end, a wire and a clock."""

    def __init__(self) -> None:
        self.now = 100.0
        self.wire: Any = Wire()
        self.other = SocketEnd(Protocol(Side.CLIENT, max_size=None))
        self.duplex = Duplex(
            SocketEnd.of_server(), self.wire, self.wire, clock=lambda: self.now
        )

    def arrives(self, *texts: bytes) -> None:
        """The other side sends texts."""
        for text in texts:
            self.other.send(TEXT, text)
        self.duplex.feed(self.other.writes()[0])


async def test_messages_come_before_the_close_that_followed_them() -> None:
    """Nothing that was said is lost."""
    side = Pair()
    side.other.send(TEXT, b"last")
    side.other.close(Closing(4000, "done"))
    side.duplex.feed(side.other.writes()[0])
    side.duplex.lost()
    assert await side.duplex.receive() == (TEXT, b"last")
    assert await side.duplex.receive() is None
    assert side.duplex.closing == Closing(4000, "done")


async def test_what_nobody_takes_stops_the_wire() -> None:
    """Reading goes on once half of it was taken."""
    side = Pair()
    text = b"x" * (HIGH_WATER // 4)
    side.arrives(*[text] * 4)
    assert side.wire.reading
    side.arrives(b"more")
    assert not side.wire.reading
    assert side.duplex.held > HIGH_WATER
    while side.duplex.held > HIGH_WATER // 2:
        await side.duplex.receive()
    assert side.wire.reading


async def test_send_waits_for_a_slow_side() -> None:
    """And sends then."""
    side = Pair()
    side.wire.write_paused = True
    task = asyncio.create_task(side.duplex.send(TEXT, b"hello"))
    await asyncio.sleep(0)
    assert side.wire.data == b""
    side.wire.writable.set()
    await task
    assert side.other.feed(side.wire.data) == [(TEXT, b"hello")]


async def test_a_silent_side_is_asked_and_then_dropped() -> None:
    """A sign of life is enough."""
    side = Pair()
    side.now += PING_AFTER + 1
    side.duplex.look()
    side.duplex.look()
    assert side.wire.data == bytes([0x80 | PING, 0])
    side.other.feed(side.wire.data)
    side.duplex.feed(side.other.writes()[0])
    side.now += PING_AFTER + 1
    side.duplex.look()
    assert not side.wire.aborted
    side.now += DEAD_AFTER
    side.duplex.look()
    assert side.wire.aborted
    assert await side.duplex.receive() is None
    assert side.duplex.closing == Closing(LOST)


async def test_a_side_that_we_do_not_read_is_not_called_silent() -> None:
    """It is we who wait."""
    side = Pair()
    side.arrives(b"x" * (HIGH_WATER + 1))
    side.now += 10 * DEAD_AFTER
    side.duplex.look()
    assert not side.wire.aborted
    await side.duplex.receive()
    side.now += PING_AFTER - 1
    side.duplex.look()
    assert side.wire.data == b""


async def test_a_message_that_trickles_ends_it() -> None:
    """One that keeps its pace does not."""
    side = Pair()
    side.other.send(TEXT, b"x" * 10_000)
    data = side.other.writes()[0]
    side.duplex.feed(data[:10])
    side.duplex.look()
    side.now += PARTIAL_WINDOW + 1
    side.duplex.feed(data[10:2_000])
    side.duplex.look()
    assert side.duplex.closing is None
    side.now += PARTIAL_WINDOW + 1
    side.duplex.feed(data[2_000:2_100])
    side.duplex.look()
    assert side.duplex.closing is not None
    assert side.duplex.closing.code == 1008
    assert side.wire.eof


async def test_a_close_of_ours_waits_for_its_answer_but_not_for_ever() -> None:
    """What arrives meanwhile is thrown away."""
    side = Pair()
    side.duplex.close(Closing(1001, "bye"))
    side.arrives(b"too late")
    assert side.duplex.held == 0
    side.duplex.look()
    assert not side.wire.aborted
    side.now += FAREWELL_SECONDS + 1
    side.duplex.look()
    assert side.wire.aborted
    side.duplex.lost()
    await side.duplex.farewell()

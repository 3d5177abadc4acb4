"""An open WebSocket as its owner uses it: messages both ways, each side paced.

The same object stands for a client's socket and a provider's. Rules: what has
arrived and was not taken is bounded, then reading from the wire stops; `send`
waits while the other side takes nothing. Nothing here has a timer: whoever owns
the socket calls `look` now and then. One task receives; any may send.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Protocol

from posthouse.wire.websocket import Message
from posthouse.wire.websocket_end import LOST, Closing, SocketEnd

HIGH_WATER = 256 * 1024
"""Bytes of messages that wait to be taken, from which no more are read."""
PING_AFTER = 20.0
"""Seconds without a byte after which the other side is asked for a sign of life."""
DEAD_AFTER = 60.0
"""Seconds without a byte after which it is taken for dead."""
PARTIAL_WINDOW = 10.0
PARTIAL_BYTES = 1024
"""A message that has begun brings at least so much in every such window, seconds."""
FAREWELL_SECONDS = 5.0
"""For which the other side may take its time to answer a close."""
TOO_SLOW = Closing(1008, "a message arrives too slowly")
GONE = Closing(LOST)


class Flow(Protocol):
    """Pauses and resumes the transport in both directions."""

    write_paused: bool

    def pause_reading(self) -> None:
        """Read no more for now."""

    def resume_reading(self) -> None:
        """Go on reading."""

    async def drain(self) -> None:
        """Wait until more may be written."""


class Duplex:
    """One end of an open WebSocket."""

    def __init__(
        self,
        end: SocketEnd,
        transport: asyncio.Transport,
        flow: Flow,
        *,
        clock: Callable[[], float],
    ) -> None:
        """Take over an open connection; `clock` gives monotonic seconds."""
        self._end = end
        self._transport = transport
        self._flow = flow
        self._clock = clock
        self._messages: deque[Message] = deque()
        self._queued = 0
        self._waiter: asyncio.Future[None] | None = None
        self._paused = False
        self.closing: Closing | None = None
        """How it ended, as its other side has it; None while it is open."""
        self._by_us = False
        self._closed_at = 0.0
        self._gone = False
        self._heard = clock()
        self._pinged = False
        self._window = 0.0
        self._window_bytes = 0

    @property
    def held(self) -> int:
        """Bytes that it keeps: messages that wait, or are not whole."""
        return self._queued + self._end.held

    # --- what the connection tells ------------------------------------------------

    def feed(self, data: bytes) -> None:
        """Bytes have arrived."""
        if self.closing is not None and not self._by_us:
            # What follows a failure or a close is thrown away.
            return
        self._heard = self._clock()
        self._pinged = False
        self._window_bytes += len(data)
        found = self._end.feed(data)
        if not self._by_us:
            self._messages += found
            self._queued += sum(len(payload) for _, payload in found)
        self._flush()
        if self.closing is None:
            self.closing = self._end.failure or self._end.closing
            self._closed_at = self._heard
        if self._queued > HIGH_WATER and not self._paused:
            self._paused = True
            self._flow.pause_reading()
        self._wake()

    def lost(self) -> None:
        """The connection is gone."""
        if self.closing is None:
            self.closing = self._end.failure or self._end.closing or GONE
        self._gone = True
        self._end.end()
        self._wake()

    def _wake(self) -> None:
        waiter, self._waiter = self._waiter, None
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    def _flush(self) -> None:
        data, over = self._end.writes()
        if data and not self._transport.is_closing():
            self._write(data)
        if not over or self._transport.is_closing():
            return
        if self._transport.can_write_eof():
            # Closing with bytes unread would reset the connection, and what was
            # said last might be lost with it: the other side closes.
            self._transport.write_eof()
        else:
            self._transport.close()

    def _write(self, data: bytes) -> None:
        self._transport.write(data)

    # --- what its owner does ------------------------------------------------------

    async def farewell(self) -> None:
        """Wait for the connection's end after `close`, but not for long."""
        try:
            async with asyncio.timeout(FAREWELL_SECONDS):
                while not self._gone:
                    self._waiter = asyncio.get_running_loop().create_future()
                    await self._waiter
        except TimeoutError:
            self._transport.abort()

    async def receive(self) -> Message | None:
        """Give the next message; None: there will be none (see `closing`)."""
        while not self._messages:
            if self.closing is not None:
                return None
            self._waiter = asyncio.get_running_loop().create_future()
            await self._waiter
        message = self._messages.popleft()
        self._queued -= len(message[1])
        if self._paused and self._queued <= HIGH_WATER // 2:
            self._paused = False
            self._heard = self._clock()
            self._flow.resume_reading()
        return message

    async def send(self, kind: int, payload: bytes) -> None:
        """Send a message; waits while the other side takes nothing."""
        if self._flow.write_paused and self.closing is None:
            await self._flow.drain()
        if self.closing is None:
            self._end.send(kind, payload)
            self._flush()

    def close(self, closing: Closing) -> None:
        """Close, and let the other side answer for a moment; see `look`."""
        if self.closing is None:
            self.closing = closing
            self._by_us = True
            self._closed_at = self._clock()
            self._end.close(closing)
            self._flush()
            if self._paused:
                # What it says from now on is read for its close alone.
                self._paused = False
                self._flow.resume_reading()
        self._messages.clear()
        self._queued = 0
        self._wake()

    def abort(self) -> None:
        """Drop the connection."""
        if self.closing is None:
            self.closing = GONE
        self._transport.abort()
        self._wake()

    def look(self) -> None:
        """Hold the other side to its times; called every few seconds."""
        now = self._clock()
        if self.closing is not None:
            if now - self._closed_at > FAREWELL_SECONDS:
                self._transport.abort()
            return
        if self._paused:
            # It is we who do not read.
            self._heard = self._window = now
            return
        self._look_at_message(now)
        silent = now - self._heard
        if silent > DEAD_AFTER:
            self.abort()
        elif silent > PING_AFTER and not self._pinged:
            self._pinged = True
            self._end.ping()
            self._flush()

    def _look_at_message(self, now: float) -> None:
        """Let no message that has begun arrive for ever."""
        if not self._end.held:
            self._window = 0.0
        elif not self._window:
            self._window, self._window_bytes = now, 0
        elif now - self._window > PARTIAL_WINDOW:
            if self._window_bytes < PARTIAL_BYTES:
                self._end.fail(TOO_SLOW)
                self.closing = TOO_SLOW
                self._closed_at = now
                self._flush()
                self._wake()
            self._window, self._window_bytes = now, 0

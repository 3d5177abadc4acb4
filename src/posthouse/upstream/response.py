"""A reply as its reader sees it: a head, then a body that arrives in pieces.

The connection fills a `Response` from the loop's callbacks and lets go of it as
soon as the reply is complete on the wire, so that it serves the next request
while the last bytes here are still unread. Rules: bytes that arrived come before
the failure that followed them; a cancelled `read` loses nothing and can be
called again; only one task reads at a time.
"""

import asyncio
from collections.abc import Callable
from typing import Protocol

from posthouse.model.exchange import (
    Certainty,
    ExchangeFailure,
    FailureKind,
    Timeouts,
)
from posthouse.upstream.head import Headers, split_head

SAID_AT_MOST = 256
"""Bytes of what a provider says that only asks for patience."""


def check_size(size: int, limit: int) -> None:
    """Raise TOO_LARGE when a body of `size` bytes is over its limit."""
    if size > limit:
        raise ExchangeFailure(
            FailureKind.TOO_LARGE,
            Certainty.RESPONSE_STARTED,
            f"the body has more than {limit} bytes",
        )


class Source(Protocol):
    """The connection that fills a response."""

    clock: Callable[[], float]
    """Monotonic seconds."""
    loop: asyncio.AbstractEventLoop

    def resume(self) -> None:
        """Go on reading from the provider after a pause."""

    def let_go(self) -> None:
        """Discard the rest of the reply."""

    def drop(self) -> None:
        """Close the connection at once."""


class Response:
    """A reply from a provider; implements `ports.UpstreamResponse`.

    What stands below the head belongs to the connection. The defaults are the
    class's own, so that making a response costs little.
    """

    status: int = 0
    head = b""
    """The status line and the fields, each behind its CRLF."""

    since = 0.0
    """When the present silence began; 0 while there is none."""
    released = 0.0
    """When the reader let go of the rest; 0 while it has not."""
    encoding = b""
    body_less = False
    head_bytes = 0
    """Bytes that have come of a head that came in pieces, or that was refused."""
    interims = 0
    """1xx replies that came before the real one."""
    until_eof = False
    """The body ends with the connection."""
    barren = 0
    """Bytes of framing, since the last that brought some of the body."""
    received = 0
    """Bytes of the body that have come, its framing included."""
    taken = 0
    """How many of them the reader has had."""
    latest = b""
    """What it was given last, if it was little."""
    window_since = 0.0
    window_from = 0
    """When the present window of the least rate began, and after how many bytes."""
    paused = False
    complete = False
    """It has come as a whole, and nothing has failed."""
    failure: ExchangeFailure | None = None
    waiter: asyncio.Future[None] | None = None

    def __init__(self, source: Source, timeouts: Timeouts, started: float) -> None:
        """Begin waiting for a reply.

        Args:
            source: the connection that it comes from.
            timeouts: the limits of the exchange.
            started: the source's time at which the exchange began, seconds.
        """
        self.source: Source | None = source
        self.timeouts = timeouts
        self.started = started
        self.chunks: list[bytes] = []

    @property
    def begun(self) -> bool:
        """Whether anything of it has come."""
        return self.status > 0 or self.head_bytes > 0

    @property
    def unread(self) -> int:
        """Bytes that have come and that the reader has not had."""
        return self.received - self.taken

    @property
    def headers(self) -> Headers:
        """The fields, split anew for each who asks: mostly nobody does."""
        return split_head(self.head)

    async def arrival(self) -> None:
        """Wait until the connection has something to tell; at once if it is done."""
        if self.waiter is not None:
            raise RuntimeError("a reply is read by one task at a time")
        source = self.source
        if source is None:
            return
        if not self.since:
            self.since = source.clock()
        if self.paused:
            source.resume()
        self.waiter = source.loop.create_future()
        try:
            await self.waiter
        finally:
            self.waiter = None

    async def read(self) -> bytes:
        """Give what has arrived of the body, b"" at its end."""
        chunks = self.chunks
        while not chunks:
            if self.failure is not None:
                raise self.failure
            if self.complete:
                return b""
            await self.arrival()
        data = chunks[0] if len(chunks) == 1 else b"".join(chunks)
        chunks.clear()
        self.latest = data if len(data) < SAID_AT_MOST else b""
        self.taken = self.received
        return data

    async def read_all(self, limit: int) -> bytes:
        """Give the rest of the body; more than `limit` bytes is TOO_LARGE."""
        if self.complete:
            # The usual case: a small reply came as a whole.
            chunks = self.chunks
            if len(chunks) == 1:
                data = chunks.pop()
            else:
                data = b"".join(chunks)
                chunks.clear()
            if len(data) > limit:
                check_size(len(data), limit)
            return data
        pieces: list[bytes] = []
        size = 0
        try:
            while piece := await self.read():
                size += len(piece)
                check_size(size, limit)
                pieces.append(piece)
        except BaseException:
            # What was read so far is lost with this call, so the rest is of no use.
            self.abort()
            raise
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def release(self) -> None:
        """Let go of the rest: a short one is discarded, a long one cut off."""
        self.chunks.clear()
        self.taken = self.received
        source = self.source
        if source is not None:
            self.released = source.clock()
            source.let_go()

    def abort(self) -> None:
        """Close at once; a waiting read ends with ABORTED."""
        self.chunks.clear()
        self.complete = False
        if self.failure is None:
            certainty = (
                Certainty.RESPONSE_STARTED
                if self.status
                else Certainty.POSSIBLY_ACCEPTED
            )
            self.failure = ExchangeFailure(FailureKind.ABORTED, certainty)
        source, self.source = self.source, None
        if source is not None:
            source.drop()
        self.wake()

    def wake(self) -> None:
        """Let the waiting reader look again."""
        waiter = self.waiter
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

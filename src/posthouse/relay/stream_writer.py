"""The client's side of a stream: its head, its frames, comments in silences.

One call has one writer, however many attempts bring what it writes.
"""

import asyncio
from collections.abc import Callable

from msgspec import Struct

from posthouse.dialects.base import Manners
from posthouse.relay.ports import Client, Headers


class StreamTimes(Struct, frozen=True):
    """Seconds of silence that a client hears at most."""

    head_after: float = 10.0
    """Until the reply's head is sent."""
    comment_after: float = 15.0


class StreamWriter:
    """Writes one stream to its client."""

    __slots__ = (
        "_background",
        "_client",
        "_clock",
        "_manners",
        "_times",
        "last_write",
        "started",
    )

    def __init__(
        self,
        client: Client,
        manners: Manners,
        times: StreamTimes,
        clock: Callable[[], float],
    ) -> None:
        """Write to `client` as its dialect has it; `clock` gives monotonic seconds."""
        self._client = client
        self._manners = manners
        self._times = times
        self._clock = clock
        self._background: asyncio.Future[None] | None = None
        """A head or comment that the silence has brought about."""
        self.last_write = clock()
        self.started = False
        """The head is on its way: errors must be told in the stream."""

    async def start(self, headers: Headers, instead: Headers | None = None) -> None:
        """Send the head.

        Args:
            headers: what it tells beside itself.
            instead: what it has in place of the manners' headers.
        """
        self.started = True
        self.last_write = self._clock()
        try:
            own = self._manners.stream_headers if instead is None else instead
            await self._client.start(200, own + headers)
        except asyncio.CancelledError:
            # It was waited for room to write it: another attempt may still do so.
            self.started = False
            raise

    async def write(self, data: bytes) -> None:
        """Send frames."""
        if self._background is not None:
            await self._background
            self._background = None
        if not self._client.gone:
            self.last_write = self._clock()
            await self._client.write(data)

    def silence_allowed(self) -> float:
        """Seconds of silence after which `keep_alive` is due."""
        times = self._times
        return times.comment_after if self.started else times.head_after

    def keep_alive(self) -> None:
        """Send the head or a comment, unless the last one is not yet through.

        The head tells less before any target has answered.
        """
        if self._background is not None and not self._background.done():
            return
        if not self._manners.keep_alive:
            return
        self.last_write = self._clock()
        if self.started:
            sending = self._client.write(self._manners.keep_alive)
        else:
            self.started = True
            sending = self._client.start(200, self._manners.stream_headers)
        self._background = asyncio.ensure_future(sending)

    async def finish(self, terminal: bytes) -> None:
        """Send the terminal frame and end the body."""
        if self._background is not None:
            await self._background
        if not self._client.gone:
            await self._client.finish(terminal)

    async def fail(self, frame: bytes) -> None:
        """Tell of an error inside the stream, and end it without a terminator."""
        if frame:
            await self.write(frame)
        self._client.abort()

    def break_off(self) -> None:
        """End the body as one that is not whole."""
        self._client.abort()

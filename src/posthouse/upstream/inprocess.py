"""The sandbox's transport: scripts played into the real connection protocol.

A provider that lives in this process answers with a `Script` of delays and raw
bytes. They reach the same `Connection`, parser and limits as bytes from a socket,
through a transport that honours pauses and can close, reset or stay silent.
"""

import asyncio
from collections.abc import Callable

from typing_extensions import override

from posthouse.model.exchange import Script, ScriptEnd, UpstreamRequest
from posthouse.upstream.connection import Connection
from posthouse.upstream.encoding import decoded
from posthouse.upstream.ports import Resending, UpstreamResponse
from posthouse.upstream.sweep import Sweep

Play = Callable[[UpstreamRequest], Script]
"""Gives the script that answers a request."""

SEGMENT_BYTES = 64 * 1024
"""The most that arrives at once, as from a socket."""


class ScriptTransport(asyncio.Transport):
    """Plays a script to a protocol, from the first write on."""

    def __init__(self, script: Script, protocol: asyncio.Protocol) -> None:
        """Wait for the request."""
        super().__init__()
        self._loop = asyncio.get_running_loop()
        self._protocol = protocol
        self._end = script.end
        self._steps = iter(script.steps)
        self._data = b""
        self._handle: asyncio.Handle | None = None
        self._paused = False
        self._started = False
        self._closed = False

    @override
    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Take request bytes; the first ones start the script."""
        if not self._started and not self._closed:
            self._started = True
            self._next_step()

    @override
    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        """Change nothing: what arrives does so in segments."""

    @override
    def is_closing(self) -> bool:
        """Whether the connection is over."""
        return self._closed

    @override
    def pause_reading(self) -> None:
        """Hold the script."""
        self._paused = True

    @override
    def resume_reading(self) -> None:
        """Go on with the script."""
        self._paused = False
        if self._data and self._handle is None and not self._closed:
            self._handle = self._loop.call_soon(self._deliver)

    @override
    def get_write_buffer_size(self) -> int:
        """Nothing waits: requests are taken at once."""
        return 0

    @override
    def set_write_buffer_limits(
        self, high: int | None = None, low: int | None = None
    ) -> None:
        """Change nothing: requests are taken at once."""

    @override
    def close(self) -> None:
        """End the script and tell the protocol."""
        self._lose(None)

    @override
    def abort(self) -> None:
        """End the script and tell the protocol."""
        self._lose(None)

    def _next_step(self) -> None:
        """Arm the next bytes, or the end."""
        step = next(self._steps, None)
        if step is None:
            self._handle = self._loop.call_soon(self._finish)
            return
        self._data = step.data
        self._handle = (
            self._loop.call_later(step.delay, self._deliver)
            if step.delay > 0
            else self._loop.call_soon(self._deliver)
        )

    def _deliver(self) -> None:
        """Let the present step's bytes arrive, a segment at a time."""
        self._handle = None
        if self._paused or self._closed:
            return
        segment, self._data = self._data[:SEGMENT_BYTES], self._data[SEGMENT_BYTES:]
        if segment:
            self._protocol.data_received(segment)
        if self._closed:
            return
        if not self._data:
            self._next_step()
        elif not self._paused:
            self._handle = self._loop.call_soon(self._deliver)

    def _finish(self) -> None:
        """Do what the script's end says."""
        self._handle = None
        if self._end is ScriptEnd.CLOSE:
            self._protocol.eof_received()
            self._lose(None)
        elif self._end is ScriptEnd.RESET:
            self._lose(ConnectionResetError("reset by the script"))

    def _lose(self, error: Exception | None) -> None:
        """Tell the protocol once that the connection is gone."""
        if self._closed:
            return
        self._closed = True
        self._data = b""
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None
        self._loop.call_soon(self._protocol.connection_lost, error)


class InProcessSender:
    """Sends requests to a provider in this process; a `ports.Sender`."""

    def __init__(self, play: Play, sweep: Sweep, clock: Callable[[], float]) -> None:
        """Keep the provider, what watches limits, and monotonic seconds."""
        self._play = play
        self._sweep = sweep
        self._clock = clock

    async def send(
        self,
        request: UpstreamRequest,
        resending: Resending | None = None,  # noqa: ARG002 - nothing is sent twice
    ) -> UpstreamResponse:
        """Send and wait for the reply's head; raises ExchangeFailure."""
        connection = Connection(self, self._clock)
        connection.connection_made(ScriptTransport(self._play(request), connection))
        self._sweep.add(connection)
        response = await connection.exchange(
            (request.body,),
            request.timeouts,
            self._clock(),
            body_less=request.method == "HEAD",
        )
        return decoded(response) if response.encoding else response

    async def close(self) -> None:
        """Do nothing: the sweep closes the connections."""

    def released(self, connection: Connection) -> None:
        """Close: a script answers one request."""
        connection.drop()

    def lost(self, connection: Connection) -> None:
        """Forget a closed connection."""
        self._sweep.discard(connection)

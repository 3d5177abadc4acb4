"""What the connections of one server share: limits, a coarse clock, the sweep.

One timer looks at every connection once per interval; no connection or request
has a timer of its own. `now` is as old as the last sweep, which is exact enough
for limits of seconds and costs nothing to read.
"""

import asyncio
import time
from collections.abc import Callable
from typing import NoReturn, Protocol

from posthouse.errors import Overloaded, PosthouseError
from posthouse.server.gate import Gate
from posthouse.server.heads import Headers, render_fields, status_prefix
from posthouse.server.known_heads import KnownHeads
from posthouse.server.limits import ServerLimits

Reply = tuple[int, Headers, bytes]
"""Status, headers, body."""


_SLICE = 500
"""Connections that one turn of the loop looks at, so that none takes long."""


class Swept(Protocol):
    """A connection, as the sweep sees it."""

    def check(self, now: float) -> None:
        """Hold the connection to its limits; `now` in the context's clock."""


class BodyBudget:
    """The bytes of request bodies that the process holds at one time."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.held = 0

    def refuse(self) -> NoReturn:
        """Say that there is no room for more; raises Overloaded."""
        raise Overloaded(
            "The service holds as many request bodies as it can.", retry_after=1
        )


class _Prefixes(dict[int, bytes]):
    """Renders what is not there yet."""

    def __init__(self, unix_clock: Callable[[], float]) -> None:
        super().__init__()
        self._unix_clock = unix_clock

    def __missing__(self, status: int) -> bytes:
        prefix = self[status] = status_prefix(status, self._unix_clock())
        return prefix


class ServerContext:
    """The state of one server."""

    def __init__(
        self,
        render_refusal: Callable[[PosthouseError], Reply],
        limits: ServerLimits,
        *,
        gate: Gate | None = None,
        clock: Callable[[], float] = time.monotonic,
        unix_clock: Callable[[], float] = time.time,
    ) -> None:
        """Share `limits` among connections.

        Args:
            render_refusal: renders the reply to what was no request at all.
            limits: of every connection.
            gate: gives requests their turns; none makes one of its own.
            clock: seconds, monotonic.
            unix_clock: seconds since 1970, for Date.
        """
        self.render_refusal = render_refusal
        self.limits = limits
        self.gate = gate or Gate()
        self.budget = BodyBudget(limits.buffered_bodies)
        self.connections: set[Swept] = set()
        self.known_heads = KnownHeads()
        self.tasks: set[asyncio.Task[None]] = set()
        """The handlers that run."""
        self.draining = False
        """While true every reply says `Connection: close`."""
        self.now = clock()
        self._clock = clock
        self._unix_clock = unix_clock
        self._second = 0
        self.prefixes = _Prefixes(unix_clock)
        """Status lines with their Date, by status, of the present second."""
        self._timer: asyncio.TimerHandle | None = None

    def refusal(self, error: PosthouseError) -> bytes:
        """Render the whole reply to what was no request; it ends the connection."""
        status, headers, body = self.render_refusal(error)
        return b"%b%bconnection: close\r\ncontent-length: %d\r\n\r\n%b" % (
            self.prefixes[status],
            render_fields(headers),
            len(body),
            body,
        )

    def start(self) -> None:
        """Begin to sweep, in the running loop."""
        self._sweep(asyncio.get_running_loop())

    def stop(self) -> None:
        """End the sweep."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _sweep(self, loop: asyncio.AbstractEventLoop) -> None:
        self._timer = loop.call_later(self.limits.sweep_interval, self._sweep, loop)
        self.now = self._clock()
        second = int(self._unix_clock())
        if second != self._second:
            self._second = second
            self.prefixes.clear()
        self._check(list(self.connections), loop)

    def _check(self, connections: list[Swept], loop: asyncio.AbstractEventLoop) -> None:
        """Look at some connections now and at the rest in the loop's next turns."""
        for connection in connections[-_SLICE:]:
            connection.check(self.now)
        del connections[-_SLICE:]
        if connections:
            loop.call_soon(self._check, connections, loop)

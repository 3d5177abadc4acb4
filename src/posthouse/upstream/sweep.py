"""One coarse timer that watches the limits of every connection.

A limit is noticed up to `PERIOD` late; in return an exchange arms no timer.
"""

import asyncio
from collections.abc import Callable

from posthouse.upstream.connection import Connection
from posthouse.upstream.pace import Pace

PERIOD = 0.25


class Sweep:
    """Looks at all connections every `PERIOD` seconds while there are any."""

    def __init__(
        self, clock: Callable[[], float], keep_alive: float, pace: Pace | None = None
    ) -> None:
        """Watch nothing yet.

        Args:
            clock: monotonic seconds, the same as the connections use.
            keep_alive: seconds after which an idle connection is closed.
            pace: how slow a reply may be.
        """
        self._clock = clock
        self._keep_alive = keep_alive
        self._pace = pace or Pace()
        self._connections: set[Connection] = set()
        self._timer: asyncio.TimerHandle | None = None

    @property
    def connections(self) -> int:
        """How many connections are open."""
        return len(self._connections)

    def add(self, connection: Connection) -> None:
        """Watch a connection."""
        self._connections.add(connection)
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(PERIOD, self._look)

    def discard(self, connection: Connection) -> None:
        """Watch a connection no longer."""
        self._connections.discard(connection)

    def drop_all(self) -> None:
        """Close every connection; what was under way ends with ABORTED."""
        for connection in tuple(self._connections):
            connection.abort()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _look(self) -> None:
        """Check every connection once."""
        now = self._clock()
        for connection in tuple(self._connections):
            if connection.due <= now:
                connection.check(now, self._keep_alive, self._pace)
        self._timer = (
            asyncio.get_running_loop().call_later(PERIOD, self._look)
            if self._connections
            else None
        )

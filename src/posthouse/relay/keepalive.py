"""Keeps silent streams alive: one sweep for all of them, no timer for each.

A client that hears nothing gives up. So the reply's head is sent after some
seconds of silence at the latest, and then a comment, which every client
ignores, whenever nothing was written for a while.
"""

import asyncio
import time
from collections.abc import Callable
from typing import Protocol

SWEEP_EVERY = 1.0


class Silent(Protocol):
    """A stream that may have nothing to say for a while."""

    last_write: float
    """Monotonic seconds at which something was last written, or it began."""

    def keep_alive(self) -> None:
        """Write the head or a comment, without waiting."""

    def silence_allowed(self) -> float:
        """Seconds of silence after which `keep_alive` is due."""


class KeepAlive:
    """The streams under way in a process."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """Start with none."""
        self._clock = clock
        self._streams: set[Silent] = set()
        self._timer: asyncio.TimerHandle | None = None

    def add(self, stream: Silent) -> None:
        """Watch a stream."""
        self._streams.add(stream)
        if self._timer is None:
            self._schedule()

    def remove(self, stream: Silent) -> None:
        """Watch a stream no more."""
        self._streams.discard(stream)

    def _schedule(self) -> None:
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(SWEEP_EVERY, self._sweep)

    def _sweep(self) -> None:
        now = self._clock()
        for stream in tuple(self._streams):
            if now - stream.last_write >= stream.silence_allowed():
                stream.keep_alive()
        self._timer = None
        if self._streams:
            self._schedule()

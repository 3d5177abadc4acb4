"""How late the event loop runs: the delay that every other client feels.

A timer every 10 ms measures by how much it came late. Lateness is counted in
buckets that grow by an eighth, so the percentile is exact to 12 %; the maximum
is exact. Both are since the last reading.
"""

import asyncio
import math
from collections.abc import Callable

_INTERVAL = 0.010
_LEAST = 0.0001
_GROWTH = 1.125
_BUCKETS = 120


class LoopLag:
    """The probe; one per loop."""

    def __init__(self) -> None:
        """Measure nothing before `start`."""
        self._counts = [0] * _BUCKETS
        self._samples = 0
        self._max = 0.0
        self._due = 0.0
        self._loop: asyncio.AbstractEventLoop | None = None
        self._timer: asyncio.TimerHandle | None = None
        self.look: Callable[[float], None] = lambda _lag: None
        """Called with each measure: seconds by which the timer came late."""

    def start(self) -> None:
        """Begin, in the running loop."""
        self._loop = asyncio.get_running_loop()
        self._arm(self._loop)

    def stop(self) -> None:
        """End."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def add(self, lag: float) -> None:
        """Count one lateness, in seconds."""
        self._samples += 1
        self._max = max(self._max, lag)
        bucket = 0
        if lag > _LEAST:
            bucket = min(_BUCKETS - 1, math.ceil(math.log(lag / _LEAST, _GROWTH)))
        self._counts[bucket] += 1

    def read(self) -> tuple[float, float]:
        """Give maximum and 99.9th percentile in seconds, and start anew."""
        result = self._max, self._percentile(0.999)
        self._counts = [0] * _BUCKETS
        self._samples = 0
        self._max = 0.0
        return result

    def gauges(self) -> tuple[Callable[[], float], Callable[[], float]]:
        """Give readers for two gauges, asked in this order: maximum, percentile."""
        held = [0.0]

        def maximum() -> float:
            largest, held[0] = self.read()
            return largest

        return maximum, lambda: held[0]

    def _percentile(self, share: float) -> float:
        rank = math.ceil(self._samples * share)
        running = 0
        for bucket, count in enumerate(self._counts):
            running += count
            if count and running >= rank:
                return min(self._max, _LEAST * _GROWTH**bucket)
        return 0.0

    def _arm(self, loop: asyncio.AbstractEventLoop) -> None:
        self._due = loop.time() + _INTERVAL
        self._timer = loop.call_at(self._due, self._tick, loop)

    def _tick(self, loop: asyncio.AbstractEventLoop) -> None:
        lag = max(0.0, loop.time() - self._due)
        self.add(lag)
        self.look(lag)
        self._arm(loop)

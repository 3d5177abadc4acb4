"""How late the event loop runs: the delay that every other client feels.

A timer every 10 ms measures by how much it came late. Lateness is counted in
buckets that grow by an eighth, so the percentile is exact to 12 %; the maximum
is exact. Both are since the last reading.

To wake up so often is most of what a process costs that has nothing to do. So
while the loop's thread uses less than a twentieth of its time, the timer comes every
50 ms, and counts as often as those would have that it stands for. Nothing is missed
by that: no turn can have had more of the processor than all of them together, and
where that was not little, it is counted as a lateness that may have been. A turn that
waits for something else (a disk) is seen to be late by up to 50 ms less.
"""

import asyncio
import math
import time
from collections.abc import Callable

_INTERVAL = 0.010
_QUIET_TICKS = 5
"""Intervals that one stands for while little is done."""
_QUIET_SHARE = 0.05
"""Of the time, the processor's at most, that is little."""
_LOOK_TICKS = 10
"""Intervals between two looks at how much is done, while it is more."""
_LEAST = 0.0001
_GROWTH = 1.125
_BUCKETS = 120


class LoopLag:
    """The probe; one per loop."""

    def __init__(self, processor: Callable[[], float] = time.thread_time) -> None:
        """Measure nothing before `start`.

        Args:
            processor: seconds of the processor that the loop's thread has had.
        """
        self._processor = processor
        self._counts = [0] * _BUCKETS
        self._samples = 0
        self._max = 0.0
        self._due = 0.0
        self._quiet = False
        self._unlooked = 0
        """Ticks since the last look."""
        self._looked = self._had = 0.0
        """When that was, and what the thread had had of the processor by then."""
        self._loop: asyncio.AbstractEventLoop | None = None
        self._timer: asyncio.TimerHandle | None = None
        self.look: Callable[[float], None] = lambda _lag: None
        """Called with each measure: seconds by which the timer came late."""

    def start(self) -> None:
        """Begin, in the running loop."""
        self._loop = loop = asyncio.get_running_loop()
        self._quiet = False
        self._unlooked = 0
        self._looked, self._had = loop.time(), self._processor()
        self._arm(loop)

    def stop(self) -> None:
        """End."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def add(self, lag: float, times: int = 1) -> None:
        """Count a lateness in seconds, as often as it stands for."""
        self._samples += times
        self._max = max(self._max, lag)
        bucket = 0
        if lag > _LEAST:
            bucket = min(_BUCKETS - 1, math.ceil(math.log(lag / _LEAST, _GROWTH)))
        self._counts[bucket] += times

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
        ticks = _QUIET_TICKS if self._quiet else 1
        self._due = loop.time() + ticks * _INTERVAL
        self._timer = loop.call_at(self._due, self._tick, loop)

    def _tick(self, loop: asyncio.AbstractEventLoop) -> None:
        now = loop.time()
        lag = max(0.0, now - self._due)
        if self._quiet:
            spent = self._look_again(now)
            if self._quiet:
                self.add(lag, _QUIET_TICKS)
            else:
                self.add(max(lag, spent))
        else:
            self.add(lag)
            self._unlooked += 1
            if self._unlooked >= _LOOK_TICKS:
                self._look_again(now)
        self.look(lag)
        self._arm(loop)

    def _look_again(self, now: float) -> float:
        """See whether little is done; give the processor's seconds since last."""
        had = self._processor()
        spent = had - self._had
        self._quiet = spent < _QUIET_SHARE * (now - self._looked)
        self._looked, self._had, self._unlooked = now, had, 0
        return spent

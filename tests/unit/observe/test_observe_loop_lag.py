"""The probe sees a blocked loop."""

import asyncio
import time
from collections.abc import Callable
from unittest.mock import patch

import pytest

from posthouse.observe.loop_lag import LoopLag


def test_percentile_and_maximum_of_known_values() -> None:
    """The percentile is at most an eighth too high."""
    lag = LoopLag()
    for number in range(2000):
        lag.add(0.050 if number % 500 == 0 else 0.001)
    largest, percentile = lag.read()
    assert largest == 0.050
    assert percentile == pytest.approx(0.050, rel=0.13)
    for number in range(2000):
        lag.add(0.050 if number == 0 else 0.001)
    assert lag.read()[1] == pytest.approx(0.001, rel=0.13)


def test_reading_starts_anew() -> None:
    lag = LoopLag()
    lag.add(1.0)
    assert lag.read() == (1.0, 1.0)
    assert lag.read() == (0.0, 0.0)
    lag.add(0.5)
    maximum, percentile = lag.gauges()
    assert (maximum(), percentile()) == (0.5, 0.5)


def test_extremes_have_a_bucket() -> None:
    lag = LoopLag()
    for value in (0.0, 1e-9, 1e9):
        lag.add(value)
    assert lag.read() == (1e9, pytest.approx(127, rel=0.2))


async def test_a_blocked_loop_is_seen() -> None:
    lag = LoopLag()
    lag.start()
    await asyncio.sleep(0.05)
    time.sleep(0.2)
    await asyncio.sleep(0.05)
    lag.stop()
    largest, _ = lag.read()
    assert 0.15 < largest < 2
    await asyncio.sleep(0.05)
    assert lag.read() == (0.0, 0.0)


class Clockwork:
    """A loop whose time a test tells, and the timer that waits in it."""

    def __init__(self) -> None:
        self.now = self.had = 100.0
        self.due = 0.0
        self.lag = LoopLag(lambda: self.had)
        self._tick: Callable[[], None] = lambda: None
        with patch.object(asyncio, "get_running_loop", lambda: self):
            self.lag.start()

    def time(self) -> float:
        return self.now

    def call_at(self, due: float, tick: Callable[..., None], loop: object) -> None:
        self.due = due
        self._tick = lambda: tick(loop)

    def go_on(self, seconds: float, share: float, late: float = 0.0) -> int:
        """Let time pass, of which the loop works a share; give the ticks."""
        end, ticks = self.now + seconds, 0
        while self.due <= end:
            passed = self.due + late - self.now
            self.now += passed
            self.had += passed * share
            self._tick()
            ticks += 1
        return ticks


def test_who_does_little_is_looked_at_rarely() -> None:
    """And the figures are those of a look every ten milliseconds."""
    loop = Clockwork()
    loop.go_on(1.0, 0.01)
    assert 19 <= loop.go_on(1.0, 0.01) <= 21
    loop.lag.read()
    loop.go_on(10.0, 0.01)
    loop.go_on(0.05, 0.01, late=0.2)
    largest, percentile = loop.lag.read()
    assert largest == pytest.approx(0.2)
    assert percentile == pytest.approx(0.2, rel=0.13), "five of a thousand"


def test_who_does_more_is_looked_at_as_ever() -> None:
    """From the first look on; and what was done until then may have been one turn."""
    loop = Clockwork()
    assert 95 <= loop.go_on(1.0, 0.2) <= 101
    loop.go_on(1.0, 0.01)
    loop.lag.read()
    loop.had += 0.03
    loop.go_on(0.05, 0.01)
    assert loop.lag.read()[0] == pytest.approx(0.03, abs=0.001)
    assert 4 <= loop.go_on(0.05, 0.2) <= 6

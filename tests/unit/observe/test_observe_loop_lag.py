"""The probe sees a blocked loop."""

import asyncio
import time

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

"""U4, in numbers: what a storm of failures costs the provider and the callers."""

import asyncio
import time
from pathlib import Path

import pytest
from msgspec import json
from tests.fakes import openai
from tests.fakes.steps import Behaviour, Request, Wait
from tests.fakes.upstream import FakeUpstream
from tests.fakes.upstream import running as serving
from tests.faults import scripts
from tests.faults.asked import PATHS, body_of
from tests.faults.channels import channel
from tests.faults.station import KEYS, Station, play, running
from tests.faults.wire import Reply

EJECTION = 0.6
"""Seconds; thirty by default."""
FAST = 0.05


class Moody:
    """A provider that fails as long as it is told to."""

    def __init__(self, status: int = 503) -> None:
        self._failing = scripts.status(status)
        self.ill = True

    def __call__(self, request: Request) -> Behaviour:
        """Fail or answer."""
        if self.ill:
            return Behaviour("ill", tuple(self._failing(request)))
        return openai.answer(request)


async def _ask(station: Station, *, stream: bool = False) -> tuple[Reply, float]:
    began = time.monotonic()
    body = json.encode(body_of("chat", "m", stream=stream))
    seen = await station.ask(PATHS["chat"], body)
    return seen, time.monotonic() - began


def _assert_overloaded(seen: Reply) -> None:
    assert seen.status == 503
    assert seen.error["code"] == "upstream_overloaded"
    assert 1 <= int(seen.headers["retry-after"]) <= 60


def test_after_five_failures_calls_fail_fast_and_one_trial_at_a_time(
    tmp_path: Path,
) -> None:
    """The provider is asked five times, then once per ejection, until it is well."""

    async def test() -> None:
        mood = Moody()
        async with FakeUpstream(mood) as provider:
            text = KEYS + channel("a", provider.origin, models=["m"])
            async with running(tmp_path, text, breaker_seconds=EJECTION) as station:
                for _ in range(5):
                    seen, _ = await _ask(station)
                    _assert_overloaded(seen)
                assert len(provider.served) == 5
                assert station.health("a").ejections == 1

                took = []
                for number in range(40):
                    seen, seconds = await _ask(station, stream=bool(number % 2))
                    _assert_overloaded(seen)
                    took.append(seconds)
                assert len(provider.served) == 5, "asked while the breaker is open"
                assert sorted(took)[-2] < FAST, took

                await asyncio.sleep(EJECTION)
                found = await asyncio.gather(*(_ask(station) for _ in range(10)))
                for seen, _ in found:
                    _assert_overloaded(seen)
                assert len(provider.served) == 6, "more than one trial"
                assert station.health("a").ejections == 2

                # The second ejection is twice as long as the first.
                await asyncio.sleep(1.2 * EJECTION)
                await _ask(station)
                assert len(provider.served) == 6
                mood.ill = False
                await asyncio.sleep(EJECTION)
                seen, _ = await _ask(station)
                assert seen.status == 200
                assert station.health("a").ejections == 0
                assert station.health("a").consecutive == 0
                records = await station.ended(5 + 40 + 10 + 2)
                assert sum(bool(record.attempts) for record in records) == 7
                assert sum(record.price > 0 for record in records) == 1

    play(test)


def test_a_storm_over_two_channels_reaches_providers_at_most_a_fifth_more(
    tmp_path: Path,
) -> None:
    """A hundred calls at once make at most a hundred and twenty requests."""

    async def test() -> None:
        first, second = FakeUpstream(Moody(500)), FakeUpstream(Moody(529))
        async with serving(first, second):
            text = KEYS
            text += channel("a", first.origin, models=["m"], priority=2)
            text += channel("b", second.origin, models=["m"], priority=1)
            async with running(tmp_path, text) as station:
                offered = 0
                for _ in range(3):
                    found = await asyncio.gather(
                        *(_ask(station, stream=bool(n % 2)) for n in range(100))
                    )
                    offered += len(found)
                    for seen, _ in found:
                        _assert_overloaded(seen)
                asked = len(first.served) + len(second.served)
                assert asked <= 1.2 * offered, f"{asked} requests of {offered} calls"
                records = await station.ended(offered)
                assert sum(len(record.attempts) for record in records) == asked
                assert all(record.price == 0 for record in records)
                assert all(record.cost == 0 for record in records)
                await station.settled()

    play(test)


def test_a_channel_that_fails_every_other_time_is_taken_out(tmp_path: Path) -> None:
    """An error rate opens the breaker where failures are never five in a row."""

    async def test() -> None:
        mood = Moody()
        async with FakeUpstream(mood) as provider:
            text = KEYS + channel("a", provider.origin, models=["m"])
            async with running(tmp_path, text) as station:
                for number in range(20):
                    assert station.health("a").ejections == 0, number
                    mood.ill = bool(number % 2)
                    await _ask(station)
                assert station.health("a").ejections == 1
                mood.ill = False
                seen, _ = await _ask(station)
                _assert_overloaded(seen)
                assert len(provider.served) == 20

    play(test)


def test_a_healthy_channel_takes_over_at_once(tmp_path: Path) -> None:
    """Nobody waits for a sick channel while another one is ready."""

    async def test() -> None:
        sick, well = FakeUpstream(Moody()), FakeUpstream(openai.answer)
        async with serving(sick, well):
            text = KEYS
            text += channel("a", sick.origin, models=["m"], priority=2)
            text += channel("b", well.origin, models=["m"], priority=1)
            async with running(tmp_path, text) as station:
                for _ in range(30):
                    seen, seconds = await _ask(station)
                    assert seen.status == 200
                    assert seconds < 0.5
                assert len(sick.served) == 5
                assert len(well.served) == 30

    play(test)


@pytest.mark.parametrize("priority", [1, 2], ids=["next-tier", "same-tier"])
def test_a_fifth_of_the_calls_in_flight_may_be_tried_again(
    tmp_path: Path, priority: int
) -> None:
    """When a channel dies under load, its calls use the budget of retries fully."""

    def dying(request: Request) -> Behaviour:
        return Behaviour("dying", (Wait(0.4), *scripts.status(500)(request)))

    def busy(request: Request) -> Behaviour:
        good = openai.answer(request)
        return Behaviour("busy", (Wait(0.4), *good.steps), good.usage)

    async def test() -> None:
        sick, well = FakeUpstream(dying), FakeUpstream(busy)
        async with serving(sick, well):
            text = KEYS
            text += channel("a", sick.origin, models=["m"], priority=2, weight=1000)
            text += channel("b", well.origin, models=["m"], priority=priority)
            async with running(tmp_path, text) as station:
                found = await asyncio.gather(*(_ask(station) for _ in range(100)))
                served = sum(seen.status == 200 for seen, _ in found)
                records = await station.ended(100)
                tries = sum(len(record.attempts) for record in records)
                retried = tries - 100
                assert 18 <= retried <= 20, f"{retried} of 100 were tried again"
                assert served >= retried
                await station.settled()

    play(test)

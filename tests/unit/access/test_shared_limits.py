"""Limits that several processes share: as each of them behaves in its event loop."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator

import pytest
import structlog
from tests.conftest import MakeCounters
from tests.support.valkey_counting import make_store
from tests.unit.access.counting import UNREACHABLE, Counters, MemoryStore

from posthouse.access import shared
from posthouse.access.limits import UNLIMITED
from posthouse.access.principal import Principal
from posthouse.access.shared import SharedLimits
from posthouse.access.windows import Refusal
from posthouse.errors import RateLimited
from posthouse.settings.file import ChannelLimits


class Clock:
    """The real time, of which a test may skip some."""

    def __init__(self) -> None:
        self.skipped = 0.0

    def __call__(self) -> float:
        return time.monotonic() + self.skipped


def key(
    *, rpm: int | None = None, tpm: int | None = None, concurrency: int | None = None
) -> Principal:
    return Principal("id", "a", "default", rpm=rpm, tpm=tpm, concurrency=concurrency)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def counters(make_counters: MakeCounters, clock: Clock) -> Counters:
    return make_counters(clock)


@pytest.fixture
def stores(counters: Counters) -> list[MemoryStore]:
    return [make_store(counters, f"w{number}") for number in range(4)]


@pytest.fixture
async def workers(
    stores: list[MemoryStore], clock: Clock
) -> AsyncIterator[list[SharedLimits]]:
    """Four processes' limits over one store."""
    workers = [SharedLimits(store, 4, clock) for store in stores]
    for worker in workers:
        await worker.start()
    yield workers
    for worker in workers:
        await worker.close()


async def several(worker: SharedLimits, principal: Principal, calls: int) -> int:
    """Make calls at once; give how many were admitted."""
    results = await asyncio.gather(
        *(worker.admit(principal, 1) for _ in range(calls)), return_exceptions=True
    )
    for result in results:
        assert not isinstance(result, Exception) or isinstance(result, RateLimited)
    return sum(not isinstance(result, Exception) for result in results)


async def test_of_a_hundred_at_once_exactly_five_pass(
    workers: list[SharedLimits], counters: Counters
) -> None:
    """rpm = 5 with 100 parallel calls over four workers admits exactly 5."""
    before = counters.exchanges
    admitted = await asyncio.gather(
        *(several(worker, key(rpm=5), 25) for worker in workers)
    )
    assert sum(admitted) == 5
    assert counters.exchanges - before == 4


async def test_refusal_says_when_and_how_much(
    workers: list[SharedLimits], clock: Clock
) -> None:
    """The words, the wait and the headers are those of a process alone."""
    await workers[0].admit(key(rpm=1), 0)
    clock.skipped += 20
    with pytest.raises(RateLimited, match="1 requests per minute") as caught:
        await workers[1].admit(key(rpm=1), 0)
    assert caught.value.retry_after == 40
    assert workers[1].header_lines(key(rpm=1)) == (
        b"x-ratelimit-limit-requests: 1\r\n"
        b"x-ratelimit-remaining-requests: 0\r\n"
        b"x-ratelimit-reset-requests: 40s\r\n"
    )


async def test_prompt_above_the_whole_limit_is_refused(
    workers: list[SharedLimits],
) -> None:
    """What can never fit says so, and does not wait."""
    with pytest.raises(RateLimited, match="about 1001 tokens, more than the 1000"):
        await workers[0].admit(key(tpm=1000), 1001)


async def test_tokens_are_corrected_for_all(workers: list[SharedLimits]) -> None:
    """What one call spared is there for the next, on another worker."""
    principal = key(tpm=1000)
    for number in range(8):
        permit = await workers[number % 4].admit(principal, 100, output_tokens=9_000)
        permit.release(100)
    assert b"remaining-tokens: 0\r\n" in permit.header_lines()


async def test_places_are_freed_for_all(workers: list[SharedLimits]) -> None:
    """A caller that makes one call after the other is never refused."""
    for number in range(20):
        permit = await workers[number % 4].admit(key(concurrency=1), 0)
        permit.release()
        permit.release()


async def test_key_without_limits_asks_nobody(
    workers: list[SharedLimits], counters: Counters
) -> None:
    """Who has no limits leaves no trace."""
    before = counters.exchanges
    assert await workers[0].admit(key(), 10**9) is UNLIMITED
    assert await workers[0].admit_channel("a", ChannelLimits()) is UNLIMITED
    assert counters.exchanges == before
    assert not counters.tallies


async def test_what_must_be_asked_is_not_counted_at_once(
    workers: list[SharedLimits], counters: Counters
) -> None:
    """A call that would wait for the store has taken nothing of its minute."""
    before = counters.exchanges
    assert workers[0].admit_now(key(rpm=1), 0) is None
    assert counters.exchanges == before
    assert await workers[0].admit(key(rpm=1), 0)


async def test_channels_are_shared_too(workers: list[SharedLimits]) -> None:
    """A channel's refusal is a value, and keys of its name are others."""
    limits = ChannelLimits(concurrency=1, rpm=10)
    permit = await workers[0].admit_channel("id", limits)
    assert not isinstance(permit, Refusal)
    assert isinstance(await workers[1].admit_channel("id", limits), Refusal)
    assert await several(workers[1], key(rpm=5), 6) == 5


async def test_caller_who_leaves_counts_nothing(
    workers: list[SharedLimits], counters: Counters
) -> None:
    """Whenever it leaves: before the answer, or just after."""
    made = 0
    for turns in range(9):
        task = asyncio.create_task(workers[0].admit(key(rpm=100, concurrency=9), 0))
        for _ in range(turns):
            await asyncio.sleep(0)
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            (await task).release(0)
            made += 1
    for worker in workers:
        await worker.close()
    tally = counters.tallies["key id"]
    assert tally.places == {}
    assert sum(bucket.requests for bucket in tally.buckets) == made < 9


async def test_without_a_store_each_keeps_to_its_part(
    workers: list[SharedLimits], stores: list[MemoryStore], clock: Clock
) -> None:
    """A quarter of the limits each, told once, until the store is back."""
    for store in stores:
        store.error = UNREACHABLE
    with structlog.testing.capture_logs() as logs:
        assert await several(workers[0], key(rpm=8), 100) == 2
        assert await several(workers[0], key(rpm=8), 100) == 0
        assert await several(workers[1], key(rpm=1), 100) == 1
        permit = await workers[2].admit(key(tpm=1000), 900)
        permit.release(10)
        assert b"x-ratelimit-limit-tokens: 250" in permit.header_lines()
        assert b"limit-requests: 2\r\n" in workers[0].header_lines(key(rpm=8))
    assert [entry["reason"] for entry in logs] == ["out of reach"] * 3
    assert workers[0].is_alone
    for store in stores:
        store.error = None
    clock.skipped += shared.RETRY_SECONDS
    with structlog.testing.capture_logs() as logs:
        workers[0]._news.set()
        await asyncio.sleep(0.01)
        assert await several(workers[0], key(rpm=8), 100) == 8
    assert len(logs) == 1
    assert not workers[0].is_alone


async def test_slow_store_is_waited_for_once(
    workers: list[SharedLimits],
    stores: list[MemoryStore],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """After its patience is over, the process decides alone and at once."""
    monkeypatch.setattr(shared, "PATIENCE_SECONDS", 0.05)

    async def never(_asks: object) -> list[object]:
        await asyncio.Event().wait()
        return []

    monkeypatch.setattr(stores[0], "exchange", never)
    assert await several(workers[0], key(rpm=8), 5) == 2
    async with asyncio.timeout(0.04):
        assert await several(workers[0], key(rpm=8), 5) == 0


async def test_places_told_in_vain_are_told_again(
    workers: list[SharedLimits],
    stores: list[MemoryStore],
    counters: Counters,
    clock: Clock,
) -> None:
    """A call that ends while the store is away frees its place afterwards."""
    permit = await workers[0].admit(key(concurrency=2, tpm=100), 90)
    stores[0].error = UNREACHABLE
    clock.skipped += 1
    permit.release(10)
    await asyncio.sleep(0.01)
    stores[0].error = None
    clock.skipped += shared.RETRY_SECONDS
    workers[0]._news.set()
    await asyncio.sleep(0.01)
    tally = counters.tallies["key id"]
    assert tally.places == {}
    assert tally.buckets[0].tokens == 10


async def test_timer_that_comes_early_is_set_again(
    workers: list[SharedLimits], clock: Clock
) -> None:
    """Event loops round their times; a call that waits is not forgotten."""
    await workers[0].admit(key(concurrency=1), 0)
    waiting = asyncio.create_task(workers[1].admit(key(concurrency=1), 0))
    await asyncio.sleep(0.002)
    clock.skipped -= 0.02
    async with asyncio.timeout(2):
        with pytest.raises(RateLimited):
            await waiting


async def test_store_that_is_away_at_the_start(
    counters: Counters, clock: Clock
) -> None:
    """The process serves nevertheless, and asks again by itself."""
    store = make_store(counters, "w")
    store.error = UNREACHABLE
    worker = SharedLimits(store, 2, clock)
    await worker.start()
    assert await several(worker, key(rpm=8), 9) == 4
    store.error = None
    clock.skipped += shared.RETRY_SECONDS
    async with asyncio.timeout(shared.RETRY_SECONDS + 1):
        while worker.is_alone:
            await asyncio.sleep(0.05)
    await worker.close()


async def test_last_words_are_heard(counters: Counters, clock: Clock) -> None:
    """A worker that is told to stop corrects its tokens and returns the rest."""
    store = make_store(counters, "w")
    worker = SharedLimits(store, 2, clock)
    await worker.start()
    principal = key(rpm=1000, tpm=10**6, concurrency=100)
    for _ in range(30):
        permit = await worker.admit(principal, 100)
        permit.release(70)
    await worker.close()
    subject = counters.tallies["key id"].subject(clock())
    assert (subject.requests, subject.tokens, subject.at_work) == (30, 2100, 0)

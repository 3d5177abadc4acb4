"""A process's share of limits: asked for together, lent, returned, refused in time."""

from concurrent.futures import Future

import pytest
from tests.conftest import MakeCounters
from tests.unit.access.counting import Clock, Counters
from tests.unit.access.working import Worker

from posthouse.access.counters import LEISURE
from posthouse.access.shares import GRACE, Shares, Waiter
from posthouse.access.windows import Limit, Rates


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def counters(make_counters: MakeCounters, clock: Clock) -> Counters:
    return make_counters(clock)


def busy(worker: Worker, rates: Rates, calls: int, clock: Clock) -> None:
    """Make calls of no length, a hundred per second."""
    for _ in range(calls):
        worker.call(rates, 10)
        worker.exchange()
        for made in worker.made:
            made.permit.release(10)
        clock.now += 0.01


def test_of_a_hundred_among_four_exactly_five_pass(counters: Counters) -> None:
    """Whoever comes first; the others are refused at once."""
    rates = Rates(requests=5)
    workers = [Worker(f"w{number}", counters, 4) for number in range(4)]
    for number in range(100):
        workers[number % 4].call(rates)
    for worker in workers:
        worker.exchange()
    assert sum(len(worker.made) for worker in workers) == 5
    assert sum(len(worker.refused) for worker in workers) == 95
    assert counters.exchanges == 4


def test_busy_subject_needs_few_exchanges(counters: Counters, clock: Clock) -> None:
    """A thousand calls at a hundred per second: a few exchanges per second."""
    worker = Worker("w", counters, 2)
    rates = Rates(requests=10**6, tokens=10**9, concurrency=1000)
    for _ in range(1000):
        worker.call(rates, 10)
        if worker.waiting or (worker.shares.due() or clock.now + 1) <= clock.now:
            worker.exchange()
        for made in worker.made:
            made.permit.release(10)
        clock.now += 0.01
    assert len(worker.made) == 1000
    assert counters.exchanges < 90


def test_what_is_ahead_is_returned_in_time(counters: Counters, clock: Clock) -> None:
    """Who stops calling holds nothing any more a moment later."""
    worker = Worker("w", counters, 2)
    rates = Rates(requests=1000, tokens=10**6, concurrency=100)
    busy(worker, rates, 30, clock)
    assert counters.tallies["s"].subject(clock.now).requests > 30
    for _ in range(3):
        clock.now += LEISURE
        worker.exchange()
    subject = counters.tallies["s"].subject(clock.now)
    assert (subject.requests, subject.tokens, subject.at_work) == (30, 300, 0)
    assert worker.shares.due() is None


def test_what_is_ahead_is_not_used_too_late(counters: Counters, clock: Clock) -> None:
    """After its time the store is asked, though the slice is still there."""
    worker = Worker("w", counters, 2)
    rates = Rates(requests=1000)
    busy(worker, rates, 30, clock)
    clock.now += LEISURE
    worker.call(rates)
    assert len(worker.waiting) == 1


def test_nobody_is_refused_for_what_others_return(
    counters: Counters, clock: Clock
) -> None:
    """A refusal waits until what is lent has come back, and then takes it."""
    one, other = Worker("one", counters, 2), Worker("other", counters, 2)
    rates = Rates(requests=60)
    busy(one, rates, 20, clock)
    ahead = counters.tallies["s"].subject(clock.now).requests - 20
    assert ahead > 0
    for _ in range(41):
        other.call(rates)
    other.exchange()
    assert len(other.made) == 40 - ahead
    assert not other.refused
    clock.now += LEISURE
    one.exchange()
    clock.now += GRACE
    due = other.shares.due()
    assert due is not None
    assert due <= clock.now
    other.exchange()
    assert len(other.made) == 40
    assert [refusal.limit for refusal in other.refused] == [Limit.REQUESTS]


def test_call_after_call_finds_its_place_on_another_worker(
    counters: Counters, clock: Clock
) -> None:
    """The place of a call that has just ended may still be on its way back."""
    one, other = Worker("one", counters, 2), Worker("other", counters, 2)
    rates = Rates(concurrency=1)
    one.call(rates)
    one.exchange()
    one.made[0].permit.release()
    other.call(rates)
    other.exchange()
    assert not other.made
    assert not other.refused
    one.exchange()
    clock.now += GRACE
    other.exchange()
    assert len(other.made) == 1


def test_place_freed_while_the_store_is_asked_comes_back(
    counters: Counters, clock: Clock
) -> None:
    """The answer on its way still counts it as held."""
    worker = Worker("w", counters, 2)
    rates = Rates(requests=1000, concurrency=100)
    worker.call(rates)
    worker.exchange()
    worker.call(rates)
    worker.ask()
    worker.made[0].permit.release()
    worker.hear()
    clock.now += LEISURE
    worker.exchange()
    assert counters.tallies["s"].places == {"w": 1}


def test_refusal_is_final_soon(counters: Counters, clock: Clock) -> None:
    """Who is over the limit waits for others for a moment only."""
    one, other = Worker("one", counters, 2), Worker("other", counters, 2)
    rates = Rates(concurrency=1)
    one.call(rates)
    one.exchange()
    other.call(rates)
    for _ in range(3):
        other.exchange()
        clock.now += GRACE
    assert [refusal.limit for refusal in other.refused] == [Limit.CONCURRENCY]


def test_impatient_call_is_refused_at_once(counters: Counters) -> None:
    """An attempt has other channels to go to."""
    one, other = Worker("one", counters, 2), Worker("other", counters, 2)
    rates = Rates(concurrency=1)
    one.call(rates)
    one.exchange()
    other.call(rates, patient=False)
    other.exchange()
    assert len(other.refused) == 1


def test_own_full_house_is_refused_at_once(counters: Counters) -> None:
    """When no other process holds a place, none can come back unknown to us."""
    worker = Worker("w", counters, 2)
    for _ in range(2):
        worker.call(Rates(concurrency=1))
    worker.exchange()
    assert (len(worker.made), len(worker.refused)) == (1, 1)


def test_caller_who_has_left_counts_nothing(counters: Counters, clock: Clock) -> None:
    """What was drawn for it is returned."""
    worker = Worker("w", counters, 2)
    rates = Rates(requests=5, tokens=100, concurrency=2)
    worker.call(rates, 10)
    worker.ask()
    worker.waiting.pop()[0].outcome.cancel()
    worker.hear()
    clock.now += LEISURE
    worker.exchange()
    subject = counters.tallies["s"].subject(clock.now)
    assert (subject.requests, subject.tokens, subject.at_work) == (0, 0, 0)


def test_headers_tell_what_the_store_said(counters: Counters, clock: Clock) -> None:
    """What is ahead is still to be had; an old minute is a new one."""
    worker = Worker("w", counters, 2)
    rates = Rates(requests=1000, tokens=10_000)
    busy(worker, rates, 30, clock)
    lines = worker.shares.header_lines("s", rates)
    assert b"x-ratelimit-limit-requests: 1000\r\n" in lines
    assert b"x-ratelimit-remaining-requests: 970\r\n" in lines
    assert b"x-ratelimit-remaining-tokens: 9700\r\n" in lines
    clock.now += 62
    lines = worker.shares.header_lines("s", rates)
    assert b"x-ratelimit-remaining-requests: 1000\r\n" in lines
    assert b"x-ratelimit-reset-requests: 0s\r\n" in lines


def test_changed_limit_holds_at_once(counters: Counters, clock: Clock) -> None:
    """What is ahead was given under the old limits and is not used."""
    worker = Worker("w", counters, 2)
    busy(worker, Rates(requests=1000), 30, clock)
    worker.call(Rates(requests=30))
    assert len(worker.made) == 30
    for _ in range(2):
        worker.exchange()
        clock.now += LEISURE + GRACE
    assert len(worker.made) == 30
    assert [refusal.limit for refusal in worker.refused] == [Limit.REQUESTS]


def test_who_calls_on_and_on_is_refused_without_asking(
    counters: Counters, clock: Clock
) -> None:
    """A minute that is used up costs a few exchanges per second, not each call."""
    worker = Worker("w", counters, 2)
    rates = Rates(requests=5)
    for _ in range(6000):
        worker.call(rates)
        worker.exchange()
        clock.now += 0.01
    assert len(worker.made) == 5
    assert len(worker.refused) == 5995
    assert worker.asks < 350
    for _ in range(200):
        worker.call(rates)
        worker.exchange()
        clock.now += 0.01
    assert len(worker.made) == 10


def test_many_subjects_take_several_exchanges(counters: Counters, clock: Clock) -> None:
    """First come, first asked; and there is a call for the next."""
    woken: list[bool] = []
    shares = Shares(2, lambda: woken.append(True), clock)
    waiters = [
        Waiter(Rates(requests=1), 0, 0, Future(), patient=True) for _ in range(2500)
    ]
    for number, waiter in enumerate(waiters):
        shares.wait(f"{number}", waiter)
    for expected in (1000, 2000, 2500):
        woken.clear()
        shares.apply(counters.answer(shares.collect(), "w"))
        assert sum(waiter.outcome.done() for waiter in waiters[:expected]) == expected
        assert not any(waiter.outcome.done() for waiter in waiters[expected:])
        assert bool(woken) == (expected < 2500)
    assert all(waiter.outcome.done() for waiter in waiters)
    assert shares.collect() == []


def test_shares_of_the_idle_are_dropped(counters: Counters, clock: Clock) -> None:
    """Passers-by do not fill the memory; who still counts is not lost."""
    shares = Shares(2, lambda: None, clock)
    rates = Rates(requests=5)

    def come(name: str) -> None:
        waiter = Waiter(rates, 0, 0, Future(), patient=True)
        shares.wait(name, waiter)
        shares.apply(counters.answer(shares.collect(), "w"))

    most = 0
    for number in range(5000):
        clock.now += 0.06
        come(f"passer {number}")
        most = max(most, len(shares))
    assert most <= 2100

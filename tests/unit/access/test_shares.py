"""Several processes' shares of one store: never too many, nothing left behind."""

import asyncio
from collections.abc import Iterator
from typing import NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.access.counting import Clock, Counters

from posthouse.access.counters import LEISURE, Answer
from posthouse.access.ports import Permit
from posthouse.access.shares import GRACE, Shares, Waiter
from posthouse.access.windows import Limit, Rates, Refusal


class Made(NamedTuple):
    """An admitted call."""

    at: float
    worker: "Worker"
    permit: Permit
    tokens: int


class Worker:
    """One process, whose exchanges the test makes step by step."""

    def __init__(self, name: str, counters: Counters, among: int) -> None:
        self.name = name
        self.counters = counters
        self.woken = False
        self.asks = 0
        self.shares = Shares(among, self._wake, counters.clock)
        self.waiting: list[tuple[Waiter, int]] = []
        self.made: list[Made] = []
        self.refused: list[Refusal] = []
        self._answers: list[Answer] | None = None
        self._asked_at = 0.0

    def _wake(self) -> None:
        self.woken = True

    def call(
        self, rates: Rates, tokens: int = 0, output: int = 0, *, patient: bool = True
    ) -> None:
        """A call comes; it is admitted at once or waits."""
        permit = self.shares.take("s", rates, tokens, output)
        if permit is not None:
            counted = tokens + output if rates.tokens is not None else 0
            self.made.append(Made(self.counters.clock(), self, permit, counted))
            return
        refusal = self.shares.refusal("s", rates)
        if refusal is not None:
            self.refused.append(refusal)
            return
        waiter = Waiter(rates, tokens, output, LOOP.create_future(), patient=patient)
        self.waiting.append((waiter, tokens + output))
        self.shares.wait("s", waiter)

    def ask(self) -> None:
        """The store hears what there is to say; its answer is under way."""
        if self._answers is None:
            self._asked_at = self.counters.clock()
            self.woken = False
            asks = self.shares.collect()
            self.asks += len(asks)
            self._answers = self.counters.answer(asks, self.name)

    def hear(self) -> None:
        """The answer arrives."""
        if self._answers is None:
            return
        answers, self._answers = self._answers, None
        self.shares.apply(answers)
        still = []
        for waiter, tokens in self.waiting:
            if not waiter.outcome.done():
                still.append((waiter, tokens))
                continue
            result = waiter.outcome.result()
            if isinstance(result, Refusal):
                self.refused.append(result)
            else:
                # What was drawn counts from the draw, what was ahead from now;
                # the earlier of both is the stricter to check.
                self.made.append(Made(self._asked_at, self, result, tokens))
        self.waiting = still

    def exchange(self) -> None:
        self.ask()
        self.hear()

    def lose(self, *, untold: bool) -> None:
        """The store does not answer, whether it has heard or not."""
        if self._answers is not None:
            return
        asks = self.shares.collect()
        if not untold:
            self.counters.answer(asks, self.name)
        failed = {id(waiter) for _, waiter in self.shares.fail(untold=untold)}
        self.waiting = [item for item in self.waiting if id(item[0]) not in failed]

    @property
    def has_more(self) -> bool:
        """Whether there is something to tell, now or later."""
        return self.woken or self.shares.due() is not None


LOOP = asyncio.new_event_loop()


@pytest.fixture(autouse=True, scope="module")
def _closed_loop() -> Iterator[None]:
    yield
    LOOP.close()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def counters(clock: Clock) -> Counters:
    return Counters(clock)


def busy(worker: Worker, rates: Rates, calls: int, clock: Clock) -> None:
    """Make calls of no length, a hundred per second."""
    for _ in range(calls):
        worker.call(rates, 10)
        worker.exchange()
        for made in worker.made:
            made.permit.release(10)
        clock.now += 0.01


ACTIONS = ("call", "call", "burst", "ask", "hear", "exchange", "release", "tick")
FAULTS = ("die", "lose")
STEPS = st.lists(
    st.tuples(
        st.integers(0, 2),
        st.sampled_from(
            [
                "call",
                "call",
                "burst",
                "ask",
                "hear",
                "exchange",
                "exchange",
                "release",
                "tick",
                "die",
            ]
        ),
        st.integers(0, 100),
    ),
    max_size=120,
)


class World:
    """Three workers and what they did."""

    def __init__(self, rates: Rates) -> None:
        self.rates = rates
        self.clock = Clock()
        self.counters = Counters(self.clock)
        self.born = 0
        self.workers = [self.fresh() for _ in range(3)]
        self.made: list[Made] = []
        self.ended: dict[int, int] = {}
        """Tokens used, by the place of the call in `made`."""
        self.lost: set[int] = set()
        self.lossy = False
        """Whether something was counted that nobody could use."""

    def fresh(self) -> Worker:
        self.born += 1
        return Worker(f"w{self.born}", self.counters, 3)

    def step(self, index: int, action: str, number: int) -> None:
        """One thing happens."""
        worker = self.workers[index]
        if action == "tick":
            self.clock.now += number**2 / 200
        elif action in ("call", "burst"):
            for _ in range(1 if action == "call" else number // 4):
                worker.call(self.rates, number % 7, number % 5)
        elif action == "release":
            self.release(number)
        elif action == "die":
            self.die(index)
        elif action == "lose":
            self.lossy = True
            worker.lose(untold=number % 2 == 0)
        else:
            getattr(worker, action)()
        self.gather()

    def gather(self) -> None:
        for worker in self.workers:
            self.made += worker.made
            worker.made = []

    def release(self, number: int) -> None:
        """One of the calls under way ends, having used less than was counted."""
        open_calls = self.open()
        if open_calls:
            place = open_calls[number % len(open_calls)]
            used = self.made[place].tokens // 2
            self.ended[place] = used
            self.made[place].permit.release(used)

    def die(self, index: int) -> None:
        dying = self.workers[index]
        self.counters.dead.add(dying.name)
        self.lossy = True
        made = self.made
        self.lost |= {place for place in self.open() if made[place].worker is dying}
        self.workers[index] = self.fresh()

    def open(self) -> list[int]:
        return [
            place
            for place in range(len(self.made))
            if place not in self.ended and place not in self.lost
        ]

    def check(self) -> None:
        """No span of 60 seconds has too much; not too many are at work."""
        rates = self.rates
        if rates.concurrency is not None:
            assert len(self.open()) <= rates.concurrency
        for last in self.made:
            span = [
                place
                for place, made in enumerate(self.made)
                if last.at - 60 < made.at <= last.at
            ]
            if rates.requests is not None:
                assert len(span) <= rates.requests
            if rates.tokens is not None:
                used = [self.ended.get(place, 0) for place in span]
                assert sum(used) <= rates.tokens

    def settle(self) -> None:
        """All calls end, and soon there is nothing left to tell."""
        rounds = 0
        while rounds < 2 or any(worker.has_more for worker in self.workers):
            for worker in self.workers:
                worker.hear()
                worker.exchange()
            self.gather()
            while self.open():
                self.release(0)
            self.clock.now += LEISURE + GRACE
            rounds += 1
            assert rounds < 10
        assert not any(worker.waiting for worker in self.workers)

    def check_rest(self) -> None:
        """Where nothing was lost, all that is left can be had."""
        limit = self.rates.requests or 0
        recent = [made for made in self.made if made.at > self.clock.now - 61.5]
        rates = Rates(requests=limit)
        newcomer = self.workers[0] = self.fresh()
        for _ in range(limit):
            newcomer.call(rates)
        newcomer.exchange()
        assert len(newcomer.made) >= limit - len(recent)


@settings(max_examples=150, deadline=None)
@given(
    STEPS,
    st.sampled_from(
        [
            Rates(requests=5),
            Rates(requests=60),
            Rates(requests=40, concurrency=6),
            Rates(tokens=60),
            Rates(requests=30, tokens=200, concurrency=30),
            Rates(concurrency=3),
        ]
    ),
)
def test_any_interleaving_keeps_the_limits(
    steps: list[tuple[int, str, int]], rates: Rates
) -> None:
    """Whatever happens in whichever order: never too much, nothing left behind."""
    world = World(rates)
    for index, action, number in steps:
        world.step(index, action, number)
        if rates.concurrency is not None:
            assert len(world.open()) <= rates.concurrency
    world.check()
    world.settle()
    world.check()
    if rates.requests is not None and not world.lossy:
        world.check_rest()
    world.clock.now += 62
    for tally in world.counters.tallies.values():
        assert tally.is_idle(world.clock.now, world.counters.dead.__contains__)
        assert tally.places == {}


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


def test_shares_of_the_idle_are_dropped(counters: Counters, clock: Clock) -> None:
    """Passers-by do not fill the memory; who still counts is not lost."""
    shares = Shares(2, lambda: None, clock)
    rates = Rates(requests=5)

    def come(name: str) -> None:
        waiter = Waiter(rates, 0, 0, LOOP.create_future(), patient=True)
        shares.wait(name, waiter)
        shares.apply(counters.answer(shares.collect(), "w"))

    most = 0
    for number in range(5000):
        clock.now += 0.06
        come(f"passer {number}")
        most = max(most, len(shares))
    assert most <= 2100

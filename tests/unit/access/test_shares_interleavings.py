"""Several processes' shares of one store: never too many, nothing left behind."""

from hypothesis import given, settings
from hypothesis import strategies as st
from tests.conftest import MakeCounters
from tests.unit.access.counting import Clock
from tests.unit.access.working import Made, Worker

from posthouse.access.counters import LEISURE
from posthouse.access.shares import GRACE
from posthouse.access.windows import Rates

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

    def __init__(self, rates: Rates, make_counters: MakeCounters) -> None:
        self.rates = rates
        self.clock = Clock()
        self.counters = make_counters(self.clock)
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
    make_counters: MakeCounters, steps: list[tuple[int, str, int]], rates: Rates
) -> None:
    """Whatever happens in whichever order: never too much, nothing left behind."""
    world = World(rates, make_counters)
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

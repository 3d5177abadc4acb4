"""The gate: who is let in, who waits, who is refused, and for whose sake."""

import asyncio
from collections import Counter, deque

from hypothesis import given
from hypothesis import strategies as st

from posthouse.server.gate import Gate, GateTimes, Line


class Visitor:
    """A request, as far as the gate knows one."""

    def __init__(self, tenant: str, house: "House", *, urgent: bool = False) -> None:
        self.tenant = tenant
        self.house = house
        self.urgent = urgent
        self.gone = False
        self.state = "outside"

    def begin(self) -> None:
        self.state = "begun"
        self.house.gate.young += 1
        self.house.running.append(self)


class House:
    """A process that serves one visitor in a millisecond of a clock of its own."""

    COST = 0.001

    def __init__(self, wait: float = 0.2, **more: float) -> None:
        self.now = 100.0
        times = GateTimes(wait=wait, **more)
        self.gate = Gate(
            times,
            tenant_of=lambda visitor: visitor.tenant,
            clock=lambda: self.now,
            cpu=lambda: self.now,
        )
        self.gate.door = self
        self.running: deque[Visitor] = deque()
        self.served: Counter[str] = Counter()
        self.refused: Counter[str] = Counter()
        self.urgent_wait = 0.0

    # The door.

    def is_urgent(self, visitor: Visitor) -> bool:
        return visitor.urgent

    def turn_away(self, visitor: Visitor, _tenant: str) -> None:
        visitor.state = "refused"
        self.refused[visitor.tenant] += 1

    # The loop.

    def visit(self, tenant: str, *, urgent: bool = False) -> Visitor:
        visitor = Visitor(tenant, self, urgent=urgent)
        if self.gate.young < self.gate.open_to:
            visitor.begin()
        else:
            self.gate.hold(visitor)
        return visitor

    async def turn(self) -> None:
        """Let everybody who has begun be served, then the gate have its turn."""
        self.now += 0.0001
        while self.running:
            visitor = self.running.popleft()
            self.gate.young -= 1
            self.now += self.COST
            visitor.state = "served"
            self.served[visitor.tenant] += 1
        await asyncio.sleep(0)

    async def storm(self, rates: dict[str, float], seconds: float) -> None:
        """Have tenants come at so many a second."""
        end = self.now + seconds
        due = dict.fromkeys(rates, self.now)
        while self.now < end:
            for tenant, rate in rates.items():
                while due[tenant] <= self.now:
                    self.visit(tenant)
                    due[tenant] += 1 / rate
            await self.turn()


async def test_who_comes_to_an_idle_house_begins_at_once() -> None:
    """And nothing is asked, measured or kept for it."""
    house = House()
    for _ in range(1000):
        assert house.visit("a").state == "begun"
        await house.turn()
    assert house.gate.waiting == house.gate.refused == 0


async def test_a_burst_is_served_without_a_refusal() -> None:
    """In turns that are short, and in the order in which it came."""
    house = House()
    visitors = [house.visit("a") for _ in range(1000)]
    longest = 0.0
    while house.gate.waiting or house.running:
        before = house.now
        await house.turn()
        longest = max(longest, house.now - before)
    assert {visitor.state for visitor in visitors} == {"served"}
    assert longest < 0.02
    assert house.gate.open_to


async def test_of_three_times_too_many_it_serves_what_it_can() -> None:
    """Nobody waits much longer than is allowed, and all the time goes to serving."""
    house = House()
    await house.storm({"a": 3000}, 10)
    assert house.served["a"] > 0.85 * 10 / House.COST
    assert house.refused["a"] > 10_000
    assert house.gate.waiting <= 0.45 / House.COST
    began = house.now
    while house.gate.waiting or house.running:
        await house.turn()
    assert house.now - began < 0.5
    assert house.visit("a").state == "begun"


async def test_refused_is_at_once_or_not_at_all() -> None:
    """Who is let into the line of one tenant is served in the end."""
    house = House()
    await house.storm({"a": 3000}, 1)
    newcomers = [house.visit("a") for _ in range(500)]
    await house.turn()
    states = Counter(visitor.state for visitor in newcomers)
    assert states["refused"] > 400
    while house.gate.waiting or house.running:
        await house.turn()
    assert Counter(v.state for v in newcomers)["refused"] == states["refused"]


async def test_a_greedy_tenant_gets_no_more_than_twice_its_share() -> None:
    """Who asks for less than a share is refused next to nothing."""
    house = House()
    await house.storm({"greedy": 3000, "b": 300, "c": 300, "d": 300, "e": 100}, 10)
    assert house.served["greedy"] <= 2 / 5 * house.served.total()
    assert house.served["e"] >= 0.95 * 1000
    assert house.refused["greedy"] > 20 * house.refused["b"]


async def test_a_lone_tenant_has_everything() -> None:
    house = House()
    await house.storm({"a": 3000, "b": 1}, 5)
    assert house.served["a"] > 0.85 * 5 / House.COST


async def test_the_urgent_never_wait_in_line() -> None:
    house = House()
    await house.storm({"a": 3000}, 1)
    urgent = house.visit("operator", urgent=True)
    await house.turn()
    assert urgent.state == "begun"


async def test_who_has_left_takes_no_turn() -> None:
    house = House()
    visitors = [house.visit("a") for _ in range(100)]
    waiting = [v for v in visitors if v.state == "outside"]
    for visitor in waiting:
        visitor.gone = True
    while house.gate.waiting or house.running:
        await house.turn()
    assert {visitor.state for visitor in waiting} == {"outside"}


async def test_a_loop_that_is_late_with_other_work_lets_few_in() -> None:
    """Once it was late all the time for long enough, and until it is not."""
    house = House()
    for late in (0.2, 0.001, 0.2):
        house.gate.look(late)
        house.now += 0.15
    assert house.gate.open_to
    house.gate.look(0.2)
    house.now += 0.15
    house.gate.look(0.2)
    assert not house.gate.open_to
    assert house.visit("a").state == "outside"
    await house.turn()
    await house.turn()
    assert house.served["a"] == 1
    house.gate.look(0.001)
    assert house.visit("a").state == "begun"


async def test_refusals_are_reported_once() -> None:
    """Those that nobody has counted, with the next look at the clock."""
    house = House()
    told: list[int] = []
    house.gate.report = told.append
    house.gate.uncounted = 7
    house.gate.look(0)
    house.gate.look(0)
    assert told == [7]


@given(st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from("atd"))))
def test_lines_lose_nobody_and_drop_from_the_longest(steps) -> None:
    """Against lists: in rotation from the front, from the back of the longest."""
    line, model = Line(), {name: [] for name in "abc"}
    for number, (tenant, step) in enumerate(steps):
        longest = max(map(len, model.values()))
        if step == "a":
            line.add(tenant, number)
            model[tenant].append(number)
        elif longest and step == "t":
            taken = line.take()
            (owner,) = [name for name in "abc" if model[name][:1] == [taken]]
            model[owner].pop(0)
        elif longest:
            owner, dropped = line.drop()
            assert len(model[owner]) == longest
            assert model[owner].pop() == dropped
        assert len(line) == sum(map(len, model.values()))
        assert line.longest == max(map(len, model.values()))
        assert [line.of(name) for name in "abc"] == [len(model[n]) for n in "abc"]

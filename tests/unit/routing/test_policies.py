"""Policies: which channel of equal priority comes first."""

from collections import Counter
from math import ceil
from typing import TypeVar

import pytest
from hypothesis import given
from hypothesis import strategies as some
from msgspec import Struct
from tests.unit.routing.routes import channel, routes_of, table

from posthouse.routing.health import HealthTable, Verdict
from posthouse.routing.latency import (
    EXPLORED,
    FAILURE_SECONDS,
    HALF_FORGOTTEN,
    STALE,
    LatencyTable,
    LowestLatency,
)
from posthouse.routing.plan import LOAD_FACTOR, Plan, Target
from posthouse.routing.policies import LeastBusy, LowestCost, PolicyBook
from posthouse.routing.table import (
    REMEMBERED_NAMES,
    Asked,
    Channel,
    Choice,
    ModelRoutes,
    Policy,
    RoutingTable,
)
from posthouse.settings.file import HedgeSpec, RoutingSpec

NOW = 1000.0
NAMES = ("a", "b", "c", "d", "e")

Value = TypeVar("Value")


def routes_by(choice: Choice | None, *channels: Channel) -> ModelRoutes:
    return routes_of(RoutingTable(channels, {}, lambda _: choice), "m")


def plan(
    routes: ModelRoutes,
    affinity: bytes = b"conversation",
    health: HealthTable | None = None,
    **more: object,
) -> Plan:
    return Plan((routes,), (affinity, b"tenant"), health or HealthTable(), **more)  # type: ignore[arg-type]


def first(routes: ModelRoutes, affinity: bytes = b"conversation") -> str:
    target = plan(routes, affinity).next(NOW)
    assert target is not None
    return target.member.channel.name


def order(made: Plan) -> list[str]:
    names = []
    while (target := made.next(NOW)) is not None:
        names.append(target.member.channel.name)
        made.exclude_channel(names[-1])
    return names


def by_cost(**costs: float) -> LowestCost:
    return LowestCost(lambda name, _provider, _model, _asked: costs.get(name))


# --- what holds for all of them -----------------------------------------------------


class World(Struct):
    """Five channels, what is known of them, and a call."""

    priorities: list[int]
    costs: list[float | None]
    loads: list[int]
    times: list[float | None]
    failed: set[str]
    allowed: frozenset[str] | None
    affinity: bytes

    def policy(self, kind: str) -> Policy | None:
        latencies = LatencyTable()
        for name, seconds in zip(NAMES, self.times, strict=True):
            if seconds is not None:
                latencies.add((name, "m", False), seconds, NOW)
        policies: dict[str, Policy] = {
            "cost": LowestCost(lambda name, *_: self.costs[NAMES.index(name)]),
            "latency": LowestLatency(latencies),
            "busy": LeastBusy(),
        }
        return policies.get(kind)

    def channels(self) -> list[Channel]:
        made = [
            channel(name, "m", priority=priority)
            for name, priority in zip(NAMES, self.priorities, strict=True)
        ]
        for one, load in zip(made, self.loads, strict=True):
            one.load.in_flight = load
        return made


def five(values: some.SearchStrategy[Value]) -> some.SearchStrategy[list[Value]]:
    return some.lists(values, min_size=5, max_size=5)


WORLDS = some.builds(
    World,
    priorities=five(some.integers(0, 2)),
    costs=five(some.none() | some.floats(0, 10)),
    loads=five(some.integers(0, 3)),
    times=five(some.none() | some.floats(0.01, 9)),
    failed=some.sets(some.sampled_from(NAMES)),
    allowed=some.none() | some.frozensets(some.sampled_from(NAMES), min_size=1),
    affinity=some.binary(max_size=4),
)


@given(WORLDS, some.sampled_from(["weighted", "cost", "latency", "busy"]))
def test_a_policy_never_leaves_what_can_be_used_nor_takes_what_cannot(
    world: World, kind: str
) -> None:
    """Every usable channel that may serve comes once, tier after tier; no other."""
    health = HealthTable()
    for name in world.failed:
        for _ in range(5):
            health.end(name, 0, Verdict.FAILURE, NOW)
    choice = Choice(world.policy(kind), world.allowed)
    routes = routes_by(choice, *world.channels())
    tried = order(plan(routes, world.affinity, health))
    expected = set(NAMES) - world.failed
    if world.allowed is not None:
        expected &= world.allowed
    assert sorted(tried) == sorted(expected)
    tiers = [world.priorities[NAMES.index(name)] for name in tried]
    assert tiers == sorted(tiers, reverse=True)


@given(affinity=some.binary(max_size=8), names=some.permutations(NAMES))
def test_what_is_equally_good_comes_in_the_order_of_the_ring(
    affinity: bytes, names: list[str]
) -> None:
    """So a session stays where it began, whatever the policy."""
    channels = [channel(name, "m") for name in names]
    usual = order(plan(routes_by(None, *channels), affinity))
    for policy in (by_cost(**dict.fromkeys(NAMES, 1.0)), LeastBusy(), by_cost()):
        assert order(plan(routes_by(Choice(policy), *channels), affinity)) == usual
    only = frozenset(NAMES[:3])
    some_of_them = order(plan(routes_by(Choice(None, only), *channels), affinity))
    assert some_of_them == [name for name in usual if name in only]


def test_without_an_entry_routes_have_no_choice_at_all() -> None:
    """Nothing is asked of policies for models that have none."""
    assert routes_of(table(channel("a", "m")), "m").choice is None
    book = PolicyBook([RoutingSpec("m", "weighted")], {"least_busy": LeastBusy()})
    assert book.choice("m") is None


# --- lowest cost --------------------------------------------------------------------


def test_the_cheapest_comes_first_and_unknown_prices_last() -> None:
    """Through all that are left."""
    channels = [channel(name, "m") for name in NAMES]
    policy = by_cost(a=3.0, b=1.0, c=2.0, e=0.0)
    assert order(plan(routes_by(Choice(policy), *channels))) == [
        "e",
        "b",
        "c",
        "a",
        "d",
    ]


def test_cost_is_asked_for_this_calls_tokens_and_the_name_that_a_wildcard_got() -> None:
    """Long prompts and long answers may have different suppliers."""

    def cost(name: str, provider: str, model: str, asked: Asked) -> float:
        assert (provider, model) == ("provider", "gpt-4")
        rates = {"reads": (1, 9), "writes": (9, 1)}[name]
        return rates[0] * asked.prompt_tokens + rates[1] * asked.output_tokens

    choice = Choice(LowestCost(cost))
    found = RoutingTable(
        [channel("reads", "gpt-*"), channel("writes", "gpt-*")], {}, lambda _: choice
    )
    routes = routes_of(found, "gpt-4")
    for tokens, expected in (((1000, 10), "reads"), ((10, 1000), "writes")):
        target = plan(routes, tokens=tokens).next(NOW)
        assert target is not None
        assert target.member.channel.name == expected
        assert target.member.upstream_model == "gpt-4"


def test_the_credentials_of_the_cheapest_share_its_load() -> None:
    """One conversation does not sit on one of three keys."""
    routes = routes_by(
        Choice(by_cost(a=1.0, b=2.0)), channel("a", "m", keys=3), channel("b", "m")
    )
    used: Counter[int] = Counter()
    for _ in range(12):
        target = plan(routes).next(NOW)
        assert target is not None
        assert target.member.channel.name == "a"
        target.begin()
        used[target.member.credential] += 1
    assert len(used) == 3
    assert max(used.values()) <= ceil(LOAD_FACTOR * 12 / 3)


# --- least busy ---------------------------------------------------------------------


def test_the_least_busy_by_weight_comes_first() -> None:
    """A channel of weight three bears three times as much."""
    routes = routes_by(
        Choice(LeastBusy()), channel("a", "m", weight=3), channel("b", "m")
    )
    taken: Counter[str] = Counter()
    targets: list[Target] = []
    for number in range(40):
        target = plan(routes, b"%d" % number).next(NOW)
        assert target is not None
        target.begin()
        targets.append(target)
        taken[target.member.channel.name] += 1
    assert taken == {"a": 30, "b": 10}
    for target in targets:
        target.end()
    assert all(one.member.channel.load.in_flight == 0 for one in targets)


def test_load_is_the_channels_under_whatever_model() -> None:
    """Calls of another model keep a channel as busy."""
    channels = [channel("a", "m", "n"), channel("b", "m", "o")]
    found = RoutingTable(channels, {}, lambda _: Choice(LeastBusy()))
    target = plan(routes_of(found, "n")).next(NOW)
    assert target is not None
    target.begin()
    assert {first(routes_of(found, "m"), b"%d" % i) for i in range(20)} == {"b"}


# --- lowest latency -----------------------------------------------------------------


def latencies_of(**seconds: float) -> LatencyTable:
    found = LatencyTable()
    for name, value in seconds.items():
        found.add((name, "m", False), value, NOW)
    return found


def test_the_soonest_comes_first_and_one_choice_in_twenty_explores() -> None:
    """What was slow once gets its chance to be measured again."""
    found = latencies_of(a=0.9)
    for name, seconds in (("b", 0.2), ("c", 0.8)):
        found.add((name, "m", False), seconds, NOW + 1)
    routes = routes_by(
        Choice(LowestLatency(found)), *(channel(name, "m") for name in "abc")
    )
    taken = Counter(first(routes, b"%d" % i) for i in range(10 * EXPLORED))
    assert taken == {"b": 10 * (EXPLORED - 1), "a": 10}


def test_nearly_equal_times_leave_sessions_where_they_are() -> None:
    """A tenth more is no reason to leave a cached prompt behind."""
    found = latencies_of(a=0.200, b=0.215)
    routes = routes_by(
        Choice(LowestLatency(found)), channel("a", "m"), channel("b", "m")
    )
    usual = routes_by(None, channel("a", "m"), channel("b", "m"))
    for number in range(EXPLORED - 1):
        affinity = b"%d" % number
        assert first(routes, affinity) == first(usual, affinity)


def test_the_unknown_is_asked_first_by_one_call_at_a_time() -> None:
    """A channel that hangs takes one call, not all of them."""
    found = latencies_of(a=0.2)
    routes = routes_by(
        Choice(LowestLatency(found)), channel("a", "m"), channel("b", "m")
    )
    target = plan(routes).next(NOW)
    assert target is not None
    assert target.member.channel.name == "b"
    target.begin()
    assert first(routes) == "a"
    target.end()
    assert first(routes) == "b"


def test_streams_and_whole_replies_are_measured_apart() -> None:
    """The first word comes sooner than the last one."""
    policy = LowestLatency(LatencyTable())
    routes = routes_by(Choice(policy), channel("a", "m"), channel("b", "m"))
    members = {member.channel.name: member for member in routes.tiers[0].members}
    for stream, times in ((False, {"a": 1.0, "b": 2.0}), (True, {"a": 0.5, "b": 0.1})):
        for name, seconds in times.items():
            policy.observe(members[name], seconds, NOW, stream=stream, failed=False)
    for stream, expected in ((False, "a"), (True, "b")):
        target = plan(routes, stream=stream).next(NOW)
        assert target is not None
        assert target.member.channel.name == expected


def test_an_average_forgets() -> None:
    """Half a minute later a new time counts for most of it; ten minutes, for all."""
    found = LatencyTable()
    key = ("a", "m", False)
    found.add(key, 1.0, NOW)
    found.add(key, 2.0, NOW)
    figure = found.find(key, NOW)
    assert figure is not None
    assert figure.seconds == pytest.approx(1.1)
    found.add(key, 0.1, NOW + HALF_FORGOTTEN)
    assert figure.seconds < 0.6
    assert found.find(key, NOW + HALF_FORGOTTEN + STALE + 1) is None
    found.add(key, 3.0, NOW + 2 * STALE)
    later = found.find(key, NOW + 2 * STALE)
    assert later is not None
    assert later.seconds == 3.0
    found.keep_only(set())
    assert found.find(key, NOW + 2 * STALE) is None


def test_strangers_names_do_not_fill_the_memory() -> None:
    """A wildcard's models are as many as callers can think of."""
    found = LatencyTable()
    for number in range(REMEMBERED_NAMES + 10):
        found.add(("a", f"m{number}", False), 1.0, NOW)
    assert len(found.by_channel(NOW)["a"]) == REMEMBERED_NAMES
    assert found.find(("a", f"m{REMEMBERED_NAMES + 9}", False), NOW) is not None


def test_a_quick_failure_is_not_quick() -> None:
    """It counts as ten seconds."""
    found = latencies_of(a=0.3)
    policy = LowestLatency(found)
    routes = routes_by(Choice(policy), channel("a", "m"), channel("b", "m"))
    members = {member.channel.name: member for member in routes.tiers[0].members}
    policy.observe(members["b"], 0.001, NOW, stream=False, failed=True)
    figure = found.find(("b", "m", False), NOW)
    assert figure is not None
    assert figure.seconds == FAILURE_SECONDS
    assert first(routes) == "a"


@given(
    times=some.lists(
        some.tuples(some.floats(0, 100), some.floats(0, 60)), min_size=1, max_size=30
    )
)
def test_an_average_lies_within_what_it_is_made_of(
    times: list[tuple[float, float]],
) -> None:
    """However they come."""
    found = LatencyTable()
    now = NOW
    for seconds, pause in times:
        now += pause
        found.add(("a", "m", True), seconds, now)
    figure = found.find(("a", "m", True), now)
    assert figure is not None
    low = min(seconds for seconds, _ in times)
    high = max(seconds for seconds, _ in times)
    assert low - 1e-9 <= figure.seconds <= high + 1e-9
    assert found.by_channel(now) == {"a": {"m (stream)": figure.seconds}}


# --- whose policy it is ---------------------------------------------------------------


def test_the_most_specific_entry_decides_a_models_policy() -> None:
    """As with channels and prices."""
    busy, cheap = LeastBusy(), by_cost()
    book = PolicyBook(
        [
            RoutingSpec("*", "lowest_cost"),
            RoutingSpec("gpt-*", "weighted"),
            RoutingSpec("gpt-4", "least_busy"),
        ],
        {"lowest_cost": cheap, "least_busy": busy},
    )
    assert book.choice("gpt-4") == Choice(busy)
    assert book.choice("gpt-5") is None
    hedged = PolicyBook([RoutingSpec("m", hedge=HedgeSpec(2.0))], {})
    assert hedged.choice("m") == Choice(None, None, 2.0)
    assert book.choice("claude") == Choice(cheap)

"""The plan: which target comes next."""

from collections import Counter
from math import ceil

import pytest
from tests.support.cases import each
from tests.unit.routing.routes import channel, routes_of, table

from posthouse.routing.health import HealthTable, Verdict
from posthouse.routing.plan import LOAD_FACTOR, Plan, Target
from posthouse.routing.table import ModelRoutes

NOW = 1000.0


def plan(
    *routes: ModelRoutes,
    affinity: bytes = b"conversation",
    health: HealthTable | None = None,
) -> Plan:
    return Plan(routes, (affinity, b"tenant"), health or HealthTable())


def fail(health: HealthTable, name: str, *, times: int = 5) -> None:
    for _ in range(times):
        health.end(name, 0, Verdict.FAILURE, NOW)


def order(made: Plan) -> list[str]:
    """The channels in the order in which a call would try them."""
    names = []
    while (target := made.next(NOW)) is not None:
        names.append(target.member.channel.name)
        made.exclude_channel(names[-1])
    return names


def test_tiers_come_by_priority_and_stand_ins_last() -> None:
    """No tier before all of the one above it; other models after all tiers."""
    found = table(
        channel("low", "m", priority=-5),
        channel("mid-a", "m"),
        channel("mid-b", "m"),
        channel("high", "m", priority=5),
        channel("other", "n", priority=99),
    )
    made = plan(routes_of(found, "m"), routes_of(found, "n"))
    tried = order(made)
    assert tried[0] == "high"
    assert set(tried[1:3]) == {"mid-a", "mid-b"}
    assert tried[3:] == ["low", "other"]


def test_a_conversation_stays_where_it_began() -> None:
    """Equal affinity, equal order; different affinities, all channels."""
    found = table(*(channel(f"c{i}", "m") for i in range(8)))
    routes = routes_of(found, "m")
    first = [order(plan(routes, affinity=b"x"))[0] for _ in range(3)]
    assert len(set(first)) == 1
    counted = Counter(
        order(plan(routes, affinity=b"%d" % index))[0] for index in range(400)
    )
    assert len(counted) == 8
    assert min(counted.values()) > 20


def test_a_blocked_channel_is_passed_over_and_told() -> None:
    """Its calls go to the next; the reason is kept for the error."""
    found = table(channel("a", "m"), channel("b", "m"))
    health = HealthTable()
    made = plan(routes_of(found, "m"), health=health)
    first, second = order(plan(routes_of(found, "m")))
    fail(health, first)
    target = made.next(NOW)
    assert target is not None
    assert target.member.channel.name == second
    assert [block.reason for block in made.blocked] == [Verdict.FAILURE]
    fail(health, second)
    assert made.next(NOW) is None
    assert len(made.blocked) == 2
    assert made.next(NOW + 31) is not None


@pytest.mark.parametrize("count", [1, 3])
def test_attempts_under_way_are_counted(count: int) -> None:
    """On the plan's tiers and on the channel, whether or not there is a choice."""
    found = table(*(channel(name, "m") for name in "abc"[:count]))
    made = plan(routes_of(found, "m"))
    target = made.next(NOW)
    assert target is not None
    load = target.member.channel.load
    target.begin()
    target.begin()
    assert (made.in_flight(), load.in_flight) == (2, 2)
    target.end()
    target.end()
    assert (made.in_flight(), load.in_flight) == (0, 0)
    assert not any(target.tier.in_flight)


def test_another_credential_of_the_channel_is_another_target() -> None:
    """One refused key does not take its channel along."""
    found = table(channel("a", "m", keys=3))
    made = plan(routes_of(found, "m"))
    seen = set()
    for _ in range(3):
        target = made.next(NOW)
        assert target is not None
        seen.add(target.member.credential)
        made.exclude_credential("a", target.member.credential)
    assert seen == {0, 1, 2}
    assert made.next(NOW) is None
    assert made.blocked == []


def test_an_excluded_channel_is_out_with_all_credentials() -> None:
    """Under every model, too."""
    found = table(channel("a", "m", "n", keys=3))
    made = plan(routes_of(found, "m"), routes_of(found, "n"))
    made.exclude_channel("a")
    assert made.next(NOW) is None


@each("weights", [(1, 1, 1, 1), (1, 2, 5), (1, 1)])
def test_no_target_takes_more_than_its_share_of_the_load(
    weights: tuple[int, ...],
) -> None:
    """However popular one conversation is: 1.25 times the mean, rounded up."""
    found = table(*(channel(f"c{i}", "m", weight=w) for i, w in enumerate(weights)))
    routes = routes_of(found, "m")
    (tier,) = routes.tiers
    targets: list[Target] = []
    for _ in range(100):
        target = plan(routes).next(NOW)
        assert target is not None
        target.begin()
        targets.append(target)
        for load, share in zip(tier.in_flight, tier.shares, strict=True):
            assert load <= ceil(LOAD_FACTOR * tier.total * share)
    assert tier.total == 100
    for target in targets:
        target.end()
    assert tier.in_flight == [0] * len(weights)
    assert tier.total == 0


def test_an_overloaded_target_is_taken_before_the_next_tier() -> None:
    """The load of a tier is no reason to go to a lower one."""
    found = table(channel("only", "m"), channel("spare", "m", priority=-1))
    for _ in range(20):
        target = plan(routes_of(found, "m")).next(NOW)
        assert target is not None
        target.begin()
        assert target.member.channel.name == "only"


def test_an_overloaded_target_is_taken_where_the_others_are_out() -> None:
    """A tier that has lost most of its members serves with the rest."""
    found = table(*(channel(f"c{i}", "m") for i in range(4)))
    health = HealthTable()
    for name in ("c1", "c2", "c3"):
        fail(health, name)
    for _ in range(20):
        target = plan(routes_of(found, "m"), health=health).next(NOW)
        assert target is not None
        assert target.member.channel.name == "c0"
        target.begin()


def test_a_streams_time_is_not_a_replys() -> None:
    """The first target's limits are those of the whole call."""
    found = table(channel("a", "m"))
    routes = routes_of(found, "m")
    target = plan(routes).next(NOW)
    assert target is not None
    made = target.member.channel
    assert plan(routes).seconds(target) == made.timeouts.total
    streamed = Plan((routes,), (b"", b""), HealthTable(), stream=True)
    assert streamed.seconds(target) == made.stream_total


def test_calls_of_one_pattern_are_one_group() -> None:
    """The budget of retries does not grow with the names that strangers use."""
    found = table(channel("a", "m*"))
    assert plan(routes_of(found, "m1")).group == plan(routes_of(found, "m2")).group

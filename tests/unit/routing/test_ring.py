"""The ring: shares by weight, stable, complete."""

import random
from collections import Counter
from itertools import pairwise
from math import log2

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.cases import each

from posthouse.routing.ring import POINTS_PER_MEMBER, Ring, hash_point

CHANCE = random.Random(20261121)
POINTS = [CHANCE.getrandbits(64) for _ in range(4000)]

members = st.dictionaries(
    st.text("abc#0", min_size=1, max_size=6), st.integers(1, 20), min_size=1, max_size=8
).map(lambda weights: list(weights.items()))
points = st.integers(0, 2**64 - 1)


def scale_of(weights: list[float]) -> int:
    """The power of two nearest to the mean, in which points are dealt out."""
    return round(log2(sum(weights) / len(weights)))


def shares(ring: Ring) -> Counter[int]:
    return Counter(next(ring.walk(point)) for point in POINTS)


@given(members, points)
def test_a_walk_gives_every_member_once(
    placed: list[tuple[str, float]], point: int
) -> None:
    """Whatever the point, nobody is left out or asked twice."""
    assert sorted(Ring(placed).walk(point)) == list(range(len(placed)))


@given(members, points, st.randoms())
def test_the_order_of_configuration_does_not_matter(
    placed: list[tuple[str, float]], point: int, chance: random.Random
) -> None:
    """The same members in another order make the same walk."""
    shuffled = chance.sample(placed, len(placed))
    names = [placed[index][0] for index in Ring(placed).walk(point)]
    assert [shuffled[index][0] for index in Ring(shuffled).walk(point)] == names


@each("weights", [[1, 1], [1, 3], [5, 1, 2], [1] * 20, [1, 2, 4, 8], [0.5, 0.5, 1]])
def test_members_get_their_share(weights: list[float]) -> None:
    """Every member's part of the calls is its weight's, within a few per cent."""
    ring = Ring([(f"channel-{i}#0", weight) for i, weight in enumerate(weights)])
    counted = shares(ring)
    for index, weight in enumerate(weights):
        expected = weight / sum(weights)
        assert ring.shares[index] == pytest.approx(expected)
        # A share's spread is about its root over the number of points.
        spread = (expected / (POINTS_PER_MEMBER * len(weights))) ** 0.5
        assert abs(counted[index] / len(POINTS) - expected) < 4 * spread + 0.01


@settings(max_examples=30)
@given(members.filter(lambda placed: len(placed) > 1), st.data())
def test_who_leaves_takes_only_its_share_along(
    placed: list[tuple[str, float]], data: st.DataObject
) -> None:
    """The calls of the members that stay stay with them."""
    weights = [weight for _, weight in placed]
    gone = data.draw(st.sampled_from(range(len(placed))))
    rest = placed[:gone] + placed[gone + 1 :]
    before, after = Ring(placed), Ring(rest)
    moved = sum(
        placed[first][0] != rest[next(after.walk(point))][0]
        for point in POINTS
        if (first := next(before.walk(point))) != gone
    )
    if scale_of(weights) == scale_of(weights[:gone] + weights[gone + 1 :]):
        assert moved == 0
    else:
        # The scale has changed by its next step: points come or go.
        assert moved < 0.6 * len(POINTS)


def test_who_leaves_is_followed_by_the_next_on_its_walk() -> None:
    """A call's second choice is where it goes when the first is gone."""
    placed = [(f"channel-{i}#0", 1.0) for i in range(10)]
    for point in POINTS[:300]:
        first, second, *_ = Ring(placed).walk(point)
        rest = placed[:first] + placed[first + 1 :]
        assert rest[next(Ring(rest).walk(point))] == placed[second]


def test_tiny_weights_still_have_a_place() -> None:
    """One part in ten thousand is not none."""
    ring = Ring([("heavy#0", 10_000.0), ("light#0", 1.0)])
    assert sorted(ring.walk(5)) == [0, 1]


@given(st.binary(max_size=64), st.binary(max_size=64), st.binary(max_size=80))
def test_a_salt_keeps_tenants_apart(data: bytes, other: bytes, salt: bytes) -> None:
    """Equal calls of one tenant share a point, those of two tenants do not."""
    point = hash_point(data, salt)
    assert 0 <= point < 2**64
    assert point == hash_point(data, salt)
    if data != other:
        assert point != hash_point(other, salt)
    assert point != hash_point(data, salt[:63] + b"!")


def test_points_wrap_around() -> None:
    """After the last point comes the first."""
    ring = Ring([("a#0", 1.0), ("b#0", 1.0), ("c#0", 1.0)])
    assert list(ring.walk(2**64 - 1)) == list(ring.walk(0))
    owners = [next(ring.walk(point)) for point in sorted(POINTS)]
    changes = sum(a != b for a, b in pairwise(owners))
    assert changes > POINTS_PER_MEMBER

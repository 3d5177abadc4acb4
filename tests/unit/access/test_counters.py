"""One subject's tally: what is admitted, lent, returned and told."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.conftest import MakeCounters
from tests.unit.access.counting import Clock, Counters

from posthouse.access.counters import (
    LEISURE,
    NOTHING,
    Ahead,
    Answer,
    Ask,
    Tally,
    answer,
)
from posthouse.access.windows import (
    Limit,
    Permit,
    Rates,
    Refusal,
    WindowTable,
)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def counters(make_counters: MakeCounters, clock: Clock) -> Counters:
    return make_counters(clock)


def ask(
    counters: Counters,
    rates: Rates,
    calls: int = 0,
    owner: str = "me",
    **told: Any,
) -> Answer:
    """Ask for calls of ten tokens, as one of two processes."""
    question = Ask("s", rates, 2, calls=((10, 0),) * calls, **told)
    return counters.answer([question], owner)[0]


def admitted(told: Answer) -> int:
    return sum(isinstance(verdict, int) for verdict in told.verdicts)


@given(
    st.lists(
        st.tuples(
            st.floats(0, 30),
            st.integers(0, 120),
            st.integers(0, 200),
        ),
        max_size=60,
    ),
    st.builds(
        Rates,
        st.none() | st.integers(1, 5),
        st.none() | st.integers(1, 100),
        st.none() | st.integers(1, 3),
    ),
)
def test_judges_as_one_process_alone_does(
    calls: list[tuple[float, int, int]], rates: Rates
) -> None:
    """A single asker gets the same verdicts and waits as from a window table."""
    clock = Clock()
    table, tally = WindowTable(clock), Tally()
    held = 0
    for gap, tokens, output in calls:
        clock.now += gap
        expected = table.admit("s", rates, tokens, output)
        told = answer(
            tally,
            Ask("s", rates, 4, held, ((tokens, output),)),
            owner="me",
            now=clock.now,
            is_dead=lambda _: False,
        )
        (verdict,) = told.verdicts
        if isinstance(expected, Permit):
            assert isinstance(verdict, int)
            held += rates.concurrency is not None
        else:
            assert verdict == expected


def test_what_is_lent_counts_from_the_end_of_its_use(
    counters: Counters, clock: Clock
) -> None:
    """Sixty seconds after the last moment of its use, not after the draw."""
    rates = Rates(requests=40)
    told = ask(counters, rates, 1, ahead=Ahead(5))
    assert told.ahead == Ahead(5)
    assert told.until == clock.now + LEISURE
    assert told.requests_left == 34
    clock.now += 60.1
    assert ask(counters, rates).requests_left == 34
    clock.now += LEISURE
    assert ask(counters, rates).requests_left == 40


def test_what_is_lent_counts_as_long_when_more_is_added(
    counters: Counters, clock: Clock
) -> None:
    """A call of the same second does not shorten it."""
    rates = Rates(requests=40)
    ask(counters, rates, 1, ahead=Ahead(5))
    clock.now += 0.1
    ask(counters, rates, 1)
    clock.now += 60.1
    assert ask(counters, rates).requests_left == 33


def test_places_that_are_lent_are_held(counters: Counters) -> None:
    """Others do not get them."""
    rates = Rates(concurrency=40)
    told = ask(counters, rates, 1, ahead=Ahead(9, 9, 3))
    assert told.ahead.places == 3
    assert counters.tallies["s"].places == {"me": 4}
    assert ask(counters, rates, 1, owner="other").others == 4


@pytest.mark.parametrize(
    ("limit", "lent"), [(4, 0), (5, 1), (9, 2), (41, 10), (90, 10)]
)
def test_lends_only_where_much_is_left(
    counters: Counters, limit: int, lent: int
) -> None:
    """Two processes: at most a quarter of the room, at least one or nothing."""
    told = ask(counters, Rates(requests=limit), 1, ahead=Ahead(10))
    assert admitted(told) == 1
    assert told.ahead.requests == lent


def test_lends_of_all_kinds_or_nothing(counters: Counters) -> None:
    """Requests without the tokens to make them are of no use."""
    rates = Rates(requests=1000, tokens=14, concurrency=100)
    told = ask(counters, rates, 1, ahead=Ahead(10, 100, 1))
    assert told.ahead == NOTHING
    assert (told.requests_left, told.tokens_left) == (999, 4)


def test_lends_less_of_all_where_one_kind_is_short(counters: Counters) -> None:
    """The tokens of a call stay what they are."""
    rates = Rates(requests=1000, tokens=210, concurrency=100)
    told = ask(counters, rates, 1, ahead=Ahead(10, 100, 4))
    assert told.ahead == Ahead(5, 50, 4)
    told = ask(counters, Rates(tokens=210), ahead=Ahead(10, 100, 4))
    assert told.ahead == Ahead(0, 30, 0)


def test_what_was_not_used_comes_back(counters: Counters) -> None:
    """A return makes room at once, and counts in its own bucket."""
    rates = Rates(requests=100, tokens=1000)
    told = ask(counters, rates, 1, ahead=Ahead(10, 100))
    assert (told.requests_left, told.tokens_left) == (89, 890)
    back = ask(counters, rates, corrections=((told.bucket, -10, -105),))
    assert (back.requests_left, back.tokens_left) == (99, 995)


def test_correction_of_a_bucket_that_is_gone_changes_nothing(
    counters: Counters, clock: Clock
) -> None:
    """A long call's tokens belong to the minute in which it began."""
    rates = Rates(tokens=100)
    told = ask(counters, rates, 1)
    clock.now += 61
    later = ask(counters, rates, 1, corrections=((told.bucket, 0, 50),))
    assert later.tokens_left == 90


def test_places_are_told_whole(counters: Counters) -> None:
    """A message that is lost or comes twice leaves no place behind."""
    rates = Rates(concurrency=3)
    assert admitted(ask(counters, rates, 5)) == 3
    assert admitted(ask(counters, rates, 5, owner="other")) == 0
    for _ in range(2):
        ask(counters, rates, held=1)
    told = ask(counters, rates, 5, owner="other")
    assert admitted(told) == 2
    assert told.others == 1
    ask(counters, rates, held=0)
    ask(counters, rates, held=0, owner="other")
    assert counters.tallies["s"].places == {}


def test_places_of_the_dead_are_taken_back_when_they_are_missed(
    counters: Counters,
) -> None:
    """Nobody looks for the dead as long as there is room."""
    rates = Rates(concurrency=4)
    ask(counters, rates, 3, owner="killed")
    counters.dead.add("killed")
    assert admitted(ask(counters, rates, 1)) == 1
    assert counters.tallies["s"].places == {"killed": 3, "me": 1}
    assert admitted(ask(counters, rates, 5, held=1)) == 3
    assert counters.tallies["s"].places == {"me": 4}


def test_leisure_only_where_little_is_taken(counters: Counters, clock: Clock) -> None:
    """Others could need at once what comes back near the limit."""
    rates = Rates(concurrency=16)
    assert ask(counters, rates, 2).until == clock.now + LEISURE
    assert ask(counters, rates, 1, held=2).until == clock.now
    assert ask(counters, rates, held=0).until == clock.now
    assert ask(counters, Rates(requests=100), 1).until == clock.now


def test_of_many_a_small_one_may_pass_where_a_large_one_does_not(
    counters: Counters,
) -> None:
    """Calls are judged one by one, in their order."""
    told = counters.answer(
        [Ask("s", Rates(tokens=100), 2, calls=((60, 0), (60, 0), (30, 99), (101, 0)))],
        "me",
    )[0]
    assert told.verdicts[0] == 60
    assert isinstance(told.verdicts[1], Refusal)
    assert told.verdicts[2] == 40
    last = told.verdicts[3]
    assert isinstance(last, Refusal)
    assert last.limit is Limit.SIZE


def test_moments_of_another_clock_count_nothing(
    counters: Counters, clock: Clock
) -> None:
    """A machine that has started again begins its minutes anew."""
    rates = Rates(requests=1)
    assert admitted(ask(counters, rates, 1)) == 1
    clock.now = 7.0
    assert admitted(ask(counters, rates, 2)) == 1


def test_idle_is_who_neither_counts_nor_works(counters: Counters, clock: Clock) -> None:
    """Only such a subject may be forgotten."""
    rates = Rates(requests=5, concurrency=2)
    ask(counters, rates, 1)
    tally = counters.tallies["s"]
    alive = counters.dead.__contains__
    assert not tally.is_idle(clock.now, alive)
    clock.now += 61
    assert not tally.is_idle(clock.now, alive)
    counters.dead.add("me")
    assert tally.is_idle(clock.now, alive)

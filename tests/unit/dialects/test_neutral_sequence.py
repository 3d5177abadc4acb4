"""Parts of a stream, one after the other."""

from hypothesis import given
from hypothesis import strategies as st

from posthouse.dialects.neutral.collect import collect
from posthouse.dialects.neutral.sequence import Sequencer
from posthouse.model.chat import Finish, FinishReason, Text, ToolCall
from posthouse.model.chat_events import (
    Beat,
    ChatEvent,
    Ended,
    Finished,
    PartEnded,
    PartGrew,
    PartStarted,
    Started,
    UsageTold,
)

STARTED = Started("d")


def sequenced(events: list[ChatEvent]) -> list[ChatEvent]:
    sequencer = Sequencer()
    return [out for event in events for out in sequencer.feed(event)]


def call(part: int) -> list[ChatEvent]:
    return [
        PartStarted(0, part, ToolCall(f"i{part}", "f", "")),
        PartGrew(0, part, "{"),
        PartGrew(0, part, "}"),
        PartEnded(0, part),
    ]


def test_what_is_in_order_passes_at_once() -> None:
    """Nothing waits without need."""
    sequencer = Sequencer()
    for event in (STARTED, *call(0), *call(1), Beat(), UsageTold(None), Ended()):
        assert sequencer.feed(event) == [event]


def test_a_later_part_waits_for_the_one_before_it() -> None:
    """And then comes whole, as far as it has come."""
    first, second = call(0), call(1)
    sequencer = Sequencer()
    assert sequencer.feed(first[0]) == [first[0]]
    assert sequencer.feed(second[0]) == []
    assert sequencer.feed(second[1]) == []
    assert sequencer.feed(first[1]) == [first[1]]
    assert sequencer.feed(first[2]) == [first[2]]
    assert sequencer.feed(first[3]) == [first[3], second[0], second[1]]
    assert sequencer.feed(second[2]) == [second[2]]
    assert sequencer.feed(second[3]) == [second[3]]


def test_several_wait_in_the_order_in_which_they_were_opened() -> None:
    """Those that have ended meanwhile let the next one through."""
    first, second, third = call(0), call(1), call(2)
    sequencer = Sequencer()
    for event in (first[0], *second, *third[:2]):
        sequencer.feed(event)
    assert sequencer.feed(first[3]) == [first[3], *second, *third[:2]]
    assert sequencer.feed(third[2]) == [third[2]]


def test_only_the_first_choice_passes() -> None:
    """What belongs to no choice always does."""
    finish = Finish(FinishReason.STOP)
    events: list[ChatEvent] = [
        STARTED,
        PartStarted(1, 0, Text("b")),
        Finished(1, finish),
        PartStarted(0, 0, Text("a")),
        PartEnded(0, 0),
        Finished(0, finish),
        Ended(),
    ]
    assert sequenced(events) == [events[0], *events[3:]]


@st.composite
def interleaved(draw: st.DrawFn) -> list[ChatEvent]:
    """The events of some calls, in any order that keeps each call's own."""
    left = [call(part) for part in range(draw(st.integers(1, 5)))]
    opened = 0
    events: list[ChatEvent] = []
    while any(left):
        able = [n for n, rest in enumerate(left) if rest and n <= opened]
        chosen = draw(st.sampled_from(able))
        opened = max(opened, chosen + 1)
        events.append(left[chosen].pop(0))
    return [STARTED, *events, Ended()]


@given(interleaved())
def test_no_parts_overlap_and_none_is_lost(events: list[ChatEvent]) -> None:
    """However they were interleaved, they amount to the same."""
    ordered = sequenced(events)
    assert collect(ordered) == collect(events)
    is_open: int | None = None
    for event in ordered:
        if isinstance(event, PartStarted):
            assert is_open is None
            is_open = event.part
        elif isinstance(event, PartEnded):
            assert is_open == event.part
            is_open = None

"""From events to the reply that they amount to, and back."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from posthouse.dialects.neutral.collect import Collector, collect
from posthouse.dialects.neutral.events_of import events_of
from posthouse.model.chat import (
    Audio,
    ChatReply,
    Choice,
    Citation,
    Finish,
    FinishReason,
    Foreign,
    Image,
    Media,
    Part,
    Refusal,
    Signature,
    Text,
    Thinking,
    ToolCall,
)
from posthouse.model.chat_events import (
    AudioTold,
    Beat,
    ChatEvent,
    Ended,
    Finished,
    LogprobsTold,
    PartCited,
    PartEnded,
    PartGrew,
    PartSigned,
    PartStarted,
    Started,
    UsageTold,
)
from posthouse.model.usage import ReportedUsage

STARTED = Started("d", "id", "m", 5, {"a": 1})
SIGNED = Signature("d", "s")


def parts_of(*events: ChatEvent) -> tuple[Part, ...]:
    return collect([STARTED, *events, Ended()]).choices[0].parts


def test_a_part_grows() -> None:
    """Beyond what it began with, piece by piece."""
    events = [
        PartStarted(0, 0, Text("a")),
        PartGrew(0, 0, "b"),
        PartGrew(0, 0, "c"),
        PartEnded(0, 0),
    ]
    assert parts_of(*events) == (Text("abc"),)


@pytest.mark.parametrize("part", [Thinking("a"), Refusal("a")])
def test_thoughts_and_refusals_grow_as_text_does(part: Thinking | Refusal) -> None:
    """All three have words."""
    events = [PartStarted(0, 0, part), PartGrew(0, 0, "b"), PartEnded(0, 0)]
    assert parts_of(*events) == (type(part)("ab"),)


def test_calls_grow_side_by_side() -> None:
    """Each by its own arguments, in the order in which they were opened."""
    events = [
        PartStarted(0, 0, ToolCall("i", "f", "")),
        PartStarted(0, 1, ToolCall("j", "g", "{")),
        PartGrew(0, 0, "{}"),
        PartGrew(0, 1, "}"),
        PartEnded(0, 1),
        PartEnded(0, 0),
    ]
    assert parts_of(*events) == (ToolCall("i", "f", "{}"), ToolCall("j", "g", "{}"))


def test_parts_stand_by_their_numbers() -> None:
    """Whatever order they were told in."""
    events = [PartStarted(0, 1, Text("b")), PartStarted(0, 0, Text("a"))]
    assert parts_of(*events) == (Text("a"), Text("b"))


def test_a_later_signature_replaces_an_earlier_one() -> None:
    """Of the same part only."""
    events = [
        PartStarted(0, 0, Thinking("t", Signature("d", "early"))),
        PartStarted(0, 1, Thinking("u")),
        PartSigned(0, 0, Signature("d", "later")),
        PartSigned(0, 0, SIGNED),
    ]
    assert parts_of(*events) == (Thinking("t", SIGNED), Thinking("u"))


def test_citations_are_added_to_a_text_alone() -> None:
    """What has no citations keeps none."""
    one, two = Citation("u"), Citation("v")
    events = [
        PartStarted(0, 0, Text("t", (one,))),
        PartCited(0, 0, two),
        PartStarted(0, 1, Thinking("t")),
        PartCited(0, 1, two),
    ]
    assert parts_of(*events) == (Text("t", (one, two)), Thinking("t"))


def test_a_sound_grows_in_data_and_in_words() -> None:
    """And tells of its end of life when it knows it."""
    events = [
        PartStarted(0, 0, Audio(Media(data="A"), id="i", transcript="x")),
        PartGrew(0, 0, "B"),
        AudioTold(0, 0, "y"),
        AudioTold(0, 0, "z", 9),
        PartEnded(0, 0),
    ]
    sound = Audio(Media(data="AB"), id="i", transcript="xyz", expires_at=9)
    assert parts_of(*events) == (sound,)


def test_a_sound_without_data_has_none() -> None:
    """An empty text would be data of no length."""
    assert parts_of(PartStarted(0, 0, Audio(Media()))) == (Audio(Media()),)


def test_extras_of_a_parts_end_are_added() -> None:
    """To those that it began with; a foreign block has none of them."""
    foreign = Foreign("k", {"v": 1})
    events = [
        PartStarted(0, 0, Text("t", extras={"a": 1, "b": 1})),
        PartEnded(0, 0, {"b": 2}),
        PartStarted(0, 1, foreign),
        PartEnded(0, 1, {"b": 2}),
    ]
    assert parts_of(*events) == (Text("t", extras={"a": 1, "b": 2}), foreign)


def test_choices_are_told_apart() -> None:
    """By their index; one that tells nothing but its end has no parts."""
    stop = Finish(FinishReason.STOP)
    reply = collect(
        [
            STARTED,
            PartStarted(1, 0, Text("b")),
            PartStarted(0, 0, Text("a")),
            PartGrew(1, 0, "!"),
            Finished(1, stop, {"e": 1}),
            Finished(2, stop),
            Ended(),
        ]
    )
    assert reply.choices == (
        Choice(0, (Text("a"),), None),
        Choice(1, (Text("b!"),), stop, extras={"e": 1}),
        Choice(2, (), stop),
    )


def test_logprobs_are_joined_and_absent_if_never_told() -> None:
    """None of them is not the same as no list."""
    told = [LogprobsTold(0, ({"token": "a"},)), LogprobsTold(0, ({"token": "b"},))]
    [choice] = collect([STARTED, *told]).choices
    assert choice.logprobs == ({"token": "a"}, {"token": "b"})
    [choice] = collect([STARTED, PartStarted(0, 0, Text("a"))]).choices
    assert choice.logprobs is None


def test_usage_is_cumulative() -> None:
    """A later report erases nothing that it does not speak of."""
    reply = collect(
        [
            STARTED,
            UsageTold(ReportedUsage(input=9, output=1), "flex", {"u": 1}),
            UsageTold(ReportedUsage(output=5)),
            UsageTold(None),
            Ended({"z": 2}),
        ]
    )
    assert reply.usage == ReportedUsage(input=9, output=5)
    assert reply.service_tier == "flex"
    assert reply.extras == {"a": 1, "u": 1, "z": 2}


def test_a_stream_that_never_began_is_a_reply_of_nobody() -> None:
    """The collector may be asked at any time."""
    collector = Collector()
    collector.feed(Beat())
    assert collector.reply() == ChatReply(dialect="", choices=())


TEXTS = st.text(max_size=5)
PARTS = st.one_of(
    st.builds(Text, TEXTS),
    st.builds(Thinking, TEXTS, st.none() | st.just(SIGNED)),
    st.builds(Refusal, TEXTS),
    st.builds(ToolCall, TEXTS, TEXTS, TEXTS),
    st.builds(Image, st.builds(Media, url=TEXTS)),
    st.builds(
        Audio, st.builds(Media, data=st.none() | st.just("AA")), transcript=TEXTS
    ),
    st.builds(Foreign, TEXTS, st.just({"a": 1})),
)
FINISHES = st.none() | st.builds(Finish, st.sampled_from(FinishReason))
USAGES = st.none() | st.builds(ReportedUsage, input=st.integers(0, 9))


@st.composite
def replies(draw: st.DrawFn) -> ChatReply:
    choices = []
    for index in range(draw(st.integers(0, 3))):
        parts = tuple(draw(st.lists(PARTS, max_size=3)))
        finish = draw(FINISHES)
        logprobs = draw(st.none() | st.just(({"token": "a"},)))
        extras = {"e": 1} if finish is not None and draw(st.booleans()) else {}
        if parts or finish is not None or logprobs is not None:
            choices.append(Choice(index, parts, finish, logprobs, extras))
    return ChatReply(
        dialect="d",
        id=draw(st.none() | TEXTS),
        model="m",
        choices=tuple(choices),
        usage=draw(USAGES),
        service_tier=draw(st.none() | st.just("flex")),
        extras=draw(st.just({}) | st.just({"x": 1})),
    )


@given(replies())
def test_a_reply_streamed_at_once_is_the_reply(reply: ChatReply) -> None:
    """`collect` is the inverse of `events_of`."""
    assert collect(list(events_of(reply))) == reply


@given(replies())
def test_events_keep_their_order(reply: ChatReply) -> None:
    """`Started` first, `Ended` last, and nothing of a choice after its end."""
    events = list(events_of(reply))
    assert isinstance(events[0], Started)
    assert isinstance(events[-1], Ended)
    finished = set()
    for event in events[1:-1]:
        choice = getattr(event, "choice", None)
        assert choice not in finished or choice is None
        if isinstance(event, Finished):
            finished.add(choice)

"""Several replies, whole and streamed, become one."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.cases import each
from typing_extensions import override

from posthouse.dialects import anthropic_messages, openai_chat
from posthouse.dialects.base import make_edits
from posthouse.dialects.neutral.codec import ChatDecoder
from posthouse.dialects.neutral.collect import collect
from posthouse.dialects.neutral.events_of import events_of
from posthouse.dialects.neutral.several import (
    MOST_ANSWERS,
    Lanes,
    SeveralDecoder,
    SeveralTranslation,
    joined,
)
from posthouse.dialects.neutral.translation import Naming, Speaker
from posthouse.dialects.neutral.usage import summed_usage
from posthouse.errors import InvalidRequest, UpstreamBadResponse, UpstreamInterrupted
from posthouse.model.catalog import Quirks
from posthouse.model.chat import ChatReply, Choice, Finish, FinishReason, Text
from posthouse.model.chat_events import ChatEvent, Ended
from posthouse.model.traits import Traits
from posthouse.model.usage import ReportedUsage
from posthouse.wire import json
from posthouse.wire.sse import SSEDecoder

CHAT = Speaker(openai_chat.DIALECT, openai_chat.CODEC)
CLAUDE = Speaker(anthropic_messages.DIALECT, anthropic_messages.CODEC)
NAMING = Naming(lambda: "0123", lambda: 1.0)
TRANSLATION = SeveralTranslation(CHAT, CLAUDE, Traits(model="claude"), NAMING)
SAME = SeveralTranslation(CHAT, CHAT, Traits(model="m", choices=False), NAMING)


def reply(number: int, usage: ReportedUsage | None = None) -> ChatReply:
    finish = Finish(FinishReason.STOP)
    return ChatReply(
        dialect="x",
        id=f"r{number}",
        model="m",
        choices=(Choice(0, (Text(f"text {number}"),), finish),),
        usage=usage or ReportedUsage(input=10, output=number + 1),
    )


class Told(ChatDecoder):
    """A stream whose frames are numbers of its events."""

    def __init__(self, events: list[ChatEvent], *, ends: bool = True) -> None:
        self._events = events
        self._ends = ends

    @override
    def feed(self, raw: bytes, data: bytes) -> list[ChatEvent]:
        return [self._events[int(data)]]

    @override
    def close(self) -> list[ChatEvent]:
        return [Ended()] if self._ends else []


def merged(
    streams: list[list[ChatEvent]], order: list[int], *, ends: bool = True
) -> list[ChatEvent]:
    """Read streams in an order of lanes; those without an end are closed last."""
    lanes = Lanes(SSEDecoder, len(streams))
    decoder = SeveralDecoder(lanes, [Told(events, ends=ends) for events in streams])
    places = [0] * len(streams)
    found: list[ChatEvent] = []
    for lane in order:
        if places[lane] < len(streams[lane]):
            lanes.take_turn(lane, closing=False)
            for raw, data in lanes.feed(b"data: %d\n\n" % places[lane]):
                found += decoder.feed(raw, data)
            places[lane] += 1
    for lane in range(len(streams)):
        if lane not in lanes.over:
            lanes.take_turn(lane, closing=True)
            for raw, data in lanes.feed(b"\n"):
                found += decoder.feed(raw, data)
    assert (lanes.close(), decoder.close()) == ([], [])
    return found


@given(st.data())
def test_streams_amount_to_what_whole_replies_do(data: st.DataObject) -> None:
    """In whatever order they come, and whatever ends them."""
    count = data.draw(st.integers(1, 4))
    replies = [reply(number) for number in range(count)]
    streams = [list(events_of(one)) for one in replies]
    by_closing = data.draw(st.booleans())
    if by_closing:
        streams = [events[:-1] for events in streams]
    turns = [lane for lane, events in enumerate(streams) for _ in events]
    found = merged(streams, data.draw(st.permutations(turns)))
    assert [type(event) for event in found].count(Ended) == 1
    assert type(found[-1]) is Ended
    whole = collect(found)
    expected = joined(replies)
    assert (whole.choices, whole.usage) == (expected.choices, expected.usage)
    assert whole.id in {one.id for one in replies}


def test_choices_are_numbered_anew() -> None:
    """Also of a provider who gives more than was asked for."""
    two = (Choice(0, (), None), Choice(1, (), None))
    replies = [ChatReply(dialect="x", choices=two) for _ in range(2)]
    assert [choice.index for choice in joined(replies).choices] == [0, 1, 2, 3]


@pytest.mark.parametrize(
    ("events", "fault"), [(1, UpstreamBadResponse), (2, UpstreamInterrupted)]
)
def test_a_stream_without_an_end_is_none(events: int, fault: type[Exception]) -> None:
    """What it is called depends on whether anything was told."""
    streams = [list(events_of(reply(number)))[:events] for number in range(2)]
    with pytest.raises(fault):
        merged(streams, [0, 0, 1, 1], ends=False)


def test_what_comes_after_an_end_is_nothing() -> None:
    events = list(events_of(reply(0)))
    assert merged([[*events, *events]], [0] * 20) == events


# --- requests -----------------------------------------------------------------------


def asked(**members: Any) -> Any:
    chat = {"model": "m", "messages": [{"role": "user", "content": "hi"}], **members}
    return openai_chat.DIALECT.parse_request(json.encode(chat))


def test_each_answer_is_a_request() -> None:
    """With another seed each, and what is told of one is told of all."""
    request = asked(n=3, seed=7, odd=1)
    edits = make_edits("m", Quirks())
    sent = [
        json.decode(SAME.render_request(part, edits), dict[str, Any])
        for part in SAME.split(request)
    ]
    assert [one["seed"] for one in sent] == [7, 8, 9]
    assert all("n" not in one and one["odd"] == 1 for one in sent)
    assert request.reading.losses == {"openai_chat": ("~n",)}


def test_there_is_a_limit() -> None:
    assert len(SAME.split(asked(n=MOST_ANSWERS))) == MOST_ANSWERS
    with pytest.raises(InvalidRequest) as caught:
        SAME.split(asked(n=MOST_ANSWERS + 1))
    assert caught.value.param == "n"


def test_replies_are_joined_in_the_clients_words() -> None:
    bodies = [
        json.encode(
            {
                "id": f"msg_{number}",
                "type": "message",
                "role": "assistant",
                "model": "claude",
                "content": [{"type": "text", "text": f"text {number}"}],
                "stop_reason": "end_turn",
                "usage": {"input_tokens": 5, "output_tokens": number},
            }
        )
        for number in (1, 2)
    ]
    request = asked(n=2)
    found, each = TRANSLATION.join(request, bodies, "public")
    body = json.decode(found.body, dict[str, Any])
    said = [(one["index"], one["message"]["content"]) for one in body["choices"]]
    assert said == [(0, "text 1"), (1, "text 2")]
    assert (body["model"], body["usage"]["total_tokens"]) == ("public", 13)
    assert found.output_text() == "text 1\ntext 2"
    assert [usage and usage.output for usage in each] == [1, 2]
    with pytest.raises(UpstreamBadResponse):
        TRANSLATION.join(request, [bodies[0], b"{"], None)


# --- usage --------------------------------------------------------------------------


@each(
    ("usages", "expected"),
    [
        ([], None),
        ([None, None], None),
        (
            [ReportedUsage(input=1, output=2), ReportedUsage(input=3, output=4)],
            ReportedUsage(input=4, output=6),
        ),
        (
            [ReportedUsage(input=1, output=2, cached_input=1), ReportedUsage(3, 4)],
            ReportedUsage(input=4, output=6, cached_input=1),
        ),
        (
            [ReportedUsage(input=1, output=2), ReportedUsage(input=3)],
            ReportedUsage(input=4),
        ),
        ([ReportedUsage(input=1, output=2), None], ReportedUsage()),
        ([ReportedUsage(odd=True), ReportedUsage()], ReportedUsage(odd=True)),
    ],
)
def test_usages_add_up(
    usages: list[ReportedUsage | None], expected: ReportedUsage | None
) -> None:
    """A total that one lacks is not known; a part that one lacks is nothing."""
    assert summed_usage(usages) == expected

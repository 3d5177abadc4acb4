"""Replies that are one text are written at once as they are part by part."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from tests.support.cases import each

from posthouse.dialects.anthropic_messages.reply import _write_parts, write_reply
from posthouse.dialects.anthropic_messages.usual_reply import write_usual
from posthouse.dialects.neutral.codec import Identity
from posthouse.model.chat import (
    ChatReply,
    ChatRequest,
    Choice,
    Citation,
    Finish,
    FinishReason,
    Message,
    Refusal,
    Role,
    Signature,
    Text,
    Thinking,
    ToolCall,
)
from posthouse.model.usage import ReportedUsage

ASKED = ChatRequest(
    dialect="anthropic_messages",
    model="asked",
    messages=(Message(Role.USER, (Text("Hi"),)),),
)
CALL = ToolCall("c", "f", "{}")


def answered(*parts: Any, finish: Finish | None = None, **members: Any) -> ChatReply:
    """A reply of another dialect's provider."""
    choices = (Choice(0, parts or (Text("Yes"),), finish),)
    return ChatReply(dialect="openai_chat", **{"choices": choices} | members)


@each(
    "reply",
    [
        answered(),
        answered(Text("Yes"), model="served", id="own"),
        answered(finish=Finish(FinishReason.STOP_SEQUENCE, "X")),
        answered(finish=Finish(FinishReason.CONTENT_FILTER, extras={"a": 1})),
        answered(usage=ReportedUsage(input=10, output=3, cached_input=4, reasoning=0)),
        answered(usage=ReportedUsage(input=1, cached_input=4, cache_write_5m=2)),
        answered(service_tier="default", extras={"system_fingerprint": "a"}),
    ],
)
def test_one_text_is_written_at_once(reply: ChatReply) -> None:
    assert write_usual(reply, "msg_a", "m") is not None


@each(
    "reply",
    [
        answered(Text("")),
        answered(Text("a"), Text("b")),
        answered(Text("a"), CALL),
        answered(CALL),
        answered(Refusal("No")),
        answered(Thinking("Hm")),
        answered(Text("a", citations=(Citation(url="https://a"),))),
        answered(Text("a", signature=Signature("gemini_generate", "s"))),
        answered(choices=()),
        answered(usage=ReportedUsage(searches=1)),
        answered(service_tier="priority"),
    ],
)
def test_whatever_tells_more_is_written_part_by_part(reply: ChatReply) -> None:
    assert write_usual(reply, "msg_a", "m") is None
    assert write_reply(reply, ASKED, Identity("a", 1))


counts = st.none() | st.integers(-9, 2**60)
usages = st.builds(
    ReportedUsage,
    input=counts,
    output=counts,
    cached_input=counts,
    cache_write_5m=counts,
    cache_write_1h=counts,
    reasoning=counts,
    searches=st.none() | st.integers(0, 2),
)
finishes = st.builds(
    Finish, st.sampled_from(FinishReason), st.none() | st.text(max_size=3)
)
parts = st.sampled_from([Text("a"), Text(""), CALL, Refusal("No"), Thinking("Hm")])
said = st.one_of(
    st.builds(lambda text: (Text(text),), st.text()), st.lists(parts, max_size=2)
)
replies = st.builds(
    lambda said, finish, **members: answered(*said, finish=finish, **members),
    said,
    st.none() | finishes,
    usage=st.none() | usages,
    model=st.none() | st.just("served"),
    service_tier=st.sampled_from([None, "default", "standard", "batch"]),
)


@given(replies, st.none() | st.just("public"))
def test_whatever_is_answered_is_written_alike(
    reply: ChatReply, public: str | None
) -> None:
    identity = Identity("a", 1, public)
    found = write_reply(reply, ASKED, identity)
    assert found == _write_parts(reply, ASKED, identity)

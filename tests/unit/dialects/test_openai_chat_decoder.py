"""Streams of OpenAI's chat as providers really send them."""

import json
from typing import Any

import pytest
from tests.support.cases import each

from posthouse.dialects.neutral.codec import Identity
from posthouse.dialects.neutral.collect import collect
from posthouse.dialects.openai_chat import CODEC
from posthouse.errors import (
    UpstreamBadResponse,
    UpstreamFault,
    UpstreamOverloaded,
    UpstreamRateLimited,
)
from posthouse.model.chat import (
    Choice,
    Finish,
    FinishReason,
    Part,
    Text,
    Thinking,
    ToolCall,
)
from posthouse.model.chat_events import (
    Beat,
    ChatEvent,
    Ended,
    Finished,
    Started,
    UsageTold,
)
from posthouse.model.usage import ReportedUsage
from posthouse.wire.sse import data_frame

IDENTITY = Identity("x", 7)
STARTED = Started("anthropic_messages", "id", "m", 5)
STOP = Finish(FinishReason.STOP)


def chunk(delta: Any = None, finish: Any = None, **members: Any) -> bytes:
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    return json.dumps({"id": "r", "choices": [choice]} | members).encode()


def decoded(*chunks: bytes) -> list[ChatEvent]:
    decoder = CODEC.decoder()
    events = [
        event for data in chunks for event in decoder.feed(data_frame(data), data)
    ]
    return events + decoder.close()


def parts_of(*deltas: Any) -> tuple[Part, ...]:
    events = decoded(*map(chunk, deltas), b"[DONE]")
    return collect(events).choices[0].parts


def call(index: int | None = None, **members: Any) -> dict[str, Any]:
    function = {n: members.pop(n) for n in ("name", "arguments") if n in members}
    entry = {"function": function} | members
    return {"tool_calls": [entry if index is None else {"index": index} | entry]}


# --- reading: calls ---------------------------------------------------------


@each(
    "deltas",
    [
        # As OpenAI sends them.
        (
            call(0, id="a", name="f", arguments=""),
            call(1, id="b", name="g", arguments=""),
            call(1, arguments="{}"),
            call(0, arguments="{"),
            call(0, arguments="}"),
        ),
        # Whole, without an index.
        (
            call(id="a", name="f", arguments="{}"),
            call(id="b", name="g", arguments="{}"),
        ),
        # All of one index.
        (
            call(0, id="a", name="f", arguments="{"),
            call(0, arguments="}"),
            call(0, id="b", name="g", arguments="{}"),
        ),
        # With the id and the name in each fragment.
        (
            call(0, id="a", name="f", arguments="{"),
            call(0, id="a", name="f", arguments="}"),
            call(1, id="b", name="g", arguments="{}"),
        ),
        # Fragments that say nothing of whose they are.
        (
            call(id="a", name="f", arguments="{"),
            call(arguments="}"),
            call(id="b", name="g"),
            call(arguments="{}"),
        ),
        # Arguments that are an object already.
        (
            call(0, id="a", name="f", arguments={}),
            call(1, id="b", name="g", arguments={}),
        ),
    ],
)
def test_calls_are_told_apart(deltas: tuple[dict[str, Any], ...]) -> None:
    """However a provider writes them."""
    assert parts_of(*deltas) == (ToolCall("a", "f", "{}"), ToolCall("b", "g", "{}"))


def test_calls_without_ids_have_them_by_the_reply() -> None:
    """So that those of another reply are others."""
    deltas = (call(0, name="f", arguments="{}"), call(1, name="g", arguments="{}"))
    ids = [part.id for part in parts_of(*deltas) if isinstance(part, ToolCall)]
    assert ids == ["call_r_0_0", "call_r_0_1"]


def test_a_call_that_is_an_object_is_one() -> None:
    """Spark's are no lists."""
    entry = {"id": "a", "function": {"name": "f", "arguments": "{}"}}
    assert parts_of({"tool_calls": entry}) == (ToolCall("a", "f", "{}"),)


# --- reading: what is spoken ---------------------------------------------------------


def test_what_is_thought_and_said_are_parts_of_their_own() -> None:
    """One after the other; two names for the same thought are one thought."""
    parts = parts_of(
        {"role": "assistant", "content": ""},
        {"reasoning_content": "h", "reasoning": "h"},
        {"reasoning": "m"},
        {"content": "a"},
        {"content": "b"},
        {"reasoning_content": "wait"},
        {"content": "c"},
    )
    assert parts == (Thinking("hm"), Text("ab"), Thinking("wait"), Text("c"))


def test_tags_in_a_text_are_text() -> None:
    """Whatever a model means by them."""
    assert parts_of({"content": "<think>a</think>b"}) == (Text("<think>a</think>b"),)


@each("finish", ["", "null", None])
def test_an_answer_goes_on_until_it_tells_a_reason(finish: str | None) -> None:
    """Nothing is none, by any name."""
    events = decoded(chunk({"content": "a"}, finish), chunk({"content": "b"}, "stop"))
    assert sum(isinstance(event, Finished) for event in events) == 1
    assert collect(events).choices == (Choice(0, (Text("ab"),), STOP),)


def test_nothing_is_said_after_the_end() -> None:
    """MiniMax repeats the whole message, others their reason."""
    again = {"index": 0, "message": {"content": "ab"}, "finish_reason": "stop"}
    events = decoded(
        chunk({"content": "ab"}, "stop"),
        chunk({"content": "c"}, "stop"),
        json.dumps(
            {"id": "r", "choices": [again], "usage": {"total_tokens": 3}}
        ).encode(),
        b"[DONE]",
    )
    assert collect(events).choices == (Choice(0, (Text("ab"),), STOP),)
    assert collect(events).usage == ReportedUsage(input=3)


@each(
    ("reason", "expected"),
    [
        ("length", FinishReason.LENGTH),
        ("sensitive", FinishReason.CONTENT_FILTER),
        ("function_call", FinishReason.TOOL_CALLS),
        ("model_context_window_exceeded", FinishReason.CONTEXT_LENGTH),
        ("eos", FinishReason.STOP),
        ("novel", FinishReason.OTHER),
    ],
)
def test_reasons_have_many_names(reason: str, expected: FinishReason) -> None:
    """One that nobody knows is kept as it is."""
    [choice] = collect(decoded(chunk({"content": "a"}, reason))).choices
    assert choice.finish is not None
    assert choice.finish.reason is expected


@pytest.mark.parametrize("reason", ["network_error", "insufficient_system_resource"])
def test_a_failure_is_no_reason_to_end(reason: str) -> None:
    """Though it is told as one."""
    with pytest.raises(UpstreamOverloaded):
        decoded(chunk({"content": "a"}, reason))


def test_halves_of_a_character_are_joined() -> None:
    """Across chunks; one that never finds its other half is nothing."""
    halves = [
        b'{"id":"r","choices":[{"index":0,"delta":{"content":"a\\ud83d"}}]}',
        b'{"id":"r","choices":[{"index":0,"delta":{"content":"\\ude00b"}}]}',
    ]
    [choice] = collect(decoded(*halves, b"[DONE]")).choices
    assert choice.parts == (Text("a\U0001f600b"),)


# --- reading: the frame around it ----------------------------------------------------


def test_an_end_without_done_is_an_end_if_all_have_finished() -> None:
    """Some providers say no more."""
    assert isinstance(decoded(chunk({"content": "a"}, "stop"))[-1], Ended)
    assert not isinstance(decoded(chunk({"content": "a"}))[-1], Ended)


def test_usage_is_told_when_it_changes() -> None:
    """Some providers repeat it in every chunk."""
    usage = {"prompt_tokens": 3, "completion_tokens": 1}
    events = decoded(
        chunk({"content": "a"}, usage=usage), chunk({"content": "b"}, usage=usage)
    )
    assert [e for e in events if isinstance(e, UsageTold)] == [
        UsageTold(ReportedUsage(input=3, output=1))
    ]


def test_what_azure_says_first_begins_nothing() -> None:
    """It has no id, no model and no choices."""
    first = b'{"id":"","model":"","choices":[],"prompt_filter_results":[]}'
    events = decoded(first, chunk({"content": "a"}, model="m"))
    assert events[0] == Started("openai_chat", "r", "m")


def test_comments_are_beats() -> None:
    """The provider is still there."""
    assert CODEC.decoder().feed(b": keep-alive\n\n", b"") == [Beat()]


@each(
    ("data", "fault"),
    [
        (b'{"error":{"message":"x","code":"429"}}', UpstreamRateLimited),
        (b'{"error":{"message":"x","type":"server_error"}}', UpstreamOverloaded),
        (b'{"code":1301,"message":"x"}', UpstreamFault),
        (b"nonsense", UpstreamBadResponse),
        (b"[]", UpstreamBadResponse),
        (b"[DONE]", UpstreamBadResponse),
        (chunk({"content": 5}), UpstreamBadResponse),
        (chunk({"refusal": 5}), UpstreamBadResponse),
    ],
)
def test_what_is_no_chunk_is_a_fault(data: bytes, fault: type[UpstreamFault]) -> None:
    """An error as what it is, all else as a bad reply."""
    with pytest.raises(fault):
        decoded(data)


def test_an_error_without_data_lines_is_an_error() -> None:
    """ERNIE's comes as plain JSON."""
    with pytest.raises(UpstreamFault):
        CODEC.decoder().feed(b'{"error":{"message":"x"}}\n\n', b"")


def test_only_so_many_choices_and_calls_are_kept() -> None:
    """Memory is bounded whatever a provider sends."""
    choices = [{"index": index, "delta": {"content": "a"}} for index in range(1025)]
    with pytest.raises(UpstreamBadResponse):
        decoded(json.dumps({"id": "r", "choices": choices}).encode())
    calls = [
        {"index": n, "id": f"c{n}", "function": {"name": "f"}} for n in range(1025)
    ]
    with pytest.raises(UpstreamBadResponse):
        decoded(chunk({"tool_calls": calls}))

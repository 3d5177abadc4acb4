"""Anthropic's streams, read."""

import pytest
from tests.support.cases import each
from tests.unit.dialects.anthropic_frames import (
    END,
    STOP,
    block,
    decoded,
    finish,
    frame,
    grow,
    start,
    stop,
)

from posthouse.dialects.anthropic_messages.decoder import FOREIGN_LIMIT
from posthouse.errors import (
    UpstreamBadResponse,
    UpstreamOverloaded,
)
from posthouse.model.chat import (
    Finish,
    FinishReason,
    Foreign,
    Signature,
    Text,
    Thinking,
    ToolCall,
)
from posthouse.model.chat_events import (
    Beat,
    Ended,
    Finished,
    PartEnded,
    PartGrew,
    PartSigned,
    PartStarted,
    Started,
    UsageTold,
)
from posthouse.model.usage import ReportedUsage


def test_blocks_become_parts() -> None:
    """In order, with what they say, and told once."""
    events = decoded(
        start(),
        block(0, type="thinking", thinking="", signature=""),
        grow(0, "thinking_delta", thinking="Hm."),
        grow(0, "signature_delta", signature="Eq=="),
        stop(0),
        frame("ping"),
        block(1, type="tool_use", id="t", name="f", input={}),
        grow(1, "input_json_delta", partial_json=""),
        grow(1, "input_json_delta", partial_json='{"a":'),
        grow(1, "input_json_delta", partial_json="1}"),
        stop(1),
        finish("tool_use"),
        END,
    )
    assert events == [
        Started("anthropic_messages", "msg_1", "claude-x-1"),
        events[1],
        PartStarted(0, 0, Thinking()),
        PartGrew(0, 0, "Hm."),
        PartSigned(0, 0, Signature("anthropic_messages", "Eq==")),
        PartEnded(0, 0),
        Beat(),
        PartStarted(0, 1, ToolCall("t", "f", "")),
        PartGrew(0, 1, '{"a":'),
        PartGrew(0, 1, "1}"),
        PartEnded(0, 1),
        Finished(0, Finish(FinishReason.TOOL_CALLS)),
        events[12],
        Ended(),
    ]
    assert events[12] == UsageTold(ReportedUsage(input=9, output=5, searches=0))


def test_a_call_without_arguments_has_an_empty_object() -> None:
    """As the whole reply has it."""
    call = block(0, type="tool_use", id="t", name="f", input={})
    assert decoded(start(), call, stop(0))[-2:] == [
        PartGrew(0, 0, "{}"),
        PartEnded(0, 0),
    ]


def test_a_call_may_come_whole() -> None:
    """Some servers tell all of it at its start."""
    call = block(0, type="tool_use", id="t", name="f", input={"a": 1})
    events = decoded(start(), call, stop(0))
    assert events[2:] == [
        PartStarted(0, 0, ToolCall("t", "f", '{"a":1}')),
        PartEnded(0, 0),
    ]


def test_usage_is_cumulative_and_counts_once() -> None:
    """The lifetimes of what is written stand at the beginning, totals at the end."""
    split = {"ephemeral_5m_input_tokens": 30, "ephemeral_1h_input_tokens": 70}
    first = {
        "input_tokens": 9,
        "cache_creation_input_tokens": 100,
        "cache_read_input_tokens": 50,
        "cache_creation": split,
        "output_tokens": 1,
    }
    later = {"cache_creation_input_tokens": 100, "cache_read_input_tokens": 0}
    told = [
        event.usage
        for event in decoded(start(first), finish(**later), END)
        if isinstance(event, UsageTold)
    ]
    assert told[-1] == ReportedUsage(
        input=159,
        output=5,
        cached_input=50,
        cache_write_5m=30,
        cache_write_1h=70,
        searches=0,
    )


def test_what_breaks_off_has_not_been_counted() -> None:
    """The one token of output at the beginning is no count of it."""
    first = {"input_tokens": 9, "output_tokens": 1, "server_tool_use": None}
    events = decoded(start(first), block(0, type="text", text="a lot of text"))
    assert events[1] == UsageTold(ReportedUsage(input=9))


def test_a_block_that_only_anthropic_has_comes_whole_at_its_end() -> None:
    """With the arguments that it was given piece by piece."""
    events = decoded(
        start(),
        block(0, type="server_tool_use", id="s", name="web_search", input={}),
        grow(0, "input_json_delta", partial_json='{"query":'),
        grow(0, "input_json_delta", partial_json='"x"}'),
        stop(0),
        block(1, type="compaction", content=""),
        grow(1, "compaction_delta", content="Sum"),
        grow(1, "compaction_delta", content="mary", encrypted=None, extra=[1]),
        stop(1),
    )
    value = {
        "type": "server_tool_use",
        "id": "s",
        "name": "web_search",
        "input": {"query": "x"},
    }
    compaction = {"type": "compaction", "extra": [1], "content": "Summary"}
    assert events[2:] == [
        PartStarted(0, 0, Foreign("server_tool_use", value, harmless=True)),
        PartEnded(0, 0),
        PartStarted(0, 1, Foreign("compaction", compaction, harmless=True)),
        PartEnded(0, 1),
    ]


def test_a_block_that_is_told_whole_has_a_limit() -> None:
    """So that a stream holds no more memory than that."""
    text = "x" * (FOREIGN_LIMIT // 2)
    frames = [grow(0, "odd_delta", more=text) for _ in range(3)]
    with pytest.raises(UpstreamBadResponse):
        decoded(start(), block(0, type="odd"), *frames)


def test_blocks_that_are_open_at_the_end_are_ended() -> None:
    """Whoever forgot to say so."""
    events = decoded(start(), block(0, type="text", text="a"), finish(), finish(), END)
    assert events[3:5] == [PartEnded(0, 0), STOP]
    assert sum(isinstance(event, Finished) for event in events) == 1


def test_what_is_unknown_passes_by() -> None:
    """Events, deltas and comments that nobody has heard of."""
    events = decoded(
        start(),
        (b": hello\n\n", b""),
        frame("novel", x=1),
        block(0, type="text", text=""),
        grow(0, "novel_delta", text="no"),
        frame("content_block_delta", index=0, delta={"type": "text_delta"}),
        stop(7),
    )
    assert events[2:] == [PartStarted(0, 0, Text(""))]


def test_the_event_s_name_stands_for_a_missing_type() -> None:
    """Some servers say it only there."""
    assert decoded((b"event: ping\ndata: {}\n\n", b"{}")) == [Beat()]


def test_halves_of_a_character_are_joined() -> None:
    """As sloppy servers cut it; one that stays alone is no text."""

    def cut(text: bytes) -> tuple[bytes, bytes]:
        data = b'{"type":"content_block_delta","index":0,"delta":{"type":"text_delta",'
        data += b'"text":"' + text + b'"}}'
        return data, data

    pieces = [cut(b"a\\ud83d"), cut(b"\\ude00b"), cut(b"\\ude00c")]
    events = decoded(start(), block(0, type="text", text=""), *pieces)
    assert events[3:] == [
        PartGrew(0, 0, "a"),
        PartGrew(0, 0, "😀b"),
        PartGrew(0, 0, "\ufffdc"),
    ]


@each(
    "bad",
    [
        (b"data: nonsense\n\n", b"nonsense"),
        (b"data: [1]\n\n", b"[1]"),
        frame("message_start"),
        frame("message_start", message=1),
        frame("content_block_start", index=0),
        block(0, text="no type"),
        block(0, type="text", text=1),
        block(0, type="tool_use", id="t", name="f", input=[]),
        grow(4, "text_delta", text="of nothing"),
        frame("content_block_delta", index="x", delta={"type": "text_delta"}),
        finish(5),  # type: ignore[arg-type]  # what is wrong with it
    ],
)
def test_what_cannot_be_meant_is_a_bad_response(bad: tuple[bytes, bytes]) -> None:
    """And nothing else, whatever stands there."""
    with pytest.raises(UpstreamBadResponse):
        decoded(start(), bad)


def test_a_citation_without_anything_is_a_bad_response() -> None:
    """It must say what it is."""
    with pytest.raises(UpstreamBadResponse):
        decoded(start(), block(0, type="text", text=""), grow(0, "citations_delta"))


def test_a_stream_begins_once() -> None:
    """Whoever says it again."""
    events = decoded(start(), start({"input_tokens": 10}))
    assert [type(event) for event in events] == [Started, UsageTold, UsageTold]


@each("early", [END, stop(0), finish()])
def test_nothing_comes_before_the_beginning(early: tuple[bytes, bytes]) -> None:
    """But a ping."""
    assert decoded(frame("ping")) == [Beat()]
    with pytest.raises(UpstreamBadResponse):
        decoded(early)


def test_an_error_in_a_stream_is_raised() -> None:
    """As its type says."""
    with pytest.raises(UpstreamOverloaded):
        decoded(start(), frame("error", error={"type": "overloaded_error"}))


def test_a_stream_ends_by_its_last_event_only() -> None:
    """One that breaks off is not whole."""
    assert Ended() not in decoded(start(), finish())

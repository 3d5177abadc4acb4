"""Anthropic's streams: read, written, passed along and cut off."""

import json
from typing import Any

import pytest

from posthouse.dialects.anthropic_messages import CODEC, DIALECT
from posthouse.dialects.anthropic_messages.decoder import FOREIGN_LIMIT
from posthouse.dialects.base import ParsedRequest, StreamTap
from posthouse.dialects.neutral.codec import Identity
from posthouse.dialects.neutral.collect import collect
from posthouse.errors import (
    InsufficientQuota,
    UpstreamBadResponse,
    UpstreamInterrupted,
    UpstreamOverloaded,
)
from posthouse.model.chat import (
    Audio,
    ChatRequest,
    Citation,
    Finish,
    FinishReason,
    Foreign,
    Image,
    Media,
    Message,
    Refusal,
    Role,
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
from posthouse.wire.sse import SSEDecoder, event_name

CHAT = ChatRequest(
    dialect="anthropic_messages",
    model="asked",
    messages=(Message(Role.USER, (Text("Hi"),)),),
)
IDENTITY = Identity("abc", 1_770_000_000)
STOP = Finished(0, Finish(FinishReason.STOP))


def frame(kind: str, **members: Any) -> tuple[bytes, bytes]:
    data = json.dumps({"type": kind, **members}).encode()
    return b"event: " + kind.encode() + b"\ndata: " + data + b"\n\n", data


def start(usage: Any = None, **members: Any) -> tuple[bytes, bytes]:
    message = {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": "claude-x-1",
        "content": [],
        "stop_reason": None,
        "usage": usage or {"input_tokens": 9, "output_tokens": 1},
    }
    return frame("message_start", message=message | members)


def block(index: int, **content: Any) -> tuple[bytes, bytes]:
    return frame("content_block_start", index=index, content_block=content)


def grow(index: int, kind: str, **members: Any) -> tuple[bytes, bytes]:
    delta = {"type": kind, **members}
    return frame("content_block_delta", index=index, delta=delta)


def stop(index: int) -> tuple[bytes, bytes]:
    return frame("content_block_stop", index=index)


def finish(reason: str = "end_turn", **usage: Any) -> tuple[bytes, bytes]:
    delta = {"stop_reason": reason, "stop_sequence": None}
    return frame("message_delta", delta=delta, usage={"output_tokens": 5} | usage)


END = frame("message_stop")


def decoded(*frames: tuple[bytes, bytes]) -> list[ChatEvent]:
    decoder = CODEC.decoder()
    events = [event for raw, data in frames for event in decoder.feed(raw, data)]
    return events + decoder.close()


def encoded(*events: ChatEvent, chat: ChatRequest = CHAT) -> list[dict[str, Any]]:
    """What a client gets, frame by frame; the names of events are checked."""
    encoder = CODEC.encoder(chat, IDENTITY)
    out = b"".join(map(encoder.feed, events))
    frames = SSEDecoder().feed(out + encoder.close())
    values = [json.loads(data) for _, data in frames]
    assert [event_name(raw).decode() for raw, _ in frames] == [
        value["type"] for value in values
    ]
    return values


# --- a provider's -------------------------------------------------------------------


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
    assert events[12] == UsageTold(ReportedUsage(input=9, output=5))


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
        input=159, output=5, cached_input=50, cache_write_5m=30, cache_write_1h=70
    )


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


def test_half_a_surrogate_pair_is_read() -> None:
    """As sloppy servers cut it."""
    data = b'{"type":"content_block_delta","index":0,"delta":{"type":"text_delta",'
    data += b'"text":"\\ud83d"}}'
    events = decoded(start(), block(0, type="text", text=""), (data, data))
    assert events[-1] == PartGrew(0, 0, "\ud83d")


@pytest.mark.parametrize(
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


def test_an_error_in_a_stream_is_raised() -> None:
    """As its type says."""
    with pytest.raises(UpstreamOverloaded):
        decoded(start(), frame("error", error={"type": "overloaded_error"}))


def test_a_stream_ends_by_its_last_event_only() -> None:
    """One that breaks off is not whole."""
    assert Ended() not in decoded(start(), finish())


# --- a client's ---------------------------------------------------------------------


def test_a_stream_is_written_as_the_sdk_takes_it() -> None:
    """Blocks one after the other; what was used and why it ended come last."""
    usage = ReportedUsage(input=20, output=7, cached_input=5, cache_write_5m=3)
    values = encoded(
        Started("openai_chat", "chatcmpl-1", "gpt"),
        Beat(),
        PartStarted(0, 0, Text("")),
        PartGrew(0, 0, "Hel"),
        PartGrew(0, 0, "lo"),
        PartEnded(0, 0),
        LogprobsTold(0, ()),
        STOP,
        UsageTold(usage),
        Ended(),
    )
    assert [value["type"] for value in values] == [
        "message_start",
        "content_block_start",
        "content_block_delta",
        "content_block_delta",
        "content_block_stop",
        "message_delta",
        "message_stop",
    ]
    message = values[0]["message"]
    assert (message["id"], message["model"]) == ("msg_abc", "gpt")
    assert message["usage"]["input_tokens"] == 0
    delta = values[-2]
    assert delta["delta"]["stop_reason"] == "end_turn"
    assert delta["usage"]["input_tokens"] == 12
    assert delta["usage"]["cache_read_input_tokens"] == 5
    assert delta["usage"]["cache_creation_input_tokens"] == 3
    assert delta["usage"]["output_tokens"] == 7


def test_nothing_terminal_is_written_before_the_end() -> None:
    """It waits for the settlement."""
    encoder = CODEC.encoder(CHAT, IDENTITY)
    fed = b"".join(
        map(encoder.feed, [Started("x"), STOP, UsageTold(ReportedUsage()), Ended()])
    )
    assert b"message_delta" not in fed
    assert b"message_stop" not in fed


def test_the_public_name_is_told() -> None:
    """Of the model, in place of the provider's."""
    encoder = CODEC.encoder(CHAT, Identity("abc", 1, "public"))
    assert b'"model":"public"' in encoder.feed(Started("x", None, "secret"))


def test_calls_side_by_side_are_put_one_after_the_other() -> None:
    """Indexes count blocks; what belongs to a later one waits."""
    values = encoded(
        Started("openai_chat"),
        PartStarted(0, 0, ToolCall("a", "f", "")),
        PartStarted(0, 1, ToolCall("b", "g", "")),
        PartGrew(0, 1, '{"y":2}'),
        PartGrew(0, 0, '{"x":1}'),
        PartEnded(0, 0),
        PartEnded(0, 1),
        STOP,
    )
    told = [(v["type"], v["index"]) for v in values if "index" in v]
    kinds = ("content_block_start", "content_block_delta", "content_block_stop")
    assert told == [(kind, index) for index in (0, 1) for kind in kinds]
    assert values[2]["delta"]["partial_json"] == '{"x":1}'
    # Not every provider says that it was for the calls.
    assert values[-2]["delta"]["stop_reason"] == "tool_use"


def test_empty_texts_are_no_blocks() -> None:
    """Anthropic would refuse them when they come back."""
    values = encoded(
        Started("x"),
        PartStarted(0, 0, Text("")),
        PartEnded(0, 0),
        PartStarted(0, 1, Thinking()),
        PartEnded(0, 1),
        PartStarted(0, 2, Text("a")),
        PartEnded(0, 2),
        STOP,
    )
    starts = [v for v in values if v["type"] == "content_block_start"]
    assert [(v["index"], v["content_block"]["type"]) for v in starts] == [(0, "text")]


@pytest.mark.parametrize(
    ("signature", "sealed"),
    [
        (None, "posthouse.none."),
        (Signature("gemini_generate", "Cp=="), "posthouse.gemini_generate.Cp=="),
        (Signature("anthropic_messages", "Eq=="), "Eq=="),
    ],
)
def test_thoughts_end_with_a_signature(
    signature: Signature | None, sealed: str
) -> None:
    """Their own, or another one's sealed, or a sealed nothing."""
    signed = [] if signature is None else [PartSigned(0, 0, signature)]
    values = encoded(
        Started("x"),
        PartStarted(0, 0, Thinking("Hm")),
        *signed,
        PartGrew(0, 0, "."),
        PartEnded(0, 0),
        STOP,
    )
    assert [v["delta"] for v in values if v["type"] == "content_block_delta"] == [
        {"type": "thinking_delta", "thinking": "Hm"},
        {"type": "thinking_delta", "thinking": "."},
        {"type": "signature_delta", "signature": sealed},
    ]


def test_a_call_s_signature_stands_in_thoughts_before_it() -> None:
    """A call has no place for one; a text's follows it."""
    signature = Signature("gemini_generate", "Cp==")
    values = encoded(
        Started("gemini_generate"),
        PartStarted(0, 0, Text("a")),
        PartSigned(0, 0, signature),
        PartEnded(0, 0),
        PartStarted(0, 1, ToolCall("t", "f", "{}", signature=signature)),
        PartEnded(0, 1),
        STOP,
    )
    blocks = [v["content_block"] for v in values if v["type"] == "content_block_start"]
    assert [found["type"] for found in blocks] == [
        "text",
        "thinking",
        "thinking",
        "tool_use",
    ]
    signed = [
        v["delta"]["signature"]
        for v in values
        if v["type"] == "content_block_delta" and "signature" in v["delta"]
    ]
    assert signed == ["posthouse.gemini_generate.Cp=="] * 2


def test_parts_that_have_no_block_are_put_into_words() -> None:
    """Refusals, speech and pictures; what another provider ran is left out."""
    picture = Image(Media(data="QQ==", media_type="image/png"))
    values = encoded(
        Started("x"),
        PartStarted(0, 0, Refusal("")),
        PartGrew(0, 0, "No."),
        PartEnded(0, 0),
        PartStarted(0, 1, Audio(Media(data=""))),
        PartGrew(0, 1, "QUFB"),
        AudioTold(0, 1, "spoken"),
        PartEnded(0, 1),
        PartStarted(0, 2, picture),
        PartEnded(0, 2),
        PartStarted(0, 3, Foreign("web_search_call", {}, harmless=True)),
        PartEnded(0, 3),
        STOP,
    )
    texts = [
        v["delta"]["text"] for v in values if v["type"] == "content_block_delta"
    ] + [
        v["content_block"]["text"]
        for v in values
        if v["type"] == "content_block_start" and v["content_block"]["text"]
    ]
    assert texts == ["No.", "spoken", "![image](data:image/png;base64,QQ==)"]
    assert values[-2]["delta"]["stop_reason"] == "refusal"


def test_withheld_thoughts_come_whole() -> None:
    """With the proof of them."""
    thought = Thinking(signature=Signature("openai_responses", "gA"), redacted=True)
    values = encoded(Started("x"), PartStarted(0, 0, thought), PartEnded(0, 0), STOP)
    data = "posthouse.openai_responses.gA"
    assert values[1]["content_block"] == {"type": "redacted_thinking", "data": data}


def test_citations_are_told_as_they_come() -> None:
    """In the text that they belong to."""
    values = encoded(
        Started("x"),
        PartStarted(0, 0, Text("a", citations=(Citation(url="u1", title="t"),))),
        PartCited(0, 0, Citation(document=1, start=2, end=3, quote="q")),
        PartEnded(0, 0),
        STOP,
    )
    told = [v["delta"]["citation"] for v in values if "citation" in v.get("delta", {})]
    assert told == [
        {
            "type": "web_search_result_location",
            "url": "u1",
            "title": "t",
            "cited_text": "",
            "encrypted_index": "posthouse.none.",
        },
        {
            "type": "char_location",
            "cited_text": "q",
            "document_index": 1,
            "document_title": None,
            "start_char_index": 2,
            "end_char_index": 3,
        },
    ]


def test_a_custom_tool_s_text_becomes_json() -> None:
    """However it was cut."""
    values = encoded(
        Started("openai_chat"),
        PartStarted(0, 0, ToolCall("t", "patch", "", custom=True)),
        PartGrew(0, 0, '*** "Begin"\n'),
        PartGrew(0, 0, "-x"),
        PartEnded(0, 0),
        STOP,
    )
    pieces = [
        v["delta"]["partial_json"] for v in values if "delta" in v and "index" in v
    ]
    assert json.loads("".join(pieces)) == {"input": '*** "Begin"\n-x'}


def test_the_first_answer_is_the_only_one() -> None:
    """There is no place for others."""
    values = encoded(
        Started("x"),
        PartStarted(1, 0, Text("b")),
        PartEnded(1, 0),
        Finished(1, Finish(FinishReason.LENGTH)),
        STOP,
    )
    assert len(values) == 3


@pytest.mark.parametrize(
    ("reason", "word"),
    [
        (FinishReason.STOP, "end_turn"),
        (FinishReason.STOP_SEQUENCE, "stop_sequence"),
        (FinishReason.LENGTH, "max_tokens"),
        (FinishReason.CONTEXT_LENGTH, "model_context_window_exceeded"),
        (FinishReason.TOOL_CALLS, "tool_use"),
        (FinishReason.CONTENT_FILTER, "refusal"),
        (FinishReason.REFUSAL, "refusal"),
        (FinishReason.PAUSE, "pause_turn"),
        (FinishReason.MALFORMED_CALL, "end_turn"),
        (FinishReason.OTHER, "end_turn"),
    ],
)
def test_every_reason_has_a_word(reason: FinishReason, word: str) -> None:
    """One that the SDKs know."""
    values = encoded(Started("x"), Finished(0, Finish(reason)))
    assert values[-2]["delta"]["stop_reason"] == word


def test_an_end_before_the_beginning_is_still_a_message() -> None:
    """The SDKs crash without a start."""
    assert [value["type"] for value in encoded()] == [
        "message_start",
        "message_delta",
        "message_stop",
    ]


def test_an_answer_that_was_cut_off_says_why() -> None:
    """Beside the reason that clients know."""
    told = {"posthouse": {"code": "insufficient_quota", "message": "m"}}
    ended = Finished(0, Finish(FinishReason.LENGTH), told)
    delta = encoded(Started("x"), PartStarted(0, 0, Text("a")), PartEnded(0, 0), ended)[
        -2
    ]
    assert delta["delta"]["stop_reason"] == "max_tokens"
    assert delta["posthouse"]["code"] == "insufficient_quota"


# --- from one to the other ----------------------------------------------------------


def tap(public_model: str | None = None) -> StreamTap:
    found = DIALECT.tap_stream(_REQUEST, public_model)
    assert found is not None
    return found


_REQUEST: ParsedRequest = DIALECT.parse_request(
    b'{"model":"m","max_tokens":9,"messages":[{"role":"user","content":"Hi"}]}'
)


def test_frames_pass_to_the_letter() -> None:
    """Whatever they hold; only the beginning carries the model's name."""
    first, data = start(novel={"n": 1})
    passing = tap("public")
    renamed = passing.feed(first, data)
    assert renamed.raw.startswith(b"event: message_start\ndata: ")
    message = json.loads(renamed.raw.split(b"data: ")[1])["message"]
    assert message["model"] == "public"
    assert message["novel"] == {"n": 1}
    odd = b'event: content_block_start\ndata: {"type":"content_block_start", "index":0,'
    odd += b'"content_block":{"type":"text","text":"","n":1.0}}\n\n'
    assert passing.feed(odd, odd.split(b"data: ")[1].rstrip()).raw == odd
    said = grow(0, "text_delta", text="message_start and model")
    assert passing.feed(*said).raw == said[0]
    assert passing.feed(*said).content
    assert not passing.finished
    passing.feed(*finish())
    assert passing.finished
    assert passing.feed(*END).terminal
    assert passing.output_text() == "message_start and model" * 2
    assert passing.usage == ReportedUsage(input=9, output=5)


def test_without_another_name_nothing_is_written_anew() -> None:
    """And nor is what has none."""
    raw, data = start()
    assert tap().feed(raw, data).raw == raw
    nameless, data = frame("message_start", message={"id": "x"})
    assert tap("public").feed(nameless, data).raw == nameless


def test_an_answer_is_cut_off_as_if_its_limit_were_met() -> None:
    """Open blocks end, the reason and the usage are told, the end waits."""
    passing = tap()
    passing.feed(*start())
    passing.feed(*block(0, type="text", text="a"))
    last, terminal = passing.cut_off_frames(InsufficientQuota())
    values = [json.loads(data) for _, data in SSEDecoder().feed(last)]
    assert values[0] == {"type": "content_block_stop", "index": 0}
    assert values[1]["delta"]["stop_reason"] == "max_tokens"
    assert values[1]["posthouse"]["code"] == "insufficient_quota"
    assert values[1]["usage"]["input_tokens"] == 9
    assert terminal == b'event: message_stop\ndata: {"type":"message_stop"}\n\n'


def test_an_answer_that_has_ended_is_only_closed() -> None:
    """Its end is told once."""
    passing = tap()
    for each in (start(), block(0, type="text", text="a"), stop(0), finish()):
        passing.feed(*each)
    assert passing.cut_off_frames(InsufficientQuota())[0] == b""


def test_an_error_is_told_in_a_stream_of_its_own() -> None:
    """As an event."""
    assert tap().error_frame(UpstreamInterrupted()).startswith(b"event: error\n")


def test_what_was_written_is_read_again() -> None:
    """A stream of ours is a stream of theirs."""
    events = decoded(
        start(
            {
                "input_tokens": 3,
                "cache_creation_input_tokens": 2,
                "cache_read_input_tokens": 4,
                "output_tokens": 1,
                "service_tier": "standard",
            }
        ),
        block(0, type="text", text=""),
        grow(0, "text_delta", text="a"),
        stop(0),
        finish("novel_reason", novel_count=2),
        END,
    )
    encoder = CODEC.encoder(CHAT, IDENTITY)
    out = b"".join(map(encoder.feed, events)) + encoder.close()
    again = decoded(*SSEDecoder().feed(out))
    assert collect(again) == collect(events)

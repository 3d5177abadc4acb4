"""Anthropic's streams, written for its clients."""

import json

from tests.support.cases import each
from tests.unit.dialects.anthropic_frames import (
    CHAT,
    IDENTITY,
    STOP,
    encoded,
)

from posthouse.dialects.anthropic_messages import CODEC
from posthouse.dialects.neutral.codec import Identity
from posthouse.model.chat import (
    Audio,
    Citation,
    Finish,
    FinishReason,
    Foreign,
    Image,
    Media,
    Refusal,
    Signature,
    Text,
    Thinking,
    ToolCall,
)
from posthouse.model.chat_events import (
    AudioTold,
    Beat,
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


@each(
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


@each(
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

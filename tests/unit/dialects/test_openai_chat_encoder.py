"""Streams of OpenAI's chat as clients are told them."""

import json
from typing import Any

from tests.support.cases import each

from posthouse.dialects.neutral.codec import Identity
from posthouse.dialects.openai_chat import CODEC
from posthouse.model.chat import (
    ChatRequest,
    Citation,
    CustomTool,
    Finish,
    FinishReason,
    FunctionTool,
    Image,
    Media,
    Message,
    Role,
    Signature,
    Text,
    Thinking,
    ToolCall,
)
from posthouse.model.chat_events import (
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
from posthouse.wire.sse import SSEDecoder

IDENTITY = Identity("x", 7)
STARTED = Started("anthropic_messages", "id", "m", 5)
STOP = Finish(FinishReason.STOP)


def ask(**members: Any) -> ChatRequest:
    whole: dict[str, Any] = {"dialect": "openai_chat", "model": "asked"} | members
    return ChatRequest(messages=(Message(Role.USER, (Text("hi"),)),), **whole)


def encoded(chat: ChatRequest, *events: ChatEvent) -> list[Any]:
    """What a client reads: chunks, `[DONE]` and comments as text."""
    encoder = CODEC.encoder(chat, IDENTITY)
    wire = b"".join([*map(encoder.feed, events), encoder.close()])
    return [
        json.loads(data) if data[:1] == b"{" else (data or raw).decode().strip()
        for raw, data in SSEDecoder().feed(wire)
    ]


def deltas(chunks: list[Any]) -> list[Any]:
    """What is added by each chunk of the first choice, after the role's."""
    return [
        chunk["choices"][0]["delta"]
        for chunk in chunks[1:]
        if isinstance(chunk, dict) and chunk["choices"]
    ]


def test_a_stream_begins_and_ends_as_openais() -> None:
    """The role first; the reason, the usage and `[DONE]` last."""
    chunks = encoded(
        ask(include_usage=True),
        STARTED,
        PartStarted(0, 0, Text("a")),
        PartEnded(0, 0),
        Finished(0, STOP),
        UsageTold(ReportedUsage(input=2, output=1, cached_input=1), "standard"),
        Ended(),
    )
    role, text, finish, usage, done = chunks
    assert role["choices"][0]["delta"] == {
        "role": "assistant",
        "content": "",
        "refusal": None,
    }
    assert text["choices"][0]["delta"] == {"content": "a"}
    assert finish["choices"][0] == {
        "index": 0,
        "delta": {},
        "logprobs": None,
        "finish_reason": "stop",
    }
    assert {chunk["usage"] for chunk in (role, text, finish)} == {None}
    assert usage["choices"] == []
    assert usage["usage"]["total_tokens"] == 3
    assert usage["usage"]["prompt_tokens_details"]["cached_tokens"] == 1
    assert usage["service_tier"] == "default"
    assert done == "[DONE]"
    assert {(c["id"], c["created"], c["model"]) for c in chunks[:-1]} == {
        ("id", 5, "m")
    }


def test_usage_is_told_to_those_who_asked_for_it() -> None:
    """And is not even null for others."""
    chunks = encoded(ask(), STARTED, Finished(0, STOP), UsageTold(None), Ended())
    assert len(chunks) == 3
    assert all("usage" not in chunk for chunk in chunks[:-1])


def test_a_reply_without_a_name_has_ours() -> None:
    """And the model's public name goes before the provider's."""
    chat = ask()
    [role, *_] = encoded(chat, Started("d"))
    assert (role["id"], role["created"], role["model"]) == ("chatcmpl-x", 7, "asked")
    encoder = CODEC.encoder(chat, Identity("x", 7, "public"))
    assert b'"model":"public"' in encoder.feed(STARTED)


def test_calls_are_counted_from_nought() -> None:
    """Whatever parts stand between them."""
    chunks = encoded(
        ask(),
        STARTED,
        PartStarted(0, 0, Thinking("t")),
        PartEnded(0, 0),
        PartStarted(0, 1, ToolCall("a", "f", "")),
        PartGrew(0, 1, "{"),
        PartGrew(0, 1, "}"),
        PartEnded(0, 1),
        PartStarted(0, 2, Text("x")),
        PartEnded(0, 2),
        PartStarted(0, 3, ToolCall("b", "g", '{"a":1}')),
        PartEnded(0, 3),
        PartStarted(0, 4, ToolCall("c", "h", "")),
        PartEnded(0, 4),
        Finished(0, Finish(FinishReason.TOOL_CALLS)),
        Ended(),
    )
    calls = [c for delta in deltas(chunks) for c in delta.get("tool_calls", ())]
    assert [c["index"] for c in calls] == [0, 0, 0, 1, 1, 2, 2]
    assert [c["id"] for c in calls if "id" in c] == ["a", "b", "c"]
    texts = ["", "", ""]
    for entry in calls:
        texts[entry["index"]] += entry["function"]["arguments"]
    assert texts == ["{}", '{"a":1}', "{}"]


def test_who_asked_with_functions_is_answered_with_one() -> None:
    """There is no word for a second call."""
    chunks = encoded(
        ask(tools=(FunctionTool("f", legacy=True),)),
        STARTED,
        PartStarted(0, 0, ToolCall("a", "f", "")),
        PartGrew(0, 0, "{}"),
        PartEnded(0, 0),
        PartStarted(0, 1, ToolCall("b", "f", "{}")),
        PartEnded(0, 1),
        Finished(0, Finish(FinishReason.TOOL_CALLS)),
        Ended(),
    )
    assert deltas(chunks) == [
        {"function_call": {"name": "f", "arguments": ""}},
        {"function_call": {"arguments": "{}"}},
        {},
    ]
    assert chunks[-2]["choices"][0]["finish_reason"] == "function_call"


def test_text_that_was_wrapped_is_told_as_it_is() -> None:
    """Once it is whole: the client's tool takes text, the model's JSON."""
    chunks = encoded(
        ask(tools=(CustomTool("p"),)),
        STARTED,
        PartStarted(0, 0, ToolCall("a", "p", "")),
        PartGrew(0, 0, '{"input":"a'),
        PartGrew(0, 0, '\\nb"}'),
        PartEnded(0, 0),
    )
    begun, ended = (delta["tool_calls"][0] for delta in deltas(chunks))
    assert begun["type"] == "custom"
    assert ended["custom"]["input"] == "a\nb"


def test_signatures_travel_sealed() -> None:
    """In the places that clients send back."""
    by = "gemini_generate"
    signed = Signature(by, "s")
    chunks = encoded(
        ask(),
        STARTED,
        PartStarted(0, 0, Thinking("t")),
        PartSigned(0, 0, Signature("anthropic_messages", "a")),
        PartEnded(0, 0),
        PartStarted(0, 1, Thinking("", signed, redacted=True)),
        PartEnded(0, 1),
        PartStarted(0, 2, ToolCall("a", "f", "{}", signature=signed)),
        PartEnded(0, 2),
    )
    found = deltas(chunks)
    details = [d for delta in found for d in delta.get("reasoning_details", ())]
    assert [d["index"] for d in details] == [0, 0, 1]
    assert details[0]["text"] == "t"
    assert details[1]["signature"] == "posthouse.anthropic_messages.a"
    assert details[2]["data"] == f"posthouse.{by}.s"
    assert found[0]["reasoning_content"] == "t"
    call_ = found[3]["tool_calls"][0]
    assert call_["extra_content"]["google"]["thought_signature"] == f"posthouse.{by}.s"


def test_citations_are_told_at_a_texts_end() -> None:
    """By their places in the whole message; those without a URL are not."""
    chunks = encoded(
        ask(),
        STARTED,
        PartStarted(0, 0, Text("ab")),
        PartEnded(0, 0),
        PartStarted(0, 1, Text("")),
        PartCited(0, 1, Citation("u", "t")),
        PartCited(0, 1, Citation(quote="q", document=0)),
        PartGrew(0, 1, "cde"),
        PartEnded(0, 1),
    )
    [told] = deltas(chunks)[-1]["annotations"]
    cited = {"start_index": 2, "end_index": 5, "title": "t", "url": "u"}
    assert told == {"type": "url_citation", "url_citation": cited}


def test_pictures_are_told_whole() -> None:
    """As OpenRouter tells them."""
    picture = Image(Media(data="AA", media_type="image/png"))
    chunks = encoded(ask(), STARTED, PartStarted(0, 0, picture), PartEnded(0, 0))
    [told] = deltas(chunks)[0]["images"]
    assert told["image_url"] == {"url": "data:image/png;base64,AA"}


@each(
    ("reason", "name"),
    [
        (FinishReason.CONTEXT_LENGTH, "length"),
        (FinishReason.REFUSAL, "content_filter"),
        (FinishReason.PAUSE, "stop"),
        (FinishReason.MALFORMED_CALL, "stop"),
    ],
)
def test_reasons_become_openais(reason: FinishReason, name: str) -> None:
    """Of which there are few."""
    chunks = encoded(ask(), STARTED, Finished(0, Finish(reason)), Ended())
    assert chunks[1]["choices"][0]["finish_reason"] == name


def test_a_choice_that_told_no_reason_is_ended() -> None:
    """Clients wait for one."""
    chunks = encoded(ask(), STARTED, Ended())
    assert chunks[1]["choices"][0]["finish_reason"] == "stop"


def test_an_answer_that_is_cut_off_says_why() -> None:
    """Beside the choices."""
    why = {"posthouse": {"code": "c", "message": "m"}}
    cut = Finished(0, Finish(FinishReason.LENGTH), why)
    for chat in (ask(), ask(include_usage=True)):
        chunks = encoded(chat, STARTED, cut)
        assert chunks[1]["posthouse"] == why["posthouse"]
        assert chunks[-1] == "[DONE]"


def test_beats_are_comments() -> None:
    """Clients pass over them."""
    assert encoded(ask(), STARTED, Beat())[1] == ": keep-alive"


def test_probabilities_stand_beside_their_tokens() -> None:
    """Those that come too late have a chunk of their own."""
    token = {"token": "a", "logprob": -1}
    chunks = encoded(
        ask(),
        STARTED,
        LogprobsTold(0, (token,)),
        PartStarted(0, 0, Text("a")),
        PartGrew(0, 0, "b"),
        PartEnded(0, 0),
        LogprobsTold(0, (token, token)),
        Finished(0, STOP),
    )
    told = [chunk["choices"][0] for chunk in chunks[1:-1]]
    counts = [len((c["logprobs"] or {}).get("content", ())) for c in told]
    assert counts == [1, 0, 2, 0]
    assert [c["delta"] for c in told] == [{"content": "a"}, {"content": "b"}, {}, {}]

"""Streams of OpenAI's chat: what providers really send, what clients want."""

import json
from typing import Any

import pytest

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
    ChatRequest,
    Choice,
    Citation,
    CustomTool,
    Finish,
    FinishReason,
    FunctionTool,
    Image,
    Media,
    Message,
    Part,
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
    PartCited,
    PartEnded,
    PartGrew,
    PartSigned,
    PartStarted,
    Started,
    UsageTold,
)
from posthouse.model.usage import ReportedUsage
from posthouse.wire.sse import SSEDecoder, data_frame

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


@pytest.mark.parametrize(
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


@pytest.mark.parametrize("finish", ["", "null", None])
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


@pytest.mark.parametrize(
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


@pytest.mark.parametrize(
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


# --- writing ---------------------------------------------------------


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


@pytest.mark.parametrize(
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

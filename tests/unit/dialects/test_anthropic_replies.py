"""Whole messages of Anthropic's: read along, read, and written for its clients."""

import json
from typing import Any

import pytest
from tests.support.cases import each

from posthouse.dialects.anthropic_messages import CODEC, DIALECT
from posthouse.dialects.anthropic_messages.usage import (
    merged_counts,
    reported_usage,
    tier_of,
)
from posthouse.dialects.neutral.codec import Identity
from posthouse.errors import InvalidRequest, UpstreamBadResponse, UpstreamOverloaded
from posthouse.model.chat import (
    Audio,
    ChatReply,
    ChatRequest,
    Choice,
    Document,
    Finish,
    FinishReason,
    Foreign,
    Image,
    Media,
    Message,
    Part,
    Refusal,
    Role,
    ServerTool,
    Signature,
    Text,
    Thinking,
    ToolCall,
)
from posthouse.model.usage import ReportedUsage

REQUEST = DIALECT.parse_request(
    b'{"model":"m","max_tokens":9,"messages":[{"role":"user","content":"Hi"}]}'
)
CHAT = CODEC.read_request(REQUEST)
IDENTITY = Identity("abc", 1)
BODY = (
    b'{"model":"claude-x-1", "id":"msg_1","type":"message","role":"assistant",'
    b'"content":[{"type":"thinking","thinking":"Hm.","signature":"E"},'
    b'{"type":"text","text":"A \\u00e9"},'
    b'{"type":"tool_use","id":"t","name":"f","input":{"n":1.10}}],'
    b'"stop_reason":"tool_use","usage":{"input_tokens":9,"output_tokens":5},'
    b'"novel":1e3}'
)


def written(*parts: Part, dialect: str = "openai_chat", **members: Any) -> Any:
    finish = members.pop("finish", Finish(FinishReason.STOP))
    reply = ChatReply(dialect=dialect, choices=(Choice(0, parts, finish),), **members)
    return json.loads(CODEC.write_reply(reply, CHAT, IDENTITY))


# --- read along ---------------------------------------------------------------------


def test_a_reply_passes_to_the_letter() -> None:
    """What it used and said is read along."""
    reply = DIALECT.parse_reply(REQUEST, BODY, None)
    assert reply.body == BODY
    assert reply.usage == ReportedUsage(input=9, output=5, searches=0)
    assert reply.output_text() == "Hm.\nA é\nf"


def test_the_public_name_is_put_in() -> None:
    """And nothing else is touched."""
    body = DIALECT.parse_reply(REQUEST, BODY, "public").body
    assert body == BODY.replace(b"claude-x-1", b"public").replace(b", ", b",")


def test_a_sloppy_reply_is_read_leniently() -> None:
    """Half a character, and bytes that are no UTF-8."""
    body = b'{"model":"x","content":[{"type":"text","text":"\\ud83d \xff"}]}'
    reply = DIALECT.parse_reply(REQUEST, body, "public")
    assert json.loads(reply.body)["model"] == "public"
    assert reply.output_text() == "\ufffd \ufffd"


@each("body", [b"", b"[]", b"{}", b'{"content":"text"}', b"<html>"])
def test_what_is_no_message_is_a_bad_response(body: bytes) -> None:
    """Whoever reads it."""
    with pytest.raises(UpstreamBadResponse):
        DIALECT.parse_reply(REQUEST, body, None)
    with pytest.raises(UpstreamBadResponse):
        CODEC.read_reply(body)


def test_an_error_with_status_200_is_raised() -> None:
    """As its type says."""
    body = b'{"type":"error","error":{"type":"overloaded_error","message":"m"}}'
    with pytest.raises(UpstreamOverloaded):
        DIALECT.parse_reply(REQUEST, body, None)
    with pytest.raises(UpstreamOverloaded):
        CODEC.read_reply(body)


# --- read ---------------------------------------------------------------------------


def test_arguments_are_read_to_the_letter() -> None:
    """With their numbers as they were written."""
    call = CODEC.read_reply(BODY).choices[0].parts[2]
    assert call == ToolCall("t", "f", '{"n":1.10}')


@each(
    ("usage", "expected"),
    [
        (None, None),
        ("odd", None),
        ({}, ReportedUsage()),
        (
            {"input_tokens": "9", "output_tokens": 5},
            ReportedUsage(output=5, searches=0, odd=True),
        ),
        (
            {"input_tokens": 1, "cache_creation_input_tokens": 100},
            ReportedUsage(input=101, cache_write_5m=100),
        ),
        (
            {
                "input_tokens": 1,
                "cache_creation_input_tokens": 100,
                "cache_creation": {"ephemeral_1h_input_tokens": 40},
            },
            ReportedUsage(input=101, cache_write_5m=60, cache_write_1h=40),
        ),
        (
            {
                "cache_read_input_tokens": 7,
                "output_tokens_details": {"thinking_tokens": 3},
                "server_tool_use": {"web_search_requests": 2},
            },
            ReportedUsage(input=7, cached_input=7, reasoning=3, searches=2),
        ),
    ],
)
def test_disjoint_counts_are_added_up(
    usage: Any, expected: ReportedUsage | None
) -> None:
    """The whole prompt is three counts together; lifetimes never exceed their total."""
    assert reported_usage(usage) == expected


@each(
    ("usage", "tier"),
    [
        (None, None),
        ({"service_tier": "priority"}, "priority"),
        ({"service_tier": 1}, None),
        ({"speed": "fast", "service_tier": "standard"}, "fast"),
        ({"inference_geo": "us"}, "us"),
        ({"inference_geo": "us", "speed": "fast"}, "fast-us"),
        ({"inference_geo": "global", "speed": "standard"}, None),
    ],
)
def test_what_is_dearer_counts_as_a_tier(usage: Any, tier: str | None) -> None:
    """As prices name it."""
    assert tier_of(usage) == tier


def test_later_counts_replace_earlier_ones_where_they_say_something() -> None:
    """They are cumulative."""
    old = {"input_tokens": 9, "output_tokens": 1, "a": 1}
    new = {"input_tokens": 0, "output_tokens": 5, "b": None}
    assert merged_counts(old, new) == {
        "input_tokens": 9,
        "output_tokens": 5,
        "a": 1,
        "b": None,
    }


# --- requests, where the goldens are silent -----------------------------------------


def read(messages: Any, **members: Any) -> ChatRequest:
    body = {"model": "m", "messages": messages} | members
    return CODEC.read_request(DIALECT.parse_request(json.dumps(body).encode()))


@each(
    ("message", "param"),
    [
        ({"role": "tool", "content": "x"}, "messages[0].role"),
        ({"role": "user", "content": [{"text": "x"}]}, "messages[0].content[0].type"),
        (
            {"role": "user", "content": [{"type": "text"}]},
            "messages[0].content[0].text",
        ),
        (
            {"role": "assistant", "content": [{"type": "tool_use", "id": "t"}]},
            "messages[0].content[0].name",
        ),
    ],
)
def test_what_cannot_be_meant_is_refused_by_its_place(message: Any, param: str) -> None:
    """The caller is told where."""
    with pytest.raises(InvalidRequest) as caught:
        read([message])
    assert caught.value.param == param


def test_results_stand_apart_from_what_is_said_with_them() -> None:
    """Before it, whatever came first."""
    result = {"type": "tool_result", "tool_use_id": "t", "content": "1"}
    content = [{"type": "text", "text": "a"}, result]
    first, second = read([{"role": "user", "content": content, "x": 1}]).messages
    assert (first.role, second.role) == (Role.TOOL, Role.USER)
    assert (first.extras, second.extras) == ({}, {"x": 1})
    alone = read([{"role": "user", "content": [result], "x": 1}]).messages
    assert [(each.role, each.extras) for each in alone] == [(Role.TOOL, {"x": 1})]


def test_an_empty_system_prompt_is_none() -> None:
    """A list of nothing."""
    assert len(read([{"role": "user", "content": "x"}], system=[]).messages) == 1


def test_server_tools_are_optional_beside_others() -> None:
    """Unless a tool must be called."""
    tools = [
        {"name": "f", "input_schema": {"type": "object"}},
        {"type": "web_fetch_20260318", "name": "web_fetch"},
    ]
    hello = [{"role": "user", "content": "x"}]
    found = read(hello, tools=tools).tools[1]
    assert isinstance(found, ServerTool)
    assert found.optional
    forced = read(hello, tools=tools, tool_choice={"type": "any"}).tools[1]
    assert isinstance(forced, ServerTool)
    assert not forced.optional


def test_what_stands_beside_a_known_form_keeps_it_whole() -> None:
    """A format with further members, a choice and thinking of a new kind."""
    form = {"type": "json_schema", "schema": {}, "novel": 1}
    chat = read(
        [{"role": "user", "content": "x"}],
        output_config={"format": form},
        tool_choice={"type": "novel", "x": 1},
        thinking={"type": "between_tools"},
    )
    assert chat.output_format is None
    assert chat.extras == {
        "output_config": {"format": form},
        "tool_choice": {"type": "novel", "x": 1},
        "thinking": {"type": "between_tools"},
    }


# --- written ------------------------------------------------------------------------


def test_a_reply_of_another_dialect() -> None:
    """It gets a name of ours, and Anthropic's counts."""
    body = written(
        Text("Hi"),
        id="chatcmpl-1",
        model="gpt",
        usage=ReportedUsage(input=20, output=7, cached_input=5, cache_write_1h=3),
        service_tier="flex",
        extras={"system_fingerprint": "fp"},
    )
    assert body == {
        "id": "msg_abc",
        "type": "message",
        "role": "assistant",
        "model": "gpt",
        "content": [{"type": "text", "text": "Hi"}],
        "stop_reason": "end_turn",
        "stop_sequence": None,
        "stop_details": None,
        "usage": {
            "input_tokens": 12,
            "cache_creation_input_tokens": 3,
            "cache_read_input_tokens": 5,
            "cache_creation": {
                "ephemeral_5m_input_tokens": 0,
                "ephemeral_1h_input_tokens": 3,
            },
            "output_tokens": 7,
        },
    }


def test_nothing_at_all_is_still_a_message() -> None:
    """Without answers, without usage."""
    reply = ChatReply(dialect="x", choices=())
    body = json.loads(CODEC.write_reply(reply, CHAT, Identity("a", 1, "public")))
    assert (body["content"], body["model"]) == ([], "public")
    assert body["usage"]["input_tokens"] == 0


def test_parts_and_their_blocks() -> None:
    """Signatures of calls and texts stand before them; empty texts are none."""
    gemini = Signature("gemini_generate", "Cp")
    body = written(
        Thinking("a"),
        Thinking(signature=Signature("openai_responses", "g"), redacted=True),
        Text(""),
        Text("b", signature=gemini),
        ToolCall("t", "f", "", signature=gemini),
        ToolCall("u", "g", "not json"),
        ToolCall("v", "h", "text", custom=True),
        Refusal("No."),
        Audio(Media(data="QQ=="), transcript="spoken"),
        Audio(Media(data="QQ==")),
        Image(Media(url="https://e.com/a.png")),
        Document(Media(text="x")),
        Foreign("web_search_call", {}, harmless=True),
    )
    sealed = "posthouse.gemini_generate.Cp"
    carrier = {"type": "thinking", "thinking": "", "signature": sealed}
    assert body["content"] == [
        {"type": "thinking", "thinking": "a", "signature": "posthouse.none."},
        {"type": "redacted_thinking", "data": "posthouse.openai_responses.g"},
        carrier,
        {"type": "text", "text": "b"},
        carrier,
        {"type": "tool_use", "id": "t", "name": "f", "input": {}},
        {"type": "tool_use", "id": "u", "name": "g", "input": {"_raw": "not json"}},
        {"type": "tool_use", "id": "v", "name": "h", "input": {"input": "text"}},
        {"type": "text", "text": "No."},
        {"type": "text", "text": "spoken"},
        {"type": "text", "text": "![image](https://e.com/a.png)"},
    ]
    assert body["stop_reason"] == "tool_use"


def test_a_refusal_is_the_reason() -> None:
    """Where the provider only said that it stopped."""
    assert written(Refusal("No."))["stop_reason"] == "refusal"


def test_messages_in_the_request_are_read_as_they_are() -> None:
    """The neutral form of the smallest request."""
    assert CHAT.messages == (Message(Role.USER, (Text("Hi"),)),)

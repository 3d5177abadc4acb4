"""A Responses request, read: what clients really send, and what nobody can mean."""

import json
from typing import Any

import pytest
from tests.support.cases import each

from posthouse.dialects.neutral.codec import Losses
from posthouse.dialects.openai_responses import CODEC, DIALECT
from posthouse.errors import InvalidRequest
from posthouse.model.chat import (
    Audio,
    ChatRequest,
    Citation,
    Document,
    Foreign,
    Image,
    Media,
    Message,
    OutputFormat,
    OutputKind,
    Part,
    Reasoning,
    Role,
    ServerTool,
    Signature,
    Text,
    Thinking,
    ToolCall,
    ToolChoice,
    ToolResult,
    ToolUse,
)
from posthouse.model.traits import Traits

FUNCTION = {"type": "function", "name": "f", "parameters": {}, "strict": False}


def read(**members: Any) -> ChatRequest:
    body = {"model": "m", "input": "hi", **members}
    return CODEC.read_request(DIALECT.parse_request(json.dumps(body).encode()))


def messages(*items: Any) -> tuple[Message, ...]:
    return read(input=list(items)).messages


def parts(*content: Any, role: str = "user") -> tuple[Part, ...]:
    return messages({"role": role, "content": list(content)})[0].parts


def back(chat: ChatRequest) -> dict[str, Any]:
    return CODEC.write_request(chat, Traits(), Losses())


def refused(**members: Any) -> str | None:
    with pytest.raises(InvalidRequest) as caught:
        read(**members)
    return caught.value.param


# --- content --------------------------------------------------------------------------


def test_parts_are_read_as_what_they_are() -> None:
    """Also where their type was left out, and where it is a new one."""
    assert parts(
        {"text": "a"},
        {"type": "text", "text": "b"},
        {"type": "input_image", "image_url": "https://example.com/a.png"},
        {"type": "input_image", "image_url": "data:image/png,raw"},
        {"type": "input_file", "file_data": "AA==", "filename": "a.pdf"},
        {"type": "input_file", "file_id": "file-1"},
        {"type": "input_audio", "input_audio": {"data": "AA==", "format": "mp3"}},
        {"type": "input_smell", "smell": "rose"},
    ) == (
        Text("a"),
        Text("b"),
        Image(Media(url="https://example.com/a.png")),
        Image(Media(url="data:image/png,raw")),
        Document(Media(data="AA=="), "a.pdf"),
        Document(Media(file_id="file-1")),
        Audio(Media(data="AA==", media_type="audio/mpeg")),
        Foreign("content.input_smell", {"type": "input_smell", "smell": "rose"}),
    )


def test_annotations_of_files_keep_what_only_openai_has() -> None:
    """And go back to it."""
    annotation = {"type": "file_citation", "file_id": "f", "filename": "a", "index": 1}
    item = {
        "type": "message",
        "role": "assistant",
        "content": [
            {"type": "output_text", "text": "x", "annotations": [annotation]},
            {"type": "refusal", "refusal": "no"},
        ],
    }
    chat = read(input=[item])
    text = chat.messages[0].parts[0]
    assert isinstance(text, Text)
    assert text.citations == (
        Citation(
            title="a", extras={"type": "file_citation", "file_id": "f", "index": 1}
        ),
    )
    assert back(chat)["input"] == [item]


@each(
    ("part", "place"),
    [
        ("x", "input[0].content[0]"),
        ({"type": "input_text"}, "input[0].content[0].text"),
        ({"type": "input_image"}, "input[0].content[0].image_url"),
        ({"type": "input_file"}, "input[0].content[0].file_data"),
        ({"type": "input_audio"}, "input[0].content[0].input_audio"),
        ({"type": 7}, "input"),
    ],
    ids=str,
)
def test_a_part_without_what_it_is_for_is_refused(part: Any, place: str) -> None:
    """By its place."""
    found = refused(input=[{"role": "user", "content": [part]}])
    assert found is not None
    assert found.startswith(place.partition(".")[0])


# --- items ----------------------------------------------------------------------------


def test_what_the_model_gave_between_two_messages_is_one_turn() -> None:
    """And results that follow each other are one message."""
    found = messages(
        {"role": "user", "content": "a"},
        {"type": "reasoning", "summary": [], "encrypted_content": "gAA"},
        {"role": "assistant", "content": "b"},
        {"type": "function_call", "call_id": "1", "name": "f", "arguments": "{}"},
        {"type": "custom_tool_call", "id": "2", "name": "c", "input": "x"},
        {"type": "function_call_output", "call_id": "1", "output": [{"text": "r"}]},
        {"type": "custom_tool_call_output", "call_id": "2", "output": None},
        {"role": "assistant", "content": []},
        {"role": "user", "content": None},
    )
    assert found == (
        Message(Role.USER, (Text("a"),)),
        Message(
            Role.ASSISTANT,
            (
                Thinking("", Signature("openai_responses", "gAA"), redacted=True),
                Text("b"),
                ToolCall("1", "f", "{}"),
                ToolCall("2", "c", "x", custom=True),
            ),
        ),
        Message(
            Role.TOOL,
            (ToolResult("1", (Text("r"),)), ToolResult("2", custom=True)),
        ),
        Message(Role.USER, ()),
    )


@each(
    ("output", "content", "is_error"),
    [
        ({"content": "x", "success": False}, "x", True),
        ({"content": "x", "success": True}, "x", None),
        ({"a": 1}, '{"a":1}', None),
        (7, "7", None),
    ],
    ids=str,
)
def test_a_result_may_be_anything(
    output: Any, content: str, is_error: bool | None
) -> None:
    """Early versions of Codex wrapped it, others do not write text."""
    item = {"type": "function_call_output", "call_id": "1", "output": output}
    (message,) = messages(item)
    assert message.parts == (ToolResult("1", (Text(content),), is_error=is_error),)


def test_an_item_with_thoughts_and_a_summary_is_two_parts() -> None:
    """The summary first; the signature is of both."""
    item = {
        "type": "reasoning",
        "id": "rs_1",
        "summary": [{"type": "summary_text", "text": "short"}],
        "content": [{"type": "reasoning_text", "text": "long"}],
        "encrypted_content": "gAA",
        "status": "completed",
    }
    assert messages(item)[0].parts == (
        Thinking("short", summary=True, id="rs_1"),
        Thinking("long", Signature("openai_responses", "rs_1:gAA"), id="rs_1"),
    )


@each(
    ("kind", "role", "harmless"),
    [
        ("web_search_call", Role.ASSISTANT, True),
        ("mcp_call", Role.ASSISTANT, True),
        ("shell_call", Role.ASSISTANT, False),
        ("shell_call_output", Role.USER, False),
        ("compaction", Role.USER, False),
        ("brand_new", Role.ASSISTANT, False),
    ],
)
def test_items_of_openais_alone_are_foreign(
    kind: str, role: Role, harmless: bool
) -> None:
    """And go back as they were."""
    item = {"type": kind, "id": "x_1", "new": [1]}
    chat = read(input=[item])
    assert chat.messages == (Message(role, (Foreign(kind, item, harmless),)),)
    assert back(chat)["input"] == [item]


def test_a_picture_that_the_model_made_is_a_part_of_its_turn() -> None:
    """If it is here; one that only OpenAI has kept does no harm elsewhere."""
    made = {
        "type": "image_generation_call",
        "status": "completed",
        "result": "AA==",
        "revised_prompt": "a cat",
        "output_format": "webp",
    }
    chat = read(input=[{**made, "id": "ig_1"}])
    source = Media(data="AA==", media_type="image/webp")
    image = Image(source, extras={"revised_prompt": "a cat"})
    assert chat.messages == (Message(Role.ASSISTANT, (image,)),)
    assert back(chat)["input"] == [made]
    kept = {"type": "image_generation_call", "id": "ig_1"}
    (message,) = messages(kept)
    assert message.parts == (Foreign("image_generation_call", kept, harmless=True),)


@each(
    "item",
    [
        {"type": "item_reference", "id": "a"},
        {"id": "a"},
        {"type": "message", "role": "robot", "content": "x"},
        {"type": "function_call", "name": "f", "arguments": "{}"},
        {"type": "function_call", "call_id": "1", "arguments": "{}"},
        {"type": "function_call", "call_id": "1", "name": "f", "arguments": {}},
        {"type": "function_call_output", "output": "x"},
    ],
    ids=str,
)
def test_an_item_that_nobody_can_mean_is_refused(item: dict[str, Any]) -> None:
    """By its place in the input."""
    found = refused(input=[item])
    assert found is not None
    assert found.startswith("input[0]")


# --- names ----------------------------------------------------------------------------


@each(
    ("namespace", "joined"),
    [
        ("mcp__wiki__", "mcp__wiki__f"),
        ("multi_agent_v1", "multi_agent_v1__f"),
        ("functions", "f"),
    ],
)
def test_a_tool_of_a_namespace_has_one_name(namespace: str, joined: str) -> None:
    """In the tools, in calls and in the choice; and goes back under two."""
    tools = [
        {
            "type": "namespace",
            "name": namespace,
            "description": "d",
            "tools": [FUNCTION],
        }
    ]
    call = {
        "type": "function_call",
        "call_id": "1",
        "name": "f",
        "namespace": namespace,
        "arguments": "{}",
    }
    choice = {"type": "function", "name": "f", "namespace": namespace}
    chat = read(tools=tools, input=[call], tool_choice=choice)
    assert [tool.name for tool in chat.tools] == [joined]  # type: ignore[union-attr]  # functions
    assert chat.messages[0].parts == (ToolCall("1", joined, "{}"),)
    assert chat.tool_choice == ToolChoice(ToolUse.REQUIRED, (joined,))
    written = back(chat)
    assert written["tools"] == tools
    assert written["input"] == [call]
    assert written["tool_choice"] == choice


# --- tools ----------------------------------------------------------------------------


def test_every_search_is_one() -> None:
    """Whatever version was asked for, which goes back."""
    tool = {
        "type": "web_search_preview_2025_03_11",
        "filters": {"allowed_domains": ["a.com"], "blocked_domains": ["b.com"]},
    }
    chat = read(tools=[tool])
    assert chat.tools == (
        ServerTool(
            "web_search",
            allowed_domains=("a.com",),
            blocked_domains=("b.com",),
            value=tool,
        ),
    )
    assert back(chat)["tools"] == [tool]


@each(
    ("value", "choice"),
    [
        ("auto", ToolChoice(ToolUse.AUTO)),
        ({"type": "function", "name": "f"}, ToolChoice(ToolUse.REQUIRED, ("f",))),
        (
            {"type": "allowed_tools", "mode": "auto", "tools": [{**FUNCTION}]},
            ToolChoice(ToolUse.AUTO, ("f",)),
        ),
        (
            {"type": "allowed_tools", "mode": "required", "tools": [{"type": "mcp"}]},
            ToolChoice(ToolUse.REQUIRED, (), {"tools": [{"type": "mcp"}]}),
        ),
        (
            {"type": "web_search_preview"},
            ToolChoice(
                ToolUse.REQUIRED, ("web_search",), {"type": "web_search_preview"}
            ),
        ),
        (
            {"type": "mcp", "server_label": "s"},
            ToolChoice(
                ToolUse.REQUIRED, ("mcp",), {"type": "mcp", "server_label": "s"}
            ),
        ),
    ],
    ids=str,
)
def test_a_choice_is_read_and_goes_back(value: Any, choice: ToolChoice) -> None:
    """Tools that are allowed by their name alone."""
    tools = [FUNCTION, {"type": "mcp"}]
    chat = read(tools=tools, tool_choice=value)
    assert chat.tool_choice == choice
    again = json.loads(json.dumps(back(chat)))["tool_choice"]
    assert (
        read(tools=[FUNCTION, {"type": "mcp"}], tool_choice=again).tool_choice == choice
    )


@each(
    "members",
    [
        {"tool_choice": "any"},
        {"tool_choice": {"type": "allowed_tools", "mode": "none", "tools": []}},
        {"tools": [{"type": "function"}]},
        {"text": {"format": {"type": "yaml"}}},
        {"text": {"format": {"type": "json_schema", "schema": "x"}}},
        {"reasoning": {"effort": 3}},
        {"include": "x"},
        {"include": [1]},
        {"top_p": "x", "temperature": None},
        {"truncation": 3},
        {"prompt": {"id": "p"}},
        {"conversation": "conv_1"},
    ],
    ids=str,
)
def test_what_has_another_type_is_refused(members: dict[str, Any]) -> None:
    """By the member's name."""
    found = refused(**members)
    assert found is not None
    assert found.split(".")[0].split("[")[0] in members


# --- options --------------------------------------------------------------------------


def test_options_have_their_neutral_names() -> None:
    """What is answered here is apart from what a provider is not told."""
    chat = read(
        reasoning={"effort": "low", "generate_summary": "auto"},
        text={"format": {"type": "text"}, "verbosity": "low"},
        include=["reasoning.encrypted_content", "message.output_text.logprobs", "x"],
        truncation="disabled",
        store=True,
        metadata={"a": "b"},
        user="u",
        safety_identifier="s",
        prompt=None,
    )
    assert chat.reasoning == Reasoning(effort="low", summary="auto")
    assert chat.output_format == OutputFormat(OutputKind.TEXT)
    assert chat.sampling.logprobs is True
    assert chat.user == "u"
    assert chat.served == {
        "store": True,
        "metadata": {"a": "b"},
        "truncation": "disabled",
        "include": ["reasoning.encrypted_content"],
    }
    assert chat.extras == {
        "verbosity": "low",
        "include": ["x"],
        "safety_identifier": "s",
    }

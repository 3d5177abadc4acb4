"""Requests of other dialects, written for a provider of Responses."""

from typing import Any

import pytest
from tests.support.cases import each

from posthouse.dialects.neutral.codec import Losses
from posthouse.dialects.openai_responses import CODEC
from posthouse.errors import InvalidRequest
from posthouse.model.chat import (
    Audio,
    CacheMark,
    ChatRequest,
    Citation,
    CustomTool,
    Document,
    Foreign,
    Image,
    Media,
    Message,
    Part,
    Refusal,
    Role,
    Signature,
    Text,
    Thinking,
    ToolCall,
    ToolChoice,
    ToolResult,
    ToolUse,
    Video,
)
from posthouse.model.traits import CacheMarks, Replay, ThinkingStyle, Traits

OWN = "openai_responses"
OTHER = "anthropic_messages"
USER = Message(Role.USER, (Text("hi"),))
TRAITS = Traits(developer=True, custom_tools=True)


def write(
    *messages: Message, traits: Traits = TRAITS, dialect: str = OTHER, **members: Any
) -> tuple[dict[str, Any], tuple[str, ...]]:
    chat = ChatRequest(
        dialect=dialect, model="m", messages=messages or (USER,), **members
    )
    losses = Losses()
    return CODEC.write_request(chat, traits, losses), losses.told


def said(*parts: Part, role: Role = Role.USER, **options: Any) -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = write(Message(role, parts), **options)[0]["input"]
    return items


def refused(*messages: Message, **options: Any) -> str | None:
    with pytest.raises(InvalidRequest) as caught:
        write(*messages, **options)
    return caught.value.param


# --- messages -------------------------------------------------------------------------


def test_a_first_plain_text_of_the_systems_is_the_instructions() -> None:
    """Whatever else the system says stands in the input, in its place."""
    system = Message(Role.SYSTEM, (Text("Be brief."),))
    parts = Message(Role.SYSTEM, (Text("One."), Text("Two.")))
    body, _ = write(system, parts, USER)
    assert body["instructions"] == "Be brief."
    assert [item["role"] for item in body["input"]] == ["system", "user"]
    assert "instructions" not in write(parts, USER)[0]


def test_developers_are_the_system_to_a_server_that_knows_none() -> None:
    """And that is told."""
    body, told = write(Message(Role.DEVELOPER, (Text("x"),)), traits=Traits())
    assert body["input"][0]["role"] == "system"
    assert told == ("~messages.role",)


def test_nothing_is_stored_at_the_provider_and_reasoning_comes_back() -> None:
    """Unless the model does not reason, which must not be asked for it."""
    body, _ = write()
    assert body["store"] is False
    assert body["include"] == ["reasoning.encrypted_content"]
    plain, _ = write(traits=Traits(thinking=ThinkingStyle.NONE))
    assert "include" not in plain


def test_media_are_written_as_the_dialect_has_them() -> None:
    """Bytes as `data:` URLs, and files with a name, which OpenAI wants."""
    items = said(
        Image(Media(data="AA==", media_type="image/webp")),
        Image(Media(file_id="file-1"), detail="low"),
        Document(Media(text="plain")),
        Document(Media(data="AA==", media_type="text/csv"), title="t.csv"),
        Document(Media(url="https://example.com/a.pdf")),
        Document(Media(file_id="file-2")),
    )
    assert items[0]["content"] == [
        {
            "type": "input_image",
            "image_url": "data:image/webp;base64,AA==",
            "detail": "auto",
        },
        {"type": "input_image", "file_id": "file-1", "detail": "low"},
        {
            "type": "input_file",
            "file_data": "data:text/plain;base64,cGxhaW4=",
            "filename": "document.txt",
        },
        {
            "type": "input_file",
            "file_data": "data:text/csv;base64,AA==",
            "filename": "t.csv",
        },
        {"type": "input_file", "file_url": "https://example.com/a.pdf"},
        {"type": "input_file", "file_id": "file-2"},
    ]


@each(
    ("part", "param"),
    [
        (Audio(Media(data="AA==")), "messages.audio"),
        (Video(Media(url="https://example.com/a.mp4")), "messages.video"),
        (Foreign("search_result", {"type": "search_result"}), "messages.search_result"),
    ],
)
def test_what_has_no_place_is_refused(part: Part, param: str) -> None:
    """By its name."""
    assert refused(Message(Role.USER, (part,))) == param


def test_what_does_no_harm_is_left_out_and_told() -> None:
    """Each by its name."""
    body, told = write(
        Message(
            Role.USER,
            (
                Text(
                    "a", (Citation("https://example.com"),), CacheMark(), None, {"x": 1}
                ),
                Foreign("ping", {}, harmless=True),
                Document(
                    Media(file_id="f"), context="c", citations=True, cache=CacheMark()
                ),
            ),
            name="ann",
            extras={"y": 1},
        )
    )
    assert body["input"][0]["content"] == [
        {"type": "input_text", "text": "a"},
        {"type": "input_file", "file_id": "f"},
    ]
    assert told == (
        "-messages.name",
        "-messages.y",
        "-citations",
        "-cache_control",
        "-messages.content.x",
        "-messages.content.ping",
        "-document.context",
    )


def test_cache_marks_reach_models_that_know_them() -> None:
    """With the lifetimes that OpenAI has."""
    traits = Traits(cache_marks=CacheMarks.BREAKPOINT)
    items = said(
        Text("a", cache=CacheMark("1h")), Text("b", cache=CacheMark()), traits=traits
    )
    assert [part["prompt_cache_breakpoint"] for part in items[0]["content"]] == [
        {"mode": "explicit", "ttl": "12h"},
        {"mode": "explicit"},
    ]


# --- what the model gave --------------------------------------------------------------


def test_a_turn_becomes_items() -> None:
    """Words that others have told in parts are one text."""
    items = said(
        Text("a"),
        Refusal("b"),
        ToolCall("c1", "f", ""),
        ToolCall("c2", "p", "patch", custom=True),
        Text("d"),
        role=Role.ASSISTANT,
    )
    assert items == [
        {"type": "message", "role": "assistant", "content": "ab"},
        {"type": "function_call", "call_id": "c1", "name": "f", "arguments": "{}"},
        {"type": "custom_tool_call", "call_id": "c2", "name": "p", "input": "patch"},
        {"type": "message", "role": "assistant", "content": "d"},
    ]


def test_a_server_without_custom_tools_has_functions_for_them() -> None:
    """The tool, its calls, their results, and the choice of it."""
    body, told = write(
        Message(Role.ASSISTANT, (ToolCall("c", "p", "text", custom=True),)),
        Message(Role.TOOL, (ToolResult("c", (Text("ok"),), custom=True),)),
        traits=Traits(),
        tools=(CustomTool("p", "Patch."),),
        tool_choice=ToolChoice(ToolUse.REQUIRED, ("p",)),
    )
    assert [item["type"] for item in body["input"]] == [
        "function_call",
        "function_call_output",
    ]
    assert body["input"][0]["arguments"] == '{"input":"text"}'
    assert body["tools"][0]["parameters"]["required"] == ["input"]
    assert body["tool_choice"] == {"type": "function", "name": "p"}
    assert told == ("~tools.custom",)


def test_arguments_that_are_no_json_are_refused() -> None:
    """No provider could read them."""
    call = Message(Role.ASSISTANT, (ToolCall("c", "f", "{"),))
    assert refused(call) == "tool_calls.arguments"


def test_a_failure_is_said_in_words() -> None:
    """For want of a member."""
    result = ToolResult("c", (Text("no such file"),), is_error=True, cache=CacheMark())
    body, told = write(Message(Role.TOOL, (result,)))
    assert body["input"][0]["output"] == "Error:\nno such file"
    assert told == ("-cache_control", "~tool_result.is_error")
    empty, _ = write(Message(Role.TOOL, (ToolResult("c", (), is_error=True),)))
    assert empty["input"][0]["output"] == "Error"


def test_a_result_beside_what_the_user_says_stands_before_it() -> None:
    """As Anthropic has both in one turn."""
    items = said(ToolResult("c", (Text("ok"),)), Text("Go on."))
    assert [item["type"] for item in items] == ["function_call_output", "message"]


def test_what_the_model_has_made_is_shown_to_it_by_the_user() -> None:
    """Speech goes back as what was said."""
    body, told = write(
        Message(
            Role.ASSISTANT,
            (
                Image(Media(url="https://example.com/a.png")),
                Audio(Media(), id="a1", transcript="Hello"),
            ),
        ),
        USER,
    )
    assert [item["role"] for item in body["input"]] == ["assistant", "user", "user"]
    assert body["input"][0]["content"] == "Hello"
    assert told == ("~messages.content.image", "~messages.content.audio")
    picture = Image(Media(url="https://example.com/a.png"))
    alone = said(picture, role=Role.ASSISTANT)
    assert [item["role"] for item in alone] == ["user"]


@each(
    ("replay", "index"),
    [(Replay.NEVER, None), (Replay.TOOLS, 1), (Replay.ALWAYS, 0)],
)
def test_thoughts_go_back_to_models_that_want_them(
    replay: Replay, index: int | None
) -> None:
    """All of them, or those since the user has spoken last."""
    body, told = write(
        Message(Role.ASSISTANT, (Thinking("old"), Text("x"))),
        USER,
        Message(Role.ASSISTANT, (Thinking("new"), ToolCall("c", "f", "{}"))),
        traits=Traits(replay=replay),
    )
    found = [
        item["content"][0]["text"]
        for item in body["input"]
        if item["type"] == "reasoning"
    ]
    assert found == ([] if index is None else ["old", "new"][index:])
    assert ("-thinking" in told) == (replay is not Replay.ALWAYS)


def test_only_openais_own_signatures_go_back_to_it() -> None:
    """With the id that they were given for; their words as a summary."""
    own = Thinking("a", Signature(OWN, "rs_1:gAAA"))
    other = Thinking("b", Signature(OTHER, "sig"))
    call = ToolCall("c", "f", "{}", signature=Signature("gemini_generate", "x"))
    body, told = write(Message(Role.ASSISTANT, (own, other, call)))
    assert body["input"][0] == {
        "type": "reasoning",
        "id": "rs_1",
        "summary": [{"type": "summary_text", "text": "a"}],
        "encrypted_content": "gAAA",
    }
    assert [item["type"] for item in body["input"]] == ["reasoning", "function_call"]
    assert told == ("-thinking", "-signature")

"""Requests for providers who speak OpenAI's chat: what a model's traits change."""

import json
from typing import Any

import pytest
from tests.support.cases import each

from posthouse.dialects.neutral.codec import Losses
from posthouse.dialects.openai_chat import CODEC
from posthouse.errors import InvalidRequest
from posthouse.model.chat import (
    CacheMark,
    ChatRequest,
    CustomTool,
    Document,
    Foreign,
    FunctionTool,
    Image,
    Media,
    Message,
    OutputFormat,
    OutputKind,
    Part,
    Reasoning,
    Role,
    Sampling,
    ServerTool,
    Signature,
    Text,
    Thinking,
    ToolCall,
    ToolChoice,
    ToolResult,
    ToolUse,
)
from posthouse.model.traits import CacheMarks, Replay, ThinkingStyle, Traits

HI = Message(Role.USER, (Text("hi"),))
CALL = ToolCall("c1", "f", "{}")
RESULT = Message(Role.TOOL, (ToolResult("c1", (Text("ok"),)),))
F = FunctionTool("f")


def ask(*messages: Message, **members: Any) -> ChatRequest:
    whole: dict[str, Any] = {"dialect": "anthropic_messages", "model": "m"} | members
    return ChatRequest(messages=messages or (HI,), **whole)


def write(chat: ChatRequest, **traits: Any) -> tuple[dict[str, Any], tuple[str, ...]]:
    losses = Losses()
    body = CODEC.write_request(chat, Traits(**traits), losses)
    return body, losses.told


def refused(chat: ChatRequest, **traits: Any) -> str | None:
    with pytest.raises(InvalidRequest) as caught:
        write(chat, **traits)
    assert caught.value.exact_code == "unsupported_by_model"
    return caught.value.param


def said(*parts: Part, role: Role = Role.USER) -> Message:
    return Message(role, parts)


# --- how much to think ----------------------------------------------------------------

NATIVE, SWITCH = ThinkingStyle.NATIVE, ThinkingStyle.SWITCH
FLAG, BUDGET = ThinkingStyle.FLAG, ThinkingStyle.BUDGET


@each(
    ("style", "wish", "expected", "told"),
    [
        (NATIVE, Reasoning(effort="xhigh"), {"reasoning_effort": "xhigh"}, ()),
        (NATIVE, Reasoning(enabled=False), {"reasoning_effort": "none"}, ()),
        (NATIVE, Reasoning(budget=0), {"reasoning_effort": "none"}, ()),
        (NATIVE, Reasoning(budget=1_024), {"reasoning_effort": "low"}, 1),
        (NATIVE, Reasoning(budget=4_000), {"reasoning_effort": "medium"}, 1),
        (NATIVE, Reasoning(budget=32_000), {"reasoning_effort": "high"}, 1),
        (NATIVE, Reasoning(budget=-1), {"reasoning_effort": "medium"}, 1),
        (NATIVE, Reasoning(adaptive=True), {"reasoning_effort": "medium"}, 1),
        (NATIVE, Reasoning(enabled=True), {"reasoning_effort": "medium"}, 1),
        (NATIVE, Reasoning(show=True), {}, 1),
        (
            NATIVE,
            Reasoning(enabled=True, effort="low"),
            {"reasoning_effort": "low"},
            (),
        ),
        (SWITCH, Reasoning(effort="none"), {"thinking": {"type": "disabled"}}, ()),
        (SWITCH, Reasoning(effort="high"), {"thinking": {"type": "enabled"}}, 1),
        (SWITCH, Reasoning(adaptive=True), {"thinking": {"type": "enabled"}}, ()),
        (FLAG, Reasoning(enabled=False), {"enable_thinking": False}, ()),
        (FLAG, Reasoning(enabled=True), {"enable_thinking": True}, ()),
        (
            FLAG,
            Reasoning(budget=500),
            {"enable_thinking": True, "thinking_budget": 500},
            (),
        ),
        (
            FLAG,
            Reasoning(effort="low"),
            {"enable_thinking": True, "thinking_budget": 2_048},
            1,
        ),
        (
            BUDGET,
            Reasoning(budget=500),
            {"thinking": {"type": "enabled", "budget_tokens": 500}},
            (),
        ),
        (BUDGET, Reasoning(budget=0), {"thinking": {"type": "disabled"}}, ()),
        (ThinkingStyle.NONE, Reasoning(effort="low"), {}, 1),
    ],
)
def test_a_model_is_told_in_its_own_way_how_much_to_think(
    style: ThinkingStyle, wish: Reasoning, expected: dict[str, Any], told: Any
) -> None:
    """What is told otherwise than it was asked is named."""
    body, losses = write(ask(reasoning=wish), thinking=style)
    known = {"reasoning_effort", "thinking", "enable_thinking", "thinking_budget"}
    assert {name: body[name] for name in known & body.keys()} == expected
    assert len(losses) == (told or 0)


def test_a_budget_stays_within_the_models_bounds() -> None:
    """And a changed one is told."""
    traits = {"thinking": FLAG, "thinking_range": (1_000, 2_000)}
    body, told = write(ask(reasoning=Reasoning(budget=9_000)), **traits)
    assert body["thinking_budget"] == 2_000
    assert told == ("~reasoning.budget",)


# --- thoughts of earlier turns --------------------------------------------------------

OLD = said(Thinking("old"), Text("a"), role=Role.ASSISTANT)
NEW = said(Thinking("new"), CALL, role=Role.ASSISTANT)


@each(
    ("replay", "expected"),
    [
        (Replay.NEVER, [None, None]),
        (Replay.TOOLS, [None, "new"]),
        (Replay.ALWAYS, ["old", "new"]),
    ],
)
def test_thoughts_go_back_as_a_model_wants_them(
    replay: Replay, expected: list[str | None]
) -> None:
    """Those of a loop of tools are the ones since the user spoke."""
    body, _ = write(ask(HI, OLD, HI, NEW, RESULT), replay=replay)
    answers = [m for m in body["messages"] if m["role"] == "assistant"]
    assert [answer.get("reasoning_content") for answer in answers] == expected


def test_who_always_wants_thoughts_gets_them_even_if_there_were_none() -> None:
    """DeepSeek's V4 insists on the member."""
    answer = said(Text("a"), role=Role.ASSISTANT)
    body, told = write(ask(HI, answer, HI), replay=Replay.ALWAYS)
    assert body["messages"][1]["reasoning_content"] == ""
    assert told == ()


def test_signed_thoughts_of_others_stay_away() -> None:
    """Whatever the model wants."""
    signed = Thinking("t", Signature("anthropic_messages", "s"))
    answer = said(signed, CALL, role=Role.ASSISTANT)
    body, told = write(ask(HI, answer, RESULT), replay=Replay.TOOLS)
    assert "reasoning_content" not in body["messages"][1]
    assert told == ("-thinking",)


def test_a_providers_own_signature_goes_back() -> None:
    """To the place where it was found; another's does not."""
    own = ToolCall("c1", "f", "{}", signature=Signature("openai_chat", "s"))
    other = ToolCall("c2", "f", "{}", signature=Signature("gemini_generate", "s"))
    answer = said(own, other, role=Role.ASSISTANT)
    body, told = write(ask(HI, answer))
    first, second = body["messages"][1]["tool_calls"]
    assert first["extra_content"] == {"google": {"thought_signature": "s"}}
    assert "extra_content" not in second
    assert told == ("-signature",)


# --- tools ----------------------------------------------------------------------------


def test_pictures_of_tools_follow_all_results() -> None:
    """In a message of the user's, for the tool's holds text alone."""
    picture = Image(Media(data="AA", media_type="image/png"))
    calls = said(CALL, ToolCall("c2", "f", "{}"), role=Role.ASSISTANT)
    results = said(
        ToolResult("c1", (Text("see"), picture)),
        ToolResult("c2", (Text("no"),), is_error=True),
        role=Role.TOOL,
    )
    body, told = write(ask(HI, calls, results, HI))
    assert [m["role"] for m in body["messages"]] == [
        "user",
        "assistant",
        "tool",
        "tool",
        "user",
        "user",
    ]
    assert body["messages"][3]["content"] == "Error: no"
    shown = body["messages"][4]["content"]
    assert shown[0]["text"] == "Output of the tool call c1:"
    assert shown[1]["image_url"]["url"] == "data:image/png;base64,AA"
    assert told == ("~tool_result.content", "~tool_result.is_error")


def test_a_tool_that_shows_only_pictures_says_so() -> None:
    """An empty text would tell the model that there was nothing."""
    picture = Image(Media(url="https://example.com/a.png"))
    answer = said(CALL, role=Role.ASSISTANT)
    results = said(ToolResult("c1", (picture,)), role=Role.TOOL)
    body, _ = write(ask(HI, answer, results))
    assert body["messages"][2]["content"]
    assert body["messages"][3]["role"] == "user"


def test_a_custom_tool_becomes_a_function() -> None:
    """Where the model takes JSON alone; calls of it, too."""
    tool = CustomTool("p", "Patches.")
    call = ToolCall("c1", "p", "text", custom=True)
    chat = ask(HI, said(call, role=Role.ASSISTANT), RESULT, tools=(tool,))
    body, told = write(chat)
    assert body["tools"][0]["function"]["parameters"]["required"] == ["input"]
    written = body["messages"][1]["tool_calls"][0]["function"]
    assert json.loads(written["arguments"]) == {"input": "text"}
    assert told == ("~tools.custom",)
    body, told = write(chat, custom_tools=True)
    assert body["tools"][0]["type"] == "custom"
    assert told == ()


@each(
    ("choice", "expected"),
    [
        (ToolChoice(ToolUse.AUTO), "auto"),
        (ToolChoice(ToolUse.NONE, ("f",)), "none"),
        (ToolChoice(ToolUse.REQUIRED), "required"),
        (
            ToolChoice(ToolUse.REQUIRED, ("f",)),
            {"type": "function", "function": {"name": "f"}},
        ),
        (
            ToolChoice(ToolUse.AUTO, ("f",)),
            {
                "type": "allowed_tools",
                "allowed_tools": {
                    "mode": "auto",
                    "tools": [{"type": "function", "function": {"name": "f"}}],
                },
            },
        ),
    ],
)
def test_a_choice_of_tools(choice: ToolChoice, expected: Any) -> None:
    """Each has a word, or an object."""
    body, _ = write(ask(tools=(F,), tool_choice=choice))
    assert body["tool_choice"] == expected


def test_a_choice_among_nothing_is_not_told() -> None:
    """Providers refuse it; to insist on it is the caller's mistake."""
    body, _ = write(ask(tool_choice=ToolChoice(ToolUse.AUTO)))
    assert "tool_choice" not in body
    assert refused(ask(tool_choice=ToolChoice(ToolUse.REQUIRED))) == "tool_choice"


def test_web_search_has_a_member_of_its_own() -> None:
    """What cannot be held to domains is refused, and so is any other tool."""
    body, told = write(ask(tools=(ServerTool("web_search", max_uses=3),)))
    assert body["web_search_options"] == {}
    assert told == ("-tools.max_uses",)
    held = ServerTool("web_search", allowed_domains=("a.com",))
    assert refused(ask(tools=(held,))) == "tools"
    assert refused(ask(tools=(ServerTool("code_execution"),))) == "tools"
    body, told = write(ask(tools=(F, ServerTool("computer", optional=True))))
    assert len(body["tools"]) == 1
    assert told == ("-tools.computer",)


@pytest.mark.parametrize(("arguments", "written"), [("", "{}"), ('{"a":1.10}',) * 2])
def test_arguments_are_json(arguments: str, written: str) -> None:
    """To the letter; nothing is an empty object."""
    answer = said(ToolCall("c1", "f", arguments), role=Role.ASSISTANT)
    body, _ = write(ask(HI, answer, RESULT))
    function = body["messages"][1]["tool_calls"][0]["function"]
    assert function["arguments"] == written


def test_arguments_that_are_no_json_are_refused() -> None:
    """Many a provider would fail on them without a word."""
    answer = said(ToolCall("c1", "f", "{"), role=Role.ASSISTANT)
    assert refused(ask(HI, answer, RESULT)) == "tool_calls.arguments"


# --- what is said ---------------------------------------------------------------------


def test_texts_are_joined_for_those_who_take_no_list() -> None:
    """DeepSeek and others once took texts alone."""
    two = said(Text("a"), Text("b"), role=Role.SYSTEM)
    body, _ = write(ask(two, HI))
    assert [part["text"] for part in body["messages"][0]["content"]] == ["a", "b"]
    body, _ = write(ask(two, HI), text_parts=False)
    assert body["messages"][0]["content"] == "a\nb"


@each(
    ("marks", "beside", "told"),
    [
        (CacheMarks.NONE, {}, ("-cache_control",)),
        (CacheMarks.CONTROL, {"cache_control": {"type": "ephemeral", "ttl": "1h"}}, ()),
        (
            CacheMarks.BREAKPOINT,
            {"prompt_cache_breakpoint": {"mode": "explicit"}},
            ("~cache_control.ttl",),
        ),
    ],
)
def test_marks_for_the_cache(
    marks: CacheMarks, beside: dict[str, Any], told: tuple[str, ...]
) -> None:
    """In the provider's word for them, if it has any."""
    marked = said(Text("a", cache=CacheMark("1h")))
    body, losses = write(ask(marked), cache_marks=marks)
    content = body["messages"][0]["content"]
    assert content == ([{"type": "text", "text": "a"} | beside] if beside else "a")
    assert losses == told


def test_files_by_url_are_refused() -> None:
    """And those that are text are told as it is."""
    assert refused(ask(said(Document(Media(url="https://a/b.pdf"))))) == "messages"
    plain = Document(Media(text="words"), title="T", context="C")
    body, told = write(ask(said(plain)))
    texts = [part["text"] for part in body["messages"][0]["content"]]
    assert texts == ["C", "T\n\nwords"]
    assert told == ("~document.context", "~document")


def test_a_file_has_a_name() -> None:
    """OpenAI takes none without."""
    pdf = Document(Media(data="AA", media_type="application/pdf"))
    body, _ = write(ask(said(pdf)))
    file = body["messages"][0]["content"][0]["file"]
    assert file["filename"] == "document.pdf"


def test_what_another_dialect_alone_has_is_refused_or_dropped() -> None:
    """As it is said to be harmless."""
    history = said(Foreign("server_tool_use", {}, harmless=True), Text("a"))
    body, told = write(ask(history))
    assert body["messages"][0]["content"] == "a"
    assert told == ("-messages.content.server_tool_use",)
    assert refused(ask(said(Foreign("hologram", {})))) == "messages"


def test_pictures_that_the_model_made_are_shown_to_it_again() -> None:
    """An assistant's message has no place for them."""
    picture = Image(Media(url="https://example.com/a.png"))
    answer = said(Text("here"), picture, role=Role.ASSISTANT)
    body, told = write(ask(HI, answer, HI))
    assert [m["role"] for m in body["messages"]] == [
        "user",
        "assistant",
        "user",
        "user",
    ]
    assert told == ("~messages.content.image",)


def test_developers_are_the_system_to_older_models() -> None:
    """Which is told."""
    body, told = write(ask(said(Text("a"), role=Role.DEVELOPER), HI))
    assert body["messages"][0]["role"] == "system"
    assert told == ("~messages.role",)


# --- the form of the answer -----------------------------------------------------------

SCHEMA = OutputFormat(OutputKind.SCHEMA, {"type": "object"}, strict=True)


def test_a_schema_that_a_model_does_not_know_is_told_in_words() -> None:
    """With whatever mode for JSON there is."""
    body, told = write(ask(output_format=SCHEMA), schema=False)
    assert body["response_format"] == {"type": "json_object"}
    assert '{"type":"object"}' in body["messages"][0]["content"]
    assert told == ("~response_format",)
    system = said(Text("Be brief."), role=Role.SYSTEM)
    body, _ = write(
        ask(system, HI, output_format=SCHEMA), schema=False, json_mode=False
    )
    assert "response_format" not in body
    assert body["messages"][0]["content"].startswith("Be brief.\n\n")
    assert len(body["messages"]) == 2


def test_json_must_be_spoken_of() -> None:
    """Models refuse to write what nobody has named."""
    wish = OutputFormat(OutputKind.JSON)
    body, _ = write(ask(output_format=wish))
    assert "JSON" in body["messages"][0]["content"]
    body, _ = write(ask(said(Text("as json")), output_format=wish))
    assert len(body["messages"]) == 1


def test_limits_have_the_name_and_the_bounds_of_the_model() -> None:
    """A changed one is told."""
    body, told = write(ask(output_limit=9_000), max_output=8_000)
    assert body["max_tokens"] == 8_000
    assert told == ("~max_tokens",)
    body, _ = write(ask(output_limit=5), new_output_limit=True)
    assert body["max_completion_tokens"] == 5


def test_several_answers_are_asked_for_one_by_one_where_there_is_one() -> None:
    """One is not worth a word."""
    body, losses = write(ask(choices=2), choices=False)
    assert ("n" in body, losses) == (False, ("~n",))
    assert "n" not in write(ask(choices=1))[0]
    assert write(ask(choices=2))[0]["n"] == 2


def test_what_others_have_beside_is_told() -> None:
    """Wherever it stood."""
    chat = ask(
        Message(Role.USER, (Text("a", extras={"x": 1}),), extras={"y": 1}),
        extras={"z": 1},
        sampling=Sampling(top_k=3),
        tools=(FunctionTool("f", extras={"w": 1}),),
        service_tier="batch",
    )
    _, told = write(chat)
    assert set(told) == {
        "-messages.content.x",
        "-messages.y",
        "-z",
        "-top_k",
        "-tools.w",
        "-service_tier",
    }


def test_models_that_think_choose_their_tokens_themselves() -> None:
    """What they refuse is left out; a seed is not."""
    wish = Sampling(temperature=0.5, top_p=0.9, presence_penalty=1, seed=7)
    body, told = write(ask(sampling=wish), sampling=False)
    assert body["seed"] == 7
    assert not {"temperature", "top_p", "presence_penalty"} & body.keys()
    assert told == ("-temperature", "-top_p", "-presence_penalty")


def test_streams_tell_their_usage() -> None:
    """Whether the client wants it or not."""
    body, _ = write(ask(stream=True))
    assert body["stream_options"] == {"include_usage": True}

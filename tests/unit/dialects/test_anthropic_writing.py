"""Requests of other dialects, written for a provider of Anthropic's."""

from typing import Any

import pytest
from msgspec import structs

from posthouse.dialects.anthropic_messages import CODEC
from posthouse.dialects.neutral.codec import Losses
from posthouse.errors import InvalidRequest
from posthouse.model.chat import (
    Audio,
    AudioOutput,
    CacheMark,
    ChatRequest,
    Citation,
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
    Video,
)
from posthouse.model.traits import Replay, ThinkingOff, ThinkingStyle, Traits
from posthouse.wire import json

HI = Message(Role.USER, (Text("Hi"),))
FUNCTION = FunctionTool("f", "Does it.", {"type": "object", "properties": {}})
OTHER = FunctionTool("g")
REQUIRED = ToolChoice(ToolUse.REQUIRED)


def asked(*messages: Message, **members: Any) -> ChatRequest:
    return ChatRequest(
        dialect="openai_chat", model="m", messages=messages or (HI,), **members
    )


def written(
    chat: ChatRequest, traits: Traits | None = None
) -> tuple[dict[str, Any], tuple[str, ...]]:
    losses = Losses()
    body = CODEC.write_request(chat, traits or Traits(model="claude-x"), losses)
    return json.decode(json.encode(body), dict[str, Any]), losses.told


def refused(chat: ChatRequest) -> str | None:
    with pytest.raises(InvalidRequest) as caught:
        CODEC.write_request(chat, Traits(model="claude-x"), Losses())
    return caught.value.param


def content_of(*parts: Part, role: Role = Role.USER) -> Any:
    chat = asked(HI, Message(role, parts), HI) if role is Role.ASSISTANT else None
    body, _ = written(chat or asked(Message(role, parts)))
    return body["messages"][1 if role is Role.ASSISTANT else 0]["content"]


def test_the_least_request() -> None:
    """The target's name of the model, and the limit that must be there."""
    body, told = written(asked())
    assert body == {
        "model": "claude-x",
        "max_tokens": 8192,
        "messages": [{"role": "user", "content": "Hi"}],
    }
    assert told == ()


# --- the limit ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("limit", "most", "expected", "told"),
    [
        (100, 0, 100, ()),
        (None, 64_000, 64_000, ()),
        (100, 64_000, 100, ()),
        (100_000, 64_000, 64_000, ("~max_tokens",)),
    ],
)
def test_the_limit_is_what_the_model_can(
    limit: int | None, most: int, expected: int, told: tuple[str, ...]
) -> None:
    """More than that would be refused."""
    traits = Traits(model="claude-x", max_output=most)
    body, found = written(asked(output_limit=limit), traits)
    assert (body["max_tokens"], found) == (expected, told)


# --- turns --------------------------------------------------------------------------


def test_system_messages_at_the_head_are_the_system_prompt() -> None:
    """Of both roles; later ones join them, which is told."""
    chat = asked(
        Message(Role.SYSTEM, (Text("One."),)),
        Message(Role.DEVELOPER, (Text("Two.", cache=CacheMark("1h")),)),
        HI,
        Message(Role.SYSTEM, (Text("Three."),)),
    )
    body, told = written(chat)
    assert [block["text"] for block in body["system"]] == ["One.", "Two.", "Three."]
    assert body["system"][1]["cache_control"] == {"type": "ephemeral", "ttl": "1h"}
    assert told == ("~messages.role",)


def test_results_come_first_in_one_turn_with_what_the_user_says() -> None:
    """All results of the turn before, then the rest."""
    chat = asked(
        HI,
        Message(Role.ASSISTANT, (ToolCall("a", "f", "{}"), ToolCall("b", "g", ""))),
        Message(Role.TOOL, (ToolResult("a", (Text("1"),)),)),
        Message(Role.TOOL, (ToolResult("b", (Text("2"),), is_error=True),)),
        Message(Role.USER, (Text("Go on."),)),
    )
    body, _ = written(chat)
    roles = [turn["role"] for turn in body["messages"]]
    assert roles == ["user", "assistant", "user"]
    assert body["messages"][2]["content"] == [
        {"type": "tool_result", "tool_use_id": "a", "content": "1"},
        {"type": "tool_result", "tool_use_id": "b", "content": "2", "is_error": True},
        {"type": "text", "text": "Go on."},
    ]


def test_a_conversation_begins_with_the_user() -> None:
    """What others let the model begin gets a turn before it."""
    body, told = written(asked(Message(Role.ASSISTANT, (Text("Hello"),)), HI))
    assert [turn["role"] for turn in body["messages"]] == ["user", "assistant", "user"]
    assert told == ("~messages",)


def test_empty_texts_and_turns_are_left_out() -> None:
    """The API refuses them."""
    empty = Message(Role.ASSISTANT, (Text(""), Text("")))
    body, _ = written(asked(HI, empty, HI))
    assert [turn["role"] for turn in body["messages"]] == ["user", "user"]


def test_names_of_speakers_have_no_place() -> None:
    """They are told, and so are members of another dialect."""
    chat = asked(structs.replace(HI, name="Ann", extras={"mood": 1}))
    assert written(chat)[1] == ("-messages.name", "-messages.mood")


# --- parts --------------------------------------------------------------------------


def test_pictures_by_url_and_whole() -> None:
    """Their detail has no counterpart."""
    picture = Image(Media(data="QQ==", media_type="image/png"), detail="low")
    assert content_of(picture, Image(Media(url="https://e.com/a.png"))) == [
        {
            "type": "image",
            "source": {"type": "base64", "media_type": "image/png", "data": "QQ=="},
        },
        {"type": "image", "source": {"type": "url", "url": "https://e.com/a.png"}},
    ]
    chat = asked(Message(Role.USER, (picture,)))
    assert written(chat)[1] == ("-messages.content.detail",)


def test_documents_are_pdf_or_text() -> None:
    """Text that came as base64 goes as text."""
    pdf = Document(Media(data="JVBERi0="), title="a.pdf", citations=True)
    text = Document(Media(data="Z3LDvG4=", media_type="text/markdown; charset=utf-8"))
    found = content_of(pdf, text, Document(Media(text="plain"), context="c"))
    assert found[0] == {
        "type": "document",
        "source": {
            "type": "base64",
            "media_type": "application/pdf",
            "data": "JVBERi0=",
        },
        "title": "a.pdf",
        "citations": {"enabled": True},
    }
    plain = {"type": "text", "media_type": "text/plain", "data": "grün"}
    assert found[1]["source"] == plain
    assert found[2] == {
        "type": "document",
        "source": plain | {"data": "plain"},
        "context": "c",
    }


@pytest.mark.parametrize(
    "part",
    [
        Document(Media(data="QQ==", media_type="application/msword")),
        Document(Media(data="/w==", media_type="text/plain")),
        Document(Media(data="A", media_type="text/plain")),
        Document(Media(file_id="file-1")),
        Image(Media(text="x")),
        Audio(Media(data="QQ==")),
        Video(Media(url="https://e.com/a.mp4")),
        Foreign("hologram", {}),
    ],
)
def test_what_the_model_cannot_take_in_is_refused(part: Part) -> None:
    """It was to see it."""
    assert str(refused(asked(Message(Role.USER, (part,))))).startswith("messages")


def test_history_that_has_no_block_is_left_out() -> None:
    """What a model said in sounds and pictures, and what others ran for it."""
    parts = (
        Text("a", citations=(Citation(url="u"),), signature=Signature("x", "y")),
        Image(Media(url="https://e.com/a.png")),
        Audio(Media(data="QQ=="), transcript="spoken"),
        Foreign("web_search_call", {}, harmless=True),
    )
    body, told = written(asked(HI, Message(Role.ASSISTANT, parts), HI))
    texts = [block["text"] for block in body["messages"][1]["content"]]
    assert texts == ["a", "spoken"]
    assert told == (
        "-messages.content.signature",
        "-messages.content.citations",
        "-messages.content.image",
        "~messages.audio",
        "-messages.content.web_search_call",
    )


def test_arguments_go_to_the_letter() -> None:
    """As JSON, whatever its numbers; nothing at all is an empty object."""
    chat = asked(
        HI,
        Message(
            Role.ASSISTANT,
            (
                ToolCall("a", "f", '{"n":1.10, "big":18446744073709551617}'),
                ToolCall("b", "f", " "),
                ToolCall("c", "t", "free text", custom=True),
            ),
        ),
    )
    body = json.encode(CODEC.write_request(chat, Traits(), Losses()))
    assert b'"input":{"n":1.10, "big":18446744073709551617}' in body
    assert b'"id":"b","name":"f","input":{}' in body
    assert b'"input":{"input":"free text"}' in body


@pytest.mark.parametrize("arguments", ["{", "[1]", '"a"', "null"])
def test_arguments_that_are_no_object_are_refused(arguments: str) -> None:
    """Silently dropping them would change the conversation."""
    call = ToolCall("a", "f", arguments)
    chat = asked(HI, Message(Role.ASSISTANT, (call,)))
    assert refused(chat) == "messages.tool_calls.arguments"


def test_ids_are_such_as_the_api_takes() -> None:
    """Calls and their results stay together; those without an id get one."""
    chat = asked(
        HI,
        Message(
            Role.ASSISTANT,
            (
                ToolCall("functions.f:0", "f", "{}"),
                ToolCall("", "g", "{}", legacy=True),
            ),
        ),
        Message(
            Role.TOOL,
            (
                ToolResult("functions.f:0", (Text("1"),)),
                ToolResult("", (Text("2"),), name="g", legacy=True),
            ),
        ),
    )
    body, _ = written(chat)
    calls, results = (turn["content"] for turn in body["messages"][1:])
    assert [call["id"] for call in calls] == ["functions_f_0", "toolu_1"]
    found = [result["tool_use_id"] for result in results]
    assert found == ["functions_f_0", "toolu_1"]


# --- thoughts -----------------------------------------------------------------------


def test_only_anthropic_s_own_signatures_go_back() -> None:
    """Other thoughts are left out, which is told."""
    own = Signature("anthropic_messages", "Eq==")
    parts = (
        Thinking("a", signature=own),
        Thinking(signature=own, redacted=True),
        Thinking("b"),
        Thinking("c", signature=Signature("gemini_generate", "x")),
        Text("d"),
    )
    body, told = written(asked(HI, Message(Role.ASSISTANT, parts), HI))
    assert body["messages"][1]["content"] == [
        {"type": "thinking", "thinking": "a", "signature": "Eq=="},
        {"type": "redacted_thinking", "data": "Eq=="},
        {"type": "text", "text": "d"},
    ]
    assert told == ("-thinking",)


@pytest.mark.parametrize(
    ("replay", "kept"),
    [(Replay.NEVER, []), (Replay.TOOLS, ["new"]), (Replay.ALWAYS, ["old", "new"])],
)
def test_thoughts_without_a_signature_go_back_where_they_are_wanted(
    replay: Replay, kept: list[str]
) -> None:
    """To providers who speak the dialect and sign nothing."""
    chat = asked(
        HI,
        Message(Role.ASSISTANT, (Thinking("old"), Text("x"))),
        HI,
        Message(Role.ASSISTANT, (Thinking("new"), ToolCall("a", "f", "{}"))),
        Message(Role.TOOL, (ToolResult("a"),)),
    )
    body, _ = written(chat, Traits(replay=replay))
    found = [
        block["thinking"]
        for turn in body["messages"]
        if isinstance(turn["content"], list)
        for block in turn["content"]
        if block["type"] == "thinking"
    ]
    assert found == kept


NATIVE = Traits()
BUDGET = Traits(thinking=ThinkingStyle.BUDGET, max_output=64_000)
ALWAYS = Traits(thinking_off=ThinkingOff.NEVER, forced_tools=False)
BETWEEN = Traits(thinking_off=ThinkingOff.BETWEEN_TOOLS)


@pytest.mark.parametrize(
    ("reasoning", "traits", "expected", "told"),
    [
        (Reasoning(effort="high"), NATIVE, ({"type": "adaptive"}, "high"), ()),
        (
            Reasoning(effort="minimal"),
            NATIVE,
            ({"type": "adaptive"}, "low"),
            ("~reasoning",),
        ),
        (Reasoning(effort="none"), NATIVE, ({"type": "disabled"}, None), ()),
        (Reasoning(enabled=False), NATIVE, ({"type": "disabled"}, None), ()),
        (Reasoning(budget=0), NATIVE, ({"type": "disabled"}, None), ()),
        (Reasoning(effort="none"), ALWAYS, (None, "low"), ("~reasoning",)),
        (
            Reasoning(effort="none"),
            BETWEEN,
            ({"type": "between_tools"}, None),
            ("~reasoning",),
        ),
        (
            Reasoning(budget=2048),
            NATIVE,
            ({"type": "adaptive"}, "low"),
            ("~reasoning",),
        ),
        (
            Reasoning(budget=99999),
            NATIVE,
            ({"type": "adaptive"}, "max"),
            ("~reasoning",),
        ),
        (Reasoning(budget=-1), NATIVE, ({"type": "adaptive"}, None), ()),
        (
            Reasoning(enabled=True, show=True),
            NATIVE,
            ({"type": "adaptive", "display": "summarized"}, None),
            (),
        ),
        (
            Reasoning(effort="low", summary="auto"),
            NATIVE,
            ({"type": "adaptive", "display": "summarized"}, "low"),
            (),
        ),
        (
            Reasoning(effort="low", show=False),
            NATIVE,
            ({"type": "adaptive", "display": "omitted"}, "low"),
            (),
        ),
        (
            Reasoning(effort="high"),
            BUDGET,
            ({"type": "enabled", "budget_tokens": 16384}, None),
            ("~reasoning",),
        ),
        (
            Reasoning(budget=5000),
            BUDGET,
            ({"type": "enabled", "budget_tokens": 5000}, None),
            (),
        ),
        (
            Reasoning(budget=10),
            BUDGET,
            ({"type": "enabled", "budget_tokens": 1024}, None),
            ("~reasoning",),
        ),
        (Reasoning(effort="none"), BUDGET, ({"type": "disabled"}, None), ()),
        (
            Reasoning(effort="high"),
            Traits(thinking=ThinkingStyle.NONE),
            (None, None),
            ("-reasoning",),
        ),
        (
            Reasoning(enabled=False),
            Traits(thinking=ThinkingStyle.NONE),
            (None, None),
            (),
        ),
    ],
)
def test_how_much_to_think_is_told_as_the_model_takes_it(
    reasoning: Reasoning,
    traits: Traits,
    expected: tuple[Any, str | None],
    told: tuple[str, ...],
) -> None:
    """By an effort or by a number, which stand for one another."""
    body, found = written(asked(reasoning=reasoning), traits)
    effort = body.get("output_config", {}).get("effort")
    assert (body.get("thinking"), effort) == expected
    assert found == told


def test_a_budget_leaves_room_for_the_answer() -> None:
    """Thoughts count to the limit; without room there are none."""
    high = Reasoning(effort="high")
    body, _ = written(asked(reasoning=high, output_limit=4000), BUDGET)
    assert body["thinking"]["budget_tokens"] == 3999
    body, told = written(asked(reasoning=high, output_limit=1000), BUDGET)
    assert "thinking" not in body
    assert "-reasoning" in told


def test_where_a_tool_is_forced_nothing_is_thought() -> None:
    """Both at once are refused; the tool is what was asked for."""
    chat = asked(
        reasoning=Reasoning(effort="high"), tools=(FUNCTION,), tool_choice=REQUIRED
    )
    body, told = written(chat)
    assert "thinking" not in body
    assert body["tool_choice"] == {"type": "any"}
    assert told == ("-reasoning",)


# --- sampling -----------------------------------------------------------------------


def test_sampling_as_far_as_it_goes() -> None:
    """One of two, at most 1; what has no counterpart is told."""
    sampling = Sampling(
        temperature=1.7,
        top_p=0.5,
        top_k=7,
        frequency_penalty=0.1,
        presence_penalty=0.1,
        seed=1,
        stop=("END",),
        logit_bias={"1": 1},
        logprobs=True,
        top_logprobs=2,
    )
    body, told = written(asked(sampling=sampling))
    assert (body["temperature"], body["top_k"]) == (1, 7)
    assert body["stop_sequences"] == ["END"]
    assert "top_p" not in body
    assert told == (
        "-frequency_penalty",
        "-presence_penalty",
        "-seed",
        "-logit_bias",
        "-logprobs",
        "-top_logprobs",
        "-top_p",
        "~temperature",
    )


@pytest.mark.parametrize(
    ("reasoning", "traits"),
    [(Reasoning(effort="low"), NATIVE), (None, Traits(sampling=False))],
)
def test_where_nothing_can_be_chosen_nothing_is(
    reasoning: Reasoning | None, traits: Traits
) -> None:
    """While it thinks, and by the newest models at all."""
    sampling = Sampling(temperature=0.2, top_k=3)
    body, told = written(asked(sampling=sampling, reasoning=reasoning), traits)
    assert not {"temperature", "top_k"} & body.keys()
    assert told == ("-temperature", "-top_k")


# --- tools --------------------------------------------------------------------------


def test_functions() -> None:
    """They always have a schema; false strictness is none."""
    tools = (
        structs.replace(FUNCTION, strict=True, cache=CacheMark()),
        structs.replace(OTHER, strict=False, extras={"level": 3}),
        FunctionTool("h", parameters={"properties": {"a": {}}}),
    )
    body, told = written(asked(tools=tools))
    schema = {"type": "object", "properties": {}}
    assert body["tools"] == [
        {
            "name": "f",
            "description": "Does it.",
            "input_schema": schema,
            "strict": True,
            "cache_control": {"type": "ephemeral"},
        },
        {"name": "g", "input_schema": schema},
        {"name": "h", "input_schema": {"type": "object", "properties": {"a": {}}}},
    ]
    assert told == ("-tools.level",)


def test_tools_that_take_text_become_functions() -> None:
    """With one member for the text."""
    body, told = written(asked(tools=(CustomTool("t", "d", extras={"x": 1}),)))
    assert body["tools"][0]["input_schema"]["required"] == ["input"]
    assert told == ("~tools", "-tools.x")


def test_searches_of_others_become_ours() -> None:
    """Where the user is, how much is wanted, and where to look."""
    location = {"type": "approximate", "approximate": {"city": "Rome", "x": 1}}
    tool = ServerTool(
        "web_search",
        allowed_domains=("a.com",),
        value={"search_context_size": "medium", "user_location": location},
    )
    body, _ = written(asked(tools=(tool,)))
    assert body["tools"] == [
        {
            "type": "web_search_20250305",
            "name": "web_search",
            "max_uses": 5,
            "allowed_domains": ["a.com"],
            "user_location": {"type": "approximate", "city": "Rome"},
        }
    ]


def test_other_tools_of_providers_are_refused_or_told() -> None:
    """By whether an answer can do without."""
    tool = ServerTool("file_search")
    assert refused(asked(tools=(tool,))) == "tools"
    optional = structs.replace(tool, optional=True)
    body, told = written(asked(tools=(FUNCTION, optional)))
    assert len(body["tools"]) == 1
    assert told == ("-tools.file_search",)


@pytest.mark.parametrize(
    ("choice", "parallel", "expected"),
    [
        (None, None, None),
        (None, True, None),
        (None, False, {"type": "auto", "disable_parallel_tool_use": True}),
        (ToolChoice(ToolUse.AUTO), None, {"type": "auto"}),
        (REQUIRED, False, {"type": "any", "disable_parallel_tool_use": True}),
        (ToolChoice(ToolUse.NONE), False, {"type": "none"}),
        (
            ToolChoice(ToolUse.REQUIRED, ("g",)),
            True,
            {"type": "tool", "name": "g", "disable_parallel_tool_use": False},
        ),
    ],
)
def test_the_choice_of_tools(
    choice: ToolChoice | None, parallel: bool | None, expected: Any
) -> None:
    """In Anthropic's words; nothing beside `none`."""
    tools = (FUNCTION, OTHER)
    chat = asked(tools=tools, tool_choice=choice, parallel_tool_calls=parallel)
    assert written(chat)[0].get("tool_choice") == expected


def test_without_tools_there_is_no_choice() -> None:
    """The API refuses one."""
    assert "tool_choice" not in written(asked(tool_choice=REQUIRED))[0]


@pytest.mark.parametrize("use", [ToolUse.AUTO, ToolUse.REQUIRED])
def test_some_of_the_tools(use: ToolUse) -> None:
    """The others are left out."""
    names = ("f", "h")
    tools = (FUNCTION, OTHER, FunctionTool("h"))
    body, told = written(asked(tools=tools, tool_choice=ToolChoice(use, names)))
    assert [tool["name"] for tool in body["tools"]] == ["f", "h"]
    assert body["tool_choice"]["type"] == ("auto" if use is ToolUse.AUTO else "any")
    assert told == ("~tool_choice",)


@pytest.mark.parametrize(
    ("names", "words"), [((), "Call a tool."), (("f",), "Call the tool 'f'.")]
)
def test_models_that_cannot_be_forced_are_asked(
    names: tuple[str, ...], words: str
) -> None:
    """The newest ones refuse a forced choice."""
    choice = ToolChoice(ToolUse.REQUIRED, names)
    body, told = written(asked(tools=(FUNCTION,), tool_choice=choice), ALWAYS)
    assert body["tool_choice"] == {"type": "auto"}
    assert body["system"] == [{"type": "text", "text": words}]
    assert told == ("~tool_choice",)


# --- the rest -----------------------------------------------------------------------


def test_an_answer_by_a_schema() -> None:
    """Every object in it says that it is closed, as must be said."""
    inner = {"type": "object", "properties": {"b": {"type": "string"}}}
    schema = {"type": "object", "properties": {"a": {"anyOf": [inner]}}}
    form = OutputFormat(
        OutputKind.SCHEMA, schema, name="n", description="d", strict=False
    )
    body, told = written(asked(output_format=form))
    found = body["output_config"]["format"]["schema"]
    assert found["additionalProperties"] is False
    assert found["properties"]["a"]["anyOf"][0]["additionalProperties"] is False
    assert told == (
        "-response_format.json_schema.description",
        "~response_format.json_schema.strict",
        "~response_format.json_schema.schema",
    )
    assert "additionalProperties" not in schema


@pytest.mark.parametrize(
    ("kind", "traits", "words"),
    [
        (OutputKind.JSON, NATIVE, "one JSON object"),
        (OutputKind.SCHEMA, Traits(schema=False), '{"type":"object"}'),
    ],
)
def test_what_cannot_be_held_to_is_asked_for(
    kind: OutputKind, traits: Traits, words: str
) -> None:
    """In the system prompt, which is told."""
    schema = {"type": "object"} if kind is OutputKind.SCHEMA else None
    chat = asked(
        Message(Role.SYSTEM, (Text("Be brief."),)),
        HI,
        output_format=OutputFormat(kind, schema),
    )
    body, told = written(chat, traits)
    assert body["system"][0]["text"] == "Be brief."
    assert words in body["system"][1]["text"]
    assert told == ("~response_format",)


def test_plain_text_needs_no_format() -> None:
    """It is what there is anyway."""
    form = OutputFormat(OutputKind.TEXT)
    assert written(asked(output_format=form)) == written(asked())


@pytest.mark.parametrize(
    ("members", "param"),
    [
        ({"choices": 2}, "n"),
        ({"modalities": ("text", "audio")}, "modalities"),
        ({"modalities": ("image",)}, "modalities"),
    ],
)
def test_what_would_be_another_answer_is_refused(
    members: dict[str, Any], param: str
) -> None:
    """Several answers, and answers in sounds or pictures."""
    assert refused(asked(**members)) == param


def test_one_answer_in_text_is_what_there_is() -> None:
    """Saying so changes nothing."""
    assert written(asked(choices=1, modalities=("text",))) == written(asked())


@pytest.mark.parametrize(
    ("tier", "expected", "told"),
    [
        ("auto", "auto", ()),
        ("default", "standard_only", ()),
        ("flex", None, ("-service_tier",)),
    ],
)
def test_service_tiers(tier: str, expected: str | None, told: tuple[str, ...]) -> None:
    """Those that both have."""
    body, found = written(asked(service_tier=tier))
    assert (body.get("service_tier"), found) == (expected, told)


def test_users_keys_and_members_of_others() -> None:
    """The end user has a place; what has none is told."""
    chat = asked(
        user="u",
        cache_key="k",
        audio=AudioOutput("v"),
        stream=True,
        extras={"novel": 1},
    )
    body, told = written(chat)
    assert body["metadata"] == {"user_id": "u"}
    assert body["stream"] is True
    assert told == ("-audio", "-prompt_cache_key", "-novel")

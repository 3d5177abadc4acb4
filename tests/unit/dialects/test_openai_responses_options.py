"""Tools and options of other dialects, written for a provider of Responses."""

from typing import Any

import pytest
from tests.support.cases import each

from posthouse.dialects.neutral.codec import Losses
from posthouse.dialects.openai_responses import CODEC
from posthouse.errors import InvalidRequest
from posthouse.model.chat import (
    AudioOutput,
    CacheMark,
    ChatRequest,
    CustomTool,
    FunctionTool,
    Message,
    OutputFormat,
    OutputKind,
    Part,
    Reasoning,
    Role,
    Sampling,
    ServerTool,
    Text,
    ToolChoice,
    ToolUse,
)
from posthouse.model.traits import ThinkingStyle, Traits

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


# --- tools ----------------------------------------------------------------------------


def test_a_function_says_that_it_is_not_strict() -> None:
    """For here it would be, unless it says so; and it has a schema."""
    body, told = write(
        tools=(
            FunctionTool("f", cache=CacheMark(), extras={"x": 1}),
            FunctionTool("g", "d", {"type": "object"}, strict=True),
        )
    )
    assert body["tools"] == [
        {
            "type": "function",
            "name": "f",
            "parameters": {"type": "object", "properties": {}},
            "strict": False,
        },
        {
            "type": "function",
            "name": "g",
            "description": "d",
            "parameters": {"type": "object"},
            "strict": True,
        },
    ]
    assert told == ("-cache_control", "-tools.x")


def test_a_search_is_a_search_in_every_dialect() -> None:
    """As far as it can be held to what was asked."""
    search = ServerTool("web_search", 3, ("example.com",))
    body, told = write(tools=(search,), tool_choice=ToolChoice(ToolUse.AUTO))
    assert body["tools"] == [
        {"type": "web_search", "filters": {"allowed_domains": ["example.com"]}}
    ]
    assert told == ("-tools.max_uses",)
    blocked = ServerTool("web_search", blocked_domains=("example.com",))
    assert refused(tools=(blocked,)) == "tools.blocked_domains"


def test_a_tool_that_is_not_there_may_be_missing_or_not() -> None:
    """As the request says of it."""
    assert refused(tools=(ServerTool("code_execution"),)) == "tools"
    body, told = write(
        tools=(FunctionTool("f"), ServerTool("code_execution", optional=True))
    )
    assert [tool["type"] for tool in body["tools"]] == ["function"]
    assert told == ("-tools.code_execution",)


@each(
    ("choice", "written"),
    [
        (ToolChoice(ToolUse.AUTO), "auto"),
        (ToolChoice(ToolUse.NONE, ("f",)), "none"),
        (ToolChoice(ToolUse.REQUIRED), "required"),
        (ToolChoice(ToolUse.REQUIRED, ("f",)), {"type": "function", "name": "f"}),
        (ToolChoice(ToolUse.REQUIRED, ("c",)), {"type": "custom", "name": "c"}),
        (ToolChoice(ToolUse.REQUIRED, ("web_search",)), {"type": "web_search"}),
        (
            ToolChoice(ToolUse.AUTO, ("f", "c")),
            {
                "type": "allowed_tools",
                "mode": "auto",
                "tools": [
                    {"type": "function", "name": "f"},
                    {"type": "custom", "name": "c"},
                ],
            },
        ),
    ],
    ids=str,
)
def test_a_choice_is_written_as_openai_has_it(choice: ToolChoice, written: Any) -> None:
    """Each in its own shape."""
    tools = (FunctionTool("f"), CustomTool("c"), ServerTool("web_search"))
    assert write(tools=tools, tool_choice=choice)[0]["tool_choice"] == written


def test_a_choice_among_nothing_is_left_out() -> None:
    """And so is what only tools have."""
    body, _ = write(tool_choice=ToolChoice(ToolUse.AUTO), parallel_tool_calls=True)
    assert body.keys() == {"model", "input", "store", "include"}


# --- the rest -------------------------------------------------------------------------


@each(
    ("members", "param"),
    [
        ({"sampling": Sampling(stop=("x",))}, "stop"),
        ({"audio": AudioOutput("alloy")}, "modalities"),
        ({"modalities": ("text", "audio")}, "modalities"),
        ({"modalities": ("image",)}, "modalities"),
    ],
    ids=str,
)
def test_what_would_change_the_answer_is_refused(
    members: dict[str, Any], param: str
) -> None:
    """By the caller's name for it."""
    assert refused(**members) == param


def test_what_only_steers_sampling_is_left_out() -> None:
    """And told."""
    sampling = Sampling(
        0.5, 0.9, 5, 0.1, 0.2, 7, logit_bias={"1": 1}, logprobs=True, top_logprobs=2
    )
    body, told = write(sampling=sampling)
    assert (body["temperature"], body["top_p"], body["top_logprobs"]) == (0.5, 0.9, 2)
    assert body["include"][0] == "message.output_text.logprobs"
    assert told == (
        "-top_k",
        "-frequency_penalty",
        "-presence_penalty",
        "-seed",
        "-logit_bias",
    )
    body, told = write(sampling=Sampling(0.5, 0.9), traits=Traits(sampling=False))
    assert "temperature" not in body
    assert told == ("-temperature", "-top_p")


@each(
    ("limit", "written", "told"),
    [(1, 16, ("~max_tokens",)), (16, 16, ()), (99, 50, ("~max_tokens",))],
)
def test_a_limit_is_brought_within_what_the_model_takes(
    limit: int, written: int, told: tuple[str, ...]
) -> None:
    """And that is told."""
    body, found = write(output_limit=limit, traits=Traits(max_output=50))
    assert (body["max_output_tokens"], found) == (written, told)


@each(
    ("reasoning", "written", "told"),
    [
        (Reasoning(effort="xhigh"), {"effort": "xhigh"}, ()),
        (Reasoning(enabled=False), {"effort": "none"}, ()),
        (
            Reasoning(enabled=True, budget=1024),
            {"effort": "low"},
            ("~reasoning.budget",),
        ),
        (Reasoning(budget=8000), {"effort": "medium"}, ("~reasoning.budget",)),
        (Reasoning(budget=9000), {"effort": "high"}, ("~reasoning.budget",)),
        (Reasoning(budget=-1, show=True), {"summary": "auto"}, ()),
        (Reasoning(adaptive=True, summary="detailed"), {"summary": "detailed"}, ()),
    ],
    ids=str,
)
def test_how_much_to_think_is_said_in_openais_words(
    reasoning: Reasoning, written: dict[str, str], told: tuple[str, ...]
) -> None:
    """A budget becomes an effort."""
    body, found = write(reasoning=reasoning)
    assert (body["reasoning"], found) == (written, told)
    none = Traits(thinking=ThinkingStyle.NONE)
    body, found = write(reasoning=reasoning, traits=none)
    assert ("reasoning" not in body, found) == (True, ("-reasoning",))


def test_a_schema_needs_a_name_and_json_a_word() -> None:
    """OpenAI refuses both otherwise."""
    schema = OutputFormat(OutputKind.SCHEMA, {"type": "object"})
    body, _ = write(output_format=schema)
    assert body["text"]["format"]["name"] == "answer"
    body, _ = write(output_format=OutputFormat(OutputKind.JSON))
    assert "JSON" in body["input"][0]["content"]
    asked = Message(Role.USER, (Text("as JSON"),))
    assert (
        len(write(asked, output_format=OutputFormat(OutputKind.JSON))[0]["input"]) == 1
    )
    text = write(output_format=OutputFormat(OutputKind.TEXT))[0]["text"]
    assert text == {"format": {"type": "text"}}


def test_a_server_without_schemas_is_told_of_one_in_words() -> None:
    """And one without a mode for JSON of that."""
    schema = OutputFormat(OutputKind.SCHEMA, {"type": "object"})
    body, told = write(output_format=schema, traits=Traits(schema=False))
    assert '{"type":"object"}' in body["input"][0]["content"]
    assert body["text"] == {"format": {"type": "json_object"}}
    assert told == ("~response_format",)
    body, told = write(
        output_format=schema, traits=Traits(schema=False, json_mode=False)
    )
    assert "text" not in body
    assert told == ("~response_format",)


@each(
    ("tier", "written", "told"),
    [
        ("flex", "flex", ()),
        ("PRIORITY", "priority", ("~service_tier",)),
        ("standard_only", "default", ("~service_tier",)),
        ("turbo", None, ("-service_tier",)),
    ],
)
def test_a_tier_is_one_that_openai_has(
    tier: str, written: str | None, told: tuple[str, ...]
) -> None:
    """Or none."""
    body, found = write(service_tier=tier)
    assert (body.get("service_tier"), found) == (written, told)


def test_the_end_user_has_one_name() -> None:
    """The newer one, unless it is too long for it."""
    assert write(user="u")[0]["safety_identifier"] == "u"
    assert write(user="u" * 65)[0]["user"] == "u" * 65
    both = write(user="u", dialect=OWN, extras={"safety_identifier": "s"})[0]
    assert (both["user"], both["safety_identifier"]) == ("u", "s")


def test_what_a_chat_calls_the_same_is_the_same() -> None:
    """And of nobody else's members."""
    extras = {"verbosity": "low", "metadata": {"a": "b"}, "prediction": {}}
    body, told = write(dialect="openai_chat", extras=extras, stream=True)
    assert body["text"] == {"verbosity": "low"}
    assert body["metadata"] == {"a": "b"}
    assert body["stream"] is True
    assert told == ("-prediction",)
    _, told = write(extras=extras)
    assert told == ("-verbosity", "-metadata", "-prediction")

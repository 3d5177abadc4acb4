"""What requests of others say about the answer, written for Anthropic's providers."""

from typing import Any

import pytest
from msgspec import structs
from tests.support.cases import each
from tests.unit.dialects.anthropic_asked import (
    FUNCTION,
    OTHER,
    REQUIRED,
    asked,
    refused,
    written,
)

from posthouse.model.chat import (
    AudioOutput,
    CacheMark,
    CustomTool,
    FunctionTool,
    Reasoning,
    Sampling,
    ServerTool,
    ToolChoice,
    ToolUse,
)
from posthouse.model.traits import ThinkingOff, ThinkingStyle, Traits


# --- the limit ----------------------------------------------------------------------
@each(
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


# --- thinking ------------------------------------------------------------


NATIVE = Traits()
BUDGET = Traits(thinking=ThinkingStyle.BUDGET, max_output=64_000)
ALWAYS = Traits(thinking_off=ThinkingOff.NEVER, forced_tools=False)
BETWEEN = Traits(thinking_off=ThinkingOff.BETWEEN_TOOLS)


@each(
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
            "input_schema": schema | {"additionalProperties": False},
            "strict": True,
            "cache_control": {"type": "ephemeral"},
        },
        {"name": "g", "input_schema": schema},
        {"name": "h", "input_schema": {"type": "object", "properties": {"a": {}}}},
    ]
    assert told == ("~tools.parameters", "-tools.level")


@pytest.mark.parametrize(
    ("strict", "told"), [(True, ("~tools.parameters",)), (None, ())]
)
def test_strict_tools_have_schemas_that_can_be_held_to(
    strict: bool | None, told: tuple[str, ...]
) -> None:
    """Others keep theirs as it stood."""
    tool = structs.replace(FUNCTION, strict=strict)
    body, found = written(asked(tools=(tool,)))
    closed = body["tools"][0]["input_schema"].get("additionalProperties")
    assert (closed, found) == (False if strict else None, told)


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


@each(
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


@pytest.mark.parametrize(
    ("members", "param"),
    [
        ({"modalities": ("text", "audio")}, "modalities"),
        ({"modalities": ("image",)}, "modalities"),
    ],
)
def test_what_would_be_another_answer_is_refused(
    members: dict[str, Any], param: str
) -> None:
    """Answers in sounds or pictures."""
    assert refused(asked(**members)) == param


def test_one_answer_in_text_is_what_there_is() -> None:
    """Saying so changes nothing."""
    assert written(asked(choices=1, modalities=("text",))) == written(asked())
    assert written(asked(choices=2)) == (written(asked())[0], ("~n",))


@each(
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

"""Tools and options of other dialects' callers, as Gemini's providers are asked."""

from typing import Any

import pytest
from tests.support.cases import each
from tests.unit.dialects.gemini_asked import NEWEST, asked, written

from posthouse.errors import InvalidRequest
from posthouse.model.chat import (
    AudioOutput,
    CustomTool,
    FunctionTool,
    OutputFormat,
    OutputKind,
    Reasoning,
    Sampling,
    ServerTool,
    ToolChoice,
    ToolUse,
)
from posthouse.model.traits import ThinkingStyle, Traits

TOOL = FunctionTool("look", parameters={"type": "object", "properties": {"a": {}}})
PRO_25 = Traits(model="gemini-2.5-pro")
FLASH_25 = Traits(model="gemini-2.5-flash")


def refused(chat: Any, traits: Traits = NEWEST) -> InvalidRequest:
    with pytest.raises(InvalidRequest) as caught:
        written(chat, traits)
    return caught.value


# --- tools --------------------------------------------------------------------------


def test_tools_as_the_model_takes_them() -> None:
    """In JSON schema, or in the subset; none for what takes nothing."""
    tools = (
        TOOL,
        FunctionTool("none", "d", {"type": "object", "properties": {}}, strict=True),
        CustomTool("patch", "Edits."),
        ServerTool("web_search", max_uses=3),
        ServerTool("shell", optional=True),
    )
    body, losses = written(asked(tools=tools))
    functions, search = body["tools"]
    look, none, patch = functions["functionDeclarations"]
    assert look["parametersJsonSchema"] == TOOL.parameters
    assert none == {"name": "none", "description": "d"}
    assert patch["parametersJsonSchema"]["required"] == ["input"]
    assert search == {"googleSearch": {}}
    assert losses == (
        "-tools.strict",
        "~tools.custom",
        "-tools.max_uses",
        "-tools.shell",
    )
    old = Traits(model="gemini-2.0-flash", schema_subset=True)
    body, _ = written(asked(tools=(TOOL,)), old)
    [look] = body["tools"][0]["functionDeclarations"]
    assert look["parameters"] == {"type": "object", "properties": {"a": {}}}


@each(
    ("choice", "calling"),
    [
        (ToolChoice(ToolUse.AUTO), {"mode": "AUTO"}),
        (ToolChoice(ToolUse.NONE), {"mode": "NONE"}),
        (ToolChoice(ToolUse.REQUIRED), {"mode": "ANY"}),
        (
            ToolChoice(ToolUse.REQUIRED, ("look",)),
            {"mode": "ANY", "allowedFunctionNames": ["look"]},
        ),
        (
            ToolChoice(ToolUse.AUTO, ("look",)),
            {"mode": "VALIDATED", "allowedFunctionNames": ["look"]},
        ),
    ],
)
def test_which_tools_may_be_called(choice: ToolChoice, calling: Any) -> None:
    """In Google's words."""
    body, _ = written(asked(tools=(TOOL,), tool_choice=choice))
    assert body["toolConfig"] == {"functionCallingConfig": calling}


def test_tools_that_cannot_be_had_are_refused() -> None:
    """A choice among nothing, too."""
    refused(asked(tools=(ServerTool("shell"),)))
    refused(asked(tools=(ServerTool("web_search", allowed_domains=("a.com",)),)))
    refused(asked(tool_choice=ToolChoice(ToolUse.REQUIRED)))
    body, _ = written(asked(tool_choice=ToolChoice(ToolUse.AUTO)))
    assert "toolConfig" not in body


# --- options ------------------------------------------------------------------------


def test_sampling_and_amounts() -> None:
    """What Google does not know is told; five stop sequences are the most."""
    chat = asked(
        sampling=Sampling(stop=tuple("abcdef"), logit_bias={"1": 1.0}, top_k=3),
        output_limit=99_999,
        choices=1,
        user="u",
        cache_key="k",
        parallel_tool_calls=False,
        service_tier="auto",
    )
    body, losses = written(chat, Traits(model="gemini-3", max_output=100))
    assert body["generationConfig"] == {
        "topK": 3,
        "stopSequences": list("abcde"),
        "maxOutputTokens": 100,
    }
    assert losses == (
        "-logit_bias",
        "~stop",
        "~max_tokens",
        "-user",
        "-prompt_cache_key",
        "-parallel_tool_calls",
    )
    one = Traits(model="gemini-3", choices=False)
    assert written(asked(choices=2), one) == (written(asked(), one)[0], ("~n",))


@each(
    ("tier", "sent", "losses"),
    [
        ("default", "standard", ()),
        ("flex", "flex", ()),
        ("priority", "priority", ()),
        ("scale", None, ("-service_tier",)),
    ],
)
def test_service_tiers(tier: str, sent: str | None, losses: Any) -> None:
    """By their names there."""
    body, told = written(asked(service_tier=tier))
    assert (body.get("serviceTier"), told) == (sent, losses)


SCHEMA = {"type": "object", "properties": {"a": {"type": ["string", "null"]}}}
SUBSET = {"type": "object", "properties": {"a": {"type": "string", "nullable": True}}}


@each(
    ("wanted", "traits", "config", "losses"),
    [
        (OutputFormat(OutputKind.TEXT), NEWEST, None, ()),
        (
            OutputFormat(OutputKind.JSON),
            NEWEST,
            {"responseMimeType": "application/json"},
            (),
        ),
        (
            OutputFormat(OutputKind.JSON),
            Traits(model="gemma", json_mode=False),
            None,
            ("~response_format",),
        ),
        (
            OutputFormat(OutputKind.SCHEMA, SCHEMA, "n", "d", strict=True),
            NEWEST,
            {"responseMimeType": "application/json", "responseJsonSchema": SCHEMA},
            ("-response_format.description",),
        ),
        (
            OutputFormat(OutputKind.SCHEMA, SCHEMA),
            Traits(model="gemini-1.5", schema_subset=True),
            {"responseMimeType": "application/json", "responseSchema": SUBSET},
            (),
        ),
        (
            OutputFormat(OutputKind.SCHEMA, SCHEMA),
            Traits(model="gemma", schema=False),
            {"responseMimeType": "application/json"},
            ("~response_format",),
        ),
    ],
)
def test_what_an_answer_looks_like(
    wanted: OutputFormat, traits: Traits, config: Any, losses: Any
) -> None:
    """By schema where the model takes one, else in words."""
    body, told = written(asked(output_format=wanted), traits)
    assert (body.get("generationConfig"), told) == (config, losses)
    in_words = not traits.schema
    assert ("JSON" in str(body.get("systemInstruction"))) == in_words


def test_a_schema_in_words_for_models_without_a_system() -> None:
    """The user says it first."""
    gemma = Traits(model="gemma", schema=False, json_mode=False, system=False)
    wanted = OutputFormat(OutputKind.SCHEMA, SCHEMA)
    body, losses = written(asked(output_format=wanted), gemma)
    first, second = body["contents"][0]["parts"]
    assert "JSON schema" in first["text"]
    assert second == {"text": "hi"}
    assert body.keys() == {"contents"}
    assert losses == ("~response_format",)


def test_speech() -> None:
    """Models that speak do nothing else; their voices are Google's."""
    chat = asked(modalities=("text", "audio"), audio=AudioOutput("alloy", "wav"))
    body, losses = written(chat)
    assert body["generationConfig"] == {"responseModalities": ["AUDIO"]}
    assert losses == ("~modalities", "-audio.voice", "-audio.format")
    body, _ = written(asked(modalities=("audio",), audio=AudioOutput("Kore")))
    voice = body["generationConfig"]["speechConfig"]["voiceConfig"]
    assert voice == {"prebuiltVoiceConfig": {"voiceName": "Kore"}}
    refused(asked(modalities=("hologram",)))


@each(
    ("reasoning", "traits", "config", "losses"),
    [
        (Reasoning(effort="high"), NEWEST, {"thinkingLevel": "HIGH"}, ()),
        (Reasoning(effort="minimal"), NEWEST, {"thinkingLevel": "MINIMAL"}, ()),
        (
            Reasoning(effort="minimal"),
            Traits(model="gemini-3.1-pro-preview"),
            {"thinkingLevel": "LOW"},
            ("~reasoning.effort",),
        ),
        (
            Reasoning(effort="max"),
            NEWEST,
            {"thinkingLevel": "HIGH"},
            ("~reasoning.effort",),
        ),
        (Reasoning(effort="odd"), NEWEST, None, ("-reasoning.effort",)),
        (
            Reasoning(enabled=False),
            NEWEST,
            {"thinkingLevel": "MINIMAL"},
            ("~reasoning.effort",),
        ),
        (
            Reasoning(budget=4_000),
            NEWEST,
            {"includeThoughts": True, "thinkingLevel": "MEDIUM"},
            ("~reasoning.budget",),
        ),
        (Reasoning(adaptive=True), NEWEST, {"includeThoughts": True}, ()),
        (Reasoning(show=False, enabled=True), NEWEST, {"includeThoughts": False}, ()),
        (
            Reasoning(effort="low"),
            FLASH_25,
            {"thinkingBudget": 4_915},
            ("~reasoning.effort",),
        ),
        (Reasoning(effort="none"), FLASH_25, {"thinkingBudget": 0}, ()),
        (
            Reasoning(effort="none"),
            PRO_25,
            {"thinkingBudget": 128},
            ("~reasoning.effort",),
        ),
        (
            Reasoning(budget=99_999),
            PRO_25,
            {"includeThoughts": True, "thinkingBudget": 32_768},
            ("~reasoning.budget",),
        ),
        (
            Reasoning(adaptive=True),
            FLASH_25,
            {"includeThoughts": True, "thinkingBudget": -1},
            (),
        ),
        (Reasoning(effort="odd"), FLASH_25, None, ("-reasoning.effort",)),
        (Reasoning(enabled=True), FLASH_25, {"includeThoughts": True}, ()),
        (
            Reasoning(budget=500),
            Traits(
                model="x", thinking=ThinkingStyle.BUDGET, thinking_range=(1024, 2048)
            ),
            {"includeThoughts": True, "thinkingBudget": 1024},
            ("~reasoning.budget",),
        ),
        (
            Reasoning(effort="high"),
            Traits(model="gemma", thinking=ThinkingStyle.NONE),
            None,
            ("-reasoning",),
        ),
    ],
)
def test_how_much_to_think(
    reasoning: Reasoning, traits: Traits, config: Any, losses: Any
) -> None:
    """By level or by budget, never both."""
    body, told = written(asked(reasoning=reasoning), traits)
    found = body.get("generationConfig", {}).get("thinkingConfig")
    assert (found, told) == (config, losses)


def test_what_openais_callers_tell_google() -> None:
    """By `extra_body.google`, as Google's own layer takes it."""
    google = {
        "thinking_config": {"thinking_budget": 5, "include_thoughts": True},
        "cached_content": "cachedContents/a",
        "safety_settings": [{"category": "X", "threshold": "OFF"}],
        "thought_tag_marker": "t",
        "novel": 1,
    }
    chat = asked(
        reasoning=Reasoning(effort="low"),
        extras={"extra_body": {"google": google}, "store": True},
    )
    body, losses = written(chat)
    assert body["generationConfig"] == {
        "thinkingConfig": {"thinkingBudget": 5, "includeThoughts": True}
    }
    assert body["cachedContent"] == "cachedContents/a"
    assert body["safetySettings"] == google["safety_settings"]
    assert losses == ("-store", "-extra_body.google.novel")

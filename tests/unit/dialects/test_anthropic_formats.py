"""What an answer must look like, as Anthropic is told it."""

import json
from typing import Any

import pytest
from tests.support.cases import each
from tests.unit.dialects.anthropic_asked import (
    HI,
    asked,
    written,
)

from posthouse.model.chat import (
    Message,
    OutputFormat,
    OutputKind,
    Role,
    Text,
)
from posthouse.model.traits import Traits


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
        "-response_format.description",
        "~response_format.strict",
        "~response_format.schema",
    )
    assert "additionalProperties" not in schema


def test_limits_in_a_schema_are_put_into_words() -> None:
    """They cannot be held to; names that look like them stay names."""
    schema = {
        "type": "object",
        "properties": {
            "minimum": {"type": "integer", "minimum": 1, "description": "Least."},
            "tags": {
                "type": "array",
                "minItems": 2,
                "items": {"type": "string", "maxLength": 9, "format": "odd"},
            },
            "when": {"type": "string", "format": "date", "enum": ["minimum"]},
            "none": {"type": "array", "minItems": 1, "items": True},
        },
        "$defs": {"a": {"type": "object", "additionalProperties": True}},
    }
    form = OutputFormat(OutputKind.SCHEMA, schema, strict=True)
    body, told = written(asked(output_format=form))
    assert body["output_config"]["format"]["schema"] == {
        "type": "object",
        "properties": {
            "minimum": {"type": "integer", "description": "Least.\n\n{minimum: 1}"},
            "tags": {
                "type": "array",
                "items": {
                    "type": "string",
                    "description": '{maxLength: 9, format: "odd"}',
                },
                "description": "{minItems: 2}",
            },
            "when": {"type": "string", "format": "date", "enum": ["minimum"]},
            "none": {"type": "array", "minItems": 1, "items": True},
        },
        "$defs": {"a": {"type": "object", "additionalProperties": False}},
        "additionalProperties": False,
    }
    assert told == ("~response_format.schema",)


@each("value", [[], {}, None, 1, ["date"]])
def test_a_format_that_is_no_name_is_put_into_words(value: Any) -> None:
    """It says nothing that the answer could be held to."""
    schema = {"type": "object", "properties": {"when": {"format": value}}}
    form = OutputFormat(OutputKind.SCHEMA, schema, strict=True)
    body, _ = written(asked(output_format=form))
    found = body["output_config"]["format"]["schema"]["properties"]["when"]
    assert found == {"description": f"{{format: {json.dumps(value)}}}"}


@pytest.mark.parametrize(
    ("kind", "traits", "words"),
    [
        (OutputKind.JSON, Traits(), "one JSON object"),
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

"""Values made from JSON schemas: valid, finite, small, and never dangerous."""

import re
import time
from datetime import date, datetime
from enum import Enum
from typing import Annotated, Any, Literal, Optional
from uuid import UUID

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from pydantic import BaseModel, Field, TypeAdapter
from tests.support.cases import each

from posthouse.providers.sandbox.instances import instance
from posthouse.providers.sandbox.patterns import matching_text
from posthouse.providers.sandbox.refusal import RequestRefused


class Color(Enum):
    RED = "red"
    BLUE = "blue"


class Node(BaseModel):
    value: int
    next: "Node | None"
    children: list["Node"]


class Cat(BaseModel):
    kind: Literal["cat"]
    lives: Annotated[int, Field(ge=1, le=9)]


class Dog(BaseModel):
    kind: Literal["dog"]


class Everything(BaseModel):
    name: Annotated[str, Field(min_length=20, max_length=25)]
    short: Annotated[str, Field(max_length=3)]
    code: Annotated[str, Field(pattern=r"^[A-Z]{2}-\d{4}$")]
    color: Color
    maybe: Optional[int]  # noqa: UP045 -- the spelling that pydantic users know
    pet: Annotated[Cat | Dog, Field(discriminator="kind")]
    numbers: Annotated[list[float], Field(min_length=3)]
    pair: tuple[int, str]
    ratio: Annotated[float, Field(gt=0, lt=1)]
    even: Annotated[int, Field(gt=10, multiple_of=2)]
    low: Annotated[int, Field(lt=-5)]
    day: date
    moment: datetime
    key: UUID
    free: dict[str, int]
    anything: Any
    tree: Node
    flag: bool


@each("kind", [Everything, Node, Cat, list[Cat], Color, dict])
def test_pydantic_takes_the_value_made_from_its_schema(kind: Any) -> None:
    adapter = TypeAdapter(kind)
    adapter.validate_python(instance(adapter.json_schema(), "schema"))


def test_a_list_that_refers_to_itself_ends() -> None:
    made = instance(Node.model_json_schema(), "schema")
    assert made == {"value": 1, "next": None, "children": []}


def test_properties_that_are_not_required_are_left_out_if_others_are() -> None:
    properties = {"a": {"type": "integer"}, "b": {"type": "boolean"}}
    schema = {"type": "object", "properties": properties}
    assert instance({**schema, "required": ["b"]}, "schema") == {"b": True}
    assert instance(schema, "schema") == {"a": 1, "b": True}


def test_all_parts_of_an_all_of_are_kept() -> None:
    schema = {
        "$defs": {"A": {"properties": {"a": {"const": 7}}, "required": ["a"]}},
        "allOf": [
            {"$ref": "#/$defs/A"},
            {"properties": {"b": {"enum": ["x"]}}, "required": ["b"]},
        ],
        "type": "object",
    }
    assert instance(schema, "schema") == {"a": 7, "b": "x"}


bounds = st.integers(-1000, 1000)


@given(bounds, st.integers(0, 50), st.sampled_from([None, 1, 3, 7]))
def test_an_integer_keeps_its_bounds(low: int, room: int, step: int | None) -> None:
    high = low + room + (step or 1)
    schema: dict[str, Any] = {"type": "integer", "minimum": low, "maximum": high}
    if step:
        schema["multipleOf"] = step
    made = instance(schema, "schema")
    assert isinstance(made, int)
    assert low <= made <= high
    assert made % (step or 1) == 0


@given(bounds, st.integers(1, 50))
@example(-1, 1)
def test_a_number_keeps_its_exclusive_bounds(low: int, room: int) -> None:
    schema = {
        "type": "number",
        "exclusiveMinimum": low,
        "exclusiveMaximum": low + room,
    }
    assert low < instance(schema, "schema") < low + room


def doubling(levels: int) -> dict[str, Any]:
    """A schema whose value doubles with every level."""
    definitions: dict[str, Any] = {f"L{levels}": {"type": "integer"}}
    for level in range(levels):
        below = {"$ref": f"#/$defs/L{level + 1}"}
        definitions[f"L{level}"] = {
            "type": "object",
            "properties": {"a": below, "b": below},
        }
    return {"$defs": definitions, "$ref": "#/$defs/L0"}


def nested(levels: int) -> dict[str, Any]:
    """A schema of arrays in arrays."""
    schema: dict[str, Any] = {"type": "integer"}
    for _ in range(levels):
        schema = {"type": "array", "items": schema, "minItems": 1}
    return schema


@each(
    "schema",
    [
        {"$ref": "#"},
        {"$ref": "#/$defs/Absent"},
        {"$ref": "https://example.com/schema"},
        {"$ref": 7},
        {"type": "array", "minItems": 10**9, "items": {"type": "integer"}},
        {"type": "string", "minLength": 10**9},
        {"allOf": [{"allOf": [{"$ref": "#"}]}]},
        {"type": "sponge"},
        False,
        doubling(40),
        nested(200),
    ],
)
def test_a_schema_without_a_small_value_is_refused_at_once(schema: Any) -> None:
    began = time.monotonic()
    with pytest.raises(RequestRefused) as caught:
        instance(schema, "tools[0].function.parameters")
    assert time.monotonic() - began < 1
    assert caught.value.code == "invalid_schema"
    assert caught.value.param == "tools[0].function.parameters"


@each(
    "pattern",
    [
        r"^\d{3}-\d{4}$",
        r"^[a-z0-9._%+-]+@[a-z0-9.-]+\.[a-z]{2,}$",
        r"^#[0-9a-fA-F]{6}$",
        r"^(?:cat|dog)s?$",
        r"(?P<year>\d{4})-\d\d",
        r"^[^0-9]$",
        r"^\$\d+\.\d\d$",
        r"^[\w-]*?x{0,3}$",
        r"^https?://[^\s/]+/\S*$",
        r"^[]a]$",
        "",
    ],
)
def test_a_pattern_is_matched(pattern: str) -> None:
    text = matching_text(pattern)
    assert text is not None
    assert re.search(pattern, text)


@given(st.text("ab01[](){}|*+?.^$\\d-,", max_size=16))
def test_what_is_made_for_a_pattern_does_match_it(pattern: str) -> None:
    try:
        judge = re.compile(pattern)
    except (re.error, FutureWarning):
        return
    text = matching_text(pattern)
    assert text is None or judge.search(text)


def test_a_pattern_and_a_length_are_both_kept() -> None:
    schema = {"type": "string", "pattern": "^[a-c]+$", "minLength": 9}
    assert instance(schema, "schema") == "a" * 9


@each("pattern", [r"(?=a)b", r"(a)\1", r"\bword\b", "a" * 501])
def test_a_pattern_that_is_not_understood_is_left_alone(pattern: str) -> None:
    assert matching_text(pattern) is None

"""JSON schema, and the subset of OpenAPI's that older models take."""

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.cases import each

from posthouse.dialects.gemini_generate.schema import DEPTH, from_subset, to_subset

ALLOWED = {
    "anyOf",
    "default",
    "description",
    "enum",
    "example",
    "format",
    "items",
    "maxItems",
    "maxLength",
    "maxProperties",
    "maximum",
    "minItems",
    "minLength",
    "minProperties",
    "minimum",
    "nullable",
    "pattern",
    "properties",
    "propertyOrdering",
    "required",
    "title",
    "type",
}
STRING = {"type": "string"}


@each(
    ("schema", "subset"),
    [
        (STRING, STRING),
        ({"type": ["string", "null"]}, {"nullable": True, "type": "string"}),
        (
            {"type": ["string", "integer"], "description": "d"},
            {"description": "d", "anyOf": [STRING, {"type": "integer"}]},
        ),
        (
            {"anyOf": [STRING, {"type": "null"}], "title": "T"},
            {"type": "string", "title": "T", "nullable": True},
        ),
        (
            {"oneOf": [STRING, {"type": "number"}]},
            {"anyOf": [STRING, {"type": "number"}]},
        ),
        ({"const": "a"}, {"type": "string", "enum": ["a"]}),
        (
            {"type": "integer", "enum": [1, 2, None]},
            {"type": "string", "nullable": True, "enum": ["1", "2"]},
        ),
        ({"enum": [True]}, {"type": "string", "enum": ["true"]}),
        ({"enum": [{}]}, {}),
        (
            {"type": "string", "format": "email", "minLength": 1},
            {**STRING, "minLength": 1},
        ),
        ({"type": "string", "format": "date-time"}, {**STRING, "format": "date-time"}),
        (
            {"type": "integer", "format": "int64"},
            {"type": "integer", "format": "int64"},
        ),
        ({"type": "array"}, {"type": "array", "items": STRING}),
        (
            {"items": [{"type": "number"}, STRING]},
            {"type": "array", "items": {"type": "number"}},
        ),
        (
            {"prefixItems": [{"type": "boolean"}]},
            {"type": "array", "items": {"type": "boolean"}},
        ),
        ({"type": "object"}, None),
        (
            {
                "type": "object",
                "properties": {"a": STRING, "gone": {"type": "object"}},
                "required": ["a", "gone", "never", 5],
                "additionalProperties": False,
                "$schema": "x",
            },
            {"type": "object", "properties": {"a": STRING}, "required": ["a"]},
        ),
        (
            {
                "properties": {"a": {"$ref": "#/$defs/A", "description": "d"}},
                "$defs": {"A": {"type": "integer", "description": "D"}},
            },
            {
                "type": "object",
                "properties": {"a": {"type": "integer", "description": "d"}},
            },
        ),
        (
            {
                "allOf": [
                    {"type": "object", "properties": {"a": STRING}, "required": ["a"]},
                    {"properties": {"b": STRING}, "required": ["b"]},
                ]
            },
            {
                "type": "object",
                "properties": {"b": STRING, "a": STRING},
                "required": ["b", "a"],
            },
        ),
        (
            {"properties": {"self": {"$ref": "#"}, "a": STRING}},
            {
                "type": "object",
                "properties": {
                    "self": {"type": "object", "properties": {"self": {}, "a": STRING}},
                    "a": STRING,
                },
            },
        ),
        ({"$ref": "https://example.com/x"}, {}),
        ({"$ref": "#/no/where"}, {}),
        (True, {}),
        ({"not": STRING, "exclusiveMinimum": 0, "uniqueItems": True}, {}),
    ],
)
def test_a_schema_in_the_subset(schema: Any, subset: Any) -> None:
    """What it cannot say is left open."""
    found = to_subset(schema)
    if isinstance(subset, dict) and "properties" in subset:
        assert found is not None
        found["required"] = sorted(found.get("required", []))
        subset = {**subset, "required": sorted(subset.get("required", []))}
    assert found == subset


def test_definitions_that_name_each_other_are_bounded() -> None:
    """All ways through them would be more than there is memory."""
    names = [f"d{index}" for index in range(30)]
    every = {name: {"$ref": f"#/$defs/{name}"} for name in names}
    schema = {
        "properties": every,
        "$defs": {name: {"properties": every} for name in names},
    }
    assert len(str(to_subset(schema))) < 1_000_000


def test_a_schema_that_never_ends_does() -> None:
    """However it refers to itself, and however deep it is."""
    loop: Any = {
        "$ref": "#/$defs/A",
        "$defs": {"A": {"anyOf": [{"$ref": "#/$defs/A"}]}},
    }
    assert to_subset(loop) is not None
    deep: Any = STRING
    for _ in range(10 * DEPTH):
        deep = {"type": "array", "items": deep}
    assert depth_of(to_subset(deep)) <= DEPTH + 2


@each(
    ("subset", "schema"),
    [
        ({"type": "STRING"}, STRING),
        ({"type": "TYPE_UNSPECIFIED"}, {}),
        ({"type": "STRING", "nullable": True}, {"type": ["string", "null"]}),
        (
            {"type": "STRING", "format": "enum", "enum": ["a"], "nullable": True},
            {"type": ["string", "null"], "enum": ["a", None]},
        ),
        (
            {"any_of": [{"type": "STRING"}], "nullable": True},
            {"anyOf": [STRING, {"type": "null"}]},
        ),
        (
            {"type": "ARRAY", "items": {"type": "NUMBER"}, "min_items": "2"},
            {"type": "array", "items": {"type": "number"}, "minItems": 2},
        ),
        (
            {
                "type": "OBJECT",
                "properties": {"type": {"type": "STRING", "example": "x"}},
                "propertyOrdering": ["type"],
                "title": None,
            },
            {
                "type": "object",
                "properties": {"type": {"type": "string", "examples": ["x"]}},
            },
        ),
        (
            {"ref": "#/$defs/a", "defs": {"a": {"type": "STRING"}}},
            {"$ref": "#/$defs/a", "$defs": {"a": STRING}},
        ),
        ({"type": ["STRING", "NULL"]}, {"type": ["string", "null"]}),
        (5, 5),
    ],
)
def test_the_subset_as_a_schema(subset: Any, schema: Any) -> None:
    """In JSON schema's own words."""
    assert from_subset(subset) == schema


anything = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.text(max_size=4),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    "$defs",
                    "$ref",
                    "additionalProperties",
                    "allOf",
                    "anyOf",
                    "const",
                    "description",
                    "enum",
                    "format",
                    "items",
                    "nullable",
                    "oneOf",
                    "properties",
                    "required",
                    "type",
                ]
            ),
            inner
            | st.sampled_from(
                ["string", "object", "array", "null", "#", "#/$defs/properties"]
            ),
            max_size=4,
        )
    ),
    max_leaves=12,
)


def depth_of(schema: Any) -> int:
    if not isinstance(schema, dict):
        return 0
    inner = [schema.get("items"), *schema.get("anyOf", [])]
    inner += schema.get("properties", {}).values()
    return 1 + max(map(depth_of, inner), default=0)


def check(schema: Any) -> None:
    assert schema.keys() <= ALLOWED
    properties = schema.get("properties", {})
    assert set(schema.get("required", ())) <= properties.keys()
    if schema.get("type") == "object":
        assert properties or "anyOf" in schema
    if "enum" in schema:
        assert schema["type"] == "string"
        assert all(isinstance(value, str) for value in schema["enum"])
    for inner in (*properties.values(), *schema.get("anyOf", ())):
        if inner != {"type": "object"}:
            check(inner)
    if "items" in schema:
        check(schema["items"])


@given(
    st.dictionaries(
        st.sampled_from(
            ["type", "anyOf", "items", "$ref", "allOf", "properties", "enum", "$defs"]
        ),
        anything,
    )
)
@settings(max_examples=200, deadline=None)
def test_any_schema_has_a_subset(schema: dict[str, Any]) -> None:
    """Of the subset's members alone, and of bounded depth."""
    found = to_subset(schema)
    if found is not None:
        check(found)
        assert depth_of(found) <= DEPTH + 3


@given(anything)
@settings(max_examples=100, deadline=None)
def test_anything_can_be_read_as_the_subset(schema: Any) -> None:
    """Nothing is raised, and twice is as good as once."""
    once = from_subset(schema)
    if not (isinstance(schema, dict) and "nullable" in str(schema)):
        assert from_subset(once) == once or "TYPE_UNSPECIFIED" in str(schema)

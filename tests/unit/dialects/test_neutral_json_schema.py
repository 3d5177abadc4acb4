"""What a schema refuses here, a whole validator refuses, too."""

import time
from typing import Any

import jsonschema  # type: ignore[import-untyped]  # it has no stubs
from hypothesis import given
from hypothesis import strategies as st
from tests.support.cases import each

from posthouse.dialects.neutral.json_schema import matches

PERSON = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "minLength": 1},
        "age": {"type": "integer", "minimum": 0},
        "pets": {"type": "array", "items": {"$ref": "#/$defs/pet"}, "maxItems": 2},
    },
    "required": ["name", "age"],
    "additionalProperties": False,
    "$defs": {"pet": {"enum": ["cat", "dog"]}},
}
TREE: dict[str, Any] = {
    "type": "object",
    "properties": {"left": {"anyOf": [{"$ref": "#"}, {"type": "null"}]}},
    "required": ["left"],
}


@each(
    ("schema", "value"),
    [
        (PERSON, {"name": "Ann", "age": 3, "pets": ["cat", "dog"]}),
        (PERSON, {"name": "Ann", "age": 3.0}),
        (TREE, {"left": {"left": None}}),
        ({"type": ["string", "null"]}, None),
        ({"const": {"a": [1, 2.0]}}, {"a": [1.0, 2]}),
        ({"multipleOf": 0.1}, 0.3),
        ({"multipleOf": 0.1}, 10**400),
        ({"prefixItems": [{"type": "string"}], "items": {"type": "null"}}, ["a", None]),
        ({"items": [{"type": "string"}]}, ["a", 1]),
        ({"oneOf": [{"pattern": "^a"}, {"pattern": "^b"}]}, "a"),
        ({"not": {"pattern": "^a"}}, "b"),
        ({"$ref": "https://example.com/schema"}, 1),
        ({"$ref": "#name"}, 1),
        ({"$ref": "#/$defs/none"}, 1),
        ({"type": 5, "required": "a", "properties": [], "enum": {}}, {}),
        ({"additionalProperties": False, "patternProperties": {"^x": {}}}, {"x": 1}),
        ({}, [None]),
    ],
)
def test_what_may_stand(schema: dict[str, Any], value: Any) -> None:
    assert matches(value, schema)


@each(
    ("schema", "value"),
    [
        (PERSON, {"name": "Ann"}),
        (PERSON, {"name": "", "age": 3}),
        (PERSON, {"name": "Ann", "age": -1}),
        (PERSON, {"name": "Ann", "age": 3.5}),
        (PERSON, {"name": "Ann", "age": True}),
        (PERSON, {"name": "Ann", "age": 3, "more": 1}),
        (PERSON, {"name": "Ann", "age": 3, "pets": ["cow"]}),
        (PERSON, {"name": "Ann", "age": 3, "pets": ["cat"] * 3}),
        (PERSON, []),
        (TREE, {"left": {"left": {}}}),
        ({"const": 1}, True),
        ({"enum": [0]}, False),
        ({"uniqueItems": True}, [1, 2, 1.0]),
        ({"allOf": [{"minimum": 1}, {"exclusiveMaximum": 2}]}, 2),
        ({"exclusiveMinimum": 1}, 1),
        ({"multipleOf": 2}, 3),
        ({"prefixItems": [{"type": "string"}], "items": False}, ["a", 1]),
        ({"minProperties": 1}, {}),
        ({"anyOf": [{"type": "string"}, {"type": "null"}]}, 1),
        ({"items": {"$ref": "#/$defs/a~1b"}, "$defs": {"a/b": False}}, [1]),
        ({"properties": {"a": False}}, {"a": 1}),
    ],
)
def test_what_may_not(schema: dict[str, Any], value: Any) -> None:
    assert not matches(value, schema)


def test_a_schema_that_takes_for_ever_is_given_up() -> None:
    """Each level is tried twice: without an end to it, these would be 2^60 steps."""
    twice = [{"items": {"$ref": "#"}}, {"items": {"$ref": "#"}}]
    value: Any = "x"
    for _ in range(60):
        value = [value]
    began = time.process_time()
    assert matches(value, {"anyOf": twice, "type": "array"})
    assert matches(1, {"$ref": "#"})
    assert time.process_time() - began < 5


values = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | st.floats(-2, 2) | st.text("ab"),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("ab"), inner)
    ),
    max_leaves=5,
)
whole = st.integers(0, 3)
TYPES = ["null", "boolean", "integer", "number", "string", "array", "object"]
schemas: Any = st.recursive(
    st.booleans(),
    lambda inner: st.fixed_dictionaries(
        {},
        optional={
            "type": st.sampled_from(TYPES),
            "enum": st.lists(values, min_size=1, max_size=3),
            "const": values,
            "anyOf": st.lists(inner, min_size=1, max_size=2),
            "allOf": st.lists(inner, min_size=1, max_size=2),
            "oneOf": st.lists(inner, min_size=1, max_size=2),
            "properties": st.dictionaries(st.sampled_from("ab"), inner),
            "required": st.lists(st.sampled_from("ab"), unique=True),
            "additionalProperties": inner,
            "prefixItems": st.lists(inner, min_size=1, max_size=2),
            "items": inner,
            "uniqueItems": st.booleans(),
            "minimum": whole,
            "exclusiveMaximum": whole,
            "minLength": whole,
            "maxItems": whole,
            "minProperties": whole,
        },
    ),
    max_leaves=6,
).filter(lambda schema: isinstance(schema, dict))


def told_apart(schema: Any) -> bool:
    """Whether `oneOf` stands in it, which is only half looked at."""
    return '"oneOf"' in repr(schema).replace("'", '"')


@given(schemas, values)
def test_a_whole_validator_says_the_same(schema: Any, value: Any) -> None:
    expected = jsonschema.Draft202012Validator(schema).is_valid(value)
    if told_apart(schema):
        assert matches(value, schema) or not expected
    else:
        assert matches(value, schema) is expected

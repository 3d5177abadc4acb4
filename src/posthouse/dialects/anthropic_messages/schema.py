"""JSON schemas as Anthropic holds answers and strict tools to them.

Objects must say that they have no further members; limits of numbers, lengths and
counts cannot be held to, and are told to the model in the description instead.
Source: https://platform.claude.com/docs/en/build-with-claude/structured-outputs
(2026-11) and what the SDK anthropic 2.12.0 does to schemas.
"""

from typing import Any

from posthouse.model.chat import Extras
from posthouse.wire import json

_LIMITS = frozenset(
    {
        "exclusiveMaximum",
        "exclusiveMinimum",
        "maxItems",
        "maxLength",
        "maxProperties",
        "maximum",
        "minLength",
        "minProperties",
        "minimum",
        "multipleOf",
        "uniqueItems",
    }
)
_FORMATS = frozenset(
    {
        "date",
        "date-time",
        "duration",
        "email",
        "hostname",
        "ipv4",
        "ipv6",
        "time",
        "uri",
        "uuid",
    }
)
_BY_NAME = ("$defs", "definitions", "properties")
_LISTS = ("allOf", "anyOf", "oneOf")


def fitted(schema: Any) -> Any:
    """Write a schema so that it is taken; what is no schema stays as it is."""
    if not isinstance(schema, dict):
        return schema
    found: Extras = {}
    limits: list[str] = []
    for name, value in schema.items():
        if _is_limit(name, value):
            limits.append(f"{name}: {json.encode(value).decode()}")
        else:
            found[name] = _fitted_member(name, value)
    if schema.get("type") == "object":
        found["additionalProperties"] = False
    if limits:
        told = "{" + ", ".join(limits) + "}"
        before = found.get("description")
        found["description"] = f"{before}\n\n{told}" if before else told
    return found


def _is_limit(name: str, value: Any) -> bool:
    if name == "minItems":
        return value not in (0, 1)
    if name == "format":
        return not isinstance(value, str) or value not in _FORMATS
    return name in _LIMITS


def _fitted_member(name: str, value: Any) -> Any:
    """Write a member, schemas in it included."""
    if name in _BY_NAME and isinstance(value, dict):
        return {key: fitted(part) for key, part in value.items()}
    if name in _LISTS and isinstance(value, list):
        return [fitted(part) for part in value]
    return fitted(value) if name == "items" else value

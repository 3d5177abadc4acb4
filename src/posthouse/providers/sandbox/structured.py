"""Structured outputs: a JSON document that the schema of a chat accepts.

It is the smallest one, unless the prompt is JSON and tells of several things: then a
list of objects in the answer has one for each of them, and an `index` that each must
have counts them. So whoever has many things judged in one chat finds them judged.
"""

from typing import Any

from posthouse.providers.sandbox import checks, tools
from posthouse.providers.sandbox.instances import instance
from posthouse.wire import json
from posthouse.wire.json import MalformedJSON

MOST = 1_000
"""Entries of a list."""
_BOUNDS = ("minItems", "maxItems", "prefixItems")


def structured(form: dict[str, Any], prompt: str) -> str:
    """Write a JSON document that the schema accepts; raises RequestRefused.

    Args:
        form: the request's `json_schema`.
        prompt: the last user message's text.
    """
    if not form.get("name"):
        raise checks.missing("response_format.json_schema.name")
    schema = form.get("schema")
    where = "response_format.json_schema.schema"
    if form.get("strict") is True:
        tools.check_strict(schema, where)
    value = {} if schema is None else instance(schema, where)
    if isinstance(value, dict) and isinstance(schema, dict):
        count = _things(prompt)
        properties = schema.get("properties")
        for name, one in properties.items() if isinstance(properties, dict) else ():
            if count and name in value and isinstance(one, dict) and _is_free(one):
                value[name] = _entries(value[name], one["items"], count)
    return json.encode(value).decode()


def _is_free(schema: dict[str, Any]) -> bool:
    """Whether a list may have any number of objects."""
    items = schema.get("items")
    return (
        schema.get("type") == "array"
        and not any(bound in schema for bound in _BOUNDS)
        and isinstance(items, dict)
        and items.get("type") == "object"
    )


def _entries(made: list[Any], items: dict[str, Any], count: int) -> list[Any]:
    """Repeat the one entry of a list."""
    if not made:
        return made
    properties = items.get("properties")
    index = properties.get("index") if isinstance(properties, dict) else None
    counts = index == {"type": "integer"} and "index" in made[0]
    return [
        {**made[0], "index": number} if counts else made[0] for number in range(count)
    ]


def _things(prompt: str) -> int:
    """Count what a prompt tells of in JSON: a document a line, or a list in one.

    Gives 0 where it is no JSON.
    """
    if not prompt.startswith("{"):
        return 0
    try:
        told = [json.decode(line.encode(), dict) for line in prompt.split("\n")]
    except (MalformedJSON, UnicodeEncodeError):
        return 0
    if len(told) == 1:
        told = next((one for one in told[0].values() if isinstance(one, list)), told)
    return min(len(told), MOST)

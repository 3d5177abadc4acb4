"""JSON schema and the subset of OpenAPI's that Gemini had before it.

New models take real JSON schema (`parametersJsonSchema`, `responseJsonSchema`); for
the others `to_subset` gives what they take: never more members than the subset
has, every reference resolved, of bounded depth. What it cannot say it leaves out,
so that more is allowed than was. `from_subset` leads the other way, for clients
who write the subset.

Sources: https://ai.google.dev/api/caching#Schema (2026-11); `types.Schema` in
google-genai 3.4.0.
"""

from typing import Any

from posthouse.model.chat import Extras

DEPTH = 24
"""Deeper levels are left open."""
LEVELS = 4096
"""More are left open: definitions that name each other grow beyond all bounds."""

_KEPT = frozenset(
    {
        "default",
        "description",
        "example",
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
        "propertyOrdering",
        "title",
    }
)
_SHAPE = ("type", "enum", "items", "properties", "required", "anyOf")
_TYPES = frozenset({"string", "number", "integer", "boolean", "array", "object"})
_FORMATS = {
    "string": frozenset({"enum", "date-time"}),
    "number": frozenset({"float", "double"}),
    "integer": frozenset({"int32", "int64"}),
}


# --- to the subset ------------------------------------------------------------------


def to_subset(schema: Any) -> Extras | None:
    """Write a JSON schema as the subset; None for an object without members."""
    return _Cleaner(schema).clean(schema, (), 0)


class _Cleaner:
    """Cleans one schema, whose references lead into itself."""

    def __init__(self, root: Any) -> None:
        self._root = root
        self._left = LEVELS

    def clean(self, node: Any, refs: tuple[str, ...], depth: int) -> Extras | None:
        """Clean one level; None for an object without members."""
        self._left -= 1
        if not isinstance(node, dict) or depth > DEPTH or self._left < 0:
            return {}
        node, refs = self._resolved(node, refs)
        out = {name: value for name, value in node.items() if name in _KEPT}
        out |= self._alternatives(node, self._kind(node, out), out, (refs, depth))
        _values(node, out)
        kind = out.get("type")
        if kind == "array" and "items" not in out:
            out["items"] = self._items(node, refs, depth)
        elif kind == "object" and not self._object(node, out, refs, depth):
            return None
        _formatted(node, out)
        return out

    def _resolved(
        self, node: Extras, refs: tuple[str, ...]
    ) -> tuple[Extras, tuple[str, ...]]:
        """Put what is referred to, and what is demanded as well, in its place."""
        for _ in range(DEPTH):
            ref = node.get("$ref")
            parts = node.get("allOf")
            node = {k: v for k, v in node.items() if k not in ("$ref", "allOf")}
            if isinstance(ref, str) and ref not in refs:
                refs = (*refs, ref)
                node = _merged(self._target(ref), node)
            if isinstance(parts, list):
                for part in parts:
                    node = _merged(part if isinstance(part, dict) else {}, node)
            if "$ref" not in node and "allOf" not in node:
                break
        return node, refs

    def _target(self, ref: str) -> Extras:
        """Find what a reference within the schema leads to."""
        found: Any = self._root
        if not ref.startswith("#"):
            return {}
        for step in ref[1:].split("/")[1:]:
            name = step.replace("~1", "/").replace("~0", "~")
            found = found.get(name) if isinstance(found, dict) else None
        return found if isinstance(found, dict) else {}

    def _kind(self, node: Extras, out: Extras) -> list[str]:
        """Read the types; one is written at once, and whether null is one."""
        found = node.get("type")
        names = found if isinstance(found, list) else [found]
        lower = [name.lower() for name in names if isinstance(name, str)]
        if "null" in lower:
            out["nullable"] = True
        kinds = [name for name in lower if name in _TYPES]
        if not kinds and not lower:
            if isinstance(node.get("properties"), dict):
                kinds = ["object"]
            elif isinstance(node.get("items") or node.get("prefixItems"), dict | list):
                kinds = ["array"]
        if len(kinds) == 1:
            out["type"] = kinds[0]
        return kinds

    def _alternatives(
        self,
        node: Extras,
        kinds: list[str],
        out: Extras,
        where: tuple[tuple[str, ...], int],
    ) -> Extras:
        """Give the alternatives, of schemas or of types."""
        refs, depth = where
        told = node.get("anyOf") or node.get("oneOf")
        entries = told if isinstance(told, list) else []
        if len(kinds) > 1 and not entries:
            entries = [{**_without_words(node), "type": kind} for kind in kinds]
        schemas: list[Extras] = []
        found = {}
        for entry in entries:
            if _is_null(entry):
                found["nullable"] = True
                continue
            cleaned = self.clean(entry, refs, depth + 1)
            if cleaned is None:
                cleaned = {"type": "object"}
            if cleaned not in schemas:
                schemas.append(cleaned)
        if len(schemas) == 1:
            # Of what it is, the alternative knows more.
            inner = schemas[0]
            kind = {name: inner[name] for name in _SHAPE if name in inner}
            return {**inner, **out, **kind, **found}
        return {**found, "anyOf": schemas} if schemas else found

    def _items(self, node: Extras, refs: tuple[str, ...], depth: int) -> Extras:
        """Write what a list is of; of several, the first."""
        items = node.get("items")
        if not isinstance(items, dict):
            several = items if isinstance(items, list) else node.get("prefixItems")
            items = several[0] if isinstance(several, list) and several else None
        cleaned = self.clean(items, refs, depth + 1)
        # A list must tell what it is of.
        return cleaned or {"type": "string"}

    def _object(
        self, node: Extras, out: Extras, refs: tuple[str, ...], depth: int
    ) -> bool:
        """Write an object's members; tell whether there are any."""
        found = out.pop("properties", None) or node.get("properties")
        properties = {}
        for name, value in found.items() if isinstance(found, dict) else ():
            cleaned = self.clean(value, refs, depth + 1)
            if cleaned is not None:
                properties[name] = cleaned
        required = out.pop("required", None) or node.get("required")
        order = out.pop("propertyOrdering", None)
        if not properties:
            return "anyOf" in out
        out["properties"] = properties
        for name, value in (("required", required), ("propertyOrdering", order)):
            kept = _names_in(value, properties)
            out.pop(name, None)
            if kept:
                out[name] = kept
        return True


def _merged(below: Extras, above: Extras) -> Extras:
    """Join two levels that both hold; what is closer to the reader wins."""
    found = {**below, **above}
    for name in ("properties",):
        first, second = below.get(name), above.get(name)
        if isinstance(first, dict) and isinstance(second, dict):
            found[name] = {**first, **second}
    first, second = below.get("required"), above.get("required")
    if isinstance(first, list) and isinstance(second, list):
        found["required"] = [*first, *second]
    return found


def _without_words(node: Extras) -> Extras:
    return {
        name: value
        for name, value in node.items()
        if name not in ("description", "title", "default", "nullable", "example")
    }


def _is_null(entry: Any) -> bool:
    return isinstance(entry, dict) and entry.get("type") in ("null", "NULL", ["null"])


def _names_in(value: Any, properties: Extras) -> list[str]:
    """The names that there is a member for, each once."""
    names = value if isinstance(value, list) else ()
    texts = (name for name in names if isinstance(name, str))
    return [name for name in dict.fromkeys(texts) if name in properties]


def _values(node: Extras, out: Extras) -> None:
    """Write the values that are allowed; the subset knows texts only."""
    values = [node["const"]] if "const" in node else node.get("enum")
    if not isinstance(values, list):
        return
    if None in values:
        out["nullable"] = True
    texts = [_text_of(value) for value in values if value is not None]
    out.pop("enum", None)
    if texts and all(text is not None for text in texts):
        out["type"] = "string"
        out["enum"] = list(dict.fromkeys(texts))
        for name in ("minimum", "maximum", "anyOf", "items", "properties"):
            out.pop(name, None)


def _text_of(value: Any) -> str | None:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str | int | float):
        return str(value)
    return None


def _formatted(node: Extras, out: Extras) -> None:
    """Keep the formats that are known."""
    found = node.get("format", out.pop("format", None))
    out.pop("format", None)
    kind = out.get("type")
    known = isinstance(found, str) and found in _FORMATS.get(kind or "", ())
    if known and (found != "enum" or "enum" in out):
        out["format"] = found


# --- from the subset ----------------------------------------------------------------

_SNAKE = {
    "additional_properties": "additionalProperties",
    "any_of": "anyOf",
    "defs": "$defs",
    "max_items": "maxItems",
    "max_length": "maxLength",
    "max_properties": "maxProperties",
    "min_items": "minItems",
    "min_length": "minLength",
    "min_properties": "minProperties",
    "prefix_items": "prefixItems",
    "property_ordering": "propertyOrdering",
    "ref": "$ref",
}
_COUNTS = frozenset(
    {
        "maxItems",
        "maxLength",
        "maxProperties",
        "minItems",
        "minLength",
        "minProperties",
    }
)
_LISTS = frozenset({"anyOf", "oneOf", "allOf", "prefixItems"})
_MAPS = frozenset({"properties", "$defs", "definitions"})
_SCHEMAS = frozenset({"items", "additionalProperties"})


def from_subset(schema: Any, depth: int = 0) -> Any:
    """Write the subset as JSON schema; what is JSON schema already stays."""
    if not isinstance(schema, dict) or depth > 4 * DEPTH:
        return schema
    out: Extras = {}
    for written, value in schema.items():
        name = str(_SNAKE.get(written, written))
        if value is None or name in ("nullable", "propertyOrdering"):
            continue
        if name == "type":
            kind = _lower(value)
            if kind is not None:
                out[name] = kind
        elif name == "example":
            out["examples"] = [value]
        elif name != "format" or value != "enum":
            out[name] = _member(name, value, depth)
    if schema.get("nullable") is True:
        _allow_null(out)
    return out


def _member(name: str, value: Any, depth: int) -> Any:
    if name in _COUNTS and isinstance(value, str) and value.isdecimal():
        # Protocol buffers write 64 bits as text.
        return int(value[:18])
    if name in _LISTS and isinstance(value, list):
        return [from_subset(entry, depth + 1) for entry in value]
    if name in _MAPS and isinstance(value, dict):
        return {key: from_subset(entry, depth + 1) for key, entry in value.items()}
    return from_subset(value, depth + 1) if name in _SCHEMAS else value


def _lower(kind: Any) -> Any:
    if isinstance(kind, list):
        return [_lower(entry) for entry in kind]
    if not isinstance(kind, str):
        return kind
    return None if kind == "TYPE_UNSPECIFIED" else kind.lower()


def _allow_null(out: Extras) -> None:
    """Let null be one of what is allowed."""
    kind = out.get("type")
    if isinstance(kind, str) and kind != "null":
        out["type"] = [kind, "null"]
    elif isinstance(out.get("anyOf"), list):
        out["anyOf"] = [*out["anyOf"], {"type": "null"}]
    values = out.get("enum")
    if isinstance(values, list) and None not in values:
        out["enum"] = [*values, None]

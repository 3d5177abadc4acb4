"""The smallest useful value that a JSON schema accepts.

Used for tool arguments and structured outputs. Understood are const, enum,
type, properties, required, items, prefixItems, bounds, format, pattern, $ref,
allOf, anyOf and oneOf. Properties that are not required are left out, unless
none is required: then all are given, since an empty object shows nothing.
"""

from typing import Any

from posthouse.providers.sandbox.patterns import matching_text
from posthouse.providers.sandbox.refusal import RequestRefused

MAX_NODES = 2_000
MAX_DEPTH = 48
MAX_STRING = 1_000
COMBINED = frozenset({"$ref", "allOf", "anyOf", "oneOf"})

FORMATS = {
    "date": "2024-01-01",
    "date-time": "2024-01-01T00:00:00Z",
    "time": "00:00:00Z",
    "duration": "P1D",
    "email": "sandbox@example.com",
    "hostname": "example.com",
    "ipv4": "192.0.2.1",
    "ipv6": "2001:db8::1",
    "uri": "https://example.com/",
    "url": "https://example.com/",
    "uuid": "00000000-0000-4000-8000-000000000000",
    "binary": "c2FuZGJveA==",
    "byte": "c2FuZGJveA==",
}

Schema = dict[str, Any]


class NoInstance(Exception):
    """The schema leads back into itself here, so no finite value exists."""


def instance(schema: Any, param: str) -> Any:
    """Make a value for `schema`; raises RequestRefused naming `param`."""
    try:
        return Maker(schema).value(schema, "value", 0)
    except (NoInstance, TooLarge):
        raise RequestRefused(
            f"Invalid schema for '{param}': it has no finite value, refers to what "
            "is not there, or is too large.",
            code="invalid_schema",
            param=param,
        ) from None


class TooLarge(Exception):
    """The schema asks for more than is worth making."""


class Maker:
    """Makes one value; counts nodes, since references can multiply."""

    def __init__(self, root: Any) -> None:
        """Keep the root, which references start from."""
        self.root = root
        self.nodes = 0
        self.open: list[str] = []

    def value(self, schema: Any, name: str, depth: int) -> Any:
        """Make a value; `name` is what a string is filled with."""
        self.nodes += 1
        if self.nodes > MAX_NODES or depth > MAX_DEPTH:
            raise TooLarge
        if schema is True or schema == {}:
            return f"sample {name}"
        if not isinstance(schema, dict):
            raise NoInstance
        if "const" in schema:
            return schema["const"]
        if isinstance(schema.get("enum"), list) and schema["enum"]:
            return schema["enum"][0]
        if COMBINED.isdisjoint(schema):
            return self.typed(schema, name, depth)
        return self.combined(schema, name, depth)

    def combined(self, schema: Schema, name: str, depth: int) -> Any:
        """Make a value of a schema that refers to or joins others."""
        if "$ref" in schema:
            return self.referred(schema, name, depth)
        if isinstance(schema.get("allOf"), list):
            return self.value(self.merged(schema, depth), name, depth + 1)
        for key in ("anyOf", "oneOf"):
            if isinstance(schema.get(key), list):
                return self.branch(schema, key, name, depth=depth)
        raise NoInstance

    def referred(self, schema: Schema, name: str, depth: int) -> Any:
        """Follow a reference, unless it is being followed already."""
        pointer = schema["$ref"]
        if pointer in self.open:
            raise NoInstance
        self.open.append(pointer)
        try:
            target = self.resolve(pointer)
            beside = {key: item for key, item in schema.items() if key != "$ref"}
            if isinstance(target, dict):
                target = {**target, **beside}
            return self.value(target, name, depth + 1)
        finally:
            self.open.pop()

    def resolve(self, pointer: Any) -> Any:
        """Find what a local reference (`#`, `#/$defs/X`) points at."""
        if not isinstance(pointer, str) or not pointer.startswith("#"):
            raise NoInstance
        found = self.root
        for step in pointer[1:].split("/")[1:]:
            key = step.replace("~1", "/").replace("~0", "~")
            if isinstance(found, list) and key.isdecimal() and int(key) < len(found):
                found = found[int(key)]
            elif isinstance(found, dict) and key in found:
                found = found[key]
            else:
                raise NoInstance
        return found

    def branch(self, schema: Schema, key: str, name: str, *, depth: int) -> Any:
        """Take the first alternative that has a finite value."""
        beside = {name: item for name, item in schema.items() if name != key}
        for option in schema[key]:
            whole = {**beside, **option} if isinstance(option, dict) else option
            if isinstance(option, dict) and "properties" in beside:
                whole = merge([beside, option])
            try:
                return self.value(whole, name, depth + 1)
            except NoInstance:
                continue
        raise NoInstance

    def merged(self, schema: Schema, depth: int) -> Schema:
        """Join the members of `allOf` with what stands beside them."""
        parts = [{key: item for key, item in schema.items() if key != "allOf"}]
        for part in schema["allOf"]:
            self.nodes += 1
            if self.nodes > MAX_NODES or depth > MAX_DEPTH:
                raise TooLarge
            target = part
            if isinstance(part, dict) and "$ref" in part:
                target = self.resolve(part["$ref"])
            if isinstance(target, dict) and isinstance(target.get("allOf"), list):
                target = self.merged(target, depth + 1)
            if isinstance(target, dict):
                parts.append(target)
        return merge(parts)

    def typed(self, schema: Schema, name: str, depth: int) -> Any:
        """Make a value of the type that the schema names or implies."""
        kind = schema.get("type")
        if isinstance(kind, list):
            kind = next((item for item in kind if item != "null"), "null")
        if kind is None:
            kind = implied_type(schema)
        match kind:
            case "object":
                return self.object(schema, depth)
            case "array":
                return self.array(schema, name, depth)
            case "string":
                return text(schema, name)
            case "integer" | "number":
                return number(schema, whole=kind == "integer")
            case "boolean":
                return True
            case "null":
                return None
            case _:
                raise NoInstance

    def object(self, schema: Schema, depth: int) -> dict[str, Any]:
        """Make an object with the properties that it needs."""
        properties = schema.get("properties")
        properties = properties if isinstance(properties, dict) else {}
        required = schema.get("required")
        required = required if isinstance(required, list) else []
        made: dict[str, Any] = {}
        for name in [
            *properties,
            *(name for name in required if name not in properties),
        ]:
            if name in required:
                made[name] = self.value(properties.get(name, True), name, depth + 1)
            elif not required:
                try:
                    made[name] = self.value(properties[name], name, depth + 1)
                except NoInstance:
                    continue
        return made

    def array(self, schema: Schema, name: str, depth: int) -> list[Any]:
        """Make an array of one member, or as many as it must have."""
        prefix = schema.get("prefixItems")
        prefix = prefix if isinstance(prefix, list) else []
        made = [self.value(item, name, depth + 1) for item in prefix]
        least = integer(schema.get("minItems"), 0)
        most = integer(schema.get("maxItems"), max(least, 1))
        if len(made) >= max(least, 1) or most <= len(made):
            return made
        items = schema.get("items", True)
        try:
            made.append(self.value(items, name, depth + 1))
        except NoInstance:
            if least > len(made):
                raise
            return made
        while len(made) < least:
            made.append(self.value(items, f"{name} {len(made) + 1}", depth + 1))
        return made


def merge(parts: list[Schema]) -> Schema:
    """Join schemas that must all hold."""
    joined: Schema = {}
    properties: Schema = {}
    required: list[Any] = []
    for part in parts:
        joined.update(part)
        if isinstance(part.get("properties"), dict):
            properties.update(part["properties"])
        if isinstance(part.get("required"), list):
            required += [name for name in part["required"] if name not in required]
    if properties:
        joined["properties"] = properties
    if required:
        joined["required"] = required
    return joined


def implied_type(schema: Schema) -> str:
    """Tell an untyped schema's type from its keywords; a string otherwise."""
    if "properties" in schema or "required" in schema:
        return "object"
    if "items" in schema or "prefixItems" in schema or "minItems" in schema:
        return "array"
    if "minimum" in schema or "maximum" in schema or "multipleOf" in schema:
        return "number"
    return "string"


def integer(value: Any, default: int) -> int:
    """Read a count from a schema."""
    return value if type(value) is int and value >= 0 else default


def text(schema: Schema, name: str) -> str:
    """Make a string that keeps the format, the pattern and the bounds."""
    least = integer(schema.get("minLength"), 0)
    if least > MAX_STRING:
        raise TooLarge
    pattern = schema.get("pattern")
    if isinstance(pattern, str):
        match = matching_text(pattern, least)
        if match is not None:
            return match
    form = schema.get("format")
    if isinstance(form, str) and form in FORMATS:
        return FORMATS[form]
    made = f"sample {name}".ljust(least, ".")
    return made[: integer(schema.get("maxLength"), len(made))]


def number(schema: Schema, *, whole: bool) -> float:
    """Make a number that keeps the bounds and the step; 1 where it may."""
    step = bound(schema, "multipleOf") or (1 if whole else None)
    low = bound(schema, "minimum")
    above = bound(schema, "exclusiveMinimum")
    high = bound(schema, "maximum")
    below = bound(schema, "exclusiveMaximum")
    if above is not None and (low is None or above >= low):
        top = next((one for one in (below, high) if one is not None), above + 2)
        low = above + (step or (top - above) / 2)
    if below is not None and (high is None or below <= high):
        high = below - (step or (((below - low) / 2) if low is not None else 1))
    made: float = 1
    if low is not None and made < low:
        made = low
    if high is not None and made > high:
        made = high
    if step:
        made = on_step(made, step, low)
    return int(made) if whole else made


def bound(schema: Schema, name: str) -> float | None:
    """Read a number from a schema."""
    value = schema.get(name)
    return value if type(value) in (int, float) else None


def on_step(value: float, step: float, low: float | None) -> float:
    """Move a number to a multiple of `step`, upwards when it would be too low."""
    moved = value // step * step
    return moved + step if low is not None and moved < low else moved

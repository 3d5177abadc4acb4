"""Whether a JSON value is as a JSON schema says.

Both come from strangers, so every check has a number of steps: what has not been
refuted within them is taken to match, and so is what a keyword says that does not
stand here. Those are `pattern` and `format`, for which expressions of others would
have to be run, and those of which no provider makes anything (`not`, `if`,
`unevaluated…`, references that leave the schema). Of `oneOf`, one must match, and
nobody asks whether another one does: what tells them apart may be a pattern.

Source: JSON Schema, draft 2020-12, core and validation; `items` as a list and
`definitions` of the drafts before.
"""

from collections.abc import Callable
from itertools import combinations
from typing import Any
from urllib.parse import unquote

from posthouse.model.chat import Extras

STEPS = 50_000
"""A small part of a second."""


class _TooLong(Exception):
    """The steps are used up."""


def matches(value: Any, schema: Extras) -> bool:
    """Whether a value matches, as far as can be told."""
    try:
        return _Check(schema).match(value, schema)
    except (_TooLong, RecursionError, OverflowError):
        return True


class _Check:
    """One value's check, step by step."""

    __slots__ = ("_left", "_root")

    def __init__(self, root: Extras) -> None:
        self._root = root
        self._left = STEPS

    def step(self, count: int = 1) -> None:
        """Take steps; raises _TooLong."""
        self._left -= count
        if self._left < 0:
            raise _TooLong

    def match(self, value: Any, schema: Any) -> bool:
        """Whether a value matches a part of the schema."""
        self.step()
        if not isinstance(schema, dict):
            return schema is not False
        return all(
            _KEYWORDS[name](self, value, told, schema)
            for name, told in schema.items()
            if name in _KEYWORDS
        )

    def target(self, reference: Any) -> Any:
        """What a reference within the schema leads to; True where it leads nowhere."""
        if not isinstance(reference, str) or reference[:2] not in ("#", "#/"):
            return True
        found: Any = self._root
        for escaped in unquote(reference).split("/")[1:]:
            name = escaped.replace("~1", "/").replace("~0", "~")
            if isinstance(found, list) and name.isdecimal() and int(name) < len(found):
                found = found[int(name)]
            elif isinstance(found, dict) and name in found:
                found = found[name]
            else:
                return True
        return found


Keyword = Callable[[_Check, Any, Any, Extras], bool]
"""Judges a value by what a keyword says, beside the schema's others."""


# --- any value ----------------------------------------------------------------------


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_whole(value: Any) -> bool:
    return _is_number(value) and (isinstance(value, int) or value.is_integer())


_TYPES: dict[str, Callable[[Any], bool]] = {
    "null": lambda value: value is None,
    "boolean": lambda value: isinstance(value, bool),
    "integer": _is_whole,
    "number": _is_number,
    "string": lambda value: isinstance(value, str),
    "array": lambda value: isinstance(value, list),
    "object": lambda value: isinstance(value, dict),
}


def _type(_check: _Check, value: Any, told: Any, _schema: Extras) -> bool:
    names = told if isinstance(told, list) else [told]
    known = [_TYPES[name] for name in names if isinstance(name, str) and name in _TYPES]
    return not known or any(is_of(value) for is_of in known)


def _equal(check: _Check, one: Any, other: Any) -> bool:
    """Whether two values are the same in JSON, where 1 is 1.0 but not true."""
    check.step()
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(
            _equal(check, value, other[name]) for name, value in one.items()
        )
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(
            _equal(check, *pair) for pair in zip(one, other, strict=True)
        )
    if isinstance(one, bool) is not isinstance(other, bool):
        return False
    return bool(one == other)


def _enum(check: _Check, value: Any, told: Any, _schema: Extras) -> bool:
    return not isinstance(told, list) or any(_equal(check, value, one) for one in told)


def _const(check: _Check, value: Any, told: Any, _schema: Extras) -> bool:
    return _equal(check, value, told)


# --- schemas of schemas -------------------------------------------------------------


def _ref(check: _Check, value: Any, told: Any, _schema: Extras) -> bool:
    return check.match(value, check.target(told))


def _all_of(check: _Check, value: Any, told: Any, _schema: Extras) -> bool:
    return not isinstance(told, list) or all(check.match(value, one) for one in told)


def _any_of(check: _Check, value: Any, told: Any, _schema: Extras) -> bool:
    return not isinstance(told, list) or any(check.match(value, one) for one in told)


# --- objects ------------------------------------------------------------------------


def _properties(check: _Check, value: Any, told: Any, _schema: Extras) -> bool:
    if not isinstance(value, dict) or not isinstance(told, dict):
        return True
    return all(
        check.match(value[name], inner) for name, inner in told.items() if name in value
    )


def _required(check: _Check, value: Any, told: Any, _schema: Extras) -> bool:
    if not isinstance(value, dict) or not isinstance(told, list):
        return True
    check.step(len(told))
    return all(name in value for name in told if isinstance(name, str))


def _additional(check: _Check, value: Any, told: Any, schema: Extras) -> bool:
    if not isinstance(value, dict) or "patternProperties" in schema:
        return True
    known = schema.get("properties", {})
    known = known if isinstance(known, dict) else {}
    return all(
        check.match(inner, told) for name, inner in value.items() if name not in known
    )


# --- arrays -------------------------------------------------------------------------


def _prefix_items(check: _Check, value: Any, told: Any, _schema: Extras) -> bool:
    if not isinstance(value, list) or not isinstance(told, list):
        return True
    return all(check.match(*pair) for pair in zip(value, told, strict=False))


def _items(check: _Check, value: Any, told: Any, schema: Extras) -> bool:
    if isinstance(told, list):
        return _prefix_items(check, value, told, schema)
    if not isinstance(value, list):
        return True
    before = schema.get("prefixItems")
    rest = value[len(before) :] if isinstance(before, list) else value
    return all(check.match(one, told) for one in rest)


def _unique(check: _Check, value: Any, told: Any, _schema: Extras) -> bool:
    if told is not True or not isinstance(value, list):
        return True
    return not any(_equal(check, *pair) for pair in combinations(value, 2))


# --- limits -------------------------------------------------------------------------


def _limit(measure: Callable[[Any], Any], holds: Callable[[Any, Any], bool]) -> Keyword:
    """Make a keyword that bounds what is measured of a value; None is no matter."""

    def judge(_check: _Check, value: Any, told: Any, _schema: Extras) -> bool:
        measured = measure(value)
        return measured is None or not _is_number(told) or holds(measured, told)

    return judge


def _number(value: Any) -> Any:
    return value if _is_number(value) else None


def _characters(value: Any) -> int | None:
    return len(value) if isinstance(value, str) else None


def _count(value: Any) -> int | None:
    return len(value) if isinstance(value, list) else None


def _members(value: Any) -> int | None:
    return len(value) if isinstance(value, dict) else None


def _least(measured: Any, bound: Any) -> bool:
    return bool(measured >= bound)


def _most(measured: Any, bound: Any) -> bool:
    return bool(measured <= bound)


def _is_multiple(measured: Any, unit: Any) -> bool:
    if unit <= 0:
        return True
    # Of numbers with a point: 0.3 is three times 0.1 to everybody but a machine.
    times = measured / unit
    return bool(abs(times - round(times)) < 1e-9 * max(1.0, abs(times)))


_KEYWORDS: dict[str, Keyword] = {
    "type": _type,
    "enum": _enum,
    "const": _const,
    "$ref": _ref,
    "allOf": _all_of,
    "anyOf": _any_of,
    "oneOf": _any_of,
    "properties": _properties,
    "required": _required,
    "additionalProperties": _additional,
    "prefixItems": _prefix_items,
    "items": _items,
    "uniqueItems": _unique,
    "minimum": _limit(_number, _least),
    "maximum": _limit(_number, _most),
    "exclusiveMinimum": _limit(_number, lambda value, bound: value > bound),
    "exclusiveMaximum": _limit(_number, lambda value, bound: value < bound),
    "multipleOf": _limit(_number, _is_multiple),
    "minLength": _limit(_characters, _least),
    "maxLength": _limit(_characters, _most),
    "minItems": _limit(_count, _least),
    "maxItems": _limit(_count, _most),
    "minProperties": _limit(_members, _least),
    "maxProperties": _limit(_members, _most),
}

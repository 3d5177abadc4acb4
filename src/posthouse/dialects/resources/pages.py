"""Lists of one's own things: what a query asks of them, and how a page looks.

A page is right for every way in which the SDKs go on: by the last id, by the first
one, or by a token, which here is an id as well.
"""

from collections.abc import Sequence
from typing import Any
from urllib.parse import parse_qsl

from msgspec import Raw, Struct

from posthouse.errors import InvalidRequest
from posthouse.wire import json

DEFAULT_LIMIT = 20
MOST = 100
"""Things of one page."""
_AFTER = ("after", "after_id", "page", "page_token", "starting_after")
_BEFORE = ("before", "before_id", "ending_before")
_SHAPING = frozenset(
    {*_AFTER, *_BEFORE, "limit", "order", "beta", "betas", "key", "depth"}
)
_BOUNDS = {"gte": (0, 1), "gt": (1,), "lte": (-1, 0), "lt": (-1,)}
"""How something compares that is within each."""


class Wanted(Struct, frozen=True):
    """What a query asks of a list."""

    limit: int
    ascending: bool
    after: str
    """The id behind which the page begins; "" is the beginning."""
    before: str
    """The id before which it ends; "" is none."""
    filters: tuple[tuple[str, str], ...]
    archived: bool
    """Whether those are wanted, too, that have been archived."""


def read_wanted(query: str) -> Wanted:
    """Read a query; raises InvalidRequest."""
    pairs = parse_qsl(query)
    asked = dict(pairs)
    text = asked.get("limit", str(DEFAULT_LIMIT))
    limit = int(text) if text.isascii() and text.isdecimal() and len(text) < 6 else 0
    if limit < 1:
        raise InvalidRequest("limit is a number from 1 on", param="limit")
    order = asked.get("order", "desc")
    if order not in ("asc", "desc"):
        raise InvalidRequest.not_one_of("order", ("asc", "desc"))
    return Wanted(
        min(limit, MOST),
        order == "asc",
        next(filter(None, map(asked.get, _AFTER)), ""),
        next(filter(None, map(asked.get, _BEFORE)), ""),
        tuple(
            (name, value)
            for name, value in pairs
            if name not in _SHAPING and not name.startswith("include")
        ),
        asked.get("include_archived") == "true",
    )


def matches(thing: dict[str, Any], wanted: Wanted) -> bool:
    """Whether a thing is one of those that are asked for."""
    if not wanted.archived and thing.get("archived_at"):
        return False
    return all(_matches(thing, name, value) for name, value in wanted.filters)


def _matches(thing: dict[str, Any], name: str, value: str) -> bool:
    outer, _, inner = name.partition("[")
    inner = inner.rstrip("]")
    found = thing.get(outer)
    if inner in _BOUNDS:
        return _within(found, inner, value)
    if inner and not isinstance(found, list):
        found = found.get(inner) if isinstance(found, dict) else None
    if isinstance(found, list):
        return value in map(_text, found)
    return _text(found) == value


def _within(found: Any, bound: str, value: str) -> bool:
    """Whether a time, or a number, is within a bound."""
    if isinstance(found, int) and value.isdecimal():
        order = (found > int(value)) - (found < int(value))
    else:
        order = (_text(found) > value) - (_text(found) < value)
    return order in _BOUNDS[bound]


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return "" if value is None else str(value)


def render_page(things: Sequence[tuple[str, bytes]], *, more: bool) -> bytes:
    """Write a page.

    Args:
        things: ids and what providers have answered for them.
        more: whether others follow.
    """
    first = things[0][0] if things else None
    last = things[-1][0] if things else None
    goes_on = last if more else None
    return json.encode(
        {
            "object": "list",
            "data": [Raw(body) for _, body in things],
            "first_id": first,
            "last_id": last,
            "has_more": more,
            "next_page": goes_on,
            "next": goes_on,
        }
    )

"""What an answer tells of: ids of things, and what was used.

Only what a provider says for itself counts: what a caller has stored there is passed
over, for it could claim anything.
"""

import re
from collections.abc import Mapping
from typing import Any

from msgspec import Struct

from posthouse.dialects.resources.names import is_callers, is_id_name
from posthouse.dialects.resources.paths import read_path
from posthouse.dialects.resources.routes import kind_of_member
from posthouse.errors import NotFound
from posthouse.wire import json
from posthouse.wire.json import MalformedJSON

MOST_IDS = 10_000
"""Ids that one answer tells of at most; the others are not learnt."""
_ID = re.compile(r"[A-Za-z0-9][\w.:/@+=-]{2,255}", re.ASCII)

_RESULTS = re.compile(
    rb'("results_url"\s*:\s*")https?://[^"\\\s]*?(/v1/messages/batches/[^"\\\s/]+/results)'
)
"""Where a batch of messages has its results: the one address that an SDK follows."""

_LAST = frozenset(
    {
        "response.completed",
        "response.failed",
        "response.incomplete",
        "message_stop",
        "transcript.text.done",
        "speech.audio.done",
        "image_generation.completed",
        "image_edit.completed",
    }
)
"""Types of the event that ends an answer."""


class Told(Struct):
    """What one answer tells."""

    ids: dict[str, str]
    """By id, the list that the thing stands in; "" is none."""
    top: str
    """The id of what the answer is; "" where it has none."""
    usage: dict[str, Any] | None
    """As the provider wrote it."""
    model: str
    """The model's name at the provider; "" where none is told."""
    ends: bool
    """It is an event after which nothing comes that anybody waits for."""


def read_answer(body: bytes) -> Told | None:
    """Read an answer; None if it is no JSON."""
    try:
        value = json.decode_leniently(body)
    except MalformedJSON:
        return None
    ids: dict[str, str] = {}
    left: list[tuple[str, Any]] = [("", value)]
    while left and len(ids) < MOST_IDS:
        name, one = left.pop()
        if isinstance(one, dict):
            left.extend(
                (member, inner)
                for member, inner in one.items()
                if not is_callers(member.casefold())
            )
        elif isinstance(one, list):
            left.extend((name, inner) for inner in one)
        elif isinstance(one, str) and is_id_name(name) and _ID.fullmatch(one):
            ids[one] = ids.get(one) or kind_of_member(name)
    top = value if isinstance(value, dict) else {}
    known = top.get("id")
    usage, model = _usage_in(top)
    return Told(
        ids,
        known if isinstance(known, str) else "",
        usage,
        model,
        top.get("type") in _LAST,
    )


def read_location(path: str) -> Told | None:
    """Read where a thing is that a request has made; None if nothing is told."""
    try:
        where = read_path(path.partition("?")[0])
    except NotFound:
        return None
    ids = [name for name in where.ids if _ID.fullmatch(name)]
    if not ids or where.is_content:
        return None
    top = ids[-1] if where.last == "{}" else ""
    return Told(dict.fromkeys(ids, ""), top, None, "", ends=False)


def with_names(data: bytes, names: Mapping[str, str]) -> bytes:
    """Call things otherwise in an answer, or in some of it; all else stays."""
    for name, other in names.items():
        data = data.replace(b'"%b"' % name.encode(), b'"%b"' % other.encode())
    return data


def with_own_addresses(body: bytes) -> bytes:
    """Have the results of batches fetched here, where the SDK has its key for."""
    return _RESULTS.sub(rb"\1\2", body)


def _usage_in(top: dict[str, Any]) -> tuple[dict[str, Any] | None, str]:
    """The usage of an object, or of the one that an event holds, and its model."""
    for holder in (top, *(top.get(name) for name in ("response", "data", "message"))):
        if isinstance(holder, dict) and isinstance(holder.get("usage"), dict):
            model = holder.get("model")
            return holder["usage"], model if isinstance(model, str) else ""
    return None, ""

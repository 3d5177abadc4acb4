"""Responses that are kept, for providers that keep none.

What is stored of a response is two lists of items and the response itself, each
encoded: what was asked, with an id for every item, and what was answered. From
them the input of the response that follows is made, and all that can be asked of
a stored one is told. Storing itself is somebody else's affair.

Sources: `previous_response_id` of `ResponseCreateParams`, `ResponseItemList` and
the `input_items` and `delete` methods of OpenAI's Python SDK, 3.54.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from msgspec import Raw, Struct, structs

from posthouse.dialects.base import ParsedRequest
from posthouse.dialects.openai_responses.request import parse_request
from posthouse.errors import InvalidRequest, NotFound
from posthouse.wire import json
from posthouse.wire.json import Envelope, MalformedJSON

RESOLVED = "posthouse_history"
"""The member of a request whose previous response stands in its input."""
LIMIT = 20
"""Items of a list that nobody asked to be shorter or longer."""
MOST = 100

_PREFIXES = {
    "custom_tool_call": "ctc",
    "custom_tool_call_output": "ctco",
    "function_call": "fc",
    "function_call_output": "fco",
    "message": "msg",
    "reasoning": "rs",
}
_ITEM_OF_OURS = re.compile(r"[a-z]+_([0-9A-Za-z-]+)_[0-9]+")
"""As `encoder` names them, after their response."""
_NULL = Raw(b"null")
_items = json.decoder(str | list[Raw] | None)
_object = json.decoder(dict[str, Raw])
_response = json.decoder(dict[str, Raw])
_raws = json.decoder(list[Raw])
_text = json.decoder(str)


class StoredResponse(Struct, frozen=True):
    """What is kept of one response."""

    id: str
    previous_id: str | None
    input: tuple[Raw, ...]
    """What was asked, without the history before it; every item has an id."""
    output: tuple[Raw, ...]
    """What was answered, as the client has it."""
    response: Raw
    """The whole response."""


def is_stored(request: ParsedRequest) -> bool:
    """Whether the client wants the response to be kept, as it is by default."""
    return bytes(request.envelope.get("store", _NULL)) != b"false"


def previous_of(request: ParsedRequest) -> str | None:
    """The id of the response that a request follows; raises InvalidRequest."""
    value = request.envelope.get("previous_response_id", _NULL)
    if value == _NULL or RESOLVED in request.envelope:
        return None
    if request.envelope.get("conversation", _NULL) != _NULL:
        raise InvalidRequest(
            "'previous_response_id' cannot be used together with 'conversation'",
            param="previous_response_id",
            code="mutually_exclusive_parameters",
        )
    found: str = json.decode_with(_text, value)
    return found


def with_history(request: ParsedRequest, stored: Sequence[Raw]) -> ParsedRequest:
    """Put the items of earlier exchanges before what a request asks.

    The instructions of earlier requests are not among them, as OpenAI has it. A
    reference to an item that is stored becomes that item.

    Args:
        request: names a previous response.
        stored: the input and output items of all exchanges that led to it, the
            oldest first (`items_of` of each).

    Raises InvalidRequest if all of it is too much.
    """
    resolved = _resolved(_asked(request.envelope), known_items(stored))
    return _asking(request, [*stored, *resolved], resolved=True)


def known_items(stored: Iterable[Raw]) -> dict[str, Raw]:
    """The items that can be referred to, by their ids."""
    found = {_id_of(item): item for item in stored}
    return {name: item for name, item in found.items() if name is not None}


def references_of(request: ParsedRequest) -> tuple[str, ...]:
    """The ids of the items that a request refers to, each once.

    Clients of the Vercel AI SDK send every item of an earlier answer so, unless
    nothing is stored.
    """
    value = request.envelope.get("input", _NULL)
    if b'"item_reference"' not in bytes(value):
        return ()
    found = map(_reference, _asked(request.envelope))
    return tuple(dict.fromkeys(name for name in found if name is not None))


def response_of(item_id: str) -> str | None:
    """The id of the response that an item of ours was part of; None for others'."""
    match = _ITEM_OF_OURS.fullmatch(item_id)
    return None if match is None else f"resp_{match[1]}"


def with_references(request: ParsedRequest, known: Mapping[str, Raw]) -> ParsedRequest:
    """Put items in the places of what refers to them; others are left.

    Args:
        request: refers to items.
        known: items by id, as `known_items` gives them.

    Raises InvalidRequest if all of it is too much.
    """
    asked = _asked(request.envelope)
    return _asking(request, _resolved(asked, known), resolved=False)


def _resolved(asked: list[Raw], known: Mapping[str, Raw]) -> list[Raw]:
    return [known.get(_reference(item) or "", item) for item in asked]


def _asking(
    request: ParsedRequest, items: list[Raw], *, resolved: bool
) -> ParsedRequest:
    """The same request with another input, which is all of it if it is `resolved`."""
    envelope = dict(request.envelope)
    envelope["input"] = json.raw(items)
    if resolved:
        envelope[RESOLVED] = Raw(b"true")
    # What it costs and whom it goes to depends on all of it.
    whole = parse_request(json.encode(envelope))
    return structs.replace(whole, dropped=(*request.dropped, *whole.dropped))


def items_of(stored: StoredResponse) -> tuple[Raw, ...]:
    """What a response adds to the history of those that follow it."""
    return (*stored.input, *stored.output)


def stored_response(
    request: ParsedRequest, body: bytes, new_id: Callable[[], str]
) -> StoredResponse:
    """Make what is kept of a response.

    Args:
        request: as the client sent it, before any history was put into it.
        body: the whole response, as the client has it: a reply in one piece, or
            the `response` of the event that ended the stream.
        new_id: letters and digits for an item without an id.

    Raises MalformedJSON for a body that is no response.
    """
    response: Envelope = json.decode_with(_response, body)
    output: list[Raw] = json.decode_with(_raws, response.get("output", Raw(b"[]")))
    previous = request.envelope.get("previous_response_id", _NULL)
    return StoredResponse(
        json.decode_with(_text, response.get("id", _NULL)),
        None if previous == _NULL else json.decode_with(_text, previous),
        tuple(_named(item, new_id) for item in _asked(request.envelope)),
        tuple(output),
        Raw(body),
    )


def response_in(data: bytes) -> bytes | None:
    """The response that an event which ends a stream holds; None if it holds none."""
    try:
        event: Envelope = json.decode_with(_object, data)
    except MalformedJSON:
        return None
    found = event.get("response")
    return None if found is None or found == _NULL else bytes(found)


def _asked(envelope: Envelope) -> list[Raw]:
    """The items that a request asks with; a text is a message of the user's."""
    value = envelope.get("input", _NULL)
    found: str | list[Raw] | None = json.decode_with(_items, value)
    if isinstance(found, str):
        part = {"type": "input_text", "text": found}
        return [json.raw({"type": "message", "role": "user", "content": [part]})]
    return found or []


def _named(item: Raw, new_id: Callable[[], str]) -> Raw:
    """Give an item an id, and its type if it left that out."""
    members: dict[str, Any] = json.decode_with(_object, item)
    kind = _text_in(members, "type")
    if kind is None:
        kind = "message"
        members = {**members, "type": kind}
    if _text_in(members, "id") is None:
        members = {**members, "id": f"{_PREFIXES.get(kind, 'item')}_{new_id()}"}
    return json.raw(members)


def _id_of(item: Raw) -> str | None:
    return _text_in(json.decode_with(_object, item), "id")


def _reference(item: Raw) -> str | None:
    """The id of the item that one stands for; None if it stands for itself."""
    members: Envelope = json.decode_with(_object, item)
    kind = _text_in(members, "type")
    refers = kind == "item_reference" or (kind is None and "role" not in members)
    return _text_in(members, "id") if refers else None


def _text_in(members: Mapping[str, Any], name: str) -> str | None:
    """A member that is a text; None for what is something else."""
    value = members.get(name, _NULL)
    if not isinstance(value, Raw) or not json.opens_with(value, b'"'):
        return None
    found: str = json.decode_with(_text, value)
    return found


# --- what can be asked of a stored response -----------------------------------------


class Page(Struct, frozen=True):
    """Which items of a list are asked for."""

    after: str | None = None
    limit: int = LIMIT
    newest_first: bool = True


def read_page(query: dict[str, str]) -> Page:
    """Read the query of a list of items; raises InvalidRequest."""
    limit = query.get("limit", str(LIMIT))
    if not (limit.isascii() and limit.isdecimal() and 1 <= int(limit[:4]) <= MOST):
        raise InvalidRequest(
            f"Invalid value for 'limit': it must be from 1 to {MOST}",
            param="limit",
            code="invalid_value",
        )
    order = query.get("order", "desc")
    if order not in ("asc", "desc"):
        raise InvalidRequest(
            "Invalid value for 'order': it must be 'asc' or 'desc'",
            param="order",
            code="invalid_value",
        )
    return Page(query.get("after"), int(limit), order == "desc")


def render_items(stored: StoredResponse, page: Page) -> bytes:
    """Write GET /responses/{id}/input_items; raises NotFound for a stray `after`."""
    items = list(stored.input)
    if page.newest_first:
        items.reverse()
    ids = [_id_of(item) for item in items]
    if page.after is not None:
        if page.after not in ids:
            raise NotFound("There is no item with this id", param="after")
        start = ids.index(page.after) + 1
        items, ids = items[start:], ids[start:]
    shown = items[: page.limit]
    return json.encode(
        {
            "object": "list",
            "data": shown,
            "first_id": ids[0] if shown else None,
            "last_id": ids[len(shown) - 1] if shown else None,
            "has_more": len(items) > len(shown),
        }
    )


def render_response(stored: StoredResponse) -> bytes:
    """Write GET /responses/{id}."""
    return bytes(stored.response)


def render_deleted(response_id: str) -> bytes:
    """Write the answer to DELETE /responses/{id}."""
    return json.encode(
        {"id": response_id, "object": "response.deleted", "deleted": True}
    )

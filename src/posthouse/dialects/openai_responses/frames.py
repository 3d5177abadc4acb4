"""The frames of a stream, and what a decoder keeps of what is open in one."""

from typing import Any

from msgspec import Struct

from posthouse.errors import UpstreamBadResponse
from posthouse.model.chat import Extras, Part, Thinking, ToolCall
from posthouse.wire import json
from posthouse.wire.json import MalformedJSON


class Frame(Struct, gc=False):
    """One event, as far as it is acted on."""

    type: Any = None
    sequence_number: Any = None
    output_index: Any = 0
    content_index: Any = 0
    summary_index: Any = 0
    delta: Any = None
    text: Any = None
    refusal: Any = None
    arguments: Any = None
    input: Any = None
    item: Any = None
    part: Any = None
    annotation: Any = None
    logprobs: Any = None
    response: Any = None
    error: Any = None


FRAME = json.decoder(Frame)


class OpenPart:
    """A part that has begun."""

    __slots__ = ("cited", "grown", "is_call", "number", "piece", "scored", "summary")

    def __init__(self, number: int, content: Part, piece: int) -> None:
        """Begin a part by its number, at a piece of a summary."""
        self.number = number
        self.is_call = isinstance(content, ToolCall)
        self.summary = isinstance(content, Thinking) and content.summary
        self.piece = piece
        """The last piece of a summary, or of thoughts, that has begun."""
        self.grown = False
        self.cited = 0
        self.scored = False


class OpenItem:
    """An item that has begun."""

    __slots__ = ("extras", "id", "kind", "parts", "told")

    def __init__(self, kind: str, item_id: str | None, extras: Extras) -> None:
        """Begin an item by its type."""
        self.kind = kind
        self.id = item_id
        self.extras = extras
        """Of a message, for its first part."""
        self.parts: dict[int, OpenPart] = {}
        """By content index; thoughts are the 0th."""
        self.told = False
        """A part of it has begun."""


def decode_oddity(data: bytes) -> Frame:
    """Read what only a lenient parser takes; raises UpstreamBadResponse.

    A `delta` is as it came: it may end or begin with half a character.
    """
    try:
        value = json.decode_mended(data)
        as_it_came = json.decode_leniently(data)
    except MalformedJSON:
        raise UpstreamBadResponse from None
    if not isinstance(value, dict):
        raise UpstreamBadResponse
    if isinstance(value.get("delta"), str):
        value["delta"] = as_it_came["delta"]
    return json.convert(value, Frame)

"""An embeddings reply, in the encoding that the client asked for.

OpenAI's Python SDK asks for base64 (little-endian float32) unless told
otherwise, and many compatible providers know floats only: a reply in the
other encoding is converted, one in the right encoding passes untouched.
"""

import base64
import struct
from math import isfinite

from msgspec import Raw

from posthouse.dialects.base import ParsedReply
from posthouse.dialects.openai.replies import (
    array_of,
    parse_reply_head,
    with_model,
)
from posthouse.errors import UpstreamBadResponse
from posthouse.wire import json
from posthouse.wire.json import MalformedJSON

_rows = json.decoder(list[dict[str, Raw]])
_floats = json.decoder(list[float])
_text = json.decoder(str)


def parse_reply(
    body: bytes, public_model: str | None, *, wants_base64: bool
) -> ParsedReply:
    """Read a whole reply; raises UpstreamFault."""
    head = parse_reply_head(body)
    rows = array_of(head.data, body)
    try:
        converted = _convert(body, rows, wants_base64=wants_base64)
    except (MalformedJSON, ValueError, OverflowError, struct.error):
        raise UpstreamBadResponse from None
    return ParsedReply(
        body=converted if public_model is None else with_model(converted, public_model),
        usage=head.usage,
        service_tier=None,
        output_text=str,
    )


def _convert(body: bytes, data: Raw, *, wants_base64: bool) -> bytes:
    """Rewrite the rows whose encoding is not the one asked for."""
    rows = json.decode_with(_rows, data)
    changed = False
    for row in rows:
        value = row.get("embedding")
        if value is None:
            raise UpstreamBadResponse
        if json.opens_with(value, b'"') is wants_base64:
            continue
        row["embedding"] = packed(value) if wants_base64 else _unpacked(value)
        changed = True
    if not changed:
        return body
    envelope = json.decode_envelope(body)
    envelope["data"] = json.raw(rows)
    return json.encode(envelope)


def packed(value: Raw) -> Raw:
    """Turn numbers into the base64 of their bytes.

    Raises MalformedJSON, OverflowError and struct.error.
    """
    numbers = json.decode_with(_floats, value)
    packed = struct.pack(f"<{len(numbers)}f", *numbers)
    return json.raw(base64.b64encode(packed).decode())


def _unpacked(value: Raw) -> Raw:
    packed = base64.b64decode(json.decode_with(_text, value), validate=True)
    numbers = struct.unpack(f"<{len(packed) // 4}f", packed)
    if not all(map(isfinite, numbers)):
        raise ValueError("JSON has no such number")
    return json.raw(numbers)

"""A reply of Ideogram's, read along.

A picture that was found unsafe has no URL; it is no error of HTTP and none of ours,
and it is not counted.
"""

from typing import Any

from msgspec import Struct

from posthouse.dialects.base import ParsedReply, ParsedRequest
from posthouse.dialects.ideogram_images.request import tier_of
from posthouse.dialects.openai.errors import fault_in
from posthouse.dialects.openai.vendor_images import made
from posthouse.errors import UpstreamBadResponse
from posthouse.wire import json
from posthouse.wire.json import MalformedJSON


class Made(Struct):
    """One picture."""

    url: str | None = None
    prompt: str | None = None
    is_image_safe: bool | None = None
    resolution: str | None = None


class Reply(Struct):
    """What a reply says."""

    created: str | None = None
    data: list[Made] | None = None
    descriptions: list[Any] | None = None


_reply = json.decoder(Reply)


def read(body: bytes) -> Reply:
    """Read a reply; raises UpstreamFault."""
    try:
        reply: Reply = json.decode_with(_reply, body)
    except MalformedJSON:
        raise UpstreamBadResponse from None
    if reply.data is None and reply.descriptions is None:
        raise fault_in(json.decode_leniently(body)) or UpstreamBadResponse()
    return reply


def parse_reply(request: ParsedRequest, body: bytes) -> ParsedReply:
    """Read a whole reply; raises UpstreamFault."""
    reply = read(body)
    found = sum(1 for one in reply.data if one.url) if reply.data is not None else 1
    return ParsedReply(
        body=body,
        usage=made(found),
        service_tier=tier_of(request.target, request.envelope, request.form),
        output_text=str,
    )

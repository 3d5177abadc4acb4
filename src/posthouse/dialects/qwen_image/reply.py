"""A reply with Qwen's pictures: `output.choices[].message.content[].image`."""

from msgspec import Struct

from posthouse.dialects.base import ParsedReply
from posthouse.dialects.openai.errors import fault_in
from posthouse.dialects.openai.vendor_images import made
from posthouse.errors import UpstreamBadResponse
from posthouse.wire import json
from posthouse.wire.json import MalformedJSON


class _Content(Struct):
    image: str | None = None


class _Message(Struct):
    content: list[_Content] = []


class _Choice(Struct):
    message: _Message


class _Output(Struct):
    choices: list[_Choice] = []


class _Reply(Struct):
    output: _Output


_reply = json.decoder(_Reply)


def read(body: bytes) -> list[str]:
    """Read the pictures' URLs; raises UpstreamFault."""
    try:
        reply: _Reply = json.decode_with(_reply, body)
    except MalformedJSON:
        reply = _Reply(_Output())
    found = [
        content.image
        for choice in reply.output.choices
        for content in choice.message.content
        if content.image
    ]
    if found:
        return found
    try:
        raise fault_in(json.decode_leniently(body)) or UpstreamBadResponse()
    except MalformedJSON:
        raise UpstreamBadResponse from None


def parse_reply(body: bytes) -> ParsedReply:
    """Read a whole reply; raises UpstreamFault."""
    return ParsedReply(
        body=body, usage=made(len(read(body))), service_tier=None, output_text=str
    )

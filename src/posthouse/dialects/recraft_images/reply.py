"""A reply of Recraft's, read along: `data`, or `image` where there is but one."""

from msgspec import Raw, Struct

from posthouse.dialects.base import ParsedReply, ParsedRequest
from posthouse.dialects.openai.errors import fault_in
from posthouse.dialects.openai.vendor_images import is_text, made
from posthouse.dialects.recraft_images.request import PREFIX, tier_of
from posthouse.errors import UpstreamBadResponse
from posthouse.wire import json
from posthouse.wire.json import MalformedJSON

_NOTHING = Raw()


class Made(Struct):
    """One picture."""

    url: str | None = None
    b64_json: Raw = _NOTHING
    revised_prompt: str | None = None


class Reply(Struct):
    """What a reply says."""

    created: int | None = None
    data: list[Made] | None = None
    image: Made | None = None

    @property
    def pictures(self) -> list[Made]:
        """All of them."""
        listed = self.data or ([] if self.image is None else [self.image])
        return [one for one in listed if one.url or is_text(one.b64_json)]


_reply = json.decoder(Reply)


def read(body: bytes) -> Reply:
    """Read a reply; raises UpstreamFault."""
    try:
        reply: Reply = json.decode_with(_reply, body)
    except MalformedJSON:
        raise UpstreamBadResponse from None
    if not reply.pictures:
        raise fault_in(json.decode_leniently(body)) or UpstreamBadResponse()
    return reply


def parse_reply(request: ParsedRequest, body: bytes) -> ParsedReply:
    """Read a whole reply; raises UpstreamFault."""
    return ParsedReply(
        body=body,
        usage=made(len(read(body).pictures)),
        service_tier=tier_of(
            request.target.removeprefix(PREFIX), request.model, request.envelope
        ),
        output_text=str,
    )

"""A whole reply: read along, or into the neutral form."""

from functools import partial

from posthouse.dialects.base import ParsedReply
from posthouse.dialects.gemini_generate.decoder import GeminiDecoder
from posthouse.dialects.gemini_generate.tap import with_public_model
from posthouse.dialects.neutral.collect import collect
from posthouse.dialects.openai.texts import texts_in
from posthouse.errors import UpstreamBadResponse
from posthouse.model.chat import ChatReply
from posthouse.wire import json
from posthouse.wire.json import MalformedJSON

_NOT_PRODUCED = frozenset(
    {
        "data",
        "finishReason",
        "groundingMetadata",
        "id",
        "mimeType",
        "modelVersion",
        "responseId",
        "role",
        "safetyRatings",
        "thoughtSignature",
        "usageMetadata",
    }
)


def parse_reply(body: bytes, public_model: str | None) -> ParsedReply:
    """Read a whole reply for clients of Google's own; raises UpstreamFault."""
    reply = _read(body, GeminiDecoder(passing=True))
    return ParsedReply(
        body=body if public_model is None else with_public_model(body, public_model),
        usage=reply.usage,
        service_tier=reply.service_tier,
        output_text=partial(_output_text, body),
    )


def read_reply(body: bytes) -> ChatReply:
    """Read a whole reply; raises UpstreamFault."""
    return _read(body, GeminiDecoder())


def _read(body: bytes, decoder: GeminiDecoder) -> ChatReply:
    """Read a reply as a stream of one frame."""
    try:
        json.check_utf8(body)
    except MalformedJSON:
        raise UpstreamBadResponse from None
    events = decoder.feed(body, body) if body.strip() else []
    if not events:
        raise UpstreamBadResponse
    if decoder.is_empty:
        raise UpstreamBadResponse
    return collect([*events, *decoder.close(whole=True)])


def _output_text(body: bytes) -> str:
    """Everything that the model produced, calls included; raises nothing."""
    try:
        value = json.decode_leniently(body)
    except MalformedJSON:
        return ""
    return "\n".join(texts_in(value, _NOT_PRODUCED))

"""An embeddings reply: that of a batch passes untouched, of one its only row."""

from typing import Any

from msgspec import Raw

from posthouse.dialects.base import ParsedReply, ParsedRequest
from posthouse.dialects.gemini_embed.request import BATCH
from posthouse.dialects.google.errors import fault_in
from posthouse.errors import UpstreamBadResponse, UpstreamFault
from posthouse.model.usage import ReportedUsage
from posthouse.wire import json
from posthouse.wire.json import MalformedJSON

_envelope = json.decoder(dict[str, Raw])
_rows = json.decoder(list[Raw])
_any = json.decoder(Any)


def parse_reply(request: ParsedRequest, body: bytes) -> ParsedReply:
    """Read the reply to a batch; raises UpstreamFault."""
    try:
        json.check_utf8(body)
        envelope = json.decode_with(_envelope, body)
        rows = json.decode_with(_rows, envelope["embeddings"])
        usage = envelope.get("usageMetadata")
        told = None if usage is None else json.decode_with(_any, usage)
    except (MalformedJSON, KeyError):
        raise _fault_in(body) from None
    if not rows:
        raise UpstreamBadResponse
    if BATCH not in request.envelope:
        # Its client has asked for one.
        del envelope["embeddings"]
        body = json.encode({"embedding": rows[0], **envelope})
    return ParsedReply(body, _usage(told), None, str)


def _fault_in(body: bytes) -> UpstreamFault:
    """What is wrong with a reply that is none."""
    try:
        return fault_in(json.decode_leniently(body)) or UpstreamBadResponse()
    except MalformedJSON:
        return UpstreamBadResponse()


def _usage(usage: Any) -> ReportedUsage | None:
    """Read the usage, which only new models tell."""
    count = usage.get("promptTokenCount") if isinstance(usage, dict) else None
    return ReportedUsage(input=count) if type(count) is int else None

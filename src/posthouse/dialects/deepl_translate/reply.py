"""A translation reply, and errors in DeepL's way."""

from msgspec import Struct

from posthouse.dialects.base import ParsedReply, ParsedRequest
from posthouse.dialects.openai.errors import ErrorObject, fault_in, judge
from posthouse.dialects.openai.errors import parse_error as parse_plainly
from posthouse.dialects.openai.errors import status_of as usual_status
from posthouse.dialects.openai.translating import texts_in
from posthouse.errors import (
    InsufficientQuota,
    PosthouseError,
    UpstreamBadResponse,
    UpstreamFault,
)
from posthouse.model.usage import ReportedUsage, Unit
from posthouse.wire import json
from posthouse.wire.json import MalformedJSON

QUOTA_EXCEEDED = 456
_KEY_REFUSED = 401
_FORBIDDEN = 403


class Translation(Struct):
    """One text's."""

    text: str
    detected_source_language: str | None = None
    billed_characters: int | None = None


class Reply(Struct):
    """A whole reply."""

    translations: list[Translation]


reply_decoder = json.decoder(Reply)


def parse_reply(request: ParsedRequest, body: bytes) -> ParsedReply:
    """Read a reply; raises UpstreamFault."""
    try:
        json.check_utf8(body)
        reply: Reply = json.decode_with(reply_decoder, body)
    except MalformedJSON:
        raise _fault_in(body) from None
    translations = reply.translations
    if len(translations) != len(texts_in(request.envelope, "text")):
        raise UpstreamBadResponse
    billed = [one.billed_characters for one in translations]
    known = [count for count in billed if count is not None]
    counted = (
        {Unit.CHARACTER.value: sum(known)} if len(known) == len(translations) else {}
    )
    return ParsedReply(body, ReportedUsage(counted=counted), None, str)


def _fault_in(body: bytes) -> UpstreamFault:
    try:
        return fault_in(json.decode_leniently(body)) or UpstreamBadResponse()
    except MalformedJSON:
        return UpstreamBadResponse()


def parse_error(status: int, body: bytes) -> UpstreamFault:
    """Judge an error reply; an exhausted quota is our account's."""
    if status == QUOTA_EXCEEDED:
        return judge(402, ErrorObject("Quota exceeded", code="quota_exceeded"))
    return parse_plainly(status, body)


def status_of(error: PosthouseError) -> int:
    """Under which status DeepL's clients look for an error."""
    if isinstance(error, InsufficientQuota):
        return QUOTA_EXCEEDED
    status = usual_status(error)
    return _FORBIDDEN if status == _KEY_REFUSED else status

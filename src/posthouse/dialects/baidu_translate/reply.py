"""A translation reply, and errors in Baidu's way: by a number, with status 200.

A text that was translated is as many results as it has lines that are not empty.
"""

from typing import Any

from msgspec import Struct

from posthouse.dialects.baidu_translate.request import lines_of, text_of
from posthouse.dialects.base import (
    Headers,
    Manners,
    ParsedReply,
    ParsedRequest,
    error_headers,
)
from posthouse.dialects.openai.errors import (
    ErrorObject,
    error_frame,
    judge,
    render_error_body,
    status_of,
)
from posthouse.dialects.openai.errors import parse_error as parse_plainly
from posthouse.errors import (
    InsufficientQuota,
    PosthouseError,
    UpstreamBadResponse,
    UpstreamFault,
)
from posthouse.model.usage import ReportedUsage
from posthouse.wire import json
from posthouse.wire.json import MalformedJSON

_STATUS = {
    "20003": 400,
    "52001": 408,
    "52002": 500,
    "52003": 401,
    "54000": 400,
    "54001": 401,
    "54003": 429,
    "54004": 402,
    "54005": 429,
    "58000": 403,
    "58001": 400,
    "58002": 403,
    "58003": 403,
    "90107": 403,
}
_CODES = {"20003": "content_filter", "58001": "unsupported_language"}
_OURS = {
    400: "54000",
    401: "52003",
    403: "52003",
    404: "54000",
    408: "52001",
    413: "54000",
    429: "54003",
    504: "52001",
}
_OUT_OF_MONEY = "54004"
_SYSTEM = "52002"


class Result(Struct):
    """One line's."""

    src: str
    dst: str


class Reply(Struct, rename={"source": "from"}):
    """A whole reply."""

    trans_result: list[Result]
    source: str | None = None


reply_decoder = json.decoder(Reply)


def parse_reply(request: ParsedRequest, body: bytes) -> ParsedReply:
    """Read a reply; raises UpstreamFault."""
    try:
        json.check_utf8(body)
        reply: Reply = json.decode_with(reply_decoder, body)
    except MalformedJSON:
        raise _fault_in(body) or UpstreamBadResponse() from None
    if len(reply.trans_result) != len(lines_of(text_of(request.envelope))):
        raise UpstreamBadResponse
    return ParsedReply(body, ReportedUsage(), None, str)


def _fault_in(body: bytes) -> UpstreamFault | None:
    try:
        value: Any = json.decode_leniently(body)
    except MalformedJSON:
        return None
    if not isinstance(value, dict) or "error_code" not in value:
        return None
    code = str(value["error_code"])
    named = ErrorObject(value.get("error_msg"), code=_CODES.get(code, code))
    fault = judge(_STATUS.get(code, 500), named)
    fault.stands_for = getattr(fault, "upstream_status", fault.status)
    return fault


def parse_error(status: int, body: bytes) -> UpstreamFault:
    """Judge an error reply, should one come with another status."""
    fault = _fault_in(body) if status >= 400 else None
    return fault or parse_plainly(status, body)


def _render_error(error: PosthouseError) -> tuple[int, Headers, bytes]:
    """Write an error as Baidu's clients read it; the status says the same."""
    status = status_of(error)
    code = _OURS.get(status, _SYSTEM)
    if isinstance(error, InsufficientQuota):
        code = _OUT_OF_MONEY
    told = {"error_code": code, "error_msg": error.message}
    body = json.encode({**told, **json.decode_envelope(render_error_body(error))})
    return status, error_headers(error), body


MANNERS = Manners(_render_error, error_frame)

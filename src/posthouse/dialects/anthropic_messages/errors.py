"""Errors in Anthropic's shape, both ways: judging a provider's, writing ours.

Sources: `ErrorResponse`, `ErrorType` and the exceptions of anthropic 2.12.0
(2026-11), which choose by HTTP status, name the cause by `details.error_code`,
obey `x-should-retry` and else try 408, 409, 429 and 5xx again;
https://platform.claude.com/docs/en/api/errors. Money that has run out is 402
`billing_error`, which no client tries again, and lack of capacity 529.
"""

from typing import Any

from posthouse.dialects.base import Headers, Manners, error_headers
from posthouse.dialects.openai.errors import (
    ErrorObject,
    error_code,
    find_error,
    judge,
    judge_reply,
    read_error,
    status_of,
)
from posthouse.errors import (
    InsufficientQuota,
    NoChannel,
    Overloaded,
    PosthouseError,
    UpstreamBadResponse,
    UpstreamFault,
    UpstreamOverloaded,
    UpstreamRedirected,
    UpstreamRejected,
)
from posthouse.wire import json
from posthouse.wire.json import MalformedJSON

_TYPE_OF_STATUS = {
    400: "invalid_request_error",
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    409: "conflict_error",
    413: "request_too_large",
    429: "rate_limit_error",
    504: "timeout_error",
    529: "overloaded_error",
}
_STATUS_OF_TYPE = {
    **{kind: status for status, kind in _TYPE_OF_STATUS.items()},
    "api_error": 500,
}
_OVERLOADED = (UpstreamOverloaded, Overloaded, NoChannel)

_OUR_MONEY = ("credit balance is too low", "spend limit")
"""In the message of an error that is about our account, with HTTP 400."""
_OUR_ACCOUNT = 401
"""What `judge` knows as a fault of our credential."""


# --- a provider's errors --------------------------------------------------------


def parse_error(status: int, body: bytes) -> UpstreamFault:
    """Judge a provider's error reply by its status and body."""
    if 300 <= status < 400:
        return UpstreamRedirected()
    if status < 400:
        return UpstreamBadResponse()
    try:
        value = json.decode_leniently(body)
    except MalformedJSON:
        text = body.decode(errors="replace").strip()
        return judge_reply(status, ErrorObject(None if text.startswith("<") else text))
    return _judged(status, _error_of(value) or read_error(value))


def fault_in(value: Any) -> UpstreamFault | None:
    """Judge an object that came with status 200; None if it is no error."""
    error = _error_of(value)
    if error is None:
        return None
    return _judged(_status_of(error), error)


def _error_of(value: Any) -> ErrorObject | None:
    if not isinstance(value, dict):
        return None
    if value.get("type") not in (None, "error") and not value.get("error"):
        return None
    return find_error(value) or (
        ErrorObject() if value.get("type") == "error" else None
    )


def _status_of(error: ErrorObject) -> int:
    known = _STATUS_OF_TYPE.get(error.type) if isinstance(error.type, str) else None
    return known or error.kind() or 500


def _judged(status: int, error: ErrorObject) -> UpstreamFault:
    if status in (400, 402) and _is_about_our_money(error):
        return judge(_OUR_ACCOUNT, error)
    return judge_reply(status, error)


def _is_about_our_money(error: ErrorObject) -> bool:
    if error.type == "billing_error":
        return True
    message = error.message.lower() if isinstance(error.message, str) else ""
    return any(words in message for words in _OUR_MONEY)


# --- our errors -----------------------------------------------------------------


def client_status(error: PosthouseError) -> int:
    """The HTTP status under which a client of this dialect sees an error."""
    if isinstance(error, InsufficientQuota):
        return 402
    if isinstance(error, _OVERLOADED):
        return 529
    return status_of(error)


def render_error_body(error: PosthouseError, request_id: str | None = None) -> bytes:
    """Write the JSON body that Anthropic's SDKs read."""
    told: dict[str, Any] = {"type": _type_of(error), "message": error.message}
    code = error_code(error)
    if code is not None:
        param = {} if error.param is None else {"param": error.param}
        told["details"] = {"error_code": code, **param}
    named = {} if request_id is None else {"request_id": request_id}
    return json.encode({"type": "error", "error": told, **named})


def _type_of(error: PosthouseError) -> str:
    if isinstance(error, UpstreamRejected) and error.upstream_type in _STATUS_OF_TYPE:
        return error.upstream_type
    status = client_status(error)
    known = _TYPE_OF_STATUS.get(status)
    return known or ("invalid_request_error" if status < 500 else "api_error")


def render_error(error: PosthouseError) -> tuple[int, Headers, bytes]:
    """Write an error as status, headers and body."""
    return client_status(error), error_headers(error), render_error_body(error)


def error_frame(error: PosthouseError) -> bytes:
    """Write an error as an event of a stream that has begun."""
    return event("error", render_error_body(error))


def event(name: str, data: bytes) -> bytes:
    """Write one event; the SDKs go by its name."""
    return b"event: " + name.encode() + b"\ndata: " + data + b"\n\n"


MANNERS = Manners(
    render_error, error_frame, keep_alive=event("ping", b'{"type":"ping"}')
)

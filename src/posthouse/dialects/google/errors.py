"""Errors in Google's shape, both ways: judging a provider's, writing ours.

`{"error": {"code", "message", "status", "details"}}`, at times alone in an array.
`details` are told apart by `@type`: `ErrorInfo` has a reason that says more than
the status (a bad key comes as 400), `RetryInfo` a delay, `BadRequest` the fields.

Sources: https://cloud.google.com/apis/design/errors and
https://ai.google.dev/gemini-api/docs/troubleshooting (2026-11); `errors.py` in
google-genai 3.4.0, which wants a whole number for the code and `error` as the
first member of a stream's frame.
"""

import re
from typing import Any

from msgspec import Struct, structs

from posthouse.dialects.base import Headers, Manners, error_headers
from posthouse.dialects.google.framing import (
    ARRAY_HEADERS,
    ARRAY_KEEP_ALIVE,
    KEEP_ALIVE,
    event,
)
from posthouse.dialects.openai.errors import error_code, status_of
from posthouse.dialects.openai.words import clean_name, clean_text
from posthouse.errors import (
    PosthouseError,
    UpstreamBadResponse,
    UpstreamCredential,
    UpstreamFault,
    UpstreamOverloaded,
    UpstreamRateLimited,
    UpstreamRedirected,
    UpstreamRejected,
    UpstreamTimeout,
)
from posthouse.wire import json
from posthouse.wire.json import MalformedJSON

_RPC = "type.googleapis.com/google.rpc."

_HTTP_STATUS = {
    "CANCELLED": 499,
    "INVALID_ARGUMENT": 400,
    "FAILED_PRECONDITION": 400,
    "OUT_OF_RANGE": 400,
    "UNAUTHENTICATED": 401,
    "PERMISSION_DENIED": 403,
    "NOT_FOUND": 404,
    "ABORTED": 409,
    "ALREADY_EXISTS": 409,
    "RESOURCE_EXHAUSTED": 429,
    "INTERNAL": 500,
    "UNKNOWN": 500,
    "DATA_LOSS": 500,
    "UNIMPLEMENTED": 501,
    "UNAVAILABLE": 503,
    "DEADLINE_EXCEEDED": 504,
}
_STATUS = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    405: "UNIMPLEMENTED",
    408: "DEADLINE_EXCEEDED",
    409: "ABORTED",
    429: "RESOURCE_EXHAUSTED",
    499: "CANCELLED",
    500: "INTERNAL",
    501: "UNIMPLEMENTED",
    502: "UNAVAILABLE",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}

_OUR_ACCOUNT = re.compile(
    r"API[ _]KEY|BILLING|CONSUMER_|SERVICE_DISABLED|location is not supported",
    re.IGNORECASE,
)
"""Reasons and words that stand for our key, account or place."""
_CALLERS_FILE = re.compile(r"\bthe file\b|\bcachedcontent\b", re.IGNORECASE)
"""403 also says that a file or a kept prompt that the caller named is not ours."""
_TOO_LONG = re.compile(r"input token count .{0,64}exceeds", re.IGNORECASE)
_DELAY = re.compile(r"(\d{1,9}(?:\.\d{1,9})?)s")


class _Error(Struct):
    """What a provider says of an error."""

    code: int
    status: str
    message: Any
    reason: str
    retry_after: float | None
    param: str | None


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
        value = body.decode(errors="replace").strip()
    error = _read(value)
    # The status of the reply is the one that counts: relays write any code.
    return _judge(structs.replace(error, code=status))


def fault_in(value: Any) -> UpstreamFault | None:
    """Judge an object that came with status 200; None if it is no error."""
    if isinstance(value, list) and value:
        value = value[0]
    if not isinstance(value, dict) or not value.get("error"):
        return None
    error = _read(value)
    fault = _judge(error)
    fault.stands_for = error.code
    return fault


def _read(value: Any) -> _Error:
    """Find an error's parts, however little there is."""
    if isinstance(value, list) and value:
        value = value[0]
    error = value.get("error", value) if isinstance(value, dict) else value
    if not isinstance(error, dict):
        text = error if isinstance(error, str) and not error.startswith("<") else None
        return _Error(500, "", text, "", None, None)
    status = error.get("status")
    status = status.upper() if isinstance(status, str) else ""
    code = error.get("code")
    if type(code) is not int or not 400 <= code <= 599:
        code = _HTTP_STATUS.get(status, 500)
    found = _Error(code, status, error.get("message"), "", None, None)
    details = error.get("details")
    for detail in details if isinstance(details, list) else ():
        if isinstance(detail, dict):
            _read_detail(found, detail)
    return found


def _read_detail(error: _Error, detail: dict[str, Any]) -> None:
    """Take what one of the details says."""
    reason = detail.get("reason")
    if isinstance(reason, str):
        error.reason = reason
    delay = detail.get("retryDelay")
    match = _DELAY.fullmatch(delay) if isinstance(delay, str) else None
    if match is not None:
        error.retry_after = float(match[1])
    fields = detail.get("fieldViolations")
    if isinstance(fields, list) and fields and isinstance(fields[0], dict):
        error.param = clean_name(fields[0].get("field"))


def _judge(error: _Error) -> UpstreamFault:  # noqa: PLR0911 - a table
    """Decide what a provider's error means for the call."""
    words = f"{error.reason} {error.message}"
    if error.code >= 500:
        timed_out = error.code == 504 or error.status == "DEADLINE_EXCEEDED"
        kind = UpstreamTimeout if timed_out else UpstreamOverloaded
        return kind(retry_after=error.retry_after)
    if error.code == 429 or error.status == "RESOURCE_EXHAUSTED":
        return UpstreamRateLimited(retry_after=error.retry_after)
    if error.code == 408:
        return UpstreamTimeout()
    if error.code == 403 and _CALLERS_FILE.search(words):
        return _rejected(error, 400, "file_not_found")
    if error.code in (401, 402, 403) or _OUR_ACCOUNT.search(words):
        return UpstreamCredential()
    if error.code == 404:
        return _rejected(error, 404, "model_not_found")
    if _TOO_LONG.search(words):
        return _rejected(error, error.code, "context_length_exceeded")
    return _rejected(error, error.code, clean_name(error.status.lower()))


def _rejected(error: _Error, status: int, code: str | None) -> UpstreamRejected:
    return UpstreamRejected(
        clean_text(error.message) or "The provider refused the request.",
        status=status,
        code=code,
        param=error.param,
    )


def blocked(reason: Any, message: Any) -> UpstreamRejected:
    """What is told of a prompt that the provider would not answer."""
    words = clean_text(message) or f"reason: {clean_name(reason)}"
    return UpstreamRejected(
        f"The prompt was blocked by the provider's content filter ({words})",
        status=400,
        code="content_filter",
    )


# --- our errors -----------------------------------------------------------------


def render_error_body(error: PosthouseError) -> bytes:
    """Write the JSON body that Google's SDKs read."""
    status = status_of(error)
    code = error_code(error) or error.code
    details: list[dict[str, Any]] = [
        {"@type": f"{_RPC}ErrorInfo", "reason": code.upper(), "domain": "posthouse"}
    ]
    if error.retry_after is not None:
        delay = f"{max(0.0, error.retry_after):.3f}".rstrip("0").rstrip(".")
        details.append({"@type": f"{_RPC}RetryInfo", "retryDelay": f"{delay}s"})
    if error.param is not None:
        field = {"field": error.param, "description": error.message}
        details.append({"@type": f"{_RPC}BadRequest", "fieldViolations": [field]})
    name = _STATUS.get(status)
    if name is None:
        name = "INVALID_ARGUMENT" if status < 500 else "INTERNAL"
    return json.encode(
        {
            "error": {
                "code": status,
                "message": error.message,
                "status": name,
                "details": details,
            }
        }
    )


def render_error(error: PosthouseError) -> tuple[int, Headers, bytes]:
    """Write an error as status, headers and body."""
    return status_of(error), error_headers(error), render_error_body(error)


def error_frame(error: PosthouseError) -> bytes:
    """Write an error inside a stream that has begun."""
    return event(render_error_body(error))


def _render_in_array(error: PosthouseError) -> tuple[int, Headers, bytes]:
    """Write an error for a client who expects an array."""
    status, headers, body = render_error(error)
    return status, headers, b"[" + body + b"]"


MANNERS = Manners(render_error, error_frame, keep_alive=KEEP_ALIVE)
ARRAY_MANNERS = Manners(
    _render_in_array,
    error_frame,
    stream_headers=ARRAY_HEADERS,
    keep_alive=ARRAY_KEEP_ALIVE,
)
"""Of streams without `alt=sse`. Frames still pass through `JSONArrayFraming`."""

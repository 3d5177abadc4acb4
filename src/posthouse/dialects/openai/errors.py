"""Errors in OpenAI's shape, both ways: judging a provider's, writing ours.

Source: the `ErrorResponse` schema of OpenAI's API description and the error
classes of its SDKs, which choose by HTTP status and obey `x-should-retry`.
A provider's text reaches a client only cut to ERROR_TEXT_LIMIT, without
control characters and without anything that looks like a key or an address.
"""

import re
from typing import Any

from msgspec import Struct

from posthouse.errors import (
    InvalidRequest,
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

ERROR_TEXT_LIMIT = 2048
"""Bytes of a provider's own words that a client may see."""

_CONTROL = re.compile(r"[\x00-\x1f\x7f]+")
_SECRET = re.compile(
    r"\b(?:sk|pk|rk|key)-[\w*.\-]{6,}|Bearer\s+\S+|https?://[^\s\"')]+",
    re.IGNORECASE,
)
_OUT_OF_CREDIT = frozenset({"insufficient_quota", "billing_hard_limit_reached"})


class _ErrorObject(Struct):
    message: Any = None
    type: Any = None
    code: Any = None
    param: Any = None


class _ErrorBody(Struct):
    error: _ErrorObject | str | None = None
    message: Any = None
    code: Any = None
    detail: Any = None


_error_body = json.decoder(_ErrorBody)
_error_member = json.decoder(_ErrorObject | str | None)


def parse_error(status: int, body: bytes) -> UpstreamFault:
    """Judge a provider's error reply by its status and body."""
    return _judge(status, _read_error(body))


def parse_error_member(raw: bytes) -> UpstreamFault | None:
    """Judge an `error` member of a reply with status 200; None if it is empty."""
    try:
        found = json.decode_with(_error_member, raw)
    except MalformedJSON:
        return UpstreamBadResponse()
    if not found:
        return None
    error = _ErrorObject(message=found) if isinstance(found, str) else found
    return _judge(_status_of(error), error)


def _read_error(body: bytes) -> _ErrorObject:
    """Find the error's parts in the shapes that compatible providers use."""
    try:
        found = json.decode_with(_error_body, body)
    except MalformedJSON:
        return _ErrorObject()
    if isinstance(found.error, _ErrorObject):
        return found.error
    if isinstance(found.error, str):
        return _ErrorObject(message=found.error, code=found.code)
    return _ErrorObject(message=found.message or found.detail, code=found.code)


_STATUS_OF_KIND = {
    "rate_limit_exceeded": 429,
    "rate_limit_error": 429,
    "insufficient_quota": 429,
    "invalid_request_error": 400,
    "authentication_error": 401,
    "invalid_api_key": 401,
    "permission_error": 403,
    "not_found_error": 404,
}


def _status_of(error: _ErrorObject) -> int:
    """The HTTP status that an error object inside a reply stands for."""
    if isinstance(error.code, int) and 400 <= error.code <= 599:
        return error.code
    for kind in (error.code, error.type):
        if isinstance(kind, str) and kind in _STATUS_OF_KIND:
            return _STATUS_OF_KIND[kind]
    return 500


_FAULT_OF_STATUS: dict[int, type[UpstreamFault]] = {
    401: UpstreamCredential,
    402: UpstreamCredential,
    403: UpstreamCredential,
    408: UpstreamTimeout,
    429: UpstreamRateLimited,
}


def _judge(status: int, error: _ErrorObject) -> UpstreamFault:
    """Decide what a provider's error means for the call."""
    if 300 <= status < 400:
        return UpstreamRedirected()
    if error.code in _OUT_OF_CREDIT or error.type in _OUT_OF_CREDIT:
        return UpstreamCredential()
    if status >= 500:
        return UpstreamOverloaded()
    if status in _FAULT_OF_STATUS or status < 400:
        return _FAULT_OF_STATUS.get(status, UpstreamBadResponse)()
    return UpstreamRejected(
        clean_text(error.message) or "The provider refused the request.",
        status=status,
        code=_short(error.code),
        error_type=_short(error.type),
        param=_short(error.param),
    )


def clean_text(value: Any) -> str:
    """Cut and clean a provider's words for a client; "" if there are none."""
    if not isinstance(value, str):
        return ""
    text = _CONTROL.sub(" ", value[: 4 * ERROR_TEXT_LIMIT])
    text = _SECRET.sub("[removed]", text)
    return text.encode(errors="replace")[:ERROR_TEXT_LIMIT].decode(errors="ignore")


def _short(value: Any) -> str | None:
    """A code or parameter name, if it is a plain one."""
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    text = clean_text(value)
    return text[:128] or None


def status_of(error: PosthouseError) -> int:
    """The HTTP status under which a client sees an error."""
    if isinstance(error, UpstreamRejected):
        return error.upstream_status
    return error.status


def error_code(error: PosthouseError) -> str | None:
    """The `code` under which a client sees an error."""
    if isinstance(error, UpstreamRejected):
        return error.upstream_code
    if isinstance(error, InvalidRequest) and error.exact_code is not None:
        return error.exact_code
    return error.code


def render_error_body(error: PosthouseError) -> bytes:
    """Write the JSON body that OpenAI's SDKs read."""
    kind = error.type
    if isinstance(error, UpstreamRejected) and error.upstream_type:
        kind = error.upstream_type
    return json.encode(
        {
            "error": {
                "message": error.message,
                "type": kind,
                "param": error.param,
                "code": error_code(error),
            }
        }
    )


def render_error(
    error: PosthouseError,
) -> tuple[int, list[tuple[bytes, bytes]], bytes]:
    """Write an error as status, headers and body."""
    headers = [(b"content-type", b"application/json")]
    if error.retry_after is not None:
        seconds = max(1, -int(-error.retry_after // 1))
        headers.append((b"retry-after", str(seconds).encode()))
    if error.should_retry is not None:
        headers.append((b"x-should-retry", str(error.should_retry).lower().encode()))
    return status_of(error), headers, render_error_body(error)

"""Errors in OpenAI's shape, both ways: judging a provider's, writing ours.

Sources: the `ErrorResponse` schema of OpenAI's API description and the error
classes of its SDKs, which choose by HTTP status and obey `x-should-retry`; the
error pages of DeepSeek, DashScope and Moonshot; FastAPI's `detail` and
vLLM's `object: error`. What the shapes have in common is read leniently. A
provider's text reaches a client only as `dialects.openai.words` lets it.
"""

from typing import Any

from msgspec import Struct

from posthouse.dialects.base import Headers, Manners, error_headers
from posthouse.dialects.openai.words import clean_name, clean_text
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
from posthouse.wire.sse import data_frame


class ErrorObject(Struct):
    """An error's parts, wherever they stood."""

    message: Any = None
    type: Any = None
    code: Any = None
    param: Any = None

    def kind(self) -> int | None:
        """The status that its code or type stands for, if either is known."""
        for name in (self.code, self.type):
            found = _status_of_kind(name.lower()) if isinstance(name, str) else None
            if found is not None:
                return found
        return None


def _status_of_kind(name: str) -> int | None:
    # DashScope has Throttling.RateQuota, Throttling.AllocationQuota and others.
    return 429 if name.startswith("throttling") else _STATUS_OF_KIND.get(name)


_STATUS_OF_KIND = {
    # Our account at the provider: 401 stands for its key and for its credit.
    "access_terminated": 401,
    "account_deactivated": 401,
    "arrearage": 401,  # DashScope, with HTTP 400
    "authentication_error": 401,
    "billing_hard_limit_reached": 401,
    "billing_not_active": 401,
    "exceeded_current_quota_error": 401,  # Moonshot, with HTTP 429
    "insufficient_balance": 401,
    "insufficient_quota": 401,
    "invalid_api_key": 401,
    "invalidapikey": 401,  # DashScope
    "permission_error": 403,
    "bad_request": 400,
    "badrequesterror": 400,  # vLLM
    "content_filter": 400,
    "context_length_exceeded": 400,
    "data_inspection_failed": 400,  # DashScope
    "datainspectionfailed": 400,
    "invalid_parameter_error": 400,
    "invalid_request_error": 400,
    "invalidparameter": 400,
    "model_not_found": 404,
    "modelnotfound": 404,
    "not_found_error": 404,
    "notfounderror": 404,
    "rate_limit_error": 429,
    "rate_limit_exceeded": 429,
    "rate_limit_reached_error": 429,  # Moonshot
    "too_many_requests": 429,
    "engine_overloaded_error": 503,  # Moonshot, with HTTP 429
    "overloaded_error": 503,
    "server_error": 503,
}

_FAULT_OF_STATUS: dict[int, type[UpstreamFault]] = {
    401: UpstreamCredential,
    402: UpstreamCredential,
    403: UpstreamCredential,
    408: UpstreamTimeout,
    429: UpstreamRateLimited,
}


# --- a provider's errors --------------------------------------------------------


def parse_error(status: int, body: bytes) -> UpstreamFault:
    """Judge a provider's error reply by its status and body."""
    if 300 <= status < 400:
        return UpstreamRedirected()
    if status < 400:
        return UpstreamBadResponse()
    return judge_reply(status, _read_error(body))


def judge_reply(status: int, error: ErrorObject) -> UpstreamFault:
    """Judge an error reply by its status, and by its code where that says more."""
    kind = error.kind()
    if kind in (401, 403) or (kind in (429, 503) and status < 500):
        status = kind
    return judge(status, error)


def fault_in(value: Any, *, told: bool = False) -> UpstreamFault | None:
    """Judge an object that came with status 200; None if it is no error.

    `told` says that its surroundings call it an error, whatever it looks like.
    """
    if not isinstance(value, dict):
        return None
    error = find_error(value) or (_error_of(value) if told else None)
    return None if error is None else judge(_status_of(error), error)


def _status_of(error: ErrorObject) -> int:
    """The HTTP status that an error inside a reply stands for."""
    code = error.code
    if isinstance(code, str) and len(code) == 3 and code.isdecimal():
        code = int(code)
    if isinstance(code, int) and 400 <= code <= 599:
        return code
    return error.kind() or 500


def judge(status: int, error: ErrorObject) -> UpstreamFault:
    """Decide what a provider's error means for the call."""
    if status >= 500:
        return UpstreamOverloaded()
    fault = _FAULT_OF_STATUS.get(status)
    if fault is not None:
        return fault()
    return UpstreamRejected(
        clean_text(error.message) or "The provider refused the request.",
        status=status,
        code=clean_name(error.code),
        error_type=clean_name(error.type),
        param=clean_name(error.param),
    )


def _read_error(body: bytes) -> ErrorObject:
    """Find an error's parts in the body of an error reply."""
    try:
        value = json.decode_leniently(body)
    except MalformedJSON:
        text = body.decode(errors="replace").strip()
        return ErrorObject(None if text.startswith("<") else text)
    return read_error(value)


def read_error(value: Any) -> ErrorObject:
    """Find an error's parts in an error reply's value."""
    if isinstance(value, list) and value:
        value = value[0]
    if isinstance(value, str):
        return ErrorObject(value)
    if not isinstance(value, dict):
        return ErrorObject()
    return find_error(value) or _error_of(value)


def find_error(value: dict[str, Any]) -> ErrorObject | None:
    """Find the error in an object that may be one; None if it is not."""
    error = value.get("error")
    if isinstance(error, list) and error:
        error = error[0]
    if isinstance(error, dict) and error:
        return _error_of(error)
    if error:
        return ErrorObject(error, code=value.get("code"), type=value.get("type"))
    code = value.get("code")
    coded = not value.get("choices") and ("message" in value or "msg" in value)
    if value.get("object") == "error" or (coded and code not in _NO_ERROR):
        return _error_of(value)
    return None


_NO_ERROR = (None, 0, "0", "", 200, "200", "Success", "success", "ok")


def _error_of(value: dict[str, Any]) -> ErrorObject:
    message = value.get("message") or value.get("msg")
    param = value.get("param")
    detail = value.get("detail")
    if message is None and isinstance(detail, list) and detail:
        # FastAPI: what is wrong with each field; the first is enough.
        detail = detail[0]
        if isinstance(detail, dict) and isinstance(detail.get("loc"), list):
            param = ".".join(map(str, detail["loc"]))
    if message is None and isinstance(detail, dict):
        message = detail.get("msg") or detail.get("message")
    return ErrorObject(
        message=message if message is not None else detail,
        type=value.get("type"),
        code=value.get("code"),
        param=param,
    )


# --- our errors -----------------------------------------------------------------


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


def render_error(error: PosthouseError) -> tuple[int, Headers, bytes]:
    """Write an error as status, headers and body."""
    return status_of(error), error_headers(error), render_error_body(error)


def error_frame(error: PosthouseError) -> bytes:
    """Write an error as a frame of a stream."""
    return data_frame(render_error_body(error))


MANNERS = Manners(render_error, error_frame)

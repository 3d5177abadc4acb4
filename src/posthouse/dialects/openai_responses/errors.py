"""Errors of Responses: as OpenAI tells all others, but in streams by events.

A stream that fails ends with `response.failed`, by which Codex knows what to do,
and `error`, at which OpenAI's SDKs raise: it carries the error both flat, as the
SDK's type has it, and as an object, as the service sends it.

Sources: `ResponseErrorEvent`, `ResponseFailedEvent`, `ResponseError` and
`_streaming.py` of OpenAI's Python SDK, 3.54; codex-rs,
`codex-api/src/sse/responses.rs` (2026).
"""

from typing import Any

from posthouse.dialects.base import Manners
from posthouse.dialects.openai.errors import (
    ErrorObject,
    error_code,
    fault_in,
    judge,
    parse_error,
    render_error,
    render_error_body,
)
from posthouse.dialects.openai_responses.encoding import encoded
from posthouse.errors import (
    CallerError,
    PosthouseError,
    UpstreamFault,
    UpstreamOverloaded,
    UpstreamRejected,
)
from posthouse.wire import json

__all__ = ["MANNERS", "failure_in", "failure_of", "parse_error"]

_OF_THE_REQUEST = frozenset(
    {
        "bio_policy",
        "data_residency_mismatch",
        "empty_image_file",
        "failed_to_download_image",
        "image_content_policy_violation",
        "image_file_not_found",
        "image_file_too_large",
        "image_parse_error",
        "image_too_large",
        "image_too_small",
        "invalid_base64_image",
        "invalid_image",
        "invalid_image_format",
        "invalid_image_mode",
        "invalid_image_url",
        "invalid_prompt",
        "misalignment_policy_violation",
        "unsupported_image_media_type",
    }
)
"""Codes of failed responses for which the request is to blame."""
_KNOWN_CODES = frozenset(
    {
        "context_length_exceeded",
        "insufficient_quota",
        "rate_limit_exceeded",
        "server_error",
    }
)
"""Codex acts on the first two, though OpenAI's types do not name them."""


def failure_of(response: dict[str, Any]) -> UpstreamFault | None:
    """Judge a response that may have failed; None if it has not."""
    error = response.get("error")
    code = error.get("code") if isinstance(error, dict) else None
    if isinstance(error, dict) and isinstance(code, str) and code in _OF_THE_REQUEST:
        found = ErrorObject(error.get("message"), error.get("type"), code)
        fault = judge(400, found)
        fault.stands_for = 400
        return fault
    fault_told = fault_in(response) if error else None
    if fault_told is None and response.get("status") in ("failed", "cancelled"):
        return UpstreamOverloaded()
    return fault_told


def failure_in(value: dict[str, Any]) -> UpstreamFault:
    """Judge what an `error` event says."""
    return fault_in(value, told=True) or UpstreamOverloaded()


def frame(event: dict[str, Any]) -> bytes:
    """Write one event of a stream."""
    return b"event: %b\ndata: %b\n\n" % (event["type"].encode(), encoded(event))


def error_frame(error: PosthouseError) -> bytes:
    """Tell of an error in a stream whose place is not known."""
    return failed_frames(error, 0, {})


def failed_frames(
    error: PosthouseError, number: int, response: dict[str, Any]
) -> bytes:
    """Tell of an error in a stream.

    Args:
        error: what went wrong.
        number: the sequence number of the next event.
        response: what is known of the response; its members win.
    """
    code = error_code(error)
    failed = {
        "id": "resp_failed",
        "object": "response",
        "created_at": 0,
        "model": "",
        "output": [],
        "parallel_tool_calls": True,
        "tool_choice": "auto",
        "tools": [],
        **response,
        "status": "failed",
        "error": {"code": _failed_code(error), "message": error.message},
    }
    told = {
        "type": "error",
        "sequence_number": number + 1,
        "code": code,
        "message": error.message,
        "param": error.param,
        **json.decode(render_error_body(error), dict[str, Any]),
    }
    event = {
        "type": "response.failed",
        "sequence_number": number,
        "response": failed,
    }
    return frame(event) + frame(told)


def _failed_code(error: PosthouseError) -> str:
    """The code of a failed response, of those that clients know."""
    code = error_code(error)
    if code in _OF_THE_REQUEST or code in _KNOWN_CODES:
        return str(code)
    if isinstance(error, CallerError | UpstreamRejected):
        return "invalid_prompt"
    return "server_error"


MANNERS = Manners(render_error, error_frame)

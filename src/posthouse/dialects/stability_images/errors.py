"""Errors of Stability's: `{"id", "name", "errors": […]}`."""

from typing import Any

from posthouse.dialects.openai.errors import ErrorObject, judge_reply
from posthouse.dialects.openai.errors import parse_error as parse_usual_error
from posthouse.errors import PosthouseError, UpstreamFault, UpstreamRejected
from posthouse.wire import json
from posthouse.wire.json import MalformedJSON

MODERATED = "content_moderation"
_REFUSED = 403


def parse_error(status: int, body: bytes) -> UpstreamFault:
    """Judge an error reply; 403 may be the content's fault, not our key's."""
    try:
        value = json.decode_leniently(body)
    except MalformedJSON:
        return parse_usual_error(status, body)
    if not isinstance(value, dict) or not isinstance(value.get("errors"), list):
        return parse_usual_error(status, body)
    message = next((one for one in value["errors"] if isinstance(one, str)), None)
    name = value.get("name")
    if status == _REFUSED and name == MODERATED:
        return UpstreamRejected(
            "The provider found the prompt or a picture to be unsafe.",
            status=_REFUSED,
            code="content_policy_violation",
            error_type=MODERATED,
        )
    return judge_reply(status, ErrorObject(message=message, code=name))


def error_body(error: PosthouseError) -> dict[str, Any]:
    """Write an error as its clients expect it."""
    return {"name": error.code, "errors": [error.message]}

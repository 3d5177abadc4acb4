"""Bedrock's errors: with a status, and as exceptions inside a stream.

Source: the service model `bedrock-runtime` 2023-09-30 as botocore 1.44.5 has it.
The exception's name stands in a header or in `__type`, which may have a prefix and
a suffix; without it the status decides.
"""

from typing import Any

from posthouse.dialects.openai.errors import ErrorObject, judge
from posthouse.errors import (
    UpstreamBadResponse,
    UpstreamFault,
    UpstreamOverloaded,
    UpstreamRedirected,
    UpstreamUnavailable,
)
from posthouse.wire import json
from posthouse.wire.json import MalformedJSON

_STATUS = {
    "accessdeniedexception": 403,
    "expiredtokenexception": 401,
    "incompletesignatureexception": 401,
    "internalserverexception": 500,
    "invalidsignatureexception": 401,
    "modelerrorexception": 424,
    "modelnotreadyexception": 429,
    "modelstreamerrorexception": 424,
    "modeltimeoutexception": 408,
    "resourcenotfoundexception": 404,
    "servicequotaexceededexception": 429,
    "serviceunavailableexception": 503,
    "throttlingexception": 429,
    "unrecognizedclientexception": 401,
    "validationexception": 400,
}
_MODEL_FAILED = 424
_TOO_LONG = ("too long", "too many input tokens", "maximum context length")
_NO_ACCESS = ("access to the model", "on-demand throughput", "is not supported in this")
"""What an account may not use here, or not by this name; its keys are good."""


def parse_error(status: int, body: bytes) -> UpstreamFault:
    """Judge a provider's error reply by its status and body."""
    if 300 <= status < 400:
        return UpstreamRedirected()
    if status < 400:
        return UpstreamBadResponse()
    try:
        value = json.decode_leniently(body)
    except MalformedJSON:
        value = None
    return judge_exception("", value, status)


def judge_exception(name: str, value: Any, status: int = 500) -> UpstreamFault:
    """Judge an exception.

    Args:
        name: what it is called; "" leaves it to `__type`.
        value: its members.
        status: what it came with, if nothing says more.
    """
    members = value if isinstance(value, dict) else {}
    kind = name or members.get("__type") or ""
    short = str(kind).rsplit("#", 1)[-1].split(":", 1)[0]
    status = _STATUS.get(short.lower(), status)
    message = members.get("message") or members.get("Message")
    said = message.lower() if isinstance(message, str) else ""
    if status == _MODEL_FAILED:
        return UpstreamOverloaded()
    if status in (400, 403) and any(words in said for words in _NO_ACCESS):
        return UpstreamUnavailable()
    if status == 400 and any(words in said for words in _TOO_LONG):
        short = "context_length_exceeded"
    return judge(status, ErrorObject(message, code=short or None))

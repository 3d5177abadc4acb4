"""Errors of Google's, both ways."""

from typing import Any

import msgspec
from tests.support.cases import each

from posthouse.dialects.google.errors import (
    ARRAY_MANNERS,
    MANNERS,
    fault_in,
    parse_error,
)
from posthouse.errors import (
    InsufficientQuota,
    InvalidRequest,
    PosthouseError,
    RateLimited,
    UpstreamBadResponse,
    UpstreamCredential,
    UpstreamFault,
    UpstreamOverloaded,
    UpstreamRateLimited,
    UpstreamRedirected,
    UpstreamRejected,
    UpstreamTimeout,
)

RPC = "type.googleapis.com/google.rpc."


def told(
    code: int, status: str, message: str = "no", *details: dict[str, Any]
) -> bytes:
    error = {"code": code, "status": status, "message": message}
    if details:
        error["details"] = list(details)
    return msgspec.json.encode({"error": error})


@each(
    ("status", "body", "fault"),
    [
        (302, b"", UpstreamRedirected),
        (200, b"{}", UpstreamBadResponse),
        (400, told(400, "INVALID_ARGUMENT"), UpstreamRejected),
        (400, told(400, "INVALID_ARGUMENT", "API key expired."), UpstreamCredential),
        (
            400,
            told(400, "INVALID_ARGUMENT", "x", {"reason": "API_KEY_INVALID"}),
            UpstreamCredential,
        ),
        (
            400,
            told(400, "FAILED_PRECONDITION", "User location is not supported"),
            UpstreamCredential,
        ),
        (401, told(401, "UNAUTHENTICATED"), UpstreamCredential),
        (403, told(403, "PERMISSION_DENIED"), UpstreamCredential),
        (
            403,
            told(403, "PERMISSION_DENIED", "You cannot access the File abc"),
            UpstreamRejected,
        ),
        (404, told(404, "NOT_FOUND"), UpstreamRejected),
        (408, b"", UpstreamTimeout),
        (429, told(429, "RESOURCE_EXHAUSTED"), UpstreamRateLimited),
        (500, b"<html>", UpstreamOverloaded),
        (503, told(503, "UNAVAILABLE"), UpstreamOverloaded),
        (504, told(504, "DEADLINE_EXCEEDED"), UpstreamTimeout),
        (418, b"teapot", UpstreamRejected),
        (422, b'"words"', UpstreamRejected),
        (422, b"[]", UpstreamRejected),
        (422, b'{"error":"words"}', UpstreamRejected),
        (400, b'{"error":{"code":"x","details":5}}', UpstreamRejected),
        (400, b'{"error":{"details":[5,{"fieldViolations":[]}]}}', UpstreamRejected),
    ],
)
def test_an_error_reply_is_judged(
    status: int, body: bytes, fault: type[UpstreamFault]
) -> None:
    """By its status, and by its reason where that says more."""
    assert type(parse_error(status, body)) is fault
    assert type(parse_error(status, b"[" + (body or b"{}") + b"]")) in (
        fault,
        UpstreamRejected,
    )


def test_what_a_caller_is_told() -> None:
    """The provider's words, its field, and a code that callers know."""
    violation = {"fieldViolations": [{"field": "contents[0].parts"}]}
    fault = parse_error(400, told(400, "INVALID_ARGUMENT", "Bad parts.", violation))
    assert isinstance(fault, UpstreamRejected)
    assert (fault.message, fault.param) == ("Bad parts.", "contents[0].parts")
    assert fault.upstream_code == "invalid_argument"
    long = "The input token count (2) exceeds the maximum number of tokens allowed (1)."
    fault = parse_error(400, told(400, "INVALID_ARGUMENT", long))
    assert isinstance(fault, UpstreamRejected)
    assert fault.upstream_code == "context_length_exceeded"
    assert parse_error(404, b"").message == "The provider refused the request."


@each(
    ("delay", "seconds"),
    [("20s", 20.0), ("0.5s", 0.5), ("20", None), ("s", None), (20, None)],
)
def test_when_to_come_back(delay: Any, seconds: float | None) -> None:
    """As RetryInfo tells it."""
    info = {"@type": f"{RPC}RetryInfo", "retryDelay": delay}
    fault = parse_error(429, told(429, "RESOURCE_EXHAUSTED", "x", info))
    assert fault.retry_after == seconds


def test_errors_with_status_200() -> None:
    """Are errors, and what is none is none."""
    fault = fault_in([msgspec.json.decode(told(429, "RESOURCE_EXHAUSTED"))])
    assert isinstance(fault, UpstreamRateLimited)
    assert fault.stands_for == 429
    by_status = fault_in({"error": {"status": "PERMISSION_DENIED"}})
    assert isinstance(by_status, UpstreamCredential)
    for value in (None, 5, [], {}, {"error": None}, {"candidates": []}):
        assert fault_in(value) is None


@each(
    ("error", "status", "name", "reason"),
    [
        (InvalidRequest("no", param="contents"), 400, "INVALID_ARGUMENT", None),
        (RateLimited(retry_after=2.5), 429, "RESOURCE_EXHAUSTED", None),
        (InsufficientQuota(), 429, "RESOURCE_EXHAUSTED", "INSUFFICIENT_QUOTA"),
        (UpstreamOverloaded(), 503, "UNAVAILABLE", "UPSTREAM_OVERLOADED"),
        (UpstreamBadResponse(), 502, "UNAVAILABLE", None),
        (
            UpstreamRejected("x", status=418, code="teapot"),
            418,
            "INVALID_ARGUMENT",
            "TEAPOT",
        ),
        (UpstreamRejected("x", status=400), 400, "INVALID_ARGUMENT", None),
    ],
)
def test_our_errors_are_googles(
    error: PosthouseError, status: int, name: str, reason: str | None
) -> None:
    """Status, name, reason, delay and field."""
    found, headers, body = MANNERS.render_error(error)
    value = msgspec.json.decode(body)["error"]
    assert (found, value["code"], value["status"]) == (status, status, name)
    assert value["message"] == error.message
    details = {entry["@type"].removeprefix(RPC): entry for entry in value["details"]}
    if reason is not None:
        assert details["ErrorInfo"]["reason"] == reason
    if error.retry_after is not None:
        assert details["RetryInfo"]["retryDelay"] == "2.5s"
        assert (b"retry-after", b"3") in headers
    if error.param is not None:
        assert details["BadRequest"]["fieldViolations"][0]["field"] == error.param


def test_in_a_stream_an_error_is_an_event() -> None:
    """It begins as SDKs look for it; in an array it is the array's only entry."""
    event = MANNERS.error_frame(UpstreamOverloaded())
    assert event.startswith(b'data: {"error":{"code":503,')
    assert event.endswith(b"}\r\n\r\n")
    _, _, body = ARRAY_MANNERS.render_error(UpstreamOverloaded())
    assert msgspec.json.decode(body)[0]["error"]["code"] == 503

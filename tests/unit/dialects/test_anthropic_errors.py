"""Anthropic's errors, both ways."""

import json

from tests.support.cases import each

from posthouse.dialects.anthropic_messages import DIALECT
from posthouse.dialects.anthropic_messages.errors import (
    error_frame,
    fault_in,
    render_error,
    render_error_body,
)
from posthouse.errors import (
    AuthenticationFailed,
    InsufficientQuota,
    InternalFault,
    InvalidRequest,
    ModelNotFound,
    NoChannel,
    Overloaded,
    PayloadTooLarge,
    PermissionDenied,
    PosthouseError,
    PriceMissing,
    RateLimited,
    UpstreamBadResponse,
    UpstreamCredential,
    UpstreamFault,
    UpstreamInterrupted,
    UpstreamOverloaded,
    UpstreamRateLimited,
    UpstreamRedirected,
    UpstreamRejected,
    UpstreamTimeout,
)


def body_of(kind: str, message: str = "No.") -> bytes:
    error = {"type": kind, "message": message}
    return json.dumps({"type": "error", "error": error, "request_id": "r"}).encode()


@each(
    ("status", "body", "fault"),
    [
        (400, body_of("invalid_request_error"), UpstreamRejected),
        (401, body_of("authentication_error"), UpstreamCredential),
        (402, body_of("billing_error"), UpstreamCredential),
        (403, body_of("permission_error"), UpstreamCredential),
        (404, body_of("not_found_error"), UpstreamRejected),
        (413, body_of("request_too_large"), UpstreamRejected),
        (429, body_of("rate_limit_error"), UpstreamRateLimited),
        (500, body_of("api_error"), UpstreamOverloaded),
        (529, body_of("overloaded_error"), UpstreamOverloaded),
        (400, body_of("overloaded_error"), UpstreamOverloaded),
        (
            400,
            body_of(
                "invalid_request_error", "Your credit balance is too low to access it."
            ),
            UpstreamCredential,
        ),
        (400, body_of("invalid_request_error", "Spend limit met."), UpstreamCredential),
        (400, b"<html>", UpstreamRejected),
        (502, b"", UpstreamOverloaded),
        (301, b"", UpstreamRedirected),
        (200, b"", UpstreamBadResponse),
        (400, b"[1]", UpstreamRejected),
        (400, b'{"error":{"type":7,"message":[]}}', UpstreamRejected),
    ],
)
def test_a_provider_s_error_is_judged(
    status: int, body: bytes, fault: type[UpstreamFault]
) -> None:
    """By its status, and by its type where that says more."""
    assert type(DIALECT.parse_error(status, body)) is fault


def test_a_refusal_keeps_the_provider_s_words() -> None:
    """Its message, cleaned, and its type."""
    error = DIALECT.parse_error(404, body_of("not_found_error", "model: claude-no"))
    assert isinstance(error, UpstreamRejected)
    assert error.message == "model: claude-no"
    status, _, body = render_error(error)
    assert status == 404
    assert json.loads(body)["error"]["type"] == "not_found_error"


@each(
    ("value", "fault"),
    [
        ({"type": "error", "error": {"type": "overloaded_error"}}, UpstreamOverloaded),
        ({"type": "error", "error": {"type": "api_error"}}, UpstreamOverloaded),
        ({"type": "error", "error": {"type": "timeout_error"}}, UpstreamOverloaded),
        (
            {"type": "error", "error": {"type": "rate_limit_error"}},
            UpstreamRateLimited,
        ),
        (
            {"type": "error", "error": {"type": "invalid_request_error"}},
            UpstreamRejected,
        ),
        ({"type": "error", "error": {"type": "billing_error"}}, UpstreamCredential),
        ({"type": "error"}, UpstreamOverloaded),
        ({"error": "broken"}, UpstreamOverloaded),
    ],
)
def test_an_error_with_status_200_is_judged(
    value: object, fault: type[UpstreamFault]
) -> None:
    """By its type alone."""
    assert type(fault_in(value)) is fault


@each("value", [None, [], {"type": "message"}, {"type": "ping"}])
def test_what_is_no_error_is_none(value: object) -> None:
    """Messages, events and what is no object."""
    assert fault_in(value) is None


@each(
    ("error", "status", "kind", "code"),
    [
        (InvalidRequest("m", param="p"), 400, "invalid_request_error", None),
        (InvalidRequest("m", code="c"), 400, "invalid_request_error", "c"),
        (AuthenticationFailed(), 401, "authentication_error", "invalid_api_key"),
        (InsufficientQuota(), 402, "billing_error", "insufficient_quota"),
        (PermissionDenied(), 403, "permission_error", "permission_denied"),
        (ModelNotFound(), 404, "not_found_error", "model_not_found"),
        (PayloadTooLarge(), 413, "request_too_large", "payload_too_large"),
        (RateLimited(), 429, "rate_limit_error", "rate_limit_exceeded"),
        (UpstreamRateLimited(), 429, "rate_limit_error", "rate_limit_exceeded"),
        (InternalFault(), 500, "api_error", "internal_error"),
        (UpstreamInterrupted(), 502, "api_error", "upstream_interrupted"),
        (PriceMissing(), 503, "api_error", "price_missing"),
        (UpstreamTimeout(), 504, "timeout_error", "upstream_timeout"),
        (UpstreamOverloaded(), 529, "overloaded_error", "upstream_overloaded"),
        (Overloaded(), 529, "overloaded_error", "overloaded"),
        (NoChannel(), 529, "overloaded_error", "no_channel_available"),
    ],
)
def test_our_errors_are_in_the_words_of_its_sdks(
    error: PosthouseError, status: int, kind: str, code: str | None
) -> None:
    """A status that they know, a type, and our own code for the cause."""
    found, headers, body = render_error(error)
    told = json.loads(body)
    assert found == status
    assert told["type"] == "error"
    assert told["error"]["type"] == kind
    assert told["error"]["message"] == error.message
    if code is not None:
        assert told["error"]["details"]["error_code"] == code
    assert dict(headers)[b"content-type"] == b"application/json"


def test_nobody_tries_again_where_money_has_run_out() -> None:
    """The SDKs obey the header, whatever the status."""
    _, headers, _ = render_error(InsufficientQuota())
    assert dict(headers)[b"x-should-retry"] == b"false"


def test_the_field_at_fault_and_the_request_are_named() -> None:
    """Where they are known."""
    told = json.loads(render_error_body(InvalidRequest("m", param="tools"), "req_1"))
    assert told["error"]["details"]["param"] == "tools"
    assert told["request_id"] == "req_1"


def test_in_a_stream_an_error_is_an_event() -> None:
    """Named, for the SDKs go by the name."""
    frame = error_frame(UpstreamInterrupted())
    assert frame.startswith(b'event: error\ndata: {"type":"error","error":{')
    assert frame.endswith(b"}\n\n")


def test_what_keeps_a_stream_alive_is_a_ping() -> None:
    """Anthropic's own event for it."""
    assert DIALECT.manners.keep_alive == b'event: ping\ndata: {"type":"ping"}\n\n'

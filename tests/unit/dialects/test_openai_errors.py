"""Errors in OpenAI's shape: providers' judged, ours written."""

import json
from typing import Any

import httpx2
import openai
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.cases import each

from posthouse import errors
from posthouse.dialects.openai.errors import parse_error, render_error
from posthouse.errors import (
    PosthouseError,
    Retry,
    UpstreamBadResponse,
    UpstreamCredential,
    UpstreamFault,
    UpstreamOverloaded,
    UpstreamRateLimited,
    UpstreamRedirected,
    UpstreamRejected,
    UpstreamTimeout,
)


def body(**members: Any) -> bytes:
    return json.dumps({"error": members}).encode()


PLAIN = body(message="m", type="t", code=None, param=None)
STATUSES: dict[int, type[UpstreamFault]] = {
    204: UpstreamBadResponse,
    301: UpstreamRedirected,
    307: UpstreamRedirected,
    400: UpstreamRejected,
    401: UpstreamCredential,
    402: UpstreamCredential,
    403: UpstreamCredential,
    404: UpstreamRejected,
    405: UpstreamRejected,
    408: UpstreamTimeout,
    409: UpstreamRejected,
    413: UpstreamRejected,
    415: UpstreamRejected,
    422: UpstreamRejected,
    429: UpstreamRateLimited,
    451: UpstreamRejected,
    500: UpstreamOverloaded,
    502: UpstreamOverloaded,
    503: UpstreamOverloaded,
    504: UpstreamOverloaded,
    529: UpstreamOverloaded,
}


@each("status", STATUSES)
@each("text", [PLAIN, b"", b"<html>", b"plain", b"[]", b"{", b"7"])
def test_the_status_says_what_an_error_is(status: int, text: bytes) -> None:
    """Whatever the body is, or is not."""
    fault = parse_error(status, text)
    assert type(fault) is STATUSES[status]
    if isinstance(fault, UpstreamRejected):
        assert fault.upstream_status == status
        assert fault.retry is Retry.NEVER
        assert fault.message


# (status, body, kind, and for refusals: message, code, type, parameter).
Words = tuple[str, str | None, str | None, str | None]
SHAPES: list[tuple[str, int, bytes, type[UpstreamFault], Words | None]] = [
    (
        "OpenAI",
        400,
        body(
            message="This model's maximum context length is 8192 tokens.",
            type="invalid_request_error",
            param="messages",
            code="context_length_exceeded",
        ),
        UpstreamRejected,
        (
            "This model's maximum context length is 8192 tokens.",
            "context_length_exceeded",
            "invalid_request_error",
            "messages",
        ),
    ),
    (
        "OpenAI out of credit",
        429,
        body(message="m", type="insufficient_quota", code="insufficient_quota"),
        UpstreamCredential,
        None,
    ),
    ("a relay's number", 400, body(message="m", code=1001), UpstreamRejected, None),
    (
        "DeepSeek balance",
        402,
        body(message="Insufficient Balance", type="unknown_error", code="x"),
        UpstreamCredential,
        None,
    ),
    (
        "DeepSeek format",
        422,
        body(message="Failed to deserialize", type="invalid_request_error"),
        UpstreamRejected,
        ("Failed to deserialize", None, "invalid_request_error", None),
    ),
    (
        "DashScope compatible",
        400,
        (
            b'{"error":{"message":"bad top_p","type":"invalid_request_error",'
            b'"param":null,"code":"invalid_parameter_error"},"request_id":"r"}'
        ),
        UpstreamRejected,
        ("bad top_p", "invalid_parameter_error", "invalid_request_error", None),
    ),
    (
        "DashScope native",
        400,
        b'{"code":"InvalidParameter","message":"bad","request_id":"r"}',
        UpstreamRejected,
        ("bad", "InvalidParameter", None, None),
    ),
    (
        "DashScope arrears",
        400,
        b'{"code":"Arrearage","message":"m"}',
        UpstreamCredential,
        None,
    ),
    (
        "DashScope throttled",
        400,
        b'{"code":"Throttling.AllocationQuota","message":"m"}',
        UpstreamRateLimited,
        None,
    ),
    (
        "Zhipu",
        400,
        body(code="1210", message="参数有误"),
        UpstreamRejected,
        ("参数有误", "1210", None, None),
    ),
    (
        "Moonshot",
        400,
        body(type="content_filter", message="high risk"),
        UpstreamRejected,
        ("high risk", None, "content_filter", None),
    ),
    (
        "Moonshot credit",
        429,
        body(type="exceeded_current_quota_error", message="m"),
        UpstreamCredential,
        None,
    ),
    (
        "Moonshot load",
        429,
        body(type="engine_overloaded_error", message="m"),
        UpstreamOverloaded,
        None,
    ),
    (
        "Moonshot rate",
        429,
        body(type="rate_limit_reached_error", message="m"),
        UpstreamRateLimited,
        None,
    ),
    (
        "FastAPI",
        422,
        b'{"detail":[{"loc":["body","messages",0],"msg":"field required","type":"m"}]}',
        UpstreamRejected,
        ("field required", None, None, "body.messages.0"),
    ),
    (
        "FastAPI text",
        404,
        b'{"detail":"Not Found"}',
        UpstreamRejected,
        ("Not Found", None, None, None),
    ),
    (
        "vLLM",
        400,
        (
            b'{"object":"error","message":"too long","type":"BadRequestError",'
            b'"param":null,"code":400}'
        ),
        UpstreamRejected,
        ("too long", "400", "BadRequestError", None),
    ),
    (
        "Ollama",
        404,
        b'{"error":"model not found"}',
        UpstreamRejected,
        ("model not found", None, None, None),
    ),
    (
        "a list",
        400,
        b'[{"error":{"code":400,"message":"m","status":"INVALID_ARGUMENT"}}]',
        UpstreamRejected,
        ("m", "400", None, None),
    ),
    ("a JSON text", 400, b'"no"', UpstreamRejected, ("no", None, None, None)),
    (
        "text",
        400,
        b"no such\r\nthing",
        UpstreamRejected,
        ("no such thing",) + 3 * (None,),
    ),
    (
        "HTML",
        413,
        b" <html><h1>Too large</h1></html>",
        UpstreamRejected,
        ("The provider refused the request.", None, None, None),
    ),
    (
        "nothing",
        400,
        b"",
        UpstreamRejected,
        ("The provider refused the request.", None, None, None),
    ),
    (
        "wrong types",
        400,
        body(message={"a": 1}, type=[1], code=True, param=7.5),
        UpstreamRejected,
        ("The provider refused the request.", None, None, None),
    ),
    ("a key as a 400", 400, body(code="invalid_api_key"), UpstreamCredential, None),
]


@each(
    ("status", "text", "kind", "words"),
    [case[1:] for case in SHAPES],
    ids=[case[0] for case in SHAPES],
)
def test_every_providers_shape_is_understood(
    status: int, text: bytes, kind: type[UpstreamFault], words: Words | None
) -> None:
    """What it means for the call, and the words that a client may see."""
    fault = parse_error(status, text)
    assert type(fault) is kind
    if words is not None:
        assert isinstance(fault, UpstreamRejected)
        assert (
            fault.message,
            fault.upstream_code,
            fault.upstream_type,
            fault.param,
        ) == words


@given(st.integers(100, 599), st.binary(max_size=60))
def test_no_error_reply_is_too_strange(status: int, text: bytes) -> None:
    """Judging one raises nothing."""
    assert isinstance(parse_error(status, text), UpstreamFault)


def test_only_what_a_provider_refuses_shows_its_words() -> None:
    """An overload, a rate limit, our key: the client sees our own sentence."""
    secret = body(message="SECRET at internal host", code="SECRET", type="SECRET")
    for status in range(300, 600):
        fault = parse_error(status, secret)
        shown = render_error(fault)[2]
        assert (b"SECRET" in shown) == isinstance(fault, UpstreamRejected), status


# --- what the official SDK makes of ours ------------------------------------------


def raised(error: PosthouseError) -> openai.APIStatusError:
    """What the SDK raises for a reply that carries the error."""
    status, headers, text = render_error(error)

    def answer(request: httpx2.Request) -> httpx2.Response:
        return httpx2.Response(status, headers=headers, content=text)

    with (
        httpx2.Client(transport=httpx2.MockTransport(answer)) as http,
        openai.OpenAI(
            api_key="sk-x", base_url="http://h/v1", http_client=http, max_retries=0
        ) as client,
        pytest.raises(openai.APIStatusError) as caught,
    ):
        client.models.list()
    return caught.value


SDK: list[tuple[PosthouseError, type[openai.APIStatusError], int, str | None]] = [
    (
        errors.InvalidRequest("m", param="messages[0].role", code="invalid_type"),
        openai.BadRequestError,
        400,
        "invalid_type",
    ),
    (
        errors.InvalidRequest("m"),
        openai.BadRequestError,
        400,
        "invalid_request_error",
    ),
    (
        errors.AuthenticationFailed(),
        openai.AuthenticationError,
        401,
        "invalid_api_key",
    ),
    (
        errors.PermissionDenied(),
        openai.PermissionDeniedError,
        403,
        "permission_denied",
    ),
    (errors.ModelNotFound(), openai.NotFoundError, 404, "model_not_found"),
    (errors.PayloadTooLarge(), openai.APIStatusError, 413, "payload_too_large"),
    (
        errors.UnprocessableRequest(),
        openai.UnprocessableEntityError,
        422,
        "unprocessable_request",
    ),
    (
        errors.RateLimited(retry_after=3),
        openai.RateLimitError,
        429,
        "rate_limit_exceeded",
    ),
    (errors.InsufficientQuota(), openai.RateLimitError, 429, "insufficient_quota"),
    (
        errors.UpstreamRateLimited(),
        openai.RateLimitError,
        429,
        "rate_limit_exceeded",
    ),
    (
        errors.UpstreamUnavailable(),
        openai.InternalServerError,
        502,
        "upstream_unavailable",
    ),
    (
        errors.UpstreamBadResponse(),
        openai.InternalServerError,
        502,
        "upstream_bad_response",
    ),
    (
        errors.UpstreamOverloaded(),
        openai.InternalServerError,
        503,
        "upstream_overloaded",
    ),
    (
        errors.UpstreamCredential(),
        openai.InternalServerError,
        503,
        "upstream_unavailable",
    ),
    (errors.UpstreamTimeout(), openai.InternalServerError, 504, "upstream_timeout"),
    (errors.PriceMissing(), openai.InternalServerError, 503, "price_missing"),
    (errors.InternalFault(), openai.InternalServerError, 500, "internal_error"),
    (
        errors.UpstreamRejected("m", status=400, code="context_length_exceeded"),
        openai.BadRequestError,
        400,
        "context_length_exceeded",
    ),
    (errors.UpstreamRejected("m", status=404), openai.NotFoundError, 404, None),
    (
        errors.UpstreamRejected("m", status=422, code="x"),
        openai.UnprocessableEntityError,
        422,
        "x",
    ),
    (errors.UpstreamRejected("m", status=409), openai.ConflictError, 409, None),
]


@each(
    ("error", "kind", "status", "code"),
    SDK,
    ids=[f"{type(case[0]).__name__}-{case[2]}" for case in SDK],
)
def test_the_sdk_raises_what_its_user_expects(
    error: PosthouseError,
    kind: type[openai.APIStatusError],
    status: int,
    code: str | None,
) -> None:
    """Class, status, code, parameter and message arrive."""
    caught = raised(error)
    assert type(caught) is kind
    assert caught.status_code == status
    assert caught.code == code
    assert caught.param == error.param
    assert error.message in str(caught)
    assert isinstance(caught.type, str)


def every_error() -> list[type[PosthouseError]]:
    found: list[type[PosthouseError]] = []
    left = [PosthouseError]
    while left:
        kind = left.pop()
        found.append(kind)
        left += kind.__subclasses__()
    return found


@each("kind", every_error())
def test_every_error_is_written_with_all_four_keys(kind: type[PosthouseError]) -> None:
    """As OpenAI's schema requires: texts, or null for code and parameter."""
    error = kind("m", status=418) if issubclass(kind, UpstreamRejected) else kind()
    status, headers, text = render_error(error)
    told = json.loads(text)["error"]
    assert 400 <= status < 600
    assert set(told) == {"message", "type", "param", "code"}
    assert isinstance(told["message"], str)
    assert isinstance(told["type"], str)
    assert told["code"] is None or isinstance(told["code"], str)
    assert (b"content-type", b"application/json") in headers


@each(
    ("seconds", "shown"),
    [(0.0, b"1"), (0.2, b"1"), (1.0, b"1"), (1.1, b"2"), (60, b"60")],
)
def test_the_time_to_wait_is_whole_seconds(seconds: float, shown: bytes) -> None:
    """Rounded up, for an early retry is refused again."""
    headers = dict(render_error(errors.RateLimited(retry_after=seconds))[1])
    assert headers[b"retry-after"] == shown
    assert b"x-should-retry" not in headers


def test_no_sdk_retries_what_needs_money() -> None:
    """`x-should-retry` overrides the SDK's own rule for 429."""
    headers = dict(render_error(errors.InsufficientQuota())[1])
    assert headers[b"x-should-retry"] == b"false"

"""Errors that come inside a stream, and what only looks like one."""

import pytest
from tests.support.cases import each
from tests.unit.dialects.streams import chunk, data, feed, tap

from posthouse.errors import (
    UpstreamBadResponse,
    UpstreamCredential,
    UpstreamFault,
    UpstreamOverloaded,
    UpstreamRateLimited,
    UpstreamRejected,
)

# Frames that tell of an error, and what they are to us.
ERRORS: list[tuple[bytes, type[UpstreamFault], int | None]] = [
    (data({"error": {"message": "m", "code": None}}), UpstreamOverloaded, None),
    (data({"error": {"message": "m", "code": 429}}), UpstreamRateLimited, None),
    (data({"error": {"message": "m", "code": "429"}}), UpstreamRateLimited, None),
    (data({"error": {"message": "m", "code": 503}}), UpstreamOverloaded, None),
    (data({"error": {"message": "m", "code": 400}}), UpstreamRejected, 400),
    (
        data({"error": {"message": "m", "type": "invalid_request_error"}}),
        UpstreamRejected,
        400,
    ),
    (data({"error": {"code": "model_not_found"}}), UpstreamRejected, 404),
    (data({"error": {"type": "insufficient_quota"}}), UpstreamCredential, None),
    (data({"error": {"code": "too_many_requests"}}), UpstreamRateLimited, None),
    (data({"error": {"type": "content_filter"}}), UpstreamRejected, 400),
    (data({"error": {"code": "invalid_api_key"}}), UpstreamCredential, None),
    (data({"error": "a text"}), UpstreamOverloaded, None),
    (data({"error": ["a list"]}), UpstreamOverloaded, None),
    (data({"error": True}), UpstreamOverloaded, None),
    (data({"choices": [], "error": {"message": "m"}}), UpstreamOverloaded, None),
    (
        data({"choices": [{"delta": {"content": "a"}}], "error": {"code": 429}}),
        UpstreamRateLimited,
        None,
    ),
    (data({"choices": "none", "error": {"code": 400}}), UpstreamRejected, 400),
    (data({"object": "error", "message": "m", "code": 400}), UpstreamRejected, 400),
    (
        data({"code": "InvalidParameter", "message": "m", "request_id": "r"}),
        UpstreamRejected,
        400,
    ),
    (data({"code": "Throttling.RateQuota", "message": "m"}), UpstreamRateLimited, None),
    (b'event: error\ndata: {"message":"m"}\n\n', UpstreamOverloaded, None),
    (b'event:error\r\ndata: {"code":"400"}\r\n\r\n', UpstreamRejected, 400),
    (b'event: error\ndata: "a text"\n\n', UpstreamBadResponse, None),
    (b"data: [1, 2]\n\n", UpstreamBadResponse, None),
    (b"data: null\n\n", UpstreamBadResponse, None),
    (b"event: error\ndata: a text\n\n", UpstreamBadResponse, None),
    (b'{"error":{"code":"insufficient_quota"}}\n\n', UpstreamCredential, None),
    (b'{\n  "error": {"code": 429}\n}\n\n', UpstreamRateLimited, None),
    (b'{"code":"InvalidParameter","message":"m"}', UpstreamRejected, 400),
    (b"data: <html></html>\n\n", UpstreamBadResponse, None),
    (b'data: {"choices":[{"delta":{"con\n\n', UpstreamBadResponse, None),
]


@each(("frame", "kind", "status"), ERRORS)
def test_an_error_in_the_stream_is_raised(
    frame: bytes, kind: type[UpstreamFault], status: int | None
) -> None:
    """In every shape, for the attempt loop to judge."""
    with pytest.raises(UpstreamFault) as caught:
        feed(tap(), frame)
    assert type(caught.value) is kind
    if isinstance(caught.value, UpstreamRejected):
        assert caught.value.upstream_status == status


@each(
    "frame",
    [
        chunk({"content": "a"}, error=None),
        chunk({"content": "a"}, error={}),
        chunk({"content": "a"}, error=""),
        chunk({"content": "a"}, code=0, message="Success"),
        data({"code": 0, "message": "Success", "sid": "x"}),
        data({"object": "chat.completion.chunk", "choices": []}),
        b"event: message\ndata: {}\n\n",
        b'data: {"choices":[],"x":' + b"9" * 5000 + b"}\n\n",
    ],
)
def test_what_only_looks_like_an_error_passes(frame: bytes) -> None:
    """A null error is none, and nor is a code of success."""
    (tapped,) = feed(tap(), frame)
    assert tapped.raw == frame

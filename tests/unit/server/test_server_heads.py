"""Heads: what of a request's is refused, and how a reply's fields are made."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.cases import each

from posthouse.errors import InvalidRequest
from posthouse.server.heads import add_repeated, read_head, render_fields, status_prefix

HOST = (b"host", b"api.test:3000")


def head(target: bytes = b"/", *fields, method: bytes = b"GET", version: str = "1.1"):
    found = {}
    for name, value in [HOST, *fields]:
        if name in found:
            add_repeated(found, name, value)
        else:
            found[name] = value
    return read_head(method, target, version, found)


@each(
    ("target", "path", "query"),
    [
        (b"/", "/", b""),
        (b"/v1/models?key=a%20b&x", "/v1/models", b"key=a%20b&x"),
        (b"/v1/models/a%2Fb", "/v1/models/a/b", b""),
        (b"/v1/models/a%252Fb", "/v1/models/a%2Fb", b""),
        (b"http://other.test/p?q", "/p", b"q"),
        (b"HTTPS://other.test", "/", b""),
        (b"http://other.test?q", "/", b"q"),
    ],
)
def test_a_target_is_split_and_unescaped_once(target, path, query) -> None:
    """The authority of an absolute target plays no part."""
    found = head(target)
    assert (found.path, found.query) == (path, query)


@each("target", [b"*", b"other.test:443", b"/a#b", b"ftp://x/", b"", b"http:///p"])
def test_other_targets_are_refused(target) -> None:
    with pytest.raises(InvalidRequest):
        head(target)


def test_a_star_is_the_target_of_options_only() -> None:
    assert head(b"*", method=b"OPTIONS").path == "*"


@each(
    "host",
    [
        b"",
        b" ",
        b"a b",
        b"a/b",
        b"a@b",
        b"a:b",
        b"a:123456",
        b"[::1",
        b"::1",
        b"a,b",
        b"a#b",
        b"a?b",
        b"a\\b",
        b"<a>",
        b"a\xff",
        b"%zz",
        b"a" * 301,
    ],
)
def test_a_malformed_host_is_refused(host) -> None:
    if host == b"a,b":
        # A comma is a sub-delim of RFC 3986 and so part of a legal name.
        read_head(b"GET", b"/", "1.1", {b"host": host})
        return
    with pytest.raises(InvalidRequest):
        read_head(b"GET", b"/", "1.1", {b"host": host})


@each(
    "host", [b"a", b"a.test", b"a:1", b"a:", b"[::1]", b"[::1]:80", b"1.2.3.4", b"a_b"]
)
def test_a_host_may_be_a_name_or_an_address(host) -> None:
    assert read_head(b"GET", b"/", "1.1", {b"host": host}).fields[b"host"] == host


def test_http_1_0_may_lack_a_host() -> None:
    assert read_head(b"GET", b"/", "1.0", {}).path == "/"
    with pytest.raises(InvalidRequest):
        read_head(b"GET", b"/", "1.1", {})


@pytest.mark.parametrize("version", ["0.9", "2.0"])
def test_other_versions_are_refused(version) -> None:
    with pytest.raises(InvalidRequest):
        head(version=version)


@each(
    "fields",
    [
        [(b"transfer-encoding", b"gzip, chunked")],
        [(b"transfer-encoding", b"identity")],
        [(b"transfer-encoding", b"chunked;q=1")],
        [(b"transfer-encoding", b"chunked"), (b"content-length", b"5")],
        [(b"transfer-encoding", b"chunked"), (b"transfer-encoding", b"chunked")],
        [(b"content-length", b"5"), (b"content-length", b"5")],
        [HOST],
    ],
)
def test_ambiguous_framing_is_refused(fields) -> None:
    with pytest.raises(InvalidRequest):
        head(b"/", *fields)


def test_http_1_0_has_no_chunked_bodies() -> None:
    with pytest.raises(InvalidRequest):
        head(b"/", (b"transfer-encoding", b"chunked"), version="1.0")


def test_repeated_fields_are_joined_in_order() -> None:
    found = head(b"/", (b"x-forwarded-for", b"1.1.1.1"), (b"x-forwarded-for", b"2"))
    assert found.fields[b"x-forwarded-for"] == b"1.1.1.1, 2"


def test_framing_fields_of_a_caller_are_left_out() -> None:
    block = render_fields(
        [(b"content-length", b"9"), (b"connection", b"x"), (b"a", b"b")]
    )
    assert block == b"a: b\r\n"


@given(st.lists(st.tuples(st.just(b"x-name"), st.binary())))
def test_no_value_can_begin_another_line(headers) -> None:
    """Either each field is one line, or nothing is rendered."""
    bad = any(byte in value for _, value in headers for byte in (b"\r", b"\n", b"\0"))
    try:
        block = render_fields(headers)
    except ValueError:
        assert bad
    else:
        assert not bad
        assert block.split(b"\r\n")[:-1] == [
            b"x-name: " + value for _, value in headers
        ]


def test_a_status_line_carries_the_date() -> None:
    assert status_prefix(404, 0.0) == (
        b"HTTP/1.1 404 Not Found\r\ndate: Thu, 01 Jan 1970 00:00:00 GMT\r\n"
    )
    assert status_prefix(599, 0.0).startswith(b"HTTP/1.1 599 \r\n")

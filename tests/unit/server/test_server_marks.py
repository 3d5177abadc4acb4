"""Marks: equal only where a parser would read the same head."""

from hypothesis import given
from hypothesis import strategies as st
from tests.support.cases import each
from tests.unit.server.harness import chunked, get, post

from posthouse.server.marks import Marks, Refused, mark_of

HEAD = b"POST /v1/x HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer %b\r\n"


def request(key: bytes, body: bytes, name: bytes = b"Content-Length") -> bytes:
    return HEAD % key + b"%b: %d\r\n\r\n%b" % (name, len(body), body)


@given(st.binary(max_size=200), st.binary(max_size=200))
def test_bodies_do_not_matter(one, other) -> None:
    """Nor how long they are."""
    mark = mark_of(request(b"k", one))
    assert mark
    assert mark == mark_of(request(b"k", other))


@each(
    "other",
    [
        request(b"l", b"body"),
        request(b"k", b"body", b"content-length"),
        request(b"k", b"body").replace(b"/v1/x", b"/v1/y"),
        request(b"k", b"body").replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"),
    ],
)
def test_every_other_byte_of_a_head_does(other) -> None:
    assert mark_of(other) != mark_of(request(b"k", b"body"))


@each(
    "data",
    [
        b"",
        b"\r\n\r\n",
        request(b"k", b"body")[:-1],
        request(b"k", b"body") + b"P",
        request(b"k", b"body")[:30],
        get("/v1/x"),
        chunked("/v1/x") + b"0\r\n\r\n",
        post("/v1/x", b"body").replace(b"Length: 4", b"Length: +4"),
        post("/v1/x", b"body").replace(b"Length: 4", b"Length: 4 "),
        post("/v1/x", b"body").replace(b"Length: 4", b"Length: " + b"0" * 20 + b"4"),
    ],
)
def test_what_is_not_one_whole_request_has_none(data) -> None:
    assert mark_of(data) == 0


def test_marks_are_bounded() -> None:
    """When there are too many, all are learnt anew."""
    marks = Marks()
    for number in range(1, 30_000):
        marks.add(number, Refused("a", ()))
    assert marks.get(1) is None
    assert marks.get(29_999) == Refused("a", ())

"""Cross-origin answers, as a table."""

from tests.support.cases import each

from posthouse.server.cors import CORS

PAGE = b"https://app.test"


@each(
    ("origins", "origin", "allowed", "varies"),
    [
        ((), PAGE, None, False),
        (("*",), PAGE, b"*", False),
        (("https://app.test",), PAGE, PAGE, True),
        (("https://app.test/",), PAGE, PAGE, True),
        (("https://APP.test",), PAGE, PAGE, True),
        (("https://other.test",), PAGE, None, True),
        (("https://app.test",), b"https://app.test.evil.test", None, True),
        (("https://app.test",), b"http://app.test", None, True),
        (("https://app.test",), b"null", None, True),
    ],
)
def test_only_listed_origins_are_allowed(origins, origin, allowed, varies) -> None:
    cors = CORS(origins)
    headers = dict(cors.headers(origin))
    assert headers.get(b"access-control-allow-origin") == allowed
    assert (b"vary" in headers) == varies
    assert b"access-control-allow-credentials" not in headers
    preflight = dict(cors.preflight(origin, b"authorization"))
    assert (b"access-control-allow-headers" in preflight) == (allowed is not None)


@each(
    ("requested", "echoed"),
    [
        (b"authorization, x-stainless-os", True),
        (b"authorization", True),
        (b"a b", False),
        (b"", False),
        (b"a,,b", False),
        (b"a\x01", False),
        (None, False),
    ],
)
def test_requested_header_names_are_echoed_if_they_are_names(requested, echoed) -> None:
    preflight = dict(CORS(("*",)).preflight(PAGE, requested))
    assert (preflight.get(b"access-control-allow-headers") == requested) == (
        echoed or requested is None
    )
    assert b"access-control-allow-methods" in preflight


def test_names_that_backtrack_are_judged_at_once() -> None:
    """A long list that is no list costs no exponential time."""
    assert CORS(("*",)).preflight(PAGE, b"a , " * 5000 + b"\x01")

"""Routes: every spelling of a path leads to its one handler."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.cases import each

from posthouse.server.heads import read_head
from posthouse.server.routes import Route, RouteTable, normalise


async def handler(_request) -> None: ...


TABLE = RouteTable(
    [
        Route(("GET",), "/", handler),
        Route(("POST",), "/v1/chat/completions", handler),
        Route(("GET",), "/v1/models", handler),
        Route(("GET",), "/v1/models/", handler, prefix=True),
        Route(("GET",), "/health/live", handler),
    ]
)

CHAT = "/v1/chat/completions"


@each(
    ("path", "route", "tail"),
    [
        ("/", "/", ""),
        ("//", "/", ""),
        (CHAT, CHAT, ""),
        ("/chat/completions", CHAT, ""),
        ("/v1/v1/chat/completions", CHAT, ""),
        ("/v1/v1/v1/chat/completions", CHAT, ""),
        ("//v1//chat///completions//", CHAT, ""),
        ("/v1//v1/chat/completions/", CHAT, ""),
        ("/chat/completions/", CHAT, ""),
        ("/v1/models/", "/v1/models", ""),
        ("/models", "/v1/models", ""),
        ("/models/gpt-4o", "/v1/models/", "gpt-4o"),
        ("/v1/models/org/name", "/v1/models/", "org/name"),
        ("/v1/v1/models/org/v1/v1/name/", "/v1/models/", "org/v1/v1/name"),
        ("/health/live/", "/health/live", ""),
    ],
)
def test_spellings_lead_to_the_same_route(path, route, tail) -> None:
    found = TABLE.find(path)
    assert found is not None
    assert (found[0].path, found[1]) == (route, tail)


@each(
    "path",
    [
        "/v1",
        "/v2/chat/completions",
        "/chat",
        "/v1/chat/completions/x",
        "/V1/chat/completions",
        "/v1/./chat/completions",
        "/v1/../v1/chat/completions",
        "/v1/health/live",
        "/x/v1/models",
        "chat/completions",
        "/v1/chat/completions\0",
    ],
)
def test_other_paths_lead_nowhere(path) -> None:
    assert TABLE.find(path) is None


def test_get_brings_head_and_a_method_has_one_handler() -> None:
    found = TABLE.find("/v1/models")
    assert found is not None
    assert found[0].allow == b"GET, HEAD, OPTIONS"
    route = Route(("GET",), "/a", handler)
    with pytest.raises(ValueError, match="two routes"):
        RouteTable([route, route])
    with pytest.raises(ValueError, match="slash"):
        RouteTable([Route(("GET",), "/a/", handler)])


@given(st.text(alphabet="/v1amodels%.", max_size=24))
def test_normalising_twice_changes_nothing(path) -> None:
    once = normalise(path)
    assert normalise(once) == once


@given(
    st.sampled_from([b"/v1/models", b"//models/", b"/v1/models/x%2Fy", b"/nothing"]),
    st.from_regex(rb"[a-z0-9.\-]{1,20}(:[0-9]{1,5})?", fullmatch=True),
    st.sampled_from([b"x-original-url", b"x-rewrite-url", b"x-forwarded-host"]),
)
def test_only_the_path_decides(target, host, name) -> None:
    """Neither Host nor a rewriting header changes what is found."""
    plain = read_head(b"GET", target, "1.1", {b"host": b"a"})
    other = read_head(
        b"GET", target, "1.1", {b"host": host, name: b"/v1/chat/completions"}
    )
    assert TABLE.find(plain.path) == TABLE.find(other.path)

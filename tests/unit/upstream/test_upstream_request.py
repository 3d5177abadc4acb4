"""What goes out: the head's exact bytes, and what can never be put into it."""

import pytest
from tests.fakes.steps import Behaviour, Request, Send, head, reply
from tests.fakes.upstream import FakeUpstream
from tests.support.cases import each
from tests.unit.upstream.support import chat_request, failure_of, fetch

from posthouse.model.exchange import Certainty, FailureKind, Timeouts, UpstreamRequest
from posthouse.upstream.http1 import HEADS_KEPT, render_head
from posthouse.upstream.sender import Upstream


def request_of(**fields: object) -> UpstreamRequest:
    """Build a bare request."""
    given = {
        "method": "POST",
        "origin": "http://a.example",
        "target": "/v1",
        "headers": (),
        "body": b"",
        "timeouts": Timeouts(),
        **fields,
    }
    return UpstreamRequest(**given)  # type: ignore[arg-type]


def test_a_head_has_its_bytes_in_order() -> None:
    """Start line, Host, the caller's headers as written, then ours."""
    request = request_of(
        target="/v1/chat?x=1", headers=((b"X-B", b"2"), (b"x-a", b"1"), (b"X-B", b"3"))
    )

    assert render_head(request, "a.example:8080") == (
        b"POST /v1/chat?x=1 HTTP/1.1\r\n"
        b"Host: a.example:8080\r\n"
        b"X-B: 2\r\n"
        b"x-a: 1\r\n"
        b"X-B: 3\r\n"
        b"Accept-Encoding: identity\r\n"
    )


def test_a_given_accept_encoding_stays() -> None:
    """The caller knows better, or says the same."""
    request = request_of(headers=((b"Accept-Encoding", b"gzip"),))

    assert render_head(request, "a").endswith(b"\r\nAccept-Encoding: gzip\r\n")


@each(
    "name",
    ["Host", "content-length", "CONNECTION", "Transfer-Encoding", "Expect", "TE"],
)
def test_framing_headers_are_ours_alone(name: str) -> None:
    """A caller's own are left out, however they are written."""
    request = request_of(headers=((name.encode(), b"evil"),))

    assert b"evil" not in render_head(request, "a.example")


@each(
    "fields",
    [
        {"headers": ((b"X", b"a\r\nHost: b"),)},
        {"headers": ((b"X", b"a\nb"),)},
        {"headers": ((b"X", b"a\rb"),)},
        {"headers": ((b"X", b"a\0b"),)},
        {"headers": ((b"X\r\nY", b"a"),)},
        {"headers": ((b"X Y", b"a"),)},
        {"headers": ((b"X:", b"a"),)},
        {"headers": ((b"", b"a"),)},
        {"target": "/a b"},
        {"target": "/a\r\nX: y"},
        {"target": "/a\0"},
        {"target": "/ü"},
        {"target": "a"},
        {"target": ""},
        {"target": "http://b.example/"},
        {"method": "post"},
        {"method": "GET /"},
        {"method": ""},
    ],
)
async def test_what_would_break_the_framing_is_never_sent(
    fields: dict[str, object],
) -> None:
    """Header and request-line injection end before a connection is used."""
    async with FakeUpstream([]) as provider:
        upstream = Upstream()
        seen = await failure_of(upstream, request_of(origin=provider.origin, **fields))
        assert seen == (FailureKind.PROTOCOL, Certainty.NOT_SENT)
        assert provider.connections == 0
        await upstream.close()


def echo(request: Request) -> Behaviour:
    """Answer with what arrived."""
    size = str(len(request.body)).encode()
    given = request.header(b"content-length") or b"none"
    line = f"{request.method} {request.target} ".encode() + given + b" " + size
    if request.method == "HEAD":
        return Behaviour("head", (Send(head(200, length=99)),))
    return Behaviour("echo", (Send(reply(200, line)),))


@each("size", [0, 1, 4096, 64 * 1024, 64 * 1024 + 1, 5_000_000])
async def test_bodies_of_any_size_arrive_whole(size: int) -> None:
    """Small ones in one write with the head, large ones behind it."""
    async with FakeUpstream(echo) as provider:
        upstream = Upstream()
        request = request_of(origin=provider.origin, body=b"x" * size)
        assert await fetch(upstream, request) == (
            200,
            f"POST /v1 {size} {size}".encode(),
        )
        await upstream.close()


async def test_a_request_without_a_body_says_no_length() -> None:
    """GET and its like; HEAD's reply ends with its head."""
    async with FakeUpstream(echo) as provider:
        upstream = Upstream()
        get = request_of(origin=provider.origin, method="GET")
        assert await fetch(upstream, get) == (200, b"GET /v1 none 0")
        assert await fetch(
            upstream, request_of(origin=provider.origin, method="HEAD")
        ) == (200, b"")
        assert await fetch(upstream, get) == (200, b"GET /v1 none 0")
        await upstream.close()


async def test_redirects_are_handed_over_not_followed() -> None:
    """Row U7: what a redirect means is for the relay to say."""
    moved = reply(307, b"", headers=(("Location", "http://127.0.0.1:9/"),))
    async with FakeUpstream([Behaviour("moved", (Send(moved),))]) as provider:
        upstream = Upstream()
        response = await upstream.send(chat_request(provider.origin))
        assert (response.status, await response.read_all(10)) == (307, b"")
        assert len(provider.served) == 1
        await upstream.close()


async def test_the_environment_has_no_say(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither proxies nor credentials are read from it."""
    for name in ("http_proxy", "HTTP_PROXY", "ALL_PROXY", "https_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    async with FakeUpstream(echo) as provider:
        upstream = Upstream()
        assert (await fetch(upstream, request_of(origin=provider.origin)))[0] == 200
        assert b"authorization" not in provider.served[0].headers
        await upstream.close()


async def test_heads_that_always_change_do_not_pile_up() -> None:
    """What is remembered of rendered heads is bounded."""
    async with FakeUpstream(echo) as provider:
        upstream = Upstream()
        for number in range(HEADS_KEPT + 10):
            headers = ((b"X-Id", str(number).encode()),)
            request = request_of(origin=provider.origin, headers=headers)
            assert (await fetch(upstream, request))[0] == 200
        site = next(iter(upstream._http1._direct.values()))
        assert len(site._heads) == 10
        ids = [served.headers[b"x-id"] for served in provider.served]
        assert ids == [str(n).encode() for n in range(HEADS_KEPT + 10)]
        await upstream.close()

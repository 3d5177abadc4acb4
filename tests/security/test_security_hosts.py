"""Host headers, origins and upgrades: what a browser or a proxy may put before us.

Whatever a Host header says, a request is judged by its path alone; a page of
another origin reads only what it may; nothing is spoken but HTTP/1.
"""

import pytest
from tests.conftest import StartPosthouse
from tests.support.cases import each
from tests.support.fake import ThreadedFake
from tests.support.guard import BODIES, KEY, Guarded, error_of
from tests.support.raw import RawReply, read_reply

CHAT = "/v1/chat/completions"
CONFIGURATION = f"""
[[channels]]
name = "sandbox"
provider = "sandbox"

[[keys]]
name = "good"
key = "{KEY}"
"""
PAGE = "https://app.test"
SOME = f'[server]\ncors_origins = ["{PAGE}", "http://localhost:5173"]\n'
ANY = '[server]\ncors_origins = ["*"]\n'

HOSTS = [
    "/", "//", "/metrics", "a/metrics", "a/../metrics", "?", "a?", "a?key=b", "#",
    "a#b", "a:80/metrics?", "@", "a@b", "user:password@a", "\\", "a\\b", "a b", " a",
    "a\tb", "", ":", ":80", "a:", "a:b", "a:-1", "a:65536", "a:99999999", "a:80:80",
    "a,b", "[::1]", "[::1", "::1", "[::1]x", "[::1]:80", "127.0.0.1", "localhost", "0",
    "%00", "a%2f..", "%0d%0aX: y", "a%", '"a"', "<script>", "{a}", "a|b", "a^b",
    "`a`", "a" * 301, "a." * 200, "xn--", "ä".encode().decode("latin-1"), "a\x7f", "*",
    "*.a", "http://a/", "a;b", "_", "-", ".", "..",
]  # fmt: skip
ROUTES = [
    ("GET", "/"),
    ("GET", "/health/live"),
    ("GET", "/health/ready"),
    ("GET", "/metrics"),
    ("GET", "/v1/models"),
    ("GET", "/v1/models/sandbox"),
    *(("POST", target) for target in BODIES),
    ("POST", "/v1/responses"),
    ("GET", "/nothing"),
]


def with_host(guarded: Guarded, method: str, path: str, host: str) -> RawReply:
    """Ask without a key, with a Host of any shape."""
    lines = f"{method} {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"
    return guarded.ask(lines.encode("latin-1"))


def test_no_host_opens_what_is_closed(guarded: Guarded) -> None:
    """Every route with every Host: the same answer as ever, or a 400."""
    assert len(HOSTS) >= 40
    usual = {route: with_host(guarded, *route, "relay.test").status for route in ROUTES}
    assert [usual[route] for route in ROUTES] == [200] * 4 + [401] * 7 + [404]

    def ask() -> None:
        refused = 0
        for host in HOSTS:
            for route in ROUTES:
                reply = with_host(guarded, *route, host)
                assert reply.status in (usual[route], 400), (route, host)
                if reply.status == 400:
                    refused += 1
                    error_of(reply)
        assert refused > 20 * len(ROUTES)

    guarded.untouched(ask)


@pytest.mark.parametrize(
    "target", ["http://other.test/metrics", "http://a@b/v1/models"]
)
def test_an_address_in_the_request_line_is_only_its_path(
    guarded: Guarded, target: str
) -> None:
    """As a proxy would send it; the path decides, and the key is asked for."""
    status = {"/metrics": 200, "/v1/models": 401}["/" + target.split("/", 3)[3]]
    line = f"GET {target} HTTP/1.1\r\nHost: relay.test\r\nConnection: close\r\n\r\n"
    assert guarded.ask(line.encode()).status in (status, 400)


# --- cross-origin -----------------------------------------------------------------


@pytest.fixture(scope="module")
def servers(start_posthouse: StartPosthouse, guarded: Guarded) -> dict[str, Guarded]:
    """Servers that let no page in, some pages, and any page."""
    others = {
        name: Guarded(start_posthouse(CONFIGURATION + text), ThreadedFake(), KEY)
        for name, text in (("some", SOME), ("any", ANY))
    }
    return {"none": guarded, **others}


ORIGINS: list[tuple[str, str, str | None]] = [
    ("none", PAGE, None),
    ("none", "null", None),
    ("some", PAGE, PAGE),
    ("some", "http://localhost:5173", "http://localhost:5173"),
    ("some", "HTTPS://APP.TEST", "HTTPS://APP.TEST"),
    ("some", "https://app.test.evil", None),
    ("some", "https://evil-app.test", None),
    ("some", "https://app.test:444", None),
    ("some", "http://app.test", None),
    ("some", "https://app.test/", None),
    ("some", "https://app.test https://evil.test", None),
    ("some", "https://app.test, https://evil.test", None),
    ("some", "https://user@app.test", None),
    ("some", "null", None),
    ("some", "*", None),
    ("some", "", None),
    ("some", "file://", None),
    ("any", PAGE, "*"),
    ("any", "null", "*"),
    ("any", "https://anywhere.test", "*"),
]
ANSWERS = [("GET", "/", 200), ("GET", "/v1/models", 401), ("GET", "/x", 404)]


@each(("server", "origin", "allowed"), ORIGINS)
def test_pages_read_what_they_may(
    servers: dict[str, Guarded], server: str, origin: str, allowed: str | None
) -> None:
    """On every reply, also errors; credentials are never allowed with it."""
    guarded = servers[server]
    header = b"Origin: " + origin.encode()
    for method, path, status in ANSWERS:
        reply = guarded.ask(guarded.head(method, path, header, key=None))
        assert reply.status == status
        assert reply.header("access-control-allow-origin") == allowed
        assert reply.header("access-control-allow-credentials") is None
        if allowed is not None:
            exposed = reply.header("access-control-expose-headers") or ""
            assert {"x-request-id", "retry-after"} <= set(exposed.split(", "))
        if server == "some":
            # Caches must tell the pages apart.
            assert reply.header("vary") == "origin"
    preflight = guarded.ask(
        guarded.head(
            "OPTIONS",
            CHAT,
            header,
            b"Access-Control-Request-Method: POST",
            b"Access-Control-Request-Headers: authorization, content-type",
            key=None,
        )
    )
    assert preflight.status == 204
    assert preflight.header("access-control-allow-origin") == allowed
    methods = preflight.header("access-control-allow-methods")
    fields = preflight.header("access-control-allow-headers")
    assert (methods is not None and "POST" in methods) == (allowed is not None)
    assert fields == ("authorization, content-type" if allowed else None)


@each(
    "fields",
    ["a\tb", "a;b", "authorization,,x", "<script>", "a" * 5000 + " b", '"', ""],
)
def test_a_preflight_repeats_names_of_headers_only(
    servers: dict[str, Guarded], fields: str
) -> None:
    """What is no list of names is not repeated."""
    reply = servers["any"].ask(
        servers["any"].head(
            "OPTIONS",
            CHAT,
            b"Origin: " + PAGE.encode(),
            b"Access-Control-Request-Method: POST",
            b"Access-Control-Request-Headers: " + fields.encode(),
            key=None,
        )
    )
    assert reply.status == 204
    assert reply.header("access-control-allow-headers") is None


def test_options_and_head_open_nothing(servers: dict[str, Guarded]) -> None:
    """OPTIONS tells the methods of what exists; HEAD is a GET without its body."""
    guarded = servers["none"]
    options = {"/": "GET, HEAD, OPTIONS", CHAT: "GET, HEAD, OPTIONS, POST"}
    for path, methods in options.items():
        reply = guarded.ask(guarded.head("OPTIONS", path, key=None))
        assert reply.status == 204
        assert reply.header("allow") == methods
        assert reply.body == b""
    assert guarded.ask(guarded.head("OPTIONS", "/nothing", key=None)).status == 404
    for path, status in (("/", 200), ("/v1/models", 401), (CHAT, 401), ("/x", 404)):
        raw = guarded.talk(guarded.head("HEAD", path, key=None))
        head, _, body = raw.partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 %d " % status)
        assert body == b""


# --- other protocols ----------------------------------------------------------------

WEBSOCKET = (
    b"Connection: Upgrade",
    b"Upgrade: websocket",
    b"Sec-WebSocket-Version: 13",
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
)
SOCKETS = ["/v1/responses", "/v1/realtime/x", CHAT, "/", "/metrics", "/nothing"]


@each("path", SOCKETS)
@each("key", ["", None])
def test_a_websocket_is_426(guarded: Guarded, path: str, key: str | None) -> None:
    """With and without a key; its frames are never read as a request."""
    frames = b"\x81\x05hello" + guarded.head("GET", "/", key=None)

    def ask() -> None:
        head = guarded.head("GET", path, *WEBSOCKET, key=key)
        head = head.replace(b"Connection: close\r\n", b"")
        received = guarded.talk(head + frames)
        assert received.count(b"HTTP/1.1 426 ") == 1
        reply = read_reply(received)
        assert error_of(reply)["code"] == "upgrade_required"
        assert reply.header("connection") == "close"

    guarded.untouched(ask)


@each(
    "upgrade",
    [
        (
            b"Connection: Upgrade, HTTP2-Settings",
            b"Upgrade: h2c",
            b"HTTP2-Settings: AAA",
        ),
        (b"Connection: Upgrade", b"Upgrade: TLS/1.2"),
        (b"Connection: Upgrade", b"Upgrade: foo/2, h2c"),
        (b"Connection: keep-alive",),
    ],
)
def test_another_upgrade_is_ignored(
    guarded: Guarded, upgrade: tuple[bytes, ...]
) -> None:
    """The request is served as HTTP/1.1, once, and so is the next one."""
    body = BODIES[CHAT]
    first = guarded.head("POST", CHAT, *upgrade, length=len(body))
    first = first.replace(b"Connection: close\r\n", b"")
    last = guarded.head("POST", CHAT, length=len(body))
    before = len(guarded.fake.everything)
    received = guarded.talk(first + body + last + body)
    assert received.count(b"HTTP/1.1 200 ") == 2
    assert b"101" not in received[:20]
    assert len(guarded.fake.everything) == before + 2


def test_http_2_with_prior_knowledge_is_refused(guarded: Guarded) -> None:
    """Its preface is no request."""
    preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0\4\0\0\0\0\0"
    guarded.untouched(lambda: guarded.refused(400, preface))

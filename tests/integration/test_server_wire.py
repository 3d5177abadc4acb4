"""What arrives on a real socket, byte by byte: framing, refusals, upgrades, order."""

import io
import logging
import time

import pytest
import structlog
from tests.support.cases import each
from tests.unit.server.harness import (
    RunningServer,
    chunk,
    chunked,
    eventually,
    get,
    post,
    serving,
)

from posthouse.errors import InvalidRequest
from posthouse.observe import logs
from posthouse.server.address import TrustedProxies
from posthouse.server.cors import CORS
from posthouse.server.limits import ServerLimits
from posthouse.server.request import Request
from posthouse.server.routes import Route
from posthouse.wire import json

SEEN: list[bytes] = []


async def echo(request: Request) -> None:
    body = await request.body(1 << 20)
    SEEN.append(body)
    await request.client.respond(200, [(b"content-type", b"text/plain")], body)


async def describe(request: Request) -> None:
    report = json.encode(
        {
            "path": request.path,
            "tail": request.tail,
            "query": request.query.decode(),
            "address": request.client_address,
            "key": request.presented_key(),
            "id": request.request_id,
        }
    )
    await request.client.respond(200, [], report)


async def broken(_request: Request) -> None:
    raise ValueError("the prompt text")


async def silent(_request: Request) -> None: ...


async def refusing(_request: Request) -> None:
    raise InvalidRequest("no")


async def splitting(request: Request) -> None:
    await request.client.respond(200, [(b"x", b"a\r\nset-cookie: b")], b"")


@pytest.fixture(scope="module")
def server():
    running = RunningServer(
        [
            Route(("POST",), "/v1/echo", echo),
            Route(("GET", "POST"), "/v1/describe", describe),
            Route(("GET",), "/v1/models/", describe, prefix=True),
            Route(("GET",), "/v1/broken", broken),
            Route(("GET",), "/v1/silent", silent),
            Route(("GET",), "/v1/refusing", refusing),
            Route(("GET",), "/v1/splitting", splitting),
        ],
        cors=CORS(("https://app.test",)),
        proxies=TrustedProxies(("127.0.0.1",)),
        limits=ServerLimits(linger=0.5, sweep_interval=0.05),
    )
    yield running
    running.close()


HEAD = b"POST /v1/echo HTTP/1.1\r\nHost: a\r\n"
HELLO = b"0123456789hello"


@each(
    "data",
    [
        HEAD + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        HEAD + b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
        HEAD + b"Content-Length: 5\r\nContent-Length: 5\r\n\r\nhello",
        HEAD + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
        HEAD + b"Content-Length: 5, 5\r\n\r\nhello",
        HEAD + b"Content-Length: +5\r\n\r\nhello",
        HEAD + b"Content-Length: -5\r\n\r\nhello",
        HEAD + b"Content-Length: 0x5\r\n\r\nhello",
        HEAD + b"Content-Length: 5 5\r\n\r\nhello",
        HEAD + b"Content-Length:\r\n\r\nhello",
        HEAD + b"Content-Length: 99999999999999999999999\r\n\r\nhello",
        HEAD + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
        HEAD + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        HEAD + b"Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
        HEAD + b"Transfer-Encoding: identity\r\n\r\n",
        HEAD + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n",
        HEAD + b"Transfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n",
        HEAD + b"Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
        HEAD + b"X : a\r\n\r\n",
        HEAD + b"X: a\r\n b\r\n\r\n",
        HEAD + b"X:\r\n\tb\r\n\r\n",
        HEAD + b"X: a\0b\r\n\r\n",
        HEAD + b"X: a\rb\r\n\r\n",
        HEAD + b"X: a\nY: b\r\n\r\n",
        HEAD + b"X: a\x7fb\r\n\r\n",
        HEAD + b": a\r\n\r\n",
        HEAD + b"Host: b\r\n\r\n",
        HEAD + b"Host: a\r\n\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a b\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost:\r\n\r\n",
        b"GET / HTTP/1.1\r\n Host: a\r\n\r\n",
        b"GET / HTTP/1.1\nHost: a\n\n",
        b"GET / HTTP/2.0\r\nHost: a\r\n\r\n",
        b"GET / HTTP/1.2\r\nHost: a\r\n\r\n",
        b"GET /\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"get / HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET /\xff HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET /#a HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET * HTTP/1.1\r\nHost: a\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"POST /v1/echo HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    ],
)
def test_ambiguous_requests_get_400_and_nothing_after_them_is_read(
    server, data
) -> None:
    """What a second reader might take for another request is never served."""
    SEEN.clear()
    with server.connect() as peer:
        peer.send(data + post("/v1/echo", b"smuggled"))
        answer = peer.reply()
        assert answer.status == 400
        assert answer.code == "invalid_request_error"
        assert answer.headers["connection"] == "close"
        assert peer.rest() == b""
    assert SEEN == []


@each(
    "body",
    [
        b"1\r\nxy\r\n0\r\n\r\n",
        b"1\nx\n0\n\n",
        b"1 \r\nx\r\n0\r\n\r\n",
        b"0x1\r\nx\r\n0\r\n\r\n",
        b"-1\r\nx\r\n0\r\n\r\n",
        b"fffffffffffffffff\r\nx\r\n0\r\n\r\n",
        b"1;a\nb\r\nx\r\n0\r\n\r\n",
        b"5\r\nhello\r\n0\r\nX: a\0\r\n\r\n",
        b"5\r\nhello\r\nz\r\n",
    ],
)
def test_a_bad_chunk_is_400_and_never_a_shorter_body(server, body) -> None:
    """The handler that reads it gets the error, not what came before."""
    SEEN.clear()
    answer = server.ask(chunked("/v1/echo") + body)
    assert (answer.status, answer.code) == (400, "invalid_request_error")
    assert SEEN == []


def test_one_byte_at_a_time_is_the_same_request(server) -> None:
    with server.connect() as peer:
        for byte in post("/v1/echo", b"hello", b"X-A: 1"):
            peer.send(bytes([byte]))
        assert peer.reply().body == b"hello"


def test_chunks_and_their_trailers(server) -> None:
    """A trailer is no header: it may not bring a key after the fact."""
    data = b"".join(chunk(bytes([byte])) for byte in HELLO)
    answer = server.ask(
        chunked("/v1/describe") + data + b"0\r\nAuthorization: Bearer sk-late\r\n\r\n"
    )
    assert json.decode(answer.body, dict)["key"] is None
    assert server.ask(chunked("/v1/echo") + data + b"0\r\n\r\n").body == HELLO


def test_pipelined_requests_are_answered_in_order(server) -> None:
    with server.connect() as peer:
        peer.send(b"".join(post("/v1/echo", b"%d" % n) for n in range(300)))
        assert [peer.reply().body for _ in range(300)] == [
            b"%d" % number for number in range(300)
        ]


def test_a_bad_request_in_a_pipeline_is_refused_after_the_good_ones(server) -> None:
    with server.connect() as peer:
        peer.send(post("/v1/echo", b"1") + post("/v1/echo", b"2") + b"NONSENSE\r\n\r\n")
        assert peer.reply().body == b"1"
        assert peer.reply().body == b"2"
        assert peer.reply().status == 400
        assert peer.rest() == b""


def test_nothing_is_served_after_connection_close(server) -> None:
    with server.connect() as peer:
        first = post("/v1/echo", b"1", b"Connection: close")
        peer.send(first + post("/v1/echo", b"2"))
        answer = peer.reply()
        assert (answer.body, answer.headers["connection"]) == (b"1", "close")
        assert peer.rest() == b""


@each(
    ("data", "status", "code"),
    [
        (get("/" + "a" * 17000), 414, "uri_too_long"),
        (get("/", b"X: " + b"a" * 66000), 431, "headers_too_large"),
        (get("/", *[b"X%d: a" % n for n in range(128)]), 431, "headers_too_large"),
        (get("/", *[b"X: a"] * 128), 431, "headers_too_large"),
        (get("/", *[b"X:"] * 30_000), 431, "headers_too_large"),
        (get("/", *[b"X%d: " % n + b"a" * 1000 for n in range(70)]), 431, None),
        (get("/", *[b"X: " + b"a" * 1000] * 70), 431, None),
        (get("/", b"X: " + b"a" * 300_000), 431, "headers_too_large"),
        (b"GET /" + b"a" * 300_000, 414, "uri_too_long"),
    ],
)
def test_heads_have_limits(server, data, status, code) -> None:
    answer = server.ask(data)
    assert answer.status == status
    assert code is None or answer.code == code
    assert answer.headers["connection"] == "close"


def test_the_largest_head_is_served(server) -> None:
    fields = [b"X%03d: " % n + b"a" * 480 for n in range(126)]
    assert server.ask(get("/?" + "a" * 1000, *fields)).status == 200


def test_a_head_that_grows_for_ever_is_refused(server) -> None:
    """One field without an end is counted although the parser tells nothing."""
    with server.connect() as peer:
        peer.send(b"GET / HTTP/1.1\r\nHost: a\r\nX: ")
        for _ in range(70):
            peer.send(b"a" * 1024)
        assert peer.reply().status == 431


@each("start", [b"0\r\nX: ", b"1;", b"1;a=", b"1\r\nx\r\n0\r\nX: "])
def test_a_trailer_or_extension_that_grows_for_ever_is_refused(server, start) -> None:
    with server.connect() as peer:
        peer.send(chunked("/v1/echo") + start)
        for _ in range(90):
            peer.send(b"a" * 1024)
            time.sleep(0.0005)
        assert peer.reply().status == 431


@each("path", ["/v1/responses", "/v1/echo", "/nothing"])
def test_a_websocket_is_answered_426(server, path) -> None:
    fields = (
        b"Connection: Upgrade",
        b"Upgrade: WebSocket",
        b"Sec-WebSocket-Version: 13",
        b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
    )
    with server.connect() as peer:
        peer.send(get(path, *fields) + b"\x81\x85\0\0\0\0hello")
        answer = peer.reply()
        assert (answer.status, answer.code) == (426, "upgrade_required")
        assert peer.rest() == b""


def test_an_h2c_offer_is_ignored_and_the_body_read(server) -> None:
    """Java's client offers HTTP/2 on every plain connection it opens."""
    fields = (
        b"Connection: Upgrade, HTTP2-Settings",
        b"Upgrade: h2c",
        b"HTTP2-Settings: AAEAAEAAAAIAAAABAAMAAABkAAQBAAAAAAUAAEAA",
    )
    with server.connect() as peer:
        for body in (b"hello", b"x" * 100_000):
            peer.send(post("/v1/echo", body, *fields))
            assert peer.reply().body == body
        data = post("/v1/echo", b"in pieces", *fields)
        peer.send(data[:-4])
        time.sleep(0.02)
        peer.send(data[-4:] + get("/"))
        assert peer.reply().body == b"in pieces"
        assert peer.reply().status == 200


def test_connect_is_refused(server) -> None:
    answer = server.ask(b"CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n")
    assert answer.status == 405


def test_an_absolute_target_and_http_1_0(server) -> None:
    """A reply without chunks ends with the connection."""
    answer = server.ask(b"GET http://b.test/v1/describe?q HTTP/1.1\r\nHost: a\r\n\r\n")
    assert json.decode(answer.body, dict)["path"] == "/v1/describe"
    with server.connect() as peer:
        peer.send(b"GET /v1/describe HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
        assert peer.reply().headers["connection"] == "close"
        assert peer.rest() == b""


def test_expect_continue_is_answered_only_when_the_body_is_wanted(server) -> None:
    with server.connect() as peer:
        peer.send(post("/v1/echo", b"hello", b"Expect: 100-continue")[:-5])
        assert peer.reply().status == 100
        peer.send(b"hello")
        assert peer.reply().body == b"hello"
        peer.send(post("/nothing", b"hello", b"Expect: 100-continue")[:-5])
        answer = peer.reply()
        assert (answer.status, answer.headers["connection"]) == (404, "close")


def test_head_has_the_head_of_get(server) -> None:
    with server.connect() as peer:
        for path in ("/", "/v1/models/a"):
            peer.send(get(path, method="HEAD"))
            answer = peer.reply(bodyless=True)
            assert answer.status == 200
            assert int(answer.headers["content-length"]) > 0
        peer.send(get("/"))
        assert peer.reply().status == 200


def test_404_and_405_are_errors_of_the_api(server) -> None:
    missing = server.ask(get("/v1/nothing"))
    assert (missing.status, missing.code) == (404, "not_found")
    wrong = server.ask(get("/v1/echo"))
    assert (wrong.status, wrong.code) == (405, "method_not_allowed")
    assert wrong.headers["allow"] == "OPTIONS, POST"


def test_unexpected_errors_are_500_without_their_text(server) -> None:
    for path in ("/v1/broken", "/v1/silent", "/v1/splitting"):
        answer = server.ask(get(path))
        assert (answer.status, answer.code) == (500, "internal_error")
        assert b"prompt" not in answer.body
        assert "set-cookie" not in answer.headers


def test_an_unexpected_error_is_logged_once_without_content(server) -> None:
    """With the request's id and the place, but neither body, key nor message."""
    stream = io.StringIO()
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    logs.configure(stream=stream)
    try:
        answer = server.ask(
            get(
                "/v1/broken?key=sk-0123456789abcdef", b"Authorization: Bearer sk-secret"
            )
        )
        server.ask(get("/v1/refusing"))
    finally:
        root.handlers[:] = handlers
        root.setLevel(level)
        structlog.reset_defaults()
    (line,) = stream.getvalue().splitlines()
    assert answer.headers["x-request-id"] in line
    assert "in broken" in line
    assert '"route": "/v1/broken"' in line
    for secret in ("prompt", "sk-secret", "sk-0123456789abcdef"):
        assert secret not in line


def test_every_reply_has_its_own_request_id(server) -> None:
    answers = [server.ask(get(path)) for path in ("/v1/describe", "/v1/describe", "/x")]
    assert len({answer.headers["x-request-id"] for answer in answers}) == 3
    report = json.decode(answers[0].body, dict)
    assert report["id"] == answers[0].headers["x-request-id"]


def test_a_model_id_may_hold_slashes_and_escapes(server) -> None:
    answer = server.ask(get("/models/org%2Fname%20x/y"))
    report = json.decode(answer.body, dict)
    assert report["path"] == "/v1/models/org/name x/y"
    assert report["tail"] == "org/name x/y"


def test_the_caller_behind_a_trusted_proxy(server) -> None:
    fields = (b"X-Forwarded-For: 6.6.6.6", b"X-Forwarded-For: 1.2.3.4")
    report = json.decode(server.ask(get("/v1/describe", *fields)).body, dict)
    assert report["address"] == "1.2.3.4"


@each(
    ("data", "status"),
    [
        (get("/v1/describe", b"Origin: https://app.test"), 200),
        (get("/nothing", b"Origin: https://app.test"), 404),
        (get("/v1/broken", b"Origin: https://app.test"), 500),
        (get("/v1/refusing", b"Origin: https://app.test"), 400),
    ],
)
def test_cross_origin_headers_stand_on_every_reply(server, data, status) -> None:
    """A page could otherwise not read what went wrong."""
    answer = server.ask(data)
    assert answer.status == status
    assert answer.headers["access-control-allow-origin"] == "https://app.test"


@pytest.mark.parametrize("path", ["/v1/echo", "/nothing"])
def test_a_preflight_is_answered_for_every_path(server, path) -> None:
    answer = server.ask(
        get(
            path,
            b"Origin: https://app.test",
            b"Access-Control-Request-Method: POST",
            b"Access-Control-Request-Headers: authorization,x-stainless-os",
            method="OPTIONS",
        )
    )
    assert answer.status == 204
    assert "content-length" not in answer.headers
    assert answer.headers["access-control-allow-origin"] == "https://app.test"
    assert (
        answer.headers["access-control-allow-headers"] == "authorization,x-stainless-os"
    )
    assert "access-control-allow-credentials" not in answer.headers


def test_options_tells_the_methods(server) -> None:
    assert server.ask(get("/v1/echo", method="OPTIONS")).headers["allow"] == (
        "OPTIONS, POST"
    )
    assert server.ask(get("/nothing", method="OPTIONS")).status == 404
    assert server.ask(get("*", method="OPTIONS")).status == 204


def test_connections_are_forgotten() -> None:
    """Neither good nor bad ones leave anything behind."""
    with serving(Route(("POST",), "/v1/echo", echo)) as server:
        for data in (post("/v1/echo", b"a"), b"bad\r\n\r\n", b"GET / HT", b""):
            peer = server.connect()
            peer.send(data)
            peer.close()
        context = server.server.context
        eventually(lambda: not context.connections and not context.tasks)
        assert context.budget.held == 0

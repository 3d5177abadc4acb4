"""Requests that are no requests, slow ones, wrong methods and paths, at a real server.

Each gets one clear 4xx in OpenAI's shape and no more of the connection is
read; slow clients are cut in bounded time while others are served.
"""

import re
import selectors
import socket
import time

from tests.conftest import StartPosthouse
from tests.support.cases import each
from tests.support.fake import ThreadedFake
from tests.support.guard import BODIES, MEBIBYTE, Guarded, error_of
from tests.support.raw import read_reply

CHAT = "/v1/chat/completions"
BODY = BODIES[CHAT]
SIZE = b"%d" % len(BODY)
CHUNK = b"%x\r\n%b\r\n0\r\n\r\n" % (len(BODY), BODY)
SLOW_SECONDS = 3.0
"""In which a slow client must have been told; the limits are set to one second."""
LEAST_SECONDS = 0.7
"""Before which none may be."""


def replies_in(received: bytes) -> int:
    """Count replies."""
    return len(re.findall(rb"HTTP/1\.1 \d{3} ", received))


def request(guarded: Guarded, *lines: bytes, body: bytes = BODY) -> bytes:
    """Write a chat request with a good key and these lines."""
    key = b"Authorization: Bearer " + guarded.key.encode()
    start = b"POST /v1/chat/completions HTTP/1.1"
    return b"\r\n".join([start, key, *lines, b"", body])


HOST = b"Host: relay.test"
LENGTH = b"Content-Length: " + SIZE
TE = b"Transfer-Encoding: chunked"

FRAMING: dict[str, tuple[tuple[bytes, ...], bytes]] = {
    "length twice": ((HOST, LENGTH, LENGTH), BODY),
    "two lengths": ((HOST, LENGTH, b"Content-Length: 0"), BODY),
    "list of lengths": ((HOST, LENGTH + b", " + SIZE), BODY),
    "negative length": ((HOST, b"Content-Length: -1"), BODY),
    "signed length": ((HOST, b"Content-Length: +" + SIZE), BODY),
    "hexadecimal length": ((HOST, b"Content-Length: 0x3c"), BODY),
    "length with a space": ((HOST, b"Content-Length: 6 0"), BODY),
    "length with a letter": ((HOST, b"Content-Length: 60a"), BODY),
    "fraction of a length": ((HOST, b"Content-Length: 60.0"), BODY),
    "underscored length": ((HOST, b"Content-Length: 6_0"), BODY),
    "arabic length": ((HOST, b"Content-Length: " + "٦٠".encode()), BODY),
    "empty length": ((HOST, b"Content-Length:"), BODY),
    "enormous length": ((HOST, b"Content-Length: " + b"9" * 30), BODY),
    "length and chunks": ((HOST, LENGTH, TE), CHUNK),
    "chunks and length": ((HOST, TE, b"Content-Length: 0"), CHUNK),
    "chunks twice": ((HOST, TE, TE), CHUNK),
    "chunked, chunked": ((HOST, TE + b", chunked"), CHUNK),
    "gzip, chunked": ((HOST, b"Transfer-Encoding: gzip, chunked"), CHUNK),
    "chunked, identity": ((HOST, TE + b", identity"), CHUNK),
    "identity": ((HOST, b"Transfer-Encoding: identity"), BODY),
    "xchunked": ((HOST, b"Transfer-Encoding: xchunked"), CHUNK),
    "quoted chunked": ((HOST, b'Transfer-Encoding: "chunked"'), CHUNK),
    "chunked behind a tab": ((HOST, b"Transfer-Encoding: \x0bchunked"), CHUNK),
    "space before a colon": ((HOST, b"Transfer-Encoding : chunked"), CHUNK),
    "folded line": ((HOST, b"X: a", b" b", LENGTH), BODY),
    "NUL in a value": ((HOST, b"X: a\0b", LENGTH), BODY),
    "NUL in a name": ((HOST, b"X\0: a", LENGTH), BODY),
    "CR in a value": ((HOST, b"X: a\rb", LENGTH), BODY),
    "LF in a value": ((HOST, b"X: a\nY: b", LENGTH), BODY),
    "control in a value": ((HOST, b"X: a\x01b", LENGTH), BODY),
    "DEL in a value": ((HOST, b"X: a\x7fb", LENGTH), BODY),
    "name without a value": ((HOST, b"Nonsense", LENGTH), BODY),
    "name with a space": ((HOST, b"X Y: a", LENGTH), BODY),
    "name of no letters": ((HOST, b": a", LENGTH), BODY),
    "foreign name": ((HOST, "Ключ: a".encode(), LENGTH), BODY),
    "no Host": ((LENGTH,), BODY),
    "Host twice": ((HOST, HOST, LENGTH), BODY),
    "bad chunk size": ((HOST, TE), b"zz\r\n" + CHUNK),
    "signed chunk size": ((HOST, TE), b"+" + CHUNK),
    "chunk size 0x": ((HOST, TE), b"0x" + CHUNK),
    "enormous chunk size": ((HOST, TE), b"f" * 17 + b"\r\n" + BODY),
    "chunk longer than said": ((HOST, TE), b"5\r\n" + BODY + b"\r\n0\r\n\r\n"),
    "chunk ended by LF": ((HOST, TE), CHUNK.replace(b"\r\n", b"\n")),
    "bad trailer": ((HOST, TE), CHUNK[:-2] + b"X\0: a\r\n\r\n"),
}


@each("name", FRAMING)
def test_a_request_that_two_readers_may_take_for_two_is_400(
    guarded: Guarded, name: str
) -> None:
    """And what stands behind it, a request in itself, is never read."""
    lines, body = FRAMING[name]
    data = request(guarded, *lines, body=body)
    behind = request(guarded, HOST, LENGTH)

    def ask() -> None:
        received = guarded.talk(data + behind)
        assert replies_in(received) == 1
        reply = read_reply(received)
        assert reply.status == 400
        assert reply.header("connection") == "close"
        error_of(reply)

    guarded.untouched(ask)


LINES = [
    b"",
    b"GET",
    b"GET /",
    b"GET / HTTP/0.9",
    b"GET / HTTP/1.2",
    b"GET / HTTP/2.0",
    b"GET / HTTP/3",
    b"GET / http/1.1",
    b"GET / HTTPS/1.1",
    b"GET / HTTP/1.1 extra",
    b"get /v1/models HTTP/1.1",
    b"G\0T / HTTP/1.1",
    b"GET /\xff HTTP/1.1",
    b"GET /\0 HTTP/1.1",
    b"GET /#fragment HTTP/1.1",
    b"GET * HTTP/1.1",
    b"GET relay.test HTTP/1.1",
    b"GET ftp://relay.test/ HTTP/1.1",
    b"GET //\x7f HTTP/1.1",
    b"PRI * HTTP/2.0",
    b"NONSENSE / HTTP/1.1",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    b"SSH-2.0-OpenSSH_9.6",
    b"\r\n\r\n\r\n\r\nNONSENSE",
    b"{}",
]


def test_what_is_no_request_line_is_refused(guarded: Guarded) -> None:
    """Other protocols, other versions, and what nobody speaks."""

    def ask() -> None:
        for line in LINES[1:]:
            data = line + b"\r\nHost: relay.test\r\n\r\n"
            received = guarded.talk(data + request(guarded, HOST, LENGTH))
            assert replies_in(received) == 1, line
            assert read_reply(received).status in (400, 405), line
            error_of(read_reply(received))

    guarded.untouched(ask)


HEADS: dict[str, tuple[int, tuple[bytes, ...]]] = {
    "one field of 70 KB": (431, (b"X: " + b"a" * 70_000,)),
    "one field of 5 MB": (431, (b"X: " + b"a" * (5 * MEBIBYTE),)),
    "many small fields": (431, tuple(b"X%d: a" % n for n in range(10_000))),
    "many equal fields": (431, (b"Cookie: a=b",) * 10_000),
    "many middling fields": (431, tuple(b"X%d: " % n + b"a" * 900 for n in range(90))),
    "a name of 70 KB": (431, (b"X" * 70_000 + b": a",)),
    "a key of 70 KB": (431, (b"X-Api-Key: " + b"k" * 70_000,)),
}


@each("name", HEADS)
def test_a_head_that_is_too_large_is_431(guarded: Guarded, name: str) -> None:
    """However its size is spread."""
    status, lines = HEADS[name]
    data = request(guarded, HOST, *lines, LENGTH)
    guarded.untouched(lambda: guarded.refused(status, data, code="headers_too_large"))


@each("size", [17_000, 70_000, 2 * MEBIBYTE])
def test_an_address_that_is_too_long_is_414(guarded: Guarded, size: int) -> None:
    """In its path or in its query."""

    def ask() -> None:
        for start in (b"/", b"/v1/models/", b"/v1/models?key=", b"/?"):
            line = b"GET " + start + b"a" * size + b" HTTP/1.1\r\n"
            guarded.refused(414, line + HOST + b"\r\n\r\n", code="uri_too_long")

    guarded.untouched(ask)


# --- paths and methods ----------------------------------------------------------

METHODS = ["GET", "HEAD", "PUT", "PATCH", "DELETE", "TRACE", "PROPFIND", "CONNECT"]


@each("target", BODIES)
def test_another_method_is_405(guarded: Guarded, target: str) -> None:
    """With the methods that there are; no body is needed for that."""
    # Chats that are kept are listed.
    lists = ("GET", "HEAD") if target == "/v1/chat/completions" else ()
    allowed = ", ".join(sorted((*lists, "OPTIONS", "POST")))

    def ask() -> None:
        for method in METHODS:
            if method in lists:
                continue
            reply = guarded.ask(guarded.head(method, target))
            assert reply.status == 405, method
            if method not in ("HEAD", "CONNECT"):
                assert reply.header("allow") == allowed
                assert error_of(reply)["code"] == "method_not_allowed"
            if method == "HEAD":
                assert reply.body == b""
        for other in ("/", "/v1/models", "/health/ready", "/metrics"):
            reply = guarded.ask(guarded.head("POST", other, length=2), b"{}")
            assert reply.status == 405
            error_of(reply)

    guarded.untouched(ask)


PATHS = [
    "/v2/chat/completions",
    "/v1",
    "/v1/",
    "/v1/chat",
    "/v1/chat/x",
    "/v1/chat/completions/..",
    "/v1/../v1/chat/completions",
    "/v1/./chat/completions",
    "/v1/chat%2f..%2fcompletions",
    "/v1/chat/completions%00",
    "/v1/chat/completions%0d%0aX:1",
    "/v1/chat/completions;x=1",
    "/V1/chat/completions",
    "/v1/Chat/Completions",
    "/v1/chat\\completions",
    "/%2e%2e/%2e%2e/etc/passwd",
    "/..%2f..%2fetc/passwd",
    "/.env",
    "/admin",
    "/docs",
    "/openapi.json",
    "/favicon.ico",
    "/static/../../etc/passwd",
    "/%ff%fe",
    "/%",
    "/%zz",
    "/" + "a/" * 4000,
]


def test_an_address_that_leads_nowhere_is_404(guarded: Guarded) -> None:
    """Nothing of it is resolved, and only its own client ever sees it."""

    def ask() -> None:
        for path in PATHS:
            for key in ("", None):
                reply = guarded.ask(
                    guarded.head("POST", path, length=len(BODY), key=key), BODY
                )
                assert reply.status == 404, path
                assert error_of(reply)["code"] == "not_found"
                assert len(reply.body) < 1000

    guarded.untouched(ask)


SPELLINGS = [
    "/v1/chat/completions",
    "/chat/completions",
    "/v1/v1/chat/completions",
    "//v1//chat//completions",
    "/v1/chat/completions/",
    "/v1/chat/%63ompletions",
    "/v1/chat%2Fcompletions",
]


def test_every_spelling_of_a_path_asks_for_the_key(guarded: Guarded) -> None:
    """What is lenient with a path is not lenient with its caller."""

    def ask() -> None:
        for path in SPELLINGS:
            reply = guarded.post(path, BODY, key=None)
            assert reply.status == 401, path
            assert guarded.post(path, b"", key="sk-unknown").status == 401
            assert guarded.post(path, b"{").status == 400

    guarded.untouched(ask)


STRANGE_IDS = [
    "%00",
    "%0d%0a",
    "%ff",
    "..%2f..%2f",
    "%22%3Cscript%3E",
    "a" * 8000,
    "%25",
]


def test_strange_names_in_a_path_are_404_and_text(guarded: Guarded) -> None:
    """A model's name is data, whatever is in it."""

    def ask() -> None:
        for name in STRANGE_IDS:
            reply = guarded.get("/v1/models/" + name)
            assert reply.status == 404, name
            assert error_of(reply)["code"] == "model_not_found"
            assert len(reply.body) < 1000

    guarded.untouched(ask)


# --- connections ----------------------------------------------------------------


def test_a_wrong_key_is_told_before_the_body_is_read(guarded: Guarded) -> None:
    """Whoever is unknown may not make the server hold anything."""
    head = guarded.head("POST", CHAT, length=20 * MEBIBYTE, key="sk-unknown-reader")

    def ask() -> None:
        before = guarded.memory()
        reply = guarded.ask(head, bytes(5 * MEBIBYTE))
        assert reply.status == 401
        error_of(reply)
        assert guarded.memory() - before < 4 * MEBIBYTE

    guarded.untouched(ask)


def test_junk_behind_a_good_request_does_not_change_it(guarded: Guarded) -> None:
    """The good one is answered, then the junk is refused."""
    good = request(guarded, HOST, LENGTH)
    for junk in (b"\0" * 100, b"NONSENSE\r\n\r\n", BODY, b"\xff" * 100_000):
        before = len(guarded.fake.everything)
        received = guarded.talk(good + junk)
        statuses = [piece[:3] for piece in received.split(b"HTTP/1.1 ")[1:]]
        assert statuses == [b"200", b"400"]
        assert len(guarded.fake.everything) == before + 1


def test_a_pipeline_of_bad_bodies_is_answered_in_order(guarded: Guarded) -> None:
    """A hundred refusals on one connection, each for its own request."""
    bad = request(guarded, HOST, b"Content-Length: 2", body=b"{}")
    last = request(
        guarded, HOST, b"Content-Length: 2", b"Connection: close", body=b"{]"
    )

    def ask() -> None:
        received = guarded.talk(bad * 100 + last)
        assert received.count(b"HTTP/1.1 400 ") == 101
        assert received.count(b'"missing_model"') == 100
        assert received.rindex(b'"invalid_json"') > received.rindex(b'"missing_model"')

    guarded.untouched(ask)


def test_slow_clients_are_cut_and_hinder_nobody(guarded: Guarded) -> None:
    """Fifty of every kind at once: heads and bodies that never come to an end."""
    chat = request(guarded, HOST, LENGTH)
    head, _, _ = chat.partition(b"\r\n\r\n")
    started = request(guarded, HOST, TE, body=b"1\r\n{\r\n")
    kinds = {
        "nothing": b"",
        "a line": b"POST /v1/chat/completions HTTP/1.1\r\n",
        "a head": head,
        "no body": head + b"\r\n\r\n",
        "a part of a body": chat[:-1],
        "a chunk": started,
        "a part of a chunk": started + b"ffff\r\n",
    }

    def ask() -> None:
        began = time.monotonic()
        replies = hang(guarded, [data for data in kinds.values() for _ in range(50)])
        assert LEAST_SECONDS < time.monotonic() - began < SLOW_SECONDS
        for index, received in enumerate(replies):
            if index < 50:
                assert received == b""
                continue
            reply = read_reply(received)
            assert reply.status == 408
            assert error_of(reply)["code"] == "request_timeout"

    guarded.untouched(ask)


def hang(guarded: Guarded, beginnings: list[bytes]) -> list[bytes]:
    """Begin requests, then drip a byte now and then, until all were closed."""
    selector = selectors.DefaultSelector()
    replies = [b""] * len(beginnings)
    open_ones = {}
    for index, data in enumerate(beginnings):
        peer = socket.create_connection(guarded.address, timeout=5)
        peer.sendall(data)
        peer.setblocking(False)
        selector.register(peer, selectors.EVENT_READ, index)
        open_ones[index] = peer
    end = time.monotonic() + 2 * SLOW_SECONDS
    while open_ones and time.monotonic() < end:
        for key, _ in selector.select(0.2):
            try:
                piece = open_ones[key.data].recv(65_536)
            except ConnectionError:
                piece = b""
            replies[key.data] += piece
            if not piece:
                selector.unregister(open_ones[key.data])
                open_ones.pop(key.data).close()
    assert not open_ones, f"{len(open_ones)} are still open"
    selector.close()
    return replies


def test_dripping_a_byte_gains_no_time(guarded: Guarded) -> None:
    """A body must bring more than a byte now and then."""
    head = guarded.head("POST", CHAT, length=10_000)

    def ask() -> None:
        began = time.monotonic()
        with socket.create_connection(guarded.address, timeout=0.05) as peer:
            peer.sendall(head)
            received = b""
            while time.monotonic() - began < 2 * SLOW_SECONDS and not received:
                peer.sendall(b" ")
                try:
                    received = peer.recv(65_536)
                except TimeoutError:
                    continue
        assert read_reply(received).status == 408
        assert LEAST_SECONDS < time.monotonic() - began < SLOW_SECONDS

    guarded.untouched(ask)


@each("kind", ["reset", "close", "half"])
def test_clients_that_vanish_leave_nothing_behind(guarded: Guarded, kind: str) -> None:
    """At any byte of a request: no descriptor, no memory, no call."""
    data = request(guarded, HOST, b"Content-Length: 600")

    def ask() -> None:
        before = guarded.metrics()["process_open_fds"]
        for size in range(0, len(data), 3):
            peer = socket.create_connection(guarded.address, timeout=5)
            peer.sendall(data[:size])
            if kind == "reset":
                linger = b"\1\0\0\0\0\0\0\0"
                peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            elif kind == "half":
                peer.shutdown(socket.SHUT_WR)
            peer.close()
        deadline = time.monotonic() + SLOW_SECONDS
        while guarded.metrics()["process_open_fds"] > before:
            assert time.monotonic() < deadline
            time.sleep(0.05)

    guarded.untouched(ask)


def test_more_connections_than_may_be_are_refused_and_cost_nobody_else(
    start_posthouse: StartPosthouse,
) -> None:
    """A 503 at once for each; when one goes, another one may come."""
    few = start_posthouse("", {"POSTHOUSE_MAX_CONNECTIONS": "20"})
    guarded = Guarded(few, ThreadedFake(), "sk-nobody")
    held = [socket.create_connection(guarded.address, timeout=5) for _ in range(19)]
    line = b"GET / HTTP/1.1\r\nHost: relay.test\r\n\r\n"
    with socket.create_connection(guarded.address, timeout=5) as last:
        last.sendall(line)
        assert read_reply(last.recv(65_536)).status == 200
        for _ in range(50):
            with socket.create_connection(guarded.address, timeout=5) as refused:
                reply = read_reply(refused.recv(65_536))
                assert reply.status == 503
                assert error_of(reply)["code"] == "overloaded"
                assert reply.header("retry-after") == "1"
                assert refused.recv(1) == b""
        last.sendall(line)
        assert read_reply(last.recv(65_536)).status == 200
    for peer in held:
        peer.close()
    assert guarded.metrics()["process_open_fds"] < 100

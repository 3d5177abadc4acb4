"""Request bodies on a real socket: limits, compression, truncation, memory."""

import asyncio
import gzip
import time
import zlib

import pytest
from tests.unit.server.harness import (
    RunningServer,
    chunk,
    chunked,
    eventually,
    get,
    post,
    serving,
)

from posthouse.server.limits import ServerLimits
from posthouse.server.request import Request
from posthouse.server.routes import Route

LIMIT = 1 << 20
GZIP = b"Content-Encoding: gzip"


async def size(request: Request) -> None:
    body = await request.body(LIMIT)
    await request.client.respond(200, [], b"%d %d" % (len(body), zlib.crc32(body)))


async def large(request: Request) -> None:
    body = await request.body(64 << 20)
    await request.client.respond(200, [], b"%d" % len(body))


async def unread(request: Request) -> None:
    await request.client.respond(401, [], b"who?")


def told(body: bytes) -> bytes:
    return b"%d %d" % (len(body), zlib.crc32(body))


@pytest.fixture(scope="module")
def server():
    running = RunningServer(
        [
            Route(("POST",), "/size", size),
            Route(("POST",), "/large", large),
            Route(("POST",), "/unread", unread),
        ],
        limits=ServerLimits(linger=1.0, sweep_interval=0.05, buffered_bodies=100 << 20),
    )
    yield running
    assert running.server.context.budget.held == 0
    running.close()


TEXT = b'{"a": "' + bytes(range(32, 127)) * 2000 + b'"}'


@pytest.mark.parametrize(
    ("body", "coding"),
    [
        (TEXT, None),
        (b"", None),
        (TEXT, b"Identity"),
        (gzip.compress(TEXT, mtime=0), b"gzip"),
        (gzip.compress(TEXT, mtime=0), b"X-GZip"),
        (zlib.compress(TEXT), b"deflate"),
        (zlib.compress(TEXT, wbits=-15), b"deflate"),
    ],
)
def test_bodies_arrive_whole_whatever_their_coding(server, body, coding) -> None:
    """In one piece, by Content-Length, and in chunks."""
    fields = () if coding is None else (b"Content-Encoding: " + coding,)
    expected = told(TEXT if body else b"")
    assert server.ask(post("/size", body, *fields)).body == expected
    pieces = [body[at : at + 999] for at in range(0, len(body), 999)]
    data = b"".join(map(chunk, pieces)) + b"0\r\n\r\n"
    assert server.ask(chunked("/size", *fields) + data).body == expected


@pytest.mark.parametrize("length", [LIMIT, LIMIT + 1])
def test_the_limit_is_exact(server, length) -> None:
    body = bytes(length)
    status = 200 if length == LIMIT else 413
    assert server.ask(post("/size", body)).status == status
    assert server.ask(chunked("/size") + chunk(body) + b"0\r\n\r\n").status == status


def test_a_declared_length_above_the_limit_is_refused_unread(server) -> None:
    """Not a byte of it has to be sent."""
    answer = server.ask(post("/size")[:-4].replace(b": 0", b": 99999999") + b"\r\n\r\n")
    assert (answer.status, answer.code) == (413, "payload_too_large")
    assert answer.headers["connection"] == "close"


def test_an_endless_body_is_refused_soon_after_the_limit(server) -> None:
    """What the client could send beyond it is what sockets buffer."""
    sent = 0
    piece = chunk(bytes(65000))
    with server.connect() as peer:
        peer.socket.settimeout(0.0)
        head = chunked("/size")
        peer.socket.setblocking(True)
        peer.send(head)
        while sent < 64 << 20:
            peer.socket.setblocking(False)
            try:
                data = peer.socket.recv(65536)
            except BlockingIOError:
                peer.socket.setblocking(True)
                peer.send(piece)
                sent += len(piece)
            else:
                assert data.startswith(b"HTTP/1.1 413 ")
                break
    assert sent < LIMIT + (8 << 20)


@pytest.mark.parametrize("coding", [b"br", b"zstd", b"gzip, gzip", b"nonsense"])
def test_other_codings_are_refused(server, coding) -> None:
    answer = server.ask(post("/size", b"hello", b"Content-Encoding: " + coding))
    assert (answer.status, answer.code) == (415, "unsupported_media_type")


@pytest.mark.parametrize(
    "body",
    [
        gzip.compress(TEXT, mtime=0)[:-5],
        gzip.compress(TEXT, mtime=0)[:50],
        gzip.compress(TEXT, mtime=0) + b"garbage",
        b"no gzip at all",
        gzip.compress(TEXT, mtime=0).replace(b"\x1f\x8b", b"\x1f\x8c", 1),
    ],
)
def test_damaged_compression_is_400(server, body) -> None:
    assert server.ask(post("/size", body, GZIP)).status == 400


class Turns:
    """The longest turn of a loop, in its thread's CPU seconds.

    A busy machine adds nothing to them. `begin` in the loop.
    """

    def __init__(self) -> None:
        self.longest = 0.0
        self._last = 0.0

    def begin(self) -> None:
        self._last = time.thread_time()
        asyncio.get_running_loop().call_later(0.001, self._look)

    def _look(self) -> None:
        self.longest = max(self.longest, time.thread_time() - self._last)
        self.begin()


def test_bombs_end_at_the_limit_and_stop_no_one_else() -> None:
    """1 GiB in 1 MiB: refused by size, by ratio, and in small turns of the loop."""
    packer = zlib.compressobj(9, wbits=31)
    head = packer.compress(b"") + packer.flush(zlib.Z_FULL_FLUSH)
    # Blocks that need nothing of what stands before them.
    block = packer.compress(bytes(1 << 20)) + packer.flush(zlib.Z_FULL_FLUSH)
    bomb = head + block * 1024
    assert len(bomb) < 2 << 20
    many = b"".join([chunk(b"x")] * 300_000) + b"0\r\n\r\n"
    turns = Turns()
    with serving(
        Route(("POST",), "/size", size), Route(("POST",), "/large", large)
    ) as server:
        server.in_loop(lambda: server.loop.call_soon(turns.begin))
        for path in ("/size", "/large"):
            answer = server.ask(post(path, bomb, GZIP))
            assert (answer.status, answer.code) == (413, "payload_too_large")
        assert server.ask(chunked("/size") + many).status == 200
        assert server.server.context.budget.held == 0
    assert 0 < turns.longest < 0.1


@pytest.mark.parametrize("half", [True, False])
def test_a_truncated_body_is_400(server, half) -> None:
    """Whoever closes only its own direction can still read why."""
    data = post("/size", b"hello")[:-2] if half else chunked("/size") + chunk(b"hello")
    with server.connect() as peer:
        peer.send(data)
        peer.socket.shutdown(1)
        answer = peer.reply()
        assert answer.status == 400
        assert peer.rest() == b""


def test_a_body_that_ends_with_a_reset_frees_what_it_held(server) -> None:
    with server.connect() as peer:
        peer.send(chunked("/large") + chunk(bytes(500_000)))
        context = server.server.context
        eventually(lambda: context.budget.held >= 500_000)
        peer.reset()
        eventually(lambda: context.budget.held == 0 and not context.tasks)


def test_bodies_together_have_a_budget() -> None:
    """One more than fits is 503 with Retry-After, and what fits is served."""
    limits = ServerLimits(buffered_bodies=3 << 20, linger=1.0)
    with serving(Route(("POST",), "/large", large), limits=limits) as server:
        context = server.server.context
        with server.connect() as first:
            first.send(chunked("/large") + chunk(bytes(2 << 20)))
            eventually(lambda: context.budget.held == 2 << 20)
            answer = server.ask(post("/large", bytes(2 << 20)))
            assert (answer.status, answer.code) == (503, "overloaded")
            assert answer.headers["retry-after"] == "1"
            first.send(b"0\r\n\r\n")
            assert first.reply().body == b"%d" % (2 << 20)
        eventually(lambda: context.budget.held == 0)


def test_a_refusal_reaches_a_client_that_is_still_sending(server) -> None:
    """The reply is not overtaken by a reset for the unread body."""
    with server.connect() as peer:
        peer.send(post("/unread", bytes(10 << 20))[: 1 << 20])
        answer = peer.reply()
        assert (answer.status, answer.headers["connection"]) == (401, "close")
        peer.send(bytes(1 << 20))
        assert peer.rest() == b""


def test_a_million_small_chunks_cost_linear_time(server) -> None:
    """Ten times as many take at most a few times ten as long."""

    def seconds(count: int) -> float:
        data = chunked("/size") + chunk(b"xy") * count + b"0\r\n\r\n"
        began = server.in_loop(time.thread_time)
        assert server.ask(data).status == 200
        return server.in_loop(time.thread_time) - began

    seconds(1000)
    small, big = seconds(20_000), seconds(200_000)
    assert big < 40 * small


def test_a_body_in_the_hands_of_a_slow_handler_pauses_the_client() -> None:
    """What no one reads is not buffered beyond one socket read."""
    release: list[asyncio.Event] = []

    async def slow(request: Request) -> None:
        event = asyncio.Event()
        release.append(event)
        await event.wait()
        await size(request)

    with serving(Route(("POST",), "/slow", slow)) as server:
        body = bytes(LIMIT)
        with server.connect() as peer:
            peer.socket.setblocking(False)
            data = post("/slow", body)
            sent = 0
            for _ in range(50):
                try:
                    sent += peer.socket.send(data[sent:])
                except BlockingIOError:
                    time.sleep(0.005)
            eventually(lambda: release)
            (connection,) = server.server.context.connections
            held = len(connection.active._buffer)
            assert held < 65536 + 262144
            server.in_loop(release[0].set)
            peer.socket.setblocking(True)
            peer.send(data[sent:])
            assert peer.reply().body == told(body)


def test_get_with_a_body_is_served_and_skipped(server) -> None:
    with server.connect() as peer:
        peer.send(get("/", b"Content-Length: 5") + b"hello" + get("/"))
        assert peer.reply().status == 200
        assert peer.reply().status == 200

"""Replies on a real socket: streams, disconnects at each stage, slow readers."""

import asyncio
import socket
import time

import pytest
from tests.unit.server.harness import chunked, eventually, get, post, serving

from posthouse.server.limits import ServerLimits
from posthouse.server.request import Request
from posthouse.server.routes import Route

SSE = [(b"content-type", b"text/event-stream")]
PART = b"data: part\n\n"


class Stage:
    """A handler that stops at a stage and tells what it learnt there."""

    def __init__(self, stage: str) -> None:
        self.stage = stage
        self.gone: list[str] = []
        self.reached = False
        self.ended = False

    async def __call__(self, request: Request) -> None:
        client = request.client
        away = asyncio.Event()

        def on_gone() -> None:
            self.gone.append("gone")
            away.set()

        client.on_gone(on_gone)
        try:
            if self.stage == "body":
                self.reached = True
                await request.body(1 << 20)
            if self.stage != "head":
                await client.start(200, SSE)
            if self.stage in ("stream", "flood"):
                await client.write(PART)
            self.reached = True
            while self.stage == "flood" and not client.gone:
                await client.write(bytes(65536))
            await away.wait()
            # What a handler still tries to send goes nowhere, without harm.
            if self.stage == "head":
                await client.respond(200, [], b"late")
            else:
                await client.write(PART)
                await client.finish(b"late")
            late: list[str] = []
            client.on_gone(lambda: late.append("at once"))
            assert late == ["at once"]
        finally:
            self.ended = True


@pytest.mark.parametrize("how", ["close", "reset"])
@pytest.mark.parametrize("stage", ["head", "body", "started", "stream", "flood"])
def test_a_disconnect_is_told_once_at_every_stage(stage, how) -> None:
    handler = Stage(stage)
    with serving(Route(("POST",), "/x", handler)) as server:
        peer = server.connect(4096 if stage == "flood" else 0)
        whole = post("/x", b"hello")
        peer.send(whole if stage != "body" else whole[:-1])
        eventually(lambda: handler.reached)
        if stage == "flood":
            time.sleep(0.05)
        getattr(peer, how)()
        eventually(lambda: handler.ended)
        if stage == "body" and how == "close":
            # A half-closed direction is no disconnect until the 400 meets it.
            assert handler.gone in ([], ["gone"])
        else:
            assert handler.gone == ["gone"]
        eventually(lambda: not server.server.context.connections)
        assert handler.gone in ([], ["gone"])


def test_no_callback_after_a_reply_is_complete() -> None:
    told: list[str] = []

    async def answer(request: Request) -> None:
        request.client.on_gone(lambda: told.append("gone"))
        await request.client.respond(200, [], b"ok")

    with serving(Route(("GET",), "/x", answer)) as server:
        assert server.ask(get("/x")).body == b"ok"
        eventually(lambda: not server.server.context.connections)
    assert told == []


async def stream(request: Request) -> None:
    await request.client.start(200, SSE)
    await request.client.write(PART + PART)
    await request.client.write(b"")
    await request.client.finish(b"data: [DONE]\n\n")


async def abort(request: Request) -> None:
    await request.client.start(200, SSE)
    for _ in range(100):
        await request.client.write(PART * 100)
    request.client.abort()
    request.client.abort()


async def fail(request: Request) -> None:
    await request.client.start(200, SSE)
    await request.client.write(PART)
    raise ValueError("after the head")


async def leave_open(request: Request) -> None:
    await request.client.start(200, SSE)
    await request.client.write(PART)


async def abort_first(request: Request) -> None:
    request.client.abort()


async def empty(request: Request) -> None:
    await request.client.respond(204, [], b"")


ROUTES = (
    Route(("GET", "POST"), "/stream", stream),
    Route(("GET",), "/abort", abort),
    Route(("GET",), "/fail", fail),
    Route(("GET",), "/open", leave_open),
    Route(("GET",), "/never", abort_first),
    Route(("GET",), "/empty", empty),
)


@pytest.fixture(scope="module")
def server():
    with serving(*ROUTES, limits=ServerLimits(sweep_interval=0.05)) as running:
        yield running


def test_what_is_written_in_one_call_is_one_chunk(server) -> None:
    with server.connect() as peer:
        peer.send(get("/stream"))
        raw = peer.until(b"0\r\n\r\n").partition(b"\r\n\r\n")[2]
        assert raw == (
            b"18\r\n" + PART + PART + b"\r\n" + b"e\r\ndata: [DONE]\n\n\r\n0\r\n\r\n"
        )
        peer.send(get("/stream"))
        answer = peer.reply()
        assert answer.whole
        assert answer.body == PART + PART + b"data: [DONE]\n\n"
        assert "connection" not in answer.headers


def test_a_stream_to_http_1_0_ends_with_the_connection(server) -> None:
    with server.connect() as peer:
        peer.send(b"GET /stream HTTP/1.0\r\n\r\n")
        answer = peer.reply()
        assert "transfer-encoding" not in answer.headers
        assert answer.body == PART + PART + b"data: [DONE]\n\n"


def test_head_of_a_stream_has_no_body(server) -> None:
    with server.connect() as peer:
        peer.send(get("/stream", method="HEAD") + get("/empty"))
        assert peer.reply(bodyless=True).status == 200
        answer = peer.reply()
        assert answer.status == 204
        assert "content-length" not in answer.headers


def test_an_abort_sends_all_that_was_written_but_no_end(server) -> None:
    with server.connect() as peer:
        peer.send(get("/abort"))
        answer = peer.reply()
        assert not answer.whole
        assert answer.body == PART * 10_000
        assert peer.rest() == b""


@pytest.mark.parametrize("path", ["/fail", "/open"])
def test_a_handler_that_fails_after_its_head_breaks_the_body_off(server, path) -> None:
    """Never a final chunk: the client must not take it for whole."""
    with server.connect() as peer:
        peer.send(get(path))
        answer = peer.reply()
        assert (answer.body, answer.whole) == (PART, False)


def test_an_abort_before_the_head_just_closes(server) -> None:
    with server.connect() as peer:
        peer.send(get("/never"))
        assert peer.rest() == b""


def test_a_reply_before_the_body_s_end_closes_afterwards(server) -> None:
    with server.connect() as peer:
        peer.send(chunked("/stream") + b"5\r\nhello\r\n")
        answer = peer.reply()
        assert (answer.whole, answer.headers["connection"]) == (True, "close")
        assert peer.rest() == b""


def test_misuse_is_an_error_of_ours() -> None:
    errors: list[str] = []

    async def misuse(request: Request) -> None:
        client = request.client
        for call in (client.write(b"x"), client.finish()):
            with pytest.raises(RuntimeError) as caught:
                await call
            errors.append(str(caught.value))
        await client.start(200, [])
        with pytest.raises(RuntimeError) as caught:
            await client.respond(200, [], b"")
        errors.append(str(caught.value))
        await client.finish(b"fine")

    with serving(Route(("GET",), "/x", misuse)) as server:
        assert server.ask(get("/x")).body == b"fine"
    assert len(errors) == 3


def test_a_reader_that_stops_pauses_the_writer_and_is_cut() -> None:
    """Its memory is bounded meanwhile, and the handler is told."""
    written = 0
    told: list[float] = []

    async def flood(request: Request) -> None:
        nonlocal written
        client = request.client
        client.on_gone(lambda: told.append(time.monotonic()))
        await client.start(200, SSE)
        while not client.gone:
            await client.write(bytes(16384))
            written += 16384

    limits = ServerLimits(stall_timeout=0.5, sweep_interval=0.05)
    with serving(Route(("GET",), "/x", flood), limits=limits) as server:
        with server.connect(4096) as peer:
            peer.send(get("/x"))
            began = time.monotonic()
            # As long as it takes something, however little, it is kept.
            for _ in range(20):
                peer.socket.recv(65536)
                time.sleep(0.05)
            assert told == []
            (connection,) = server.server.context.connections
            buffered = server.in_loop(connection.transport.get_write_buffer_size)
            assert buffered <= 65536 + 16384 + 16
            eventually(lambda: told)
            assert 0.5 < told[0] - began < 5
        eventually(lambda: not server.server.context.connections)
    assert written < 16 << 20


def test_a_whole_reply_that_no_one_takes_is_cut_too() -> None:
    async def large(request: Request) -> None:
        await request.client.respond(200, [], bytes(32 << 20))

    limits = ServerLimits(stall_timeout=0.3, sweep_interval=0.05)
    with serving(Route(("GET",), "/x", large), limits=limits) as server:
        peer = server.connect(4096)
        peer.send(get("/x", b"Connection: close"))
        eventually(lambda: server.server.context.connections)
        eventually(lambda: not server.server.context.connections)
        assert not peer.reply().whole


def test_a_hundred_streams_end_with_their_clients() -> None:
    """No task, no connection and no callback is left behind."""
    gone: list[int] = []

    async def wait(request: Request) -> None:
        away = asyncio.Event()
        number = len(gone)
        request.client.on_gone(lambda: (gone.append(number), away.set()))
        await request.client.start(200, SSE)
        await away.wait()

    with serving(Route(("GET",), "/x", wait)) as server:
        peers = [server.connect() for _ in range(100)]
        for peer in peers:
            peer.send(get("/x"))
        for peer in peers:
            assert peer.until(b"\r\n\r\n").startswith(b"HTTP/1.1 200")
        assert len(server.server.context.tasks) == 100
        for peer in peers:
            peer.socket.shutdown(socket.SHUT_RDWR)
            peer.close()
        eventually(lambda: len(gone) == 100)
        context = server.server.context
        eventually(lambda: not context.connections and not context.tasks)

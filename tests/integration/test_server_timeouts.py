"""Slow clients: heads, bodies and idleness have limits, and no others suffer."""

import time

import pytest
from tests.unit.server.harness import (
    Peer,
    RunningServer,
    chunked,
    eventually,
    get,
    post,
    serving,
)

from posthouse.server.limits import ServerLimits
from posthouse.server.request import Request
from posthouse.server.routes import Route

LIMITS = ServerLimits(
    header_timeout=0.5,
    body_window=0.5,
    idle_timeout=1.0,
    linger=0.3,
    sweep_interval=0.05,
)


async def echo(request: Request) -> None:
    body = await request.body(1 << 20)
    await request.client.respond(200, [], body)


@pytest.fixture(scope="module")
def server():
    running = RunningServer([Route(("POST",), "/echo", echo)], limits=LIMITS)
    yield running
    running.close()


def trickle(peer: Peer, data: bytes, pause: float) -> None:
    """Send byte by byte until the other side answers or all is sent."""
    peer.socket.settimeout(pause)
    for byte in data:
        try:
            peer.send(bytes([byte]))
            peer._data += peer.socket.recv(65536)
        except TimeoutError:
            continue
        except OSError:
            break
        break
    peer.socket.settimeout(20)


@pytest.mark.parametrize(
    "prefix", [b"GET /", b"GET / HTTP/1.1\r\n", b"GET / HTTP/1.1\r\nX"]
)
def test_a_head_must_be_whole_in_time(server, prefix) -> None:
    """Nothing after the first byte, or a byte now and then: both end alike."""
    for slowly in (False, True):
        began = time.monotonic()
        with server.connect() as peer:
            peer.send(prefix)
            if slowly:
                trickle(peer, b"x" * 100, 0.05)
            answer = peer.reply()
            assert (answer.status, answer.code) == (408, "request_timeout")
            assert peer.rest() == b""
        assert 0.4 < time.monotonic() - began < 3


def test_line_ends_before_a_head_gain_no_time(server) -> None:
    began = time.monotonic()
    with server.connect() as peer:
        trickle(peer, b"\r\n" * 50, 0.03)
        assert peer.rest() == b""
    assert time.monotonic() - began < 3


def test_a_connection_that_says_nothing_is_closed(server) -> None:
    began = time.monotonic()
    with server.connect() as peer:
        assert peer.rest() == b""
    assert 0.4 < time.monotonic() - began < 3


def test_an_idle_connection_is_kept_longer_and_then_closed(server) -> None:
    with server.connect() as peer:
        for pause in (0.0, 0.7):
            time.sleep(pause)
            peer.send(post("/echo", b"a"))
            assert peer.reply().body == b"a"
        began = time.monotonic()
        assert peer.rest() == b""
        assert 0.8 < time.monotonic() - began < 4


@pytest.mark.parametrize(
    "head", [post("/echo", b"x" * 5000)[:-5000], chunked("/echo") + b"400\r\n"]
)
def test_a_body_has_a_least_rate(server, head) -> None:
    """Some bytes per second are not enough; 408 and close."""
    began = time.monotonic()
    with server.connect() as peer:
        peer.send(head)
        trickle(peer, b"x" * 1000, 0.02)
        answer = peer.reply()
        assert (answer.status, answer.code) == (408, "request_timeout")
        assert answer.headers["connection"] == "close"
        assert peer.rest() == b""
    assert 0.4 < time.monotonic() - began < 4


def test_a_body_above_the_least_rate_may_take_its_time(server) -> None:
    with server.connect() as peer:
        body = bytes(14000)
        peer.send(post("/echo", body)[: -len(body)])
        for at in range(0, len(body), 1000):
            peer.send(body[at : at + 1000])
            time.sleep(0.1)
        assert peer.reply().body == body


def test_chunk_sizes_without_data_are_no_progress(server) -> None:
    with server.connect() as peer:
        peer.send(chunked("/echo") + b"400;")
        trickle(peer, b"x" * 1000, 0.02)
        assert peer.reply().status == 408


def test_a_client_that_awaits_100_continue_is_not_hurried() -> None:
    """The clock runs from when the body is asked for."""

    async def late(request: Request) -> None:
        import asyncio

        await asyncio.sleep(1.2)
        await echo(request)

    with (
        serving(Route(("POST",), "/late", late), limits=LIMITS) as server,
        server.connect() as peer,
    ):
        peer.send(post("/late", b"hello", b"Expect: 100-continue")[:-5])
        assert peer.reply().status == 100
        peer.send(b"hello")
        assert peer.reply().body == b"hello"


def test_a_refused_client_that_keeps_sending_is_let_go(server) -> None:
    """The lingering close ends by itself."""
    with server.connect() as peer:
        peer.send(b"NONSENSE\r\n\r\n")
        assert peer.reply().status == 400
        with pytest.raises(OSError):  # noqa: PT012
            for _ in range(200):
                peer.send(b"x" * 1000)
                time.sleep(0.02)


def test_a_thousand_half_open_heads_and_bodies_go_and_others_are_served() -> None:
    with serving(Route(("POST",), "/echo", echo), limits=LIMITS) as server:
        peers = []
        for number in range(1000):
            peer = server.connect()
            peer.send(b"POST /ec" if number % 2 else post("/echo", b"hello")[:-1])
            peers.append(peer)
        slowest = 0.0
        context = server.server.context
        for _ in range(50):
            began = time.monotonic()
            assert server.ask(post("/echo", b"a", b"Connection: close")).body == b"a"
            slowest = max(slowest, time.monotonic() - began)
        eventually(lambda: not context.connections, 10)
        assert {peer.reply().status for peer in peers} == {408}
        assert slowest < 2.0
        for peer in peers:
            peer.close()


def test_the_health_route_is_served_without_a_key(server) -> None:
    assert server.ask(get("/health/live")).body == b'{"status":"live"}\n'
    assert server.ask(get("/health/ready")).status == 200
    assert server.ask(get("/metrics")).body == b"figures\n"
    server.ready = False
    assert server.ask(get("/health/ready")).status == 503
    server.ready = True

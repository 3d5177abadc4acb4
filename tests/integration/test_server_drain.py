"""Stopping: readiness first, running requests to their end, streams told, then out."""

import asyncio
import signal
import subprocess
import sys
import time

import pytest
from tests.unit.server.harness import Peer, RunningServer, eventually, get, post

from posthouse.server.limits import ServerLimits
from posthouse.server.request import Request
from posthouse.server.routes import Route
from posthouse.server.run import DrainTimes

PART = b"data: part\n\n"
LAST = b'data: {"error":{}}\n\n'


class Streams:
    """A handler of endless streams that end, or not, when they are told to."""

    def __init__(self) -> None:
        self.gone = 0
        self.settled = 0
        self.release = asyncio.Event()

    async def polite(self, request: Request) -> None:
        told = asyncio.Event()
        request.client.on_cut(told.set)
        await request.client.start(200, [])
        await request.client.write(PART)
        await told.wait()
        await request.client.write(LAST)
        request.client.abort()
        self.settled += 1

    async def rude(self, request: Request) -> None:
        away = asyncio.Event()
        request.client.on_gone(away.set)
        await request.client.start(200, [])
        await request.client.write(PART)
        await away.wait()
        self.gone += 1
        await asyncio.sleep(0.05)
        self.settled += 1

    async def stuck(self, request: Request) -> None:
        await request.client.start(200, [])
        await request.client.write(PART)
        try:
            await asyncio.Event().wait()
        finally:
            self.settled += 1

    async def brief(self, request: Request) -> None:
        await request.client.start(200, [])
        await request.client.write(PART)
        await self.release.wait()
        await request.client.finish()

    async def slow(self, request: Request) -> None:
        await self.release.wait()
        await request.client.respond(200, [], b"done")

    def routes(self):
        return [
            Route(("GET",), "/polite", self.polite),
            Route(("GET",), "/rude", self.rude),
            Route(("GET",), "/stuck", self.stuck),
            Route(("GET",), "/brief", self.brief),
            Route(("GET",), "/slow", self.slow),
        ]


def started(streams: Streams, **drain: float) -> RunningServer:
    return RunningServer(
        streams.routes(),
        limits=ServerLimits(sweep_interval=0.05),
        drain=DrainTimes(**drain),
    )


def opened(server: RunningServer, path: str) -> Peer:
    peer = server.connect()
    peer.send(get(path))
    if path != "/slow":
        assert PART in peer.until(PART)
    return peer


def test_during_the_grace_all_is_served_but_readiness() -> None:
    """New connections are accepted, and every reply says that it is the last."""
    server = started(Streams(), grace=0.6)
    kept = server.connect()
    kept.send(get("/"))
    assert "connection" not in kept.reply().headers
    stop = server.begin_stop()
    eventually(lambda: server.server.context.draining)
    ready = server.ask(get("/health/ready"))
    assert (ready.status, ready.headers["connection"]) == (503, "close")
    assert b"draining" in ready.body
    assert server.ask(get("/health/live")).status == 200
    kept.send(get("/"))
    assert kept.reply().headers["connection"] == "close"
    assert kept.rest() == b""
    idle = server.connect()
    assert idle.rest() == b""
    stop.result(20)
    with pytest.raises(ConnectionRefusedError):
        server.connect()
    server.end()


def test_running_requests_finish_and_idle_connections_close_soon() -> None:
    streams = Streams()
    server = started(streams, finish=20)
    idle = server.connect()
    idle.send(get("/"))
    idle.reply()
    running = opened(server, "/slow")
    eventually(lambda: server.server.context.tasks)
    began = time.monotonic()
    stop = server.begin_stop()
    assert idle.rest() == b""
    time.sleep(0.3)
    assert not stop.done()
    server.in_loop(streams.release.set)
    answer = running.reply()
    assert (answer.body, answer.headers["connection"]) == (b"done", "close")
    stop.result(20)
    assert time.monotonic() - began < 10
    server.end()


def test_a_request_on_its_way_is_answered_though_its_connection_ends() -> None:
    """Whoever was told that the connection goes on may ask on it once more."""
    streams = Streams()
    server = started(streams, finish=20)
    idle = server.connect()
    idle.send(get("/"))
    assert "connection" not in idle.reply().headers
    brief = server.connect()
    brief.send(get("/brief"))
    brief.until(PART)
    stop = server.begin_stop()
    eventually(lambda: server.server.context.draining)
    time.sleep(0.1)
    idle.send(get("/"))
    last = idle.reply()
    assert (last.status, last.headers["connection"]) == (200, "close")
    assert idle.rest() == b""
    server.in_loop(streams.release.set)
    brief.until(b"0\r\n\r\n")
    time.sleep(0.1)
    brief.send(get("/"))
    last = brief.reply()
    assert (last.status, last.headers["connection"]) == (200, "close")
    assert brief.rest() == b""
    stop.result(20)
    server.end()


def test_past_the_limit_streams_are_told_and_then_cut() -> None:
    """200 of them: an error event where they can, a settlement everywhere."""
    streams = Streams()
    server = started(streams, finish=0.3, settle=0.5)
    polite = [opened(server, "/polite") for _ in range(100)]
    rude = [opened(server, "/rude") for _ in range(99)]
    stuck = opened(server, "/stuck")
    began = time.monotonic()
    server.begin_stop().result(20)
    assert 0.3 < time.monotonic() - began < 0.3 + 5
    assert streams.settled == 200
    assert streams.gone == 99
    for peer in polite:
        rest = peer.rest()
        assert LAST in rest
        assert not rest.endswith(b"0\r\n\r\n")
    for peer in (*rude, stuck):
        assert not peer.rest().endswith(b"0\r\n\r\n")
    assert not server.server.context.tasks
    server.end()


def test_a_hurried_stop_skips_the_waiting_but_not_the_settling() -> None:
    streams = Streams()
    server = started(streams, grace=30, finish=30, settle=5)
    peer = opened(server, "/polite")
    stop = server.begin_stop()
    time.sleep(0.1)
    began = time.monotonic()
    server.in_loop(server.server.hurry)
    server.in_loop(server.server.hurry)
    stop.result(20)
    assert time.monotonic() - began < 5
    assert LAST in peer.rest()
    assert streams.settled == 1
    server.end()


PROGRAM = """
import asyncio, sys
sys.path.insert(0, ".")
from posthouse.server.dispatch import Dispatcher
from posthouse.server.operations import operational_routes
from posthouse.server.routes import Route
from posthouse.server.run import DrainTimes, RunOptions, new_event_loop, run
from posthouse.server.sockets import StartupError, bind
from tests.integration.test_server_drain import Streams
from tests.unit.server.harness import render_error

streams = Streams()
say = lambda *words: print(*words, flush=True)
operations = operational_routes(lambda: True, lambda: (b"text/plain", b""))
dispatcher = Dispatcher([*operations, *streams.routes()], render_error)
options = RunOptions(
    drain=DrainTimes(finish=float(sys.argv[2]), settle=1.0),
    started=lambda server: say("started", server.addresses[0][1]),
    reload=lambda: say("reload"),
    draining=lambda: say("draining"),
)
try:
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        port = int(sys.argv[1])
        runner.run(run(dispatcher, bind("127.0.0.1", port), options))
except StartupError as error:
    say("refused", error)
say("settled", streams.settled)
"""


class Program:
    """The server as a process, with its output line by line."""

    def __init__(self, port: int = 0, finish: float = 20) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM, str(port), str(finish)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def line(self) -> str:
        return self.process.stdout.readline().strip()

    def port(self) -> int:
        word, port = self.line().split()
        assert word == "started"
        return int(port)

    def signal(self, number: int) -> None:
        self.process.send_signal(number)

    def ended(self) -> str:
        """Give the rest of its output; nothing may have gone to stderr."""
        out, error = self.process.communicate(timeout=30)
        assert error == ""
        assert self.process.returncode == 0
        return out


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_drains_and_a_second_one_hurries(number) -> None:
    program = Program()
    with Peer(("127.0.0.1", program.port())) as peer:
        peer.send(get("/polite"))
        peer.until(PART)
        program.signal(signal.SIGHUP)
        assert program.line() == "reload"
        program.signal(number)
        assert program.line() == "draining"
        time.sleep(0.2)
        assert program.process.poll() is None
        began = time.monotonic()
        program.signal(number)
        assert LAST in peer.rest()
    assert program.ended() == "settled 1\n"
    assert time.monotonic() - began < 5


def test_a_stop_without_work_is_quick() -> None:
    program = Program()
    with Peer(("127.0.0.1", program.port())) as idle:
        idle.send(get("/"))
        idle.reply()
        began = time.monotonic()
        program.signal(signal.SIGTERM)
        assert program.ended() == "draining\nsettled 0\n"
    assert time.monotonic() - began < 3


def test_a_taken_port_is_one_clear_line() -> None:
    first = Program()
    port = first.port()
    second = Program(port)
    assert second.line() == (
        f"refused port {port} on 127.0.0.1 is already in use; "
        "stop the other program or choose --port"
    )
    second.ended()
    first.signal(signal.SIGTERM)
    first.ended()


def test_requests_through_restarts_all_succeed() -> None:
    """A client that opens a connection per request sees no failure in a drain."""
    streams = Streams()
    server = started(streams, grace=0.3, finish=10)
    results: list[int] = []
    stop = None
    end_at = time.monotonic() + 0.5
    while time.monotonic() < end_at:
        if stop is None and time.monotonic() > end_at - 0.25:
            stop = server.begin_stop()
        peer = server.connect()
        for _ in range(5):
            peer.send(post("/nothing", b"a"))
            answer = peer.reply()
            results.append(answer.status)
            if answer.headers.get("connection") == "close":
                break
        peer.close()
    assert stop is not None
    stop.result(20)
    assert set(results) == {404}
    server.end()

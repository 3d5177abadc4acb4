"""A real server in a thread of its own, spoken to in bytes over a socket.

The loop is uvloop's, as in production; tests block in their own thread, so a
byte goes out exactly when a test says so.
"""

import asyncio
import socket
import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from contextlib import contextmanager
from typing import Self

from posthouse.errors import PosthouseError
from posthouse.server.cors import CORS
from posthouse.server.dispatch import Dispatcher
from posthouse.server.limits import ServerLimits
from posthouse.server.operations import operational_routes
from posthouse.server.request import Request
from posthouse.server.routes import Route
from posthouse.server.run import DrainTimes, Server, new_event_loop
from posthouse.server.sockets import bind
from posthouse.wire import json

PATIENCE = 20.0
"""Seconds after which a test's socket gives up."""


def render_error(error: PosthouseError, _request: Request | None):
    """Render an error as the data plane does."""
    detail = {"message": error.message, "type": error.type, "code": error.code}
    headers = [(b"content-type", b"application/json")]
    if error.retry_after is not None:
        headers.append((b"retry-after", b"%d" % error.retry_after))
    return error.status, headers, json.encode({"error": {**detail, "param": None}})


class RunningServer:
    """A server with its loop; every method may be called from the test's thread."""

    def __init__(
        self,
        routes: Iterable[Route],
        *,
        limits: ServerLimits | None = None,
        drain: DrainTimes | None = None,
        cors: CORS | None = None,
        proxies=None,
    ) -> None:
        """Start and wait until it accepts."""
        operations = operational_routes(
            lambda: self.ready, lambda: (b"text/plain; version=1.0.0", b"figures\n")
        )
        self.ready = True
        self.dispatcher = Dispatcher(
            [*operations, *routes], render_error, cors=cors, proxies=proxies
        )
        self._sockets = bind("127.0.0.1", 0)
        self.address = self._sockets[0].getsockname()
        self.loop = new_event_loop()
        self._peers: list[Peer] = []
        self._ready = threading.Event()
        self._args = (limits, drain or DrainTimes(finish=0.2, settle=0.2))
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        assert self._ready.wait(PATIENCE)

    def _run(self) -> None:
        asyncio.set_event_loop(self.loop)
        self.loop.run_until_complete(self._start())
        self.loop.run_forever()
        self.loop.close()

    async def _start(self) -> None:
        self.server = Server(self.dispatcher, *self._args)
        await self.server.start(self._sockets)
        self._ready.set()

    def in_loop(self, function: Callable[[], object]) -> object:
        """Call a plain function in the loop and give its result."""
        done: Future[object] = Future()
        self.loop.call_soon_threadsafe(lambda: done.set_result(function()))
        return done.result(PATIENCE)

    def begin_stop(self) -> Future[None]:
        """Begin the drain."""
        return asyncio.run_coroutine_threadsafe(self.server.stop(), self.loop)

    def close(self) -> None:
        """Stop and wait."""
        self.begin_stop().result(PATIENCE)
        self.end()

    def end(self) -> None:
        """End the thread of a server that has stopped, and its peers."""
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(PATIENCE)
        for peer in self._peers:
            peer.close()

    def connect(self, receive_buffer: int = 0) -> "Peer":
        """Open a connection; it is closed with the server at the latest."""
        peer = Peer(self.address, receive_buffer)
        self._peers.append(peer)
        return peer

    def ask(self, data: bytes) -> "Answer":
        """Send bytes on a fresh connection and read one reply."""
        with self.connect() as peer:
            peer.send(data)
            return peer.reply()


class Answer:
    """One reply as it stood on the wire."""

    def __init__(self, head: bytes, body: bytes, *, whole: bool) -> None:
        """Split the head."""
        lines = head.split(b"\r\n")
        self.status = int(lines[0].split(b" ")[1])
        pairs = [line.split(b": ", 1) for line in lines[1:] if line]
        self.headers = {name.decode(): value.decode() for name, value in pairs}
        self.body = body
        self.whole = whole
        """Whether the body came to its proper end."""

    @property
    def code(self) -> str:
        """The error's code."""
        return json.decode(self.body, dict)["error"]["code"]


class Peer:
    """A client's end of a connection."""

    def __init__(self, address, receive_buffer: int = 0) -> None:
        """Connect."""
        self.socket = socket.socket()
        if receive_buffer:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.socket.settimeout(PATIENCE)
        try:
            self.socket.connect(address)
        except OSError:
            self.socket.close()
            raise
        self._data = b""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def send(self, data: bytes) -> None:
        """Send all of it."""
        self.socket.sendall(data)

    def close(self) -> None:
        """Close."""
        self.socket.close()

    def reset(self) -> None:
        """Close with a reset."""
        self.socket.setsockopt(
            socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0"
        )
        self.socket.close()

    def more(self) -> bytes:
        """Receive what comes next; b"" at the end."""
        try:
            return self.socket.recv(65536)
        except ConnectionResetError:
            return b""

    def until(self, mark: bytes) -> bytes:
        """Receive up to and with `mark`; less if the connection ends."""
        while mark not in self._data:
            data = self.more()
            if not data:
                found, self._data = self._data, b""
                return found
            self._data += data
        found, _, self._data = self._data.partition(mark)
        return found + mark

    def rest(self) -> bytes:
        """Receive up to the connection's end."""
        while data := self.more():
            self._data += data
        found, self._data = self._data, b""
        return found

    def _exactly(self, size: int) -> bytes:
        while len(self._data) < size:
            data = self.more()
            if not data:
                break
            self._data += data
        found, self._data = self._data[:size], self._data[size:]
        return found

    def reply(self, *, bodyless: bool = False) -> Answer:
        """Receive one reply."""
        head = self.until(b"\r\n\r\n")
        if not head.endswith(b"\r\n\r\n"):
            raise ConnectionError(f"no reply, but {head!r}")
        answer = Answer(head, b"", whole=True)
        if bodyless or answer.status in (204, 304) or answer.status < 200:
            return answer
        if "content-length" in answer.headers:
            size = int(answer.headers["content-length"])
            answer.body = self._exactly(size)
            answer.whole = len(answer.body) == size
        elif answer.headers.get("transfer-encoding") == "chunked":
            answer.body, answer.whole = self._chunks()
        else:
            answer.body = self.rest()
        return answer

    def _chunks(self) -> tuple[bytes, bool]:
        body = b""
        while True:
            line = self.until(b"\r\n")
            if not line.endswith(b"\r\n"):
                return body + line, False
            size = int(line, 16)
            part = self._exactly(size + 2)
            if len(part) < size + 2:
                return body + part, False
            if not size:
                return body, True
            body += part[:-2]


@contextmanager
def serving(*routes: Route, **settings):
    """Run a server for the length of a `with`."""
    server = RunningServer(routes, **settings)
    try:
        yield server
    finally:
        server.close()


def eventually(condition: Callable[[], object], seconds: float = PATIENCE) -> None:
    """Wait until a condition holds; fail if it does not."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.005)


def post(path: str, body: bytes = b"", *fields: bytes) -> bytes:
    """Make a POST with a Content-Length."""
    lines = [
        f"POST {path} HTTP/1.1".encode(),
        b"Host: test",
        b"Content-Length: %d" % len(body),
        *fields,
    ]
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


def get(path: str, *fields: bytes, method: str = "GET") -> bytes:
    """Make a request without a body."""
    lines = [f"{method} {path} HTTP/1.1".encode(), b"Host: test", *fields]
    return b"\r\n".join(lines) + b"\r\n\r\n"


def chunk(data: bytes) -> bytes:
    """Make a chunk."""
    return b"%x\r\n%b\r\n" % (len(data), data)


def chunked(path: str, *fields: bytes) -> bytes:
    """Make the head of a POST with a chunked body."""
    return get(path, b"Transfer-Encoding: chunked", *fields, method="POST")

"""One request and its reply on a connection, as handlers and the relay use it.

An `Exchange` is the relay's `Client`. It costs no task, timer or event of its
own: the connection feeds it, its reply goes to the transport in as few writes
as possible, and it tells of the client's going by a callback.

States of the reply: not started → started → complete; `abort` ends a started
one without the terminator, and `gone` ends everything.
"""

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from uvicorn.protocols.http.flow_control import HIGH_WATER_LIMIT, FlowControl

from posthouse.errors import InvalidRequest, PosthouseError
from posthouse.server.context import ServerContext
from posthouse.server.heads import Headers, RequestHead, render_constant, render_fields
from posthouse.server.marks import Refused
from posthouse.server.websocket import Upgrade

_BODYLESS = frozenset({204, 304})
"""Statuses whose replies have no body."""
_FRAMED_IN_PLACE = 16 * 1024
"""Bytes up to which a chunk is copied rather than written in three pieces."""
_CLOSE_AND_END = b"connection: close\r\n\r\n"
_TRUNCATED = "The request body ended before it was whole."


class Link(Protocol):
    """The connection that an exchange runs on."""

    transport: asyncio.Transport
    flow: FlowControl
    context: ServerContext
    loop: asyncio.AbstractEventLoop
    client: tuple[str, int] | None
    written: int

    def launch(self, exchange: "Exchange") -> None:
        """Let the handler run."""

    def remember(self, exchange: "Exchange", refused: Refused) -> None:
        """The exchange is refused for overload: the next like it may be, unread."""

    def reply_done(self, exchange: "Exchange") -> None:
        """The reply is complete or was aborted; go on with what follows."""


class Exchange:
    """A request whose head has arrived, and the reply to it."""

    # Defaults stand in the class: most requests never touch most of them.
    gone = False
    started = False
    complete = False
    body_done = False
    received = 0
    """Bytes of the body that have arrived."""
    awaits_continue = False
    """Whether the client sends its body only after `100 Continue`."""
    upgrade: Upgrade | None = None
    """The way to a WebSocket, if the client asked for one."""
    extra = b""
    """Header lines that every reply gets, rendered."""
    task: asyncio.Task[None] | None = None
    _buffer: bytes | bytearray = b""
    _body_error: PosthouseError | None = None
    _waiter: asyncio.Future[None] | None = None
    _bodyless = False
    _chunked = False
    _gone_callbacks: tuple[Callable[[], None], ...] = ()
    _cut_callbacks: tuple[Callable[[], None], ...] = ()

    def __init__(
        self,
        link: Link,
        head: RequestHead,
        *,
        keep_alive: bool,
        body: bytes | None = None,
    ) -> None:
        """Begin without a reply; a `body` is all of it, None: it is to come."""
        self._link = link
        self.context = link.context
        """What the server's connections share."""
        self.head = head
        self.keep_alive = keep_alive
        if body is not None:
            self._buffer = body
            self.received = len(body)
            self.body_done = True

    def begin(self) -> None:
        """Let the handler run: it has its turn."""
        self._link.launch(self)

    def refused(self, refused: Refused) -> None:
        """Tell the connection that it has none."""
        self._link.remember(self, refused)

    # What the connection tells.

    def feed(self, data: bytes) -> None:
        """Take a part of the body."""
        self.received += len(data)
        if not self._buffer:
            self._buffer = data
        else:
            if isinstance(self._buffer, bytes):
                self._buffer = bytearray(self._buffer)
            self._buffer += data
        if self._waiter is not None:
            self._wake()
        elif len(self._buffer) > HIGH_WATER_LIMIT:
            self._link.flow.pause_reading()

    def end_body(self) -> None:
        """The body is whole."""
        self.body_done = True
        if self._waiter is not None:
            self._wake()

    def fail_body(self, error: PosthouseError) -> None:
        """No more of the body will come; whoever reads it gets `error`."""
        self.keep_alive = False
        if not self.body_done:
            self._body_error = error
            if self._waiter is not None:
                self._wake()

    def lost(self) -> None:
        """The connection is closed."""
        self.gone = True
        self.fail_body(InvalidRequest(_TRUNCATED))
        if self._waiter is not None:
            self._wake()
        callbacks, self._gone_callbacks = self._gone_callbacks, ()
        for callback in callbacks:
            callback()

    def cut(self) -> None:
        """The server is about to close the connection; tell who asked."""
        callbacks, self._cut_callbacks = self._cut_callbacks, ()
        for callback in callbacks:
            callback()

    def _wake(self) -> None:
        waiter, self._waiter = self._waiter, None
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    # The request's body.

    @property
    def peer(self) -> str:
        """The address at the connection's other end; empty for a local socket."""
        client = self._link.client
        return client[0] if client is not None else ""

    @property
    def is_choked(self) -> bool:
        """Whether the caller has not taken what was written before."""
        return self._link.flow.write_paused

    def take_whole(self) -> bytes | None:
        """Give the whole body if it arrived in one piece, as small ones do."""
        data = self._buffer
        if self.body_done and isinstance(data, bytes) and len(data) == self.received:
            self._buffer = b""
            return data
        return None

    async def read(self) -> bytes:
        """Give what has arrived of the body; b"" at its end.

        Raises InvalidRequest if it broke off, RequestTimeout if it came too
        slowly.
        """
        while not self._buffer:
            if self._body_error is not None:
                raise self._body_error
            if self.body_done:
                return b""
            await self._wait_for_body()
        data, self._buffer = self._buffer, b""
        self._link.flow.resume_reading()
        return data if isinstance(data, bytes) else bytes(data)

    async def _wait_for_body(self) -> None:
        if self.awaits_continue and not self.started:
            self.awaits_continue = False
            self._write(b"HTTP/1.1 100 Continue\r\n\r\n")
        self._link.flow.resume_reading()
        self._waiter = self._link.loop.create_future()
        await self._waiter

    # The reply: `relay.ports.Client`.

    def on_gone(self, callback: Callable[[], None]) -> None:
        """Call `callback` once when the caller goes away before the reply's end."""
        if self.gone:
            callback()
        elif not self.complete:
            self._gone_callbacks += (callback,)

    def on_cut(self, callback: Callable[[], None]) -> None:
        """Call `callback` once if the server, shutting down, gives up waiting.

        The reply may then still be ended properly within a few seconds.
        """
        self._cut_callbacks += (callback,)

    async def start(self, status: int, headers: Headers) -> None:
        """Send the status line and headers; the body follows in chunks."""
        if self._link.flow.write_paused:
            await self._link.flow.drain()
        head = self._head(status, headers)
        self._chunked = self.head.version != "1.0" and not self._bodyless
        if self._chunked:
            head += b"transfer-encoding: chunked\r\n"
        elif not self._bodyless:
            # Its end can only be told by closing.
            self.keep_alive = False
        self._write(head + (b"\r\n" if self.keep_alive else _CLOSE_AND_END))

    async def write(self, data: bytes) -> None:
        """Send a part of the body; waits while the caller reads too slowly."""
        if self._link.flow.write_paused:
            await self._link.flow.drain()
        if self.gone or self.complete or self._bodyless or not data:
            return
        if not self.started:
            raise RuntimeError("the reply has not been started")
        if not self._chunked:
            self._write(data)
        elif len(data) < _FRAMED_IN_PLACE:
            self._write(b"%x\r\n%b\r\n" % (len(data), data))
        else:
            self._write_pieces((b"%x\r\n" % len(data), data, b"\r\n"))
        if self._link.flow.write_paused:
            # Whoever writes has nothing more ready than what waits here.
            await self._link.flow.drain()

    async def finish(self, data: bytes = b"") -> None:
        """Send the last part and end the body properly."""
        if self._link.flow.write_paused:
            await self._link.flow.drain()
        if self.gone or self.complete:
            return
        if not self.started:
            raise RuntimeError("the reply has not been started")
        if self._chunked:
            last = b"%x\r\n%b\r\n" % (len(data), data) if data else b""
            self._write(last + b"0\r\n\r\n")
        elif data and not self._bodyless:
            self._write(data)
        self._end()

    async def respond(self, status: int, headers: Headers, body: bytes) -> None:
        """Send a whole reply in one go."""
        if self._link.flow.write_paused:
            await self._link.flow.drain()
        self.respond_now(status, headers, body)

    def respond_now(self, status: int, headers: Headers, body: bytes) -> None:
        """Do so without waiting; where `is_choked`, it takes memory."""
        head = self._head(status, headers)
        if self.keep_alive and not self._bodyless:
            data = b"%bcontent-length: %d\r\n\r\n%b" % (head, len(body), body)
            if not self.gone:
                link = self._link
                link.written += len(data)
                link.transport.write(data)
        elif self._bodyless:
            if self.head.method == "HEAD" and status not in _BODYLESS:
                head += b"content-length: %d\r\n" % len(body)
            self._write(head + (b"\r\n" if self.keep_alive else _CLOSE_AND_END))
        else:
            size = b"content-length: %d\r\n" % len(body)
            self._write(b"".join((head, size, _CLOSE_AND_END, body)))
        self._end()

    def switch(self, headers: Headers) -> None:
        """Answer that the connection speaks WebSocket from now on."""
        head = self._head(101, headers)
        self._write(head + b"connection: upgrade\r\nupgrade: websocket\r\n\r\n")

    def abort(self) -> None:
        """End a started body without its terminator, after what was written."""
        if not self.complete:
            self.keep_alive = False
            self._end()

    def _head(self, status: int, headers: Headers) -> bytes:
        """Begin the reply: render what does not depend on how its body is sent."""
        if self.started:
            raise RuntimeError("the reply has been started before")
        context = self.context
        constant = isinstance(headers, tuple)
        fields = render_constant(headers) if constant else render_fields(headers)
        head = context.prefixes[status] + fields + self.extra
        self.started = True
        if status in _BODYLESS or self.head.method == "HEAD":
            self._bodyless = True
        # A body that we do not wait for would have to be read all the same
        # before the next request.
        if not self.body_done or context.draining:
            self.keep_alive = False
        return head

    def _write(self, data: bytes) -> None:
        if not self.gone:
            link = self._link
            link.written += len(data)
            link.transport.write(data)

    def _write_pieces(self, pieces: tuple[bytes, ...]) -> None:
        if not self.gone:
            link = self._link
            link.written += sum(map(len, pieces))
            link.transport.writelines(pieces)

    def _end(self) -> None:
        self.complete = True
        # They hold what serves the call, which holds this.
        self._gone_callbacks = self._cut_callbacks = ()
        if not self.gone:
            self._link.reply_done(self)

    def close(self) -> None:
        """The handler has ended; a reply without an end is broken off."""
        if self.task is not None:
            self.context.tasks.discard(self.task)
        if not self.complete:
            self.abort()


if TYPE_CHECKING:
    from posthouse.relay.ports import Client

    _is_client: type[Client] = Exchange

"""HTTP/1.1 on one connection: uvicorn's protocol, made fit for strangers.

Of uvicorn's `HttpToolsProtocol` stay the connection's set-up, its flow control
and its place behind uvicorn's server; the request and reply cycle is
`Exchange`. What is added: limits on heads, minimum rates, refusals in the
API's own error shape, pipelining without a reply in another's middle, upgrades
that are a handler's to accept (WebSocket) or ignored (h2c), a lingering close.

The private members of uvicorn that this leans on are listed in
`tests/unit/server/test_uvicorn_members.py`; its version is pinned.

A connection is at any time in one of: idle, reading a head, reading a body.
Beside that a reply may be under way (`active`) and further requests wait
(`queue`). When it is `deaf`, what arrives is thrown away.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any

import httptools
from typing_extensions import override
from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from posthouse.errors import (
    HeadersTooLarge,
    InvalidRequest,
    MethodNotAllowed,
    Overloaded,
    PosthouseError,
    RequestTimeout,
    URITooLong,
)
from posthouse.server.context import ServerContext
from posthouse.server.exchange import Exchange
from posthouse.server.heads import (
    NOWHERE,
    add_repeated,
    check_size,
    read_head,
)
from posthouse.server.known_heads import KnownHead
from posthouse.server.marks import Refused, mark_of
from posthouse.server.sockets import unacknowledged
from posthouse.server.websocket import Upgrade, without_upgrade

Application = Callable[[Exchange], Coroutine[Any, Any, None]]
"""Answers one exchange and closes it; must not raise."""

FAREWELL_SECONDS = 0.5
"""For which a connection that we end waits for a request that is on its way."""
_LESSONS = 4
_TASK = "exchange"


class Connection(HttpToolsProtocol):
    """One client's connection."""

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
        *,
        application: Application,
        context: ServerContext,
    ) -> None:
        """Take uvicorn's four, and what is ours by keyword."""
        super().__init__(config, server_state, app_state, _loop)
        self.application = application
        self.context = context
        self.tasks = context.tasks
        self.gate = context.gate
        self.active: Exchange | None = None
        """The exchange whose reply is next on the wire."""
        self.incoming: Exchange | None = None
        """The exchange whose body is arriving."""
        self.queue: deque[Exchange] = deque()
        self.fields: dict[bytes, bytes] = {}
        """Of the head that is arriving, by name in lower case."""
        self._repeated: list[bytes] = []
        """The names of its repeated fields."""
        self.deaf = False
        self.written = 0
        """Bytes given to the transport."""
        self._refusal: PosthouseError | None = None
        self._in_head = False
        self._head_bytes = 0
        self._data_bytes = 0
        self.socket: Upgrade | None = None
        self._known: KnownHead | None = None
        """The head that is likely to come again."""
        self._lessons = _LESSONS + 1
        """How many more heads are looked at: some clients send ever others."""
        self._served = False
        self._leaving = False
        self._eof = False
        self._since = 0.0
        """When the present state began, in the context's clock."""
        self._seen = 0
        self._mark = 0
        self._taken = 0
        self._taken_at = 0.0
        self._known_by = 0
        """The mark of what arrived last, if it was a request while there was a line."""

    # The transport's side.

    @override
    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """A client has connected."""
        super().connection_made(transport)
        context = self.context
        if len(context.connections) >= context.limits.connections:
            self._send_refusal(Overloaded(retry_after=1))
            # It has asked for nothing yet, so there is nothing to linger for.
            transport.close()
            return
        context.connections.add(self)
        self._since = self._taken_at = context.now

    @override
    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is closed, by whichever side."""
        super().connection_lost(exc)
        self.context.connections.discard(self)
        self.deaf = True
        self.queue.clear()
        self.incoming = None
        if self.socket is not None:
            self.socket.lost()
        if self.active is not None:
            exchange, self.active = self.active, None
            exchange.lost()

    @override
    def eof_received(self) -> bool | None:  # type: ignore[override]
        """The client will send no more; true keeps our direction open."""
        self._eof = True
        incoming = self.incoming
        if incoming is None or incoming is not self.active or self.deaf:
            return None
        self._stop_body(InvalidRequest("The request body ended before it was whole."))
        return True

    @override
    def data_received(self, data: bytes) -> None:
        """Bytes have arrived."""
        if self.deaf or (not self.gate.open_to and self._is_turned_away(data)):
            if self.socket is not None:
                self.socket.feed(data)
            return
        # A request begins with these bytes, when nothing else is under way.
        due = self.active is None and not self._in_head
        if due and self._known is not None:
            request = self._known.read(data)
            if request is not None:
                head, body = request
                self._begin(Exchange(self, head, keep_alive=True, body=body))
                return
        self._parse(data)
        if due and self._lessons:
            self._learn(data)

    def _parse(self, data: bytes) -> None:
        """Let the parser tell what has arrived."""
        self._data_bytes = len(data)
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self._ignore_upgrade(data[upgrade.args[0] :])
        except httptools.HttpParserError as error:
            cause = error.__context__
            if not isinstance(cause, PosthouseError):
                cause = InvalidRequest("The request is not valid HTTP/1.1.")
            self._refuse(cause)
        else:
            if self._in_head or self.incoming is not None:
                self._count(len(data))

    def _learn(self, data: bytes) -> None:
        """Know the head of what has just been parsed, if that was all there was."""
        self._lessons -= 1
        # The first request of a connection is often its only one.
        again = self._lessons < _LESSONS and not (self.deaf or self.queue)
        if again and self.active is not None:
            known = self.context.known_heads.learn(data, self.active)
            self._known = known or self._known

    def _is_turned_away(self, data: bytes) -> bool:
        """Refuse, unread, a request like one that was refused for overload."""
        self._known_by = 0
        if self.active is not None or self.incoming is not None or self._in_head:
            return False
        mark = mark_of(data)
        refused = self.gate.marks.get(mark)
        if (
            refused is None
            or self.flow.write_paused
            or self.context.draining
            or not self.gate.refuses(refused.tenant)
        ):
            self._known_by = mark
            return False
        reply = self.context.prefixes[503] + self.gate.door.refusal(refused.replies)
        self._served = True
        self._since = self.context.now
        self.written += len(reply)
        self.transport.write(reply)
        return True

    def remember(self, exchange: Exchange, refused: Refused) -> None:
        """A request is refused for overload: the next like it may be, unread."""
        head = exchange.head
        if self._known_by and exchange.keep_alive and head.content_length is not None:
            self.gate.marks.add(self._known_by, refused)

    # The parser's side. What these raise ends the parsing.

    @override
    def on_message_begin(self) -> None:
        """A head begins."""
        self.url = b""
        self.fields = {}
        self._in_head = True
        self._head_bytes = 0
        self._since = self.context.now

    @override
    def on_url(self, url: bytes) -> None:
        """A part of the request target."""
        self.url = self.url + url if self.url else url
        if len(self.url) > self.context.limits.target_bytes:
            raise URITooLong

    @override
    def on_header(self, name: bytes, value: bytes) -> None:
        """A field of the head; of a trailer it goes nowhere."""
        name = name.lower()
        fields = self.fields
        if name in fields:
            self._repeated.append(name)
            if len(self._repeated) > self.context.limits.head_fields:
                raise HeadersTooLarge
            add_repeated(fields, name, value)
        else:
            fields[name] = value

    @override
    def on_headers_complete(self) -> None:
        """The head is whole."""
        parser = self.parser
        if parser.should_upgrade():
            return
        fields, self.fields = self.fields, NOWHERE
        self._in_head = False
        context = self.context
        if (
            self._repeated
            or len(fields) > context.limits.head_fields
            # Only a head that came with much else needs to be counted.
            or self._head_bytes + self._data_bytes > context.limits.head_bytes
        ):
            repeated, self._repeated = self._repeated, []
            check_size(fields, repeated, context.limits)
        version = parser.get_http_version()
        head = read_head(parser.get_method(), self.url, version, fields)
        keep_alive = version == "1.1" and parser.should_keep_alive()
        exchange = Exchange(self, head, keep_alive=keep_alive)
        if b"expect" in fields:
            expectation = fields[b"expect"].lower()
            exchange.awaits_continue = expectation == b"100-continue"
        if self.socket is not None:
            exchange.upgrade = self.socket
            exchange.keep_alive = False
        self.incoming = exchange
        self._since = context.now
        self._head_bytes = 0
        self._seen = 0
        self._mark = 0
        self._served = True
        if self.active is None:
            self._begin(exchange)
        else:
            self.queue.append(exchange)
            self.flow.pause_reading()

    @override
    def on_body(self, body: bytes) -> None:
        """A part of the body."""
        if self.incoming is not None:
            self.incoming.feed(body)

    @override
    def on_message_complete(self) -> None:
        """The request is whole."""
        incoming = self.incoming
        if incoming is not None:
            self.incoming = None
            incoming.end_body()

    def _count(self, size: int) -> None:
        """Bound what the parser keeps to itself before it tells of anything.

        That is an unfinished field of a head, or in a chunked body a trailer's.
        """
        incoming = self.incoming
        if incoming is not None and incoming.received != self._seen:
            self._seen = incoming.received
            self._head_bytes = 0
            return
        self._head_bytes += size
        if self._head_bytes > self.context.limits.head_bytes:
            self._refuse(HeadersTooLarge())

    def _ignore_upgrade(self, rest: bytes) -> None:
        """Read a request that asks for an upgrade as if it did not.

        llhttp takes what follows for another protocol. h2c is offered by clients
        that go on as usual (RFC 9110 §7.8): the head is read again without it.
        """
        method = self.parser.get_method()
        if method == b"CONNECT":
            self._refuse(MethodNotAllowed())
            return
        if b"websocket" in self.fields.get(b"upgrade", b"").lower():
            self.socket = Upgrade(self, self.context)
        version = self.parser.get_http_version()
        head = without_upgrade(method, self.url, version, self.fields)
        self.parser = httptools.HttpRequestParser(self)
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)
        self._repeated.clear()
        self.data_received(head)
        if self.socket is not None:
            self.deaf = True
            self.socket.feed(rest)
        elif rest:
            self.data_received(rest)

    # Requests and replies in their order.

    def _begin(self, exchange: Exchange) -> None:
        self.active = exchange
        gate = self.gate
        if gate.young < gate.open_to:
            self.launch(exchange)
        else:
            gate.hold(exchange)

    def launch(self, exchange: Exchange) -> None:
        """Let the handler run."""
        self.gate.young += 1
        # What the loop's create_task does, without its detour, and without a name
        # made for each: a tenth of the cost of a small request.
        task = asyncio.Task(self.application(exchange), loop=self.loop, name=_TASK)
        exchange.task = task
        self.tasks.add(task)

    def reply_done(self, exchange: Exchange) -> None:
        """The reply is complete or was aborted; go on with what follows."""
        if self.transport.is_closing():
            return
        self.active = None
        self._since = self.context.now
        if not exchange.keep_alive:
            self._close(unread=not exchange.body_done)
        elif self.queue:
            self._begin(self.queue.popleft())
        elif self._refusal is not None:
            self._send_refusal(self._refusal)
        elif self.flow.read_paused:
            self.flow.resume_reading()
        if self._leaving:
            self.shutdown()

    def _stop_body(self, error: PosthouseError) -> None:
        incoming, self.incoming = self.incoming, None
        self.deaf = True
        if incoming is not None:
            incoming.fail_body(error)

    def _refuse(self, error: PosthouseError) -> None:
        """Take no more requests; answer `error` after what is under way."""
        self.deaf = True
        self._in_head = False
        if self.incoming is not None:
            self._stop_body(error)
        elif self.active is not None:
            self._refusal = error
        else:
            self._send_refusal(error)

    def _send_refusal(self, error: PosthouseError) -> None:
        data = self.context.refusal(error)
        self.written += len(data)
        self.transport.write(data)
        self._close(unread=True)

    def _close(self, *, unread: bool) -> None:
        """Close after what was written.

        With input unread the kernel would answer it with a reset, which may
        overtake the reply: then only our direction is closed, and the input is
        thrown away for a while.
        """
        self.deaf = True
        if self.socket is not None:
            self.socket.over()
        self.queue.clear()
        if unread and not self._eof and not self.transport.is_closing():
            self._since = self.context.now
            self.flow.resume_reading()
            self.transport.write_eof()
        else:
            self.transport.close()

    # Limits in time, once per sweep.

    def check(self, now: float) -> None:
        """Hold the connection to its limits; `now` in the context's clock."""
        if self._is_stalled(now):
            self.transport.abort()
        elif self.transport.is_closing():
            return
        elif self.socket is not None and self.active is not None:
            self.socket.look()
        elif self.flow.read_paused:
            # It is we who make the client wait.
            self._since = now
        elif self._in_head:
            if now - self._since > self.context.limits.header_timeout:
                self._refuse(RequestTimeout())
        elif self.incoming is not None:
            self._check_body(self.incoming, now)
        elif self.active is None:
            self._check_idle(now - self._since)

    def _is_stalled(self, now: float) -> bool:
        waiting = self.transport.get_write_buffer_size()
        if not waiting:
            self._taken_at = now
            return False
        # The kernel takes more only once a third of megabytes is free again;
        # a slow client's progress is what it has acknowledged.
        connection = self.transport.get_extra_info("socket")
        taken = self.written - waiting - unacknowledged(connection)
        if taken != self._taken:
            self._taken = taken
            self._taken_at = now
            return False
        return now - self._taken_at > self.context.limits.stall_timeout

    def _check_body(self, incoming: Exchange, now: float) -> None:
        limits = self.context.limits
        if incoming.awaits_continue:
            self._since = now
        elif now - self._since > limits.body_window:
            if incoming.received - self._mark < limits.body_window_bytes:
                self._stop_body(RequestTimeout())
            self._since = now
            self._mark = incoming.received

    def _check_idle(self, seconds: float) -> None:
        limits = self.context.limits
        if self.deaf:
            if seconds > limits.linger:
                self.transport.abort()
        elif seconds > (limits.idle_timeout if self._served else limits.header_timeout):
            self.transport.close()

    @override
    def shutdown(self) -> None:
        """Close when idle for a moment; what is under way ends first.

        Who has not been told that the connection ends may have sent a request that
        is not here yet: it is answered, and told so.
        """
        self._leaving = True
        if self._is_idle:
            self.loop.call_later(FAREWELL_SECONDS, self._leave)

    @property
    def _is_idle(self) -> bool:
        return self.active is None and not self._in_head and not self.deaf

    def _leave(self) -> None:
        if self._is_idle:
            self.transport.close()

    def cut(self) -> None:
        """Tell what is under way that the server gives up waiting."""
        self._leave()
        for exchange in (self.active, *self.queue):
            if exchange is not None:
                exchange.cut()

"""Requests whose reply is a WebSocket's messages: one message out, many back.

For providers that are asked so, at origins of the schemes `ws` and `wss`. The body
is sent as one message; each message that comes back is a line of the reply's body,
which ends when the provider closes. Where the handshake is refused, the reply is what
came instead. Such a connection serves one request.
"""

import asyncio
import os
import ssl
from base64 import b64encode
from collections.abc import Callable

import httptools
from typing_extensions import override

from posthouse.model.exchange import (
    Certainty,
    ExchangeFailure,
    FailureKind,
    UpstreamRequest,
)
from posthouse.upstream.dial import (
    allowed_addresses,
    first_that_opens,
    not_connected,
)
from posthouse.upstream.http1 import render_head
from posthouse.upstream.origin import Origin, parse_origin
from posthouse.upstream.ports import Resending, Sender, UpstreamResponse
from posthouse.upstream.resolver import Resolver
from posthouse.wire.websocket import (
    BINARY,
    CLOSE,
    PING,
    PONG,
    TEXT,
    BrokenFrame,
    MessageDecoder,
    accept_of,
    client_frame,
)

SCHEMES = {"ws://": "http://", "wss://": "https://"}
HEAD_LIMIT = 64 * 1024
READ_BYTES = 64 * 1024
_UPGRADED = 101
_MASK_BYTES = 4


class _Head:
    """What httptools tells of a reply's head."""

    def __init__(self) -> None:
        self.fields: list[tuple[bytes, bytes]] = []
        self.body = b""
        self.rest = b""
        """What came behind the head of a handshake."""
        self.whole = False
        self.ended = False

    def on_header(self, name: bytes, value: bytes) -> None:
        self.fields.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        self.whole = True

    def on_body(self, data: bytes) -> None:
        self.body += data

    def on_message_complete(self) -> None:
        self.ended = True


class Socket:
    """The two ends of one connection."""

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, until: float
    ) -> None:
        """Take a connection that must be over by the loop's time `until`."""
        self._reader = reader
        self.writer = writer
        self._until = until
        self.status = 0
        self.begun = False

    async def read(self, silence: float, kind: FailureKind) -> bytes:
        """Give the next bytes, b"" at the end; raises ExchangeFailure.

        Args:
            silence: seconds for which there may be none.
            kind: what it is called if they pass.
        """
        loop = asyncio.get_running_loop()
        certainty = (
            Certainty.RESPONSE_STARTED if self.begun else Certainty.POSSIBLY_ACCEPTED
        )
        left = self._until - loop.time()
        try:
            async with asyncio.timeout(min(silence, left)):
                data = await self._reader.read(READ_BYTES)
        except TimeoutError:
            if left <= silence:
                kind = FailureKind.TOTAL_TIMEOUT
            raise ExchangeFailure(
                kind, certainty, f"silent for {silence:g} s"
            ) from None
        except OSError as error:
            raise ExchangeFailure(FailureKind.RESET, certainty, str(error)) from None
        self.begun = self.begun or bool(data)
        return data


class WebSocketResponse(UpstreamResponse):
    """A reply: the messages of a socket, or what came instead of one."""

    def __init__(
        self,
        socket: Socket,
        idle: float,
        head: _Head,
        forget: Callable[[Socket], None],
    ) -> None:
        """Take over after the head.

        Args:
            socket: what is read from.
            idle: seconds for which it may be silent.
            head: the reply's.
            forget: told when the connection is over.
        """
        self.status = 200 if socket.status == _UPGRADED else socket.status
        self._socket = socket
        self._idle = idle
        self._fields = head.fields
        self._forget = forget
        self._messages = MessageDecoder()
        self._open = socket.status == _UPGRADED
        self._aborted = False
        self._ready = self._take(head.rest) if self._open else head.body

    @property
    @override
    def headers(self) -> list[tuple[bytes, bytes]]:
        return self._fields

    @override
    async def read(self) -> bytes:
        while True:
            ready, self._ready = self._ready, b""
            if ready or not self._open:
                if not ready:
                    self._drop()
                return ready
            data = await self._socket.read(self._idle, FailureKind.IDLE_TIMEOUT)
            if self._aborted:
                raise ExchangeFailure(
                    FailureKind.ABORTED, Certainty.RESPONSE_STARTED, "aborted"
                )
            if not data:
                # Without a word: whether that was all, the messages say.
                self._open = False
            else:
                self._ready = self._take(data)

    def _take(self, data: bytes) -> bytes:
        """Give the lines that some bytes come to."""
        try:
            found = self._messages.feed(data)
        except BrokenFrame as error:
            self.abort()
            raise ExchangeFailure(
                FailureKind.PROTOCOL, Certainty.RESPONSE_STARTED, str(error)
            ) from None
        lines = []
        for kind, payload in found:
            if kind in (TEXT, BINARY):
                lines.append(payload.replace(b"\n", b" ") + b"\n")
            elif kind == PING:
                self._say(PONG, payload)
            elif kind == CLOSE:
                self._say(CLOSE, payload)
                self._open = False
                break
        return b"".join(lines)

    def _say(self, kind: int, payload: bytes) -> None:
        frame = client_frame(kind, payload, os.urandom(_MASK_BYTES))
        self._socket.writer.write(frame)

    @override
    async def read_all(self, limit: int) -> bytes:
        pieces: list[bytes] = []
        size = 0
        while piece := await self.read():
            size += len(piece)
            if size > limit:
                self.abort()
                raise ExchangeFailure(
                    FailureKind.TOO_LARGE, Certainty.RESPONSE_STARTED, f"> {limit}"
                )
            pieces.append(piece)
        return b"".join(pieces)

    @override
    def release(self) -> None:
        if self._open:
            self._say(CLOSE, b"")
        self._drop()

    @override
    def abort(self) -> None:
        self._aborted = True
        self._open = False
        self._socket.writer.transport.abort()
        self._forget(self._socket)

    def _drop(self) -> None:
        self._open = False
        self._socket.writer.close()
        self._forget(self._socket)


class WebSocketSender(Sender):
    """Opens a socket for each request; a `ports.Sender`."""

    def __init__(self, resolver: Resolver, tls: Callable[[], ssl.SSLContext]) -> None:
        """Keep what resolves names and makes the TLS context."""
        self._resolver = resolver
        self._tls = tls
        self._sockets: set[Socket] = set()

    @override
    async def send(
        self, request: UpstreamRequest, resending: Resending | None = None
    ) -> UpstreamResponse:
        origin = _origin_of(request)
        limits = request.timeouts
        loop = asyncio.get_running_loop()
        until = loop.time() + limits.total
        reader, writer = await self._open(origin, min(limits.connect, limits.total))
        socket = Socket(reader, writer, until)
        self._sockets.add(socket)
        try:
            key = b64encode(os.urandom(16))
            writer.write(_handshake(request, origin, key))
            head = await _read_head(socket, limits.first_byte)
            if socket.status == _UPGRADED:
                _check_accepted(head, key)
                frame = client_frame(TEXT, request.body, os.urandom(_MASK_BYTES))
                writer.write(frame)
            return WebSocketResponse(socket, limits.idle, head, self._sockets.discard)
        except BaseException:
            writer.transport.abort()
            self._sockets.discard(socket)
            raise

    @override
    async def close(self) -> None:
        for socket in tuple(self._sockets):
            socket.writer.transport.abort()
        self._sockets.clear()

    async def _open(
        self, origin: Origin, limit: float
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        loop = asyncio.get_running_loop()
        until = loop.time() + limit
        context = self._tls() if origin.tls else None

        async def attempt(
            address: str,
        ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
            return await asyncio.open_connection(
                address,
                origin.port,
                ssl=context,
                server_hostname=origin.host if context else None,
            )

        try:
            async with asyncio.timeout_at(until):
                addresses = await allowed_addresses(self._resolver, origin.host)
                return await first_that_opens(addresses, until, attempt)
        except (OSError, ValueError) as error:
            raise not_connected(origin.authority, error) from error


def _origin_of(request: UpstreamRequest) -> Origin:
    if request.proxy is not None:
        raise ExchangeFailure(
            FailureKind.CONNECT, Certainty.NOT_SENT, "no WebSocket through a proxy"
        )
    for scheme, plain in SCHEMES.items():
        if request.origin.startswith(scheme):
            return parse_origin(plain + request.origin.removeprefix(scheme))
    return parse_origin(request.origin)


def _handshake(request: UpstreamRequest, origin: Origin, key: bytes) -> bytes:
    head = render_head(request, origin.authority)
    return head + (
        b"Connection: Upgrade\r\nUpgrade: websocket\r\n"
        b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: " + key + b"\r\n\r\n"
    )


async def _read_head(socket: Socket, silence: float) -> _Head:
    """Read a reply's head, and the body of one that is no handshake."""
    head = _Head()
    parser = httptools.HttpResponseParser(head)
    size = 0
    while True:
        data = await socket.read(silence, FailureKind.FIRST_BYTE_TIMEOUT)
        size += len(data)
        try:
            parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            socket.status = parser.get_status_code()
            head.rest = data[upgrade.args[0] :]
            return head
        except httptools.HttpParserError as error:
            raise _odd(str(error)) from None
        if head.whole and parser.get_status_code() == _UPGRADED:
            raise _odd("the upgrade is not to WebSocket")
        if head.ended or (head.whole and not data):
            socket.status = parser.get_status_code()
            return head
        if not data or size > HEAD_LIMIT:
            raise _odd("the head is cut off or too large")


def _check_accepted(head: _Head, key: bytes) -> None:
    if dict(head.fields).get(b"sec-websocket-accept") != accept_of(key):
        raise _odd("the handshake's answer is wrong")


def _odd(detail: str) -> ExchangeFailure:
    return ExchangeFailure(FailureKind.PROTOCOL, Certainty.RESPONSE_STARTED, detail)

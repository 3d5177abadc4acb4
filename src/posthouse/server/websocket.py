"""From a request that asks for a WebSocket to the socket: the handshake.

A connection whose client asks gets an `Upgrade`: it keeps what the client sends
too early, as much as a few frames are, until a handler accepts or refuses. The
accepted socket is a `Duplex`; what it keeps of messages counts as the bodies of
requests do. Rules of the handshake: RFC 6455 §4.2, judged by the `websockets`
library; no extension is ever agreed on.
"""

import asyncio
import time
from typing import TYPE_CHECKING, Protocol

from typing_extensions import override
from uvicorn.protocols.http.flow_control import FlowControl
from websockets.datastructures import Headers as Fields
from websockets.exceptions import InvalidHandshake
from websockets.headers import parse_subprotocol
from websockets.http11 import Request as Handshake
from websockets.protocol import State
from websockets.server import ServerProtocol

from posthouse.errors import InvalidRequest
from posthouse.server.context import ServerContext
from posthouse.server.heads import Headers, RequestHead
from posthouse.upstream.duplex import Duplex
from posthouse.wire.websocket_end import SILENT, Closing, SocketEnd

if TYPE_CHECKING:
    from posthouse.server.exchange import Exchange

EARLY_BYTES = 64 * 1024
"""What a client may send before it knows that it may."""
NO_ROOM = Closing(1013, "the service holds as many messages as it can")
_PROTOCOL = b"sec-websocket-protocol"


class Wire(Protocol):
    """The connection, as a socket needs it."""

    transport: asyncio.Transport
    flow: FlowControl
    written: int


def without_upgrade(
    method: bytes, target: bytes, version: str, fields: dict[bytes, bytes]
) -> bytes:
    """Write a head that asks for an upgrade again, as if it did not."""
    lines = [method, b" ", target, b" HTTP/", version.encode(), b"\r\n"]
    for name, value in fields.items():
        if name == b"connection":
            close = b"close" in value.lower()
            lines.append(b"connection: close\r\n" if close else b"")
        elif name != b"upgrade":
            lines += [name, b": ", value, b"\r\n"]
    lines.append(b"\r\n")
    return b"".join(lines)


def offered_subprotocols(head: RequestHead) -> list[str]:
    """Read which subprotocols a client offers; raises InvalidRequest."""
    value = head.fields.get(_PROTOCOL)
    if value is None:
        return []
    try:
        return list(parse_subprotocol(value.decode("latin-1")))
    except InvalidHandshake:
        # What stands there may be a key: it is not repeated.
        raise InvalidRequest("The list of subprotocols is malformed.") from None


def _accept_value(head: RequestHead) -> bytes:
    """Judge a handshake; give what proves that it was read. Raises InvalidRequest."""
    if head.content_length or head.chunked:
        raise InvalidRequest("A request for a WebSocket has no body.")
    fields = Fields([("connection", "upgrade"), ("upgrade", "websocket")])
    for name in (b"sec-websocket-key", b"sec-websocket-version"):
        if name in head.fields:
            fields[name.decode()] = head.fields[name].decode("latin-1")
    judge = ServerProtocol(state=State.OPEN, logger=SILENT)
    asked = Handshake("/", fields, head.method, f"HTTP/{head.version}")
    try:
        accept, _, _ = judge.process_request(asked)
    except InvalidHandshake:
        raise InvalidRequest(
            "The request is no handshake of WebSocket version 13."
        ) from None
    return accept.encode()


class _ClientSocket(Duplex):
    """A client's socket; what it writes counts as the connection's."""

    def __init__(self, wire: Wire) -> None:
        super().__init__(
            SocketEnd.of_server(), wire.transport, wire.flow, clock=time.monotonic
        )
        self._wire = wire

    @override
    def _write(self, data: bytes) -> None:
        self._wire.written += len(data)
        self._transport.write(data)


class Upgrade:
    """A client's wish for a WebSocket, then the socket."""

    def __init__(self, wire: Wire, context: ServerContext) -> None:
        """Begin to keep what comes early."""
        self._wire = wire
        self._budget = context.budget
        self._early = b""
        self._accept = b""
        self._socket: Duplex | None = None
        self._over = False
        self._counted = 0

    def judge(self, head: RequestHead) -> None:
        """Judge the handshake; raises InvalidRequest."""
        self._accept = _accept_value(head)

    def accept(
        self, exchange: "Exchange", subprotocol: str | None, headers: Headers = ()
    ) -> Duplex:
        """Answer the handshake that was judged, and give the socket.

        Args:
            exchange: the client's request.
            subprotocol: which of those offered is chosen; None chooses none.
            headers: what else the answer has.
        """
        told = [(b"sec-websocket-accept", self._accept), *headers]
        if subprotocol is not None:
            told.append((_PROTOCOL, subprotocol.encode()))
        exchange.switch(told)
        socket = self._socket = _ClientSocket(self._wire)
        early, self._early = self._early, b""
        self._wire.flow.resume_reading()
        if early:
            self.feed(early)
        return socket

    # --- what the connection tells ------------------------------------------------

    def feed(self, data: bytes) -> None:
        """Bytes have arrived."""
        socket = self._socket
        if socket is not None:
            socket.feed(data)
            self._count(socket)
        elif not self._over:
            self._early += data
            if len(self._early) > EARLY_BYTES:
                self._wire.flow.pause_reading()

    def look(self) -> None:
        """Hold the client to its times, every second or so."""
        socket = self._socket
        if socket is not None:
            socket.look()
            self._count(socket)

    def over(self) -> None:
        """The reply is complete: what comes now is thrown away."""
        self._over = True
        self._early = b""

    def lost(self) -> None:
        """The connection is gone."""
        self._budget.held -= self._counted
        self._counted = 0
        if self._socket is not None:
            self._socket.lost()

    def _count(self, socket: Duplex) -> None:
        """Count what is kept of messages; there may be no room for more."""
        held = socket.held
        budget = self._budget
        budget.held += held - self._counted
        grown, self._counted = held > self._counted, held
        if grown and budget.held > budget.limit:
            socket.close(NO_ROOM)

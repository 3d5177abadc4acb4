"""Opens WebSockets to providers that stay open for messages both ways.

Dialled like every request: addresses are judged, TLS is the same, a channel's
proxy is gone through. A socket that was opened is its owner's; `close` drops
those that are left. Requests of one message that are answered by many have
`upstream.websocket`.
"""

import asyncio
import time
from collections.abc import Callable

from typing_extensions import override
from websockets.client import ClientProtocol
from websockets.exceptions import InvalidStatus
from websockets.protocol import State
from websockets.uri import parse_uri

from posthouse.model.exchange import (
    Certainty,
    ExchangeFailure,
    FailureKind,
    UpstreamRequest,
)
from posthouse.model.sockets import HandshakeRefused
from posthouse.upstream.dial import Dialer
from posthouse.upstream.duplex import Duplex
from posthouse.upstream.http1 import render_head
from posthouse.upstream.inprocess_socket import InProcessSocket, Talk
from posthouse.upstream.origin import Origin, parse_origin
from posthouse.upstream.ports import MessageSocket, Opener
from posthouse.upstream.proxied import ProxyDialer, parse_proxy
from posthouse.wire.websocket import MESSAGE_LIMIT
from posthouse.wire.websocket_end import SILENT, SocketEnd

REFUSAL_LIMIT = 64 * 1024
"""Bytes of a handshake's reply."""
_NOBODY = parse_uri("ws://unused/")
"""The library wants an address, which only its own requests have."""
_SCHEMES = {"ws://": "http://", "wss://": "https://"}
_IN_PROCESS = "sandbox://"


class Link(asyncio.Protocol):
    """A connection to a provider: first the handshake's, then the socket's."""

    def __init__(
        self, clock: Callable[[], float], over: "Callable[[Link], None]"
    ) -> None:
        """Wait for the transport.

        Args:
            clock: monotonic seconds.
            over: told when the connection is gone.
        """
        self.transport: asyncio.Transport
        self._over = over
        self.protocol = ClientProtocol(
            _NOBODY, max_size=(MESSAGE_LIMIT, MESSAGE_LIMIT), logger=SILENT
        )
        self.write_paused = False
        self.duplex: Duplex | None = None
        self._clock = clock
        self._taken = 0
        self._shaken: asyncio.Future[Duplex] = (
            asyncio.get_running_loop().create_future()
        )
        self._writable: asyncio.Future[None] | None = None

    # --- the transport's side -----------------------------------------------------

    @override
    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self.transport = transport

    @override
    def data_received(self, data: bytes) -> None:
        if self.duplex is not None:
            self.duplex.feed(data)
            return
        self._taken += len(data)
        if self._taken > REFUSAL_LIMIT:
            self._fail(FailureKind.PROTOCOL, "the handshake's reply is too large")
            return
        # The library's parser stops at the end of the head: what follows waits in
        # its buffer until the socket takes over.
        protocol = self.protocol
        protocol.receive_data(data)
        self._judge()

    @override
    def eof_received(self) -> None:
        if self.duplex is None:
            if self._taken:
                self.protocol.receive_eof()
                self._judge()
            self._fail(FailureKind.RESET, "closed during the handshake")

    @override
    def connection_lost(self, exc: Exception | None) -> None:
        self._over(self)
        self.resume_writing()
        if self.duplex is not None:
            self.duplex.lost()
        self._fail(FailureKind.RESET, str(exc or "closed"))

    @override
    def pause_writing(self) -> None:
        self.write_paused = True

    @override
    def resume_writing(self) -> None:
        self.write_paused = False
        writable, self._writable = self._writable, None
        if writable is not None and not writable.done():
            writable.set_result(None)

    # --- the socket's flow --------------------------------------------------------

    def pause_reading(self) -> None:
        """Read no more for now."""
        if not self.transport.is_closing():
            self.transport.pause_reading()

    def resume_reading(self) -> None:
        """Go on reading."""
        if not self.transport.is_closing():
            self.transport.resume_reading()

    async def drain(self) -> None:
        """Wait until more may be written."""
        while self.write_paused:
            if self._writable is None:
                self._writable = asyncio.get_running_loop().create_future()
            await asyncio.shield(self._writable)

    # --- the handshake --------------------------------------------------------------

    async def shake(self, head: bytes, seconds: float) -> Duplex:
        """Send a handshake and wait for the answer to it.

        Args:
            head: the request's, but for what makes it a handshake.
            seconds: for the answer.

        Raises:
            ExchangeFailure: as its name says.
            HandshakeRefused: it was answered with another status.
        """
        self.transport.write(
            head + b"Connection: Upgrade\r\nUpgrade: websocket\r\n"
            b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: "
            + self.protocol.key.encode()
            + b"\r\n\r\n"
        )
        try:
            async with asyncio.timeout(seconds):
                return await self._shaken
        except TimeoutError:
            raise ExchangeFailure(
                FailureKind.FIRST_BYTE_TIMEOUT, Certainty.POSSIBLY_ACCEPTED
            ) from None

    def _judge(self) -> None:
        """See whether the answer is whole, and what it is."""
        protocol = self.protocol
        if self._shaken.done():
            return
        refusal = protocol.handshake_exc
        if isinstance(refusal, InvalidStatus):
            reply = refusal.response
            headers = [
                (name.lower().encode("latin-1"), value.encode("latin-1"))
                for name, value in reply.headers.raw_items()
            ]
            body = bytes(reply.body or b"")
            self._shaken.set_exception(
                HandshakeRefused(reply.status_code, headers, body)
            )
        elif refusal is not None:
            self._fail(FailureKind.PROTOCOL, str(refusal))
        elif protocol.state is not State.CONNECTING:
            # It may be over already: what it said comes first all the same.
            self.duplex = Duplex(
                SocketEnd(protocol), self.transport, self, clock=self._clock
            )
            self._shaken.set_result(self.duplex)
            # Messages may have come with the answer.
            self.duplex.feed(b"")

    def _fail(self, kind: FailureKind, detail: str) -> None:
        if not self._shaken.done():
            certainty = (
                Certainty.RESPONSE_STARTED
                if self._taken
                else Certainty.POSSIBLY_ACCEPTED
            )
            self._shaken.set_exception(ExchangeFailure(kind, certainty, detail))
            # It may be that nobody waits any more.
            self._shaken.exception()


class SocketOpener(Opener):
    """Opens sockets to providers, real ones and the sandbox."""

    def __init__(
        self,
        dialer: Dialer,
        *,
        talk: Talk | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Start without sockets.

        Args:
            dialer: opens direct connections, and lends its resolver to proxies.
            talk: answers at origins inside the process; None refuses them.
            clock: monotonic seconds.
        """
        self._dialer = dialer
        self._talk = talk
        self._clock = clock
        self._links: set[Link] = set()

    @override
    async def open(self, request: UpstreamRequest) -> MessageSocket:
        if request.origin.startswith(_IN_PROCESS):
            if self._talk is None:
                raise ExchangeFailure(
                    FailureKind.CONNECT, Certainty.NOT_SENT, "there is no sandbox here"
                )
            return InProcessSocket(self._talk(request))
        origin = _origin_of(request)
        head = render_head(request, origin.authority)
        limits = request.timeouts
        link = await self._connect(request, origin)
        self._links.add(link)
        try:
            return await link.shake(head, limits.first_byte)
        except BaseException:
            link.transport.abort()
            raise

    async def _connect(self, request: UpstreamRequest, origin: Origin) -> Link:
        limit = request.timeouts.connect
        if request.proxy is not None:
            way = ProxyDialer(parse_proxy(request.proxy), self._dialer)
            return await way.connect(origin, self._link, limit)
        return await self._dialer.connect(origin, self._link, limit)

    def _link(self) -> Link:
        return Link(self._clock, self._links.discard)

    async def close(self) -> None:
        """Drop the sockets that are open."""
        for link in tuple(self._links):
            link.transport.abort()


def _origin_of(request: UpstreamRequest) -> Origin:
    for scheme, plain in _SCHEMES.items():
        if request.origin.startswith(scheme):
            return parse_origin(plain + request.origin.removeprefix(scheme))
    return parse_origin(request.origin)

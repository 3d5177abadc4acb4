"""The one way out: routes a request to the client that can carry it."""

import asyncio
import ssl
import time
from collections.abc import Callable, Coroutine
from typing import Any

from msgspec import structs

from posthouse.model.exchange import (
    Certainty,
    ExchangeFailure,
    FailureKind,
    UpstreamRequest,
)
from posthouse.upstream.dial import Dialer, default_tls
from posthouse.upstream.http1 import HTTP1Sender
from posthouse.upstream.inprocess import InProcessSender, Play
from posthouse.upstream.pace import Pace
from posthouse.upstream.ports import Content, Resending, Sender, UpstreamResponse
from posthouse.upstream.resolver import Resolver
from posthouse.upstream.sweep import Sweep
from posthouse.upstream.websocket import WebSocketSender

KEEP_ALIVE_SECONDS = 30.0
_IN_PROCESS = "sandbox://"
_MOST_IN_PROCESS = 64 * 1024 * 1024
"""Bytes that the sandbox is sent at once, for they are all in memory."""


class Upstream:
    """Sends requests to providers, real ones and the sandbox; a `ports.Sender`.

    It is a `ports.Uploader`, too.
    """

    def __init__(
        self,
        *,
        play: Play | None = None,
        resolver: Resolver | None = None,
        tls: Callable[[], ssl.SSLContext] = default_tls,
        clock: Callable[[], float] = time.monotonic,
        keep_alive: float = KEEP_ALIVE_SECONDS,
        pace: Pace | None = None,
    ) -> None:
        """Start without connections.

        Args:
            play: answers requests whose origin is `sandbox://local`; None refuses
                them.
            resolver: host names to addresses; the system's, cached, by default.
            tls: makes the TLS context on first use.
            clock: monotonic seconds.
            keep_alive: seconds after which an idle connection is closed.
            pace: how slow a reply may be.
        """
        self._sweep = Sweep(clock, keep_alive, pace)
        resolver = resolver or Resolver(clock=clock)
        self.dialer = Dialer(resolver, tls)
        """Opens connections; for whoever speaks something else over them."""
        self._http1 = HTTP1Sender(self.dialer, self._sweep, clock)
        self._sockets = WebSocketSender(resolver, tls)
        self._in_process: Sender | None = (
            InProcessSender(play, self._sweep, clock) if play is not None else None
        )
        self._closed = False

    @property
    def open_connections(self) -> int:
        """How many connections are open, idle ones included."""
        return self._sweep.connections

    @property
    def idle_connections(self) -> int:
        """How many connections wait for a request."""
        return self._http1.idle_connections

    def send(
        self, request: UpstreamRequest, resending: Resending | None = None
    ) -> Coroutine[Any, Any, UpstreamResponse]:
        """Send and wait for the reply's head; raises ExchangeFailure.

        Not itself a coroutine function: it hands out the right client's.
        """
        origin = request.origin
        if origin.startswith("http"):
            return self._http1.send(request, resending)
        if origin.startswith(_IN_PROCESS):
            return self._send_in_process(request)
        if origin.startswith("ws"):
            return self._sockets.send(request, resending)
        # It says what is wrong with the origin.
        return self._http1.send(request, resending)

    async def upload(
        self, request: UpstreamRequest, content: Content
    ) -> UpstreamResponse:
        """Send a request with a large body; raises ExchangeFailure."""
        if not request.origin.startswith(_IN_PROCESS):
            return await self._http1.upload(request, content)
        if content.size > _MOST_IN_PROCESS:
            raise ExchangeFailure(
                FailureKind.CONNECT, Certainty.NOT_SENT, "too large for the sandbox"
            )
        body = b"".join([piece async for piece in content.pieces])
        return await self._send_in_process(structs.replace(request, body=body))

    async def _send_in_process(self, request: UpstreamRequest) -> UpstreamResponse:
        """Send to the sandbox."""
        if self._in_process is None or self._closed:
            raise ExchangeFailure(
                FailureKind.CONNECT, Certainty.NOT_SENT, "there is no sandbox here"
            )
        return await self._in_process.send(request)

    async def close(self) -> None:
        """Close idle connections and abort the others."""
        self._closed = True
        await self._http1.close()
        await self._sockets.close()
        self._sweep.drop_all()
        # Transports close their sockets in the loop's next rounds.
        for _ in range(3):
            await asyncio.sleep(0)

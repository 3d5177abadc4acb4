"""The pooled HTTP/1.1 client that every channel's calls go through.

One `Site` per origin and proxy keeps the idle connections, newest first, and the
request heads that were already rendered: an adapter sends the same headers over
and over, so the start line, Host and headers of a call are one look-up.
Rules: see `ports.Sender`. A reused connection that the provider closed before
any byte of a reply is replaced once by a fresh one; nothing else is repeated.
"""

import asyncio
import re
from collections.abc import Callable
from typing import Protocol

from posthouse.model.exchange import (
    Certainty,
    ExchangeFailure,
    FailureKind,
    UpstreamRequest,
)
from posthouse.upstream.connection import Connection
from posthouse.upstream.dial import ConnectionFactory, Dialer
from posthouse.upstream.encoding import decoded
from posthouse.upstream.origin import Origin, parse_origin
from posthouse.upstream.ports import Content, Resending, UpstreamResponse
from posthouse.upstream.pouring import PouringConnection
from posthouse.upstream.proxied import ProxyDialer, parse_proxy
from posthouse.upstream.sweep import Sweep

HEADS_KEPT = 4096
"""How many rendered heads a site remembers before it starts over: thousands of
channels may share one origin, each with credentials of its own."""
SITES_KEPT = 4096
SMALL_BODY = 64 * 1024
"""Bodies up to this size are copied behind the head into one write."""
OWNED_HEADERS = frozenset(
    {
        b"host",
        b"content-length",
        b"connection",
        b"transfer-encoding",
        b"keep-alive",
        b"expect",
        b"te",
        b"upgrade",
    }
)
"""Headers that frame the connection: the sender's, whatever a caller gave."""
_BODILESS_METHODS = frozenset({"GET", "HEAD", "DELETE", "OPTIONS"})
_METHOD = re.compile(r"[A-Z]{1,20}")
_TARGET = re.compile(r"/[!-~]*")
_NAME = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_VALUE = re.compile(rb"[\t\x20-\x7e\x80-\xff]*")


class Connector(Protocol):
    """Opens connections, directly or through a proxy."""

    async def connect(
        self, origin: Origin, factory: ConnectionFactory, limit: float
    ) -> Connection:
        """Connect within `limit` seconds; raises ExchangeFailure, NOT_SENT."""


def render_head(request: UpstreamRequest, authority: str) -> bytes:
    """Write a request's head but for Content-Length and the empty line.

    Raises ExchangeFailure when a part of it could break the framing: nothing is
    sent then.
    """
    if not _METHOD.fullmatch(request.method) or not _TARGET.fullmatch(request.target):
        raise _unsendable("the request line")
    lines = [
        f"{request.method} {request.target} HTTP/1.1".encode("ascii"),
        b"Host: " + authority.encode("ascii"),
    ]
    names = set()
    for name, value in request.headers:
        if not _NAME.fullmatch(name) or not _VALUE.fullmatch(value):
            raise _unsendable(f"the header {name[:40]!r}")
        lower = name.lower()
        if lower not in OWNED_HEADERS:
            names.add(lower)
            lines.append(name + b": " + value)
    if b"accept-encoding" not in names:
        lines.append(b"Accept-Encoding: identity")
    return b"\r\n".join([*lines, b""])


def _unsendable(what: str) -> ExchangeFailure:
    """Build the refusal of a request that must not be sent."""
    return ExchangeFailure(
        FailureKind.PROTOCOL, Certainty.NOT_SENT, f"{what} cannot be sent"
    )


class Site:
    """One origin behind one proxy or none; owns its connections."""

    def __init__(self, origin: Origin, connector: Connector, sweep: Sweep) -> None:
        """Start without connections."""
        self._origin = origin
        self._connector = connector
        self._sweep = sweep
        self._heads: dict[object, bytes] = {}
        self.idle: dict[Connection, None] = {}
        """The connections that wait for a request; the one used last is the last."""

    def payload(self, request: UpstreamRequest) -> tuple[bytes, ...]:
        """Write a request's bytes."""
        key = (request.method, request.target, request.headers)
        head = self._heads.get(key)
        if head is None:
            head = self.head(request)
            if len(self._heads) >= HEADS_KEPT:
                self._heads.clear()
            self._heads[key] = head
        body = request.body
        size = len(body)
        if size > SMALL_BODY:
            return (b"%bContent-Length: %d\r\n\r\n" % (head, size), body)
        if not size and request.method in _BODILESS_METHODS:
            return (head + b"\r\n",)
        return (b"%bContent-Length: %d\r\n\r\n%b" % (head, size, body),)

    def head(self, request: UpstreamRequest) -> bytes:
        """Write a request's head, but for what says how long its body is."""
        return render_head(request, self._origin.authority)

    async def open(self, limit: float, clock: Callable[[], float]) -> Connection:
        """Open a fresh connection."""
        connection = await self._connector.connect(
            self._origin, lambda: Connection(self, clock), limit
        )
        self._sweep.add(connection)
        return connection

    async def open_once(
        self, limit: float, clock: Callable[[], float]
    ) -> PouringConnection:
        """Open a connection for one request that is long."""
        connection = await self._connector.connect(
            self._origin, lambda: PouringConnection(self._sweep, clock), limit
        )
        if not isinstance(connection, PouringConnection):
            raise TypeError("a connector gives what the factory has made")
        self._sweep.add(connection)
        return connection

    def released(self, connection: Connection) -> None:
        """Keep a clean connection for the next request."""
        self.idle[connection] = None

    def lost(self, connection: Connection) -> None:
        """Forget a closed connection."""
        self.idle.pop(connection, None)
        self._sweep.discard(connection)


class HTTP1Sender:
    """Sends requests over pooled HTTP/1.1 connections; a `ports.Sender`."""

    def __init__(
        self, dialer: Dialer, sweep: Sweep, clock: Callable[[], float]
    ) -> None:
        """Start without connections.

        Args:
            dialer: opens direct connections, and lends its resolver to proxies.
            sweep: watches the connections' limits.
            clock: monotonic seconds.
        """
        self._dialer = dialer
        self._sweep = sweep
        self._clock = clock
        self._direct: dict[str, Site] = {}
        self._proxied: dict[tuple[str, str], Site] = {}
        self._closed = False

    @property
    def idle_connections(self) -> int:
        """How many connections wait for a request."""
        sites = [*self._direct.values(), *self._proxied.values()]
        return sum(len(site.idle) for site in sites)

    async def send(
        self, request: UpstreamRequest, resending: Resending | None = None
    ) -> UpstreamResponse:
        """Send and wait for the reply's head; raises ExchangeFailure."""
        started = self._clock()
        site = self._direct.get(request.origin) if request.proxy is None else None
        if site is None:
            site = self._site(request)
        payload = site.payload(request)
        idle = site.idle
        while idle:
            connection, _ = idle.popitem()
            response = connection.begin(payload, request.timeouts, started)
            if response is None:
                continue
            if request.method == "HEAD":
                response.body_less = True
            # As Connection.exchange, without a coroutine more.
            waiter = response.waiter = connection.loop.create_future()
            try:
                await waiter
            except BaseException:
                response.abort()
                raise
            response.waiter = None
            failure = response.failure
            if response.status or failure is None:
                return decoded(response) if response.encoding else response
            if not _closed_under_us(failure):
                raise failure
            if resending is not None:
                resending()
            break
        return await self._send_fresh(site, request, payload, started)

    async def _send_fresh(
        self,
        site: Site,
        request: UpstreamRequest,
        payload: tuple[bytes, ...],
        started: float,
    ) -> UpstreamResponse:
        """Send over a connection of its own."""
        limits = request.timeouts
        connection = await self._open(site, min(limits.connect, limits.total))
        response = await connection.exchange(
            payload, limits, started, body_less=request.method == "HEAD"
        )
        return decoded(response) if response.encoding else response

    async def upload(
        self, request: UpstreamRequest, content: Content
    ) -> UpstreamResponse:
        """Send a request whose body comes in pieces; raises ExchangeFailure."""
        started = self._clock()
        site = self._site(request)
        limits = request.timeouts
        head = site.head(request) + b"Content-Length: %d\r\n\r\n" % content.size
        if self._closed:
            raise ExchangeFailure(FailureKind.ABORTED, Certainty.NOT_SENT, "closed")
        limit = min(limits.connect, limits.total)
        connection = await site.open_once(limit, self._clock)
        response = await connection.pour(head, content, limits, started)
        return decoded(response) if response.encoding else response

    async def close(self) -> None:
        """Refuse further requests; the sweep closes the connections."""
        self._closed = True
        await self._dialer.resolver.close()

    async def _open(self, site: Site, limit: float) -> Connection:
        """Open a fresh connection, unless the sender was closed meanwhile."""
        connection = None
        if not self._closed:
            try:
                connection = await site.open(limit, self._clock)
            except asyncio.CancelledError:
                raise asyncio.CancelledError(Certainty.NOT_SENT) from None
        if connection is None or self._closed:
            if connection is not None:
                connection.abort()
            raise ExchangeFailure(FailureKind.ABORTED, Certainty.NOT_SENT, "closed")
        return connection

    def _site(self, request: UpstreamRequest) -> Site:
        """Find or make the site of a request that is not the common case."""
        if request.proxy is None:
            if request.origin in self._direct:
                return self._direct[request.origin]
            if len(self._direct) >= SITES_KEPT:
                _forget_unused(self._direct)
            site = Site(parse_origin(request.origin), self._dialer, self._sweep)
            self._direct[request.origin] = site
            return site
        key = (request.origin, request.proxy)
        known = self._proxied.get(key)
        if known is None:
            if len(self._proxied) >= SITES_KEPT:
                _forget_unused(self._proxied)
            connector = ProxyDialer(parse_proxy(request.proxy), self._dialer)
            known = Site(parse_origin(request.origin), connector, self._sweep)
            self._proxied[key] = known
        return known


def _closed_under_us(failure: ExchangeFailure) -> bool:
    """Whether a reused connection turned out to be closed by the provider."""
    return (
        failure.kind is FailureKind.RESET
        and failure.certainty is Certainty.POSSIBLY_ACCEPTED
    )


def _forget_unused(sites: "dict[str, Site] | dict[tuple[str, str], Site]") -> None:
    """Drop the sites without idle connections; busy ones are kept by their own."""
    for key in [key for key, site in sites.items() if not site.idle]:
        del sites[key]  # type: ignore[arg-type]

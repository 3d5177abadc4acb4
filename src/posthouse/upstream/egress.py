"""The one way in which a URL that a user or a provider gave is fetched.

Channels go out through `sender`, on the operator's word. Here nobody's word is
taken. Rules:

- A URL is parsed once (`egress_urls`); its port must be on the list; its name
  and every address that the name has must be admitted (`egress_addresses`), and
  none may be this machine's own. The addresses that were judged are dialled, by
  number: nothing resolves a second time. Host header, SNI and the certificate
  keep the name.
- No proxy, no credentials, no cookies, nothing from the environment.
- A redirect is followed for GET and HEAD alone, a few times, each as if its
  target had been given by the user; never from https to http. What the caller
  sent as headers stays with the first host.
- Everything together has one limit in time, every silence another; the body
  has a limit that counts what it is after decompression.
- Every refusal is the same error, whether the name exists, what it resolves to
  and which rule it broke; the rest of the errors name no address either.

A fetch has a connection of its own, which is closed behind it.
"""

import asyncio
import socket
import ssl
import time
from collections.abc import Callable
from ipaddress import ip_address
from typing import Final

from msgspec import Struct

from posthouse.errors import Overloaded, PosthouseError, URLNotAllowed, URLNotFetched
from posthouse.model.exchange import (
    ExchangeFailure,
    FailureKind,
    Timeouts,
    UpstreamRequest,
)
from posthouse.upstream.dial import ADDRESSES_TRIED, Dialer, default_tls
from posthouse.upstream.egress_addresses import EgressPolicy
from posthouse.upstream.egress_names import NameThreads
from posthouse.upstream.egress_urls import (
    URLRefused,
    WebURL,
    follow,
    is_literal,
    parse_url,
)
from posthouse.upstream.encoding import decoded
from posthouse.upstream.http1 import Site
from posthouse.upstream.ports import UpstreamResponse
from posthouse.upstream.resolver import Resolver
from posthouse.upstream.sweep import Sweep

MIB: Final = 1024 * 1024
_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
_FOLLOWING: Final = frozenset({"GET", "HEAD"})
_OWN_HEADERS: Final = ((b"user-agent", b"posthouse"), (b"accept", b"*/*"))
_DISCARD_PORT: Final = 9

_SLOW: Final = "The URL took too long to answer."
_LARGE: Final = "What the URL leads to is too large."
_SENTENCES: Final = {
    FailureKind.CONNECT: "The URL's host could not be reached.",
    FailureKind.FIRST_BYTE_TIMEOUT: _SLOW,
    FailureKind.IDLE_TIMEOUT: _SLOW,
    FailureKind.TOTAL_TIMEOUT: _SLOW,
    FailureKind.TOO_LARGE: _LARGE,
}


class EgressLimits(Struct, frozen=True):
    """What fetches may take: seconds and bytes."""

    total: float = 30.0
    """For all hops of a fetch, look-ups and waiting included."""
    connect: float = 5.0
    first_byte: float = 15.0
    idle: float = 10.0
    """Between two reads of a body."""
    body_bytes: int = 20 * MIB
    """Of one body, decompressed."""
    redirects: int = 3
    together: int = 64
    """Fetches under way at the same time; a further one is refused."""
    held_bytes: int = 128 * MIB
    """Bytes of all bodies that are under way."""


DEFAULT_LIMITS: Final = EgressLimits()


class Fetch(Struct, frozen=True):
    """What is to be fetched."""

    url: str
    method: str = "GET"
    headers: tuple[tuple[bytes, bytes], ...] = ()
    """For the URL's own host; no redirect takes them along."""
    body: bytes = b""
    param: str | None = None
    """The request field that the URL stood in, for errors."""
    types: tuple[str, ...] = ()
    """Media types, or their beginnings (`image/`), of which a good reply must have
    one; empty takes any."""


class Fetched(Struct, frozen=True):
    """What came back, whatever its status."""

    status: int
    url: str
    """Where the last redirect led."""
    content_type: str
    """In lower case and without parameters; empty if there was none."""
    body: bytes


def is_own_address(text: str) -> bool:
    """Whether an address is one of this machine's; nothing is sent.

    To such an address the kernel would send from that address itself, on
    whichever interface it is.
    """
    family = socket.AF_INET6 if ":" in text else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect((text, _DISCARD_PORT))
            source = str(probe.getsockname()[0])
    except OSError:
        return False
    return ip_address(source) == ip_address(text)


class Egress:
    """Fetches URLs under a policy."""

    def __init__(
        self,
        policy: EgressPolicy,
        limits: EgressLimits = DEFAULT_LIMITS,
        *,
        resolver: Resolver | None = None,
        tls: Callable[[], ssl.SSLContext] = default_tls,
        is_own: Callable[[str], bool] = is_own_address,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Start without connections and threads.

        Args:
            policy: which ports, names and addresses.
            limits: how long and how much.
            resolver: names to addresses; the system's, cached, by default.
            tls: makes the TLS context on first use.
            is_own: whether an address is this machine's.
            clock: monotonic seconds.
        """
        self._policy = policy
        self._limits = limits
        self._is_own = is_own
        self._clock = clock
        self._names = NameThreads()
        resolver = resolver or Resolver(self._names.look_up, clock)
        self._dialer = Dialer(resolver, tls, self._judge)
        self._sweep = Sweep(clock, keep_alive=0.0)
        self._running = 0
        self._held = 0

    @property
    def open_connections(self) -> int:
        """How many connections are open; each belongs to a fetch under way."""
        return self._sweep.connections

    async def fetch(self, wanted: Fetch) -> Fetched:
        """Fetch a URL.

        Raises:
            URLNotAllowed: for whatever may not be fetched, and for names that
                do not exist.
            URLNotFetched: it may be fetched, but that did not succeed.
            Overloaded: too much is being fetched.
        """
        if self._running >= self._limits.together:
            raise Overloaded(retry_after=1)
        self._running += 1
        try:
            async with asyncio.timeout(self._limits.total):
                return await self._follow(wanted)
        except URLRefused:
            raise URLNotAllowed(param=wanted.param) from None
        except TimeoutError:
            raise URLNotFetched(_SLOW, param=wanted.param) from None
        except ExchangeFailure as failure:
            raise _explain(failure, wanted) from failure
        finally:
            self._running -= 1

    async def close(self) -> None:
        """Give up what is under way."""
        await self._dialer.resolver.close()
        self._names.close()
        self._sweep.drop_all()
        # Transports close their sockets in the loop's next rounds.
        for _ in range(3):
            await asyncio.sleep(0)

    async def _follow(self, wanted: Fetch) -> Fetched:
        """Fetch from host to host."""
        url = parse_url(wanted.url)
        headers = (*_OWN_HEADERS, *wanted.headers)
        for _ in range(self._limits.redirects + 1):
            found = await self._hop(url, wanted, headers)
            if isinstance(found, Fetched):
                return found
            if url.origin.tls and not found.origin.tls:
                raise URLRefused
            url = found
            headers = _OWN_HEADERS
        raise URLNotFetched("The URL redirects too often.", param=wanted.param)

    async def _hop(
        self, url: WebURL, wanted: Fetch, headers: tuple[tuple[bytes, bytes], ...]
    ) -> Fetched | WebURL:
        """Ask one host; give its reply, or where it points to."""
        origin, limits = url.origin, self._limits
        if origin.port not in self._policy.ports:
            raise URLRefused
        request = UpstreamRequest(
            method=wanted.method,
            origin="",
            target=url.target,
            headers=headers,
            body=wanted.body,
            timeouts=Timeouts(
                limits.connect, limits.first_byte, limits.idle, limits.total
            ),
        )
        site = Site(origin, self._dialer, self._sweep)
        payload = site.payload(request)
        connection = await site.open(limits.connect, self._clock)
        try:
            response = await connection.exchange(
                payload,
                request.timeouts,
                self._clock(),
                body_less=wanted.method == "HEAD",
            )
            target = _redirect(url, response, wanted.method)
            if target is not None:
                return target
            return await self._take(decoded(response), url, wanted)
        finally:
            connection.abort()

    async def _judge(self, resolver: Resolver, host: str) -> tuple[str, ...]:
        """Give the addresses to dial; raises URLRefused if a single one is bad."""
        policy = self._policy
        if is_literal(host):
            addresses: tuple[str, ...] = (host,)
        elif not policy.admits_name(host):
            raise URLRefused
        else:
            # The dot keeps the resolver from trying the machine's own domains.
            asked = host if policy.allowed.holds_name(host) else f"{host}."
            try:
                addresses = await resolver.addresses(asked)
            except OSError:
                raise URLRefused from None
        if not all(self._admits(address, host) for address in addresses):
            raise URLRefused
        return addresses[:ADDRESSES_TRIED]

    def _admits(self, address: str, host: str) -> bool:
        """Whether an address of a host may be dialled."""
        policy = self._policy
        if not policy.admits_address(address, host):
            return False
        return policy.expects(ip_address(address), host) or not self._is_own(address)

    async def _take(
        self, response: UpstreamResponse, url: WebURL, wanted: Fetch
    ) -> Fetched:
        """Read a reply that is no redirect."""
        content_type = _content_type(response)
        is_good = 200 <= response.status < 300
        if is_good and wanted.types and not content_type.startswith(wanted.types):
            raise URLNotFetched(
                "What the URL leads to is of another type than it should be.",
                param=wanted.param,
            )
        body = await self._read(response, wanted)
        return Fetched(response.status, str(url), content_type, body)

    async def _read(self, response: UpstreamResponse, wanted: Fetch) -> bytes:
        """Read a body within the limits."""
        limits = self._limits
        too_large = URLNotFetched(_LARGE, param=wanted.param)
        if wanted.method != "HEAD" and _announced(response) > limits.body_bytes:
            raise too_large
        pieces: list[bytes] = []
        size = 0
        try:
            while piece := await response.read():
                size += len(piece)
                self._held += len(piece)
                if size > limits.body_bytes:
                    raise too_large
                if self._held > limits.held_bytes:
                    raise Overloaded(retry_after=1)
                pieces.append(piece)
                # Inflating may go on for long without waiting for the network.
                await asyncio.sleep(0)
        finally:
            self._held -= size
        return b"".join(pieces)


def _redirect(url: WebURL, response: UpstreamResponse, method: str) -> WebURL | None:
    """Give where a reply points to, if it is a redirect to be followed."""
    if response.status not in _REDIRECTS or method not in _FOLLOWING:
        return None
    locations = _values(response, b"location")
    if not locations:
        return None
    if len(locations) > 1:
        raise URLRefused
    return follow(url, locations[0])


def _values(response: UpstreamResponse, name: bytes) -> list[bytes]:
    """Give every value of a header."""
    return [value for other, value in response.headers if other == name]


def _content_type(response: UpstreamResponse) -> str:
    """Give a reply's media type."""
    values = _values(response, b"content-type")
    if len(values) != 1:
        return ""
    return values[0].partition(b";")[0].strip().decode("latin-1").lower()


def _announced(response: UpstreamResponse) -> int:
    """Give how long a reply says that its body is; 0 if it does not."""
    values = _values(response, b"content-length")
    return int(values[0]) if values else 0


def _explain(failure: ExchangeFailure, wanted: Fetch) -> PosthouseError:
    """Say what a user may know of a failure."""
    sentence = _SENTENCES.get(failure.kind, "The URL's answer could not be read.")
    return URLNotFetched(sentence, param=wanted.param)

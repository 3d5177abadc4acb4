"""Opens connections to providers: resolve, judge the address, TCP, TLS.

The address that was judged is the one that is dialled. Everything together has
one limit; of what is left of it each address gets its share, so that a silent
first address leaves time for the second.
"""

import asyncio
import functools
import ssl
from collections.abc import Awaitable, Callable
from typing import TypeVar

from posthouse.model.exchange import Certainty, ExchangeFailure, FailureKind
from posthouse.upstream.connection import Connection
from posthouse.upstream.origin import Origin
from posthouse.upstream.resolver import Resolver
from posthouse.upstream.targets import is_metadata_address, is_metadata_host

T = TypeVar("T")

P = TypeVar("P", bound=asyncio.Protocol)
ConnectionFactory = Callable[[], Connection]

Judge = Callable[[Resolver, str], Awaitable[tuple[str, ...]]]
"""Gives the addresses of a host that may be dialled, or raises: OSError if there
are none, anything else to refuse."""

ADDRESSES_TRIED = 4
TLS_SHUTDOWN_SECONDS = 1.0


@functools.cache
def default_tls() -> ssl.SSLContext:
    """Make the one context of all TLS connections, on first use."""
    context = ssl.create_default_context()
    context.set_alpn_protocols(["http/1.1"])
    return context


def refused(host: str) -> ExchangeFailure:
    """Build the refusal of a metadata service."""
    return ExchangeFailure(
        FailureKind.REFUSED_TARGET,
        Certainty.NOT_SENT,
        f"{host} is a cloud metadata service",
    )


def not_connected(what: str, error: BaseException) -> ExchangeFailure:
    """Build the failure of a connection that did not come about."""
    reason = str(error) or type(error).__name__
    return ExchangeFailure(FailureKind.CONNECT, Certainty.NOT_SENT, f"{what}: {reason}")


async def allowed_addresses(resolver: Resolver, host: str) -> tuple[str, ...]:
    """Resolve a host and refuse it if any of its addresses is a metadata service."""
    if is_metadata_host(host):
        raise refused(host)
    addresses = await resolver.addresses(host)
    if any(is_metadata_address(address) for address in addresses):
        raise refused(host)
    return addresses[:ADDRESSES_TRIED]


async def first_that_opens(
    addresses: tuple[str, ...],
    until: float,
    attempt: Callable[[str], Awaitable[T]],
) -> T:
    """Try addresses in turn until one opens; raises the last one's OSError.

    Args:
        addresses: at least one.
        until: the loop's time at which everything must be over.
        attempt: opens one address.
    """
    loop = asyncio.get_running_loop()
    last: OSError = OSError("no address")
    for left in range(len(addresses), 0, -1):
        try:
            async with asyncio.timeout((until - loop.time()) / left):
                return await attempt(addresses[-left])
        except OSError as error:  # TimeoutError and ssl.SSLError are OSErrors
            last = error
    raise last


class Dialer:
    """Opens direct connections, and TLS on sockets that lead elsewhere."""

    def __init__(
        self,
        resolver: Resolver,
        tls: Callable[[], ssl.SSLContext] = default_tls,
        judge: Judge = allowed_addresses,
    ) -> None:
        """Keep what resolves names, makes the TLS context, and judges addresses."""
        self.resolver = resolver
        self.tls = tls
        self._judge = judge

    async def connect(
        self, origin: Origin, factory: Callable[[], P], limit: float
    ) -> P:
        """Connect to an origin; raises ExchangeFailure, always NOT_SENT.

        Args:
            origin: where to.
            factory: makes the protocol.
            limit: seconds for everything, the look-up included.
        """
        loop = asyncio.get_running_loop()
        until = loop.time() + limit
        context = self.tls() if origin.tls else None

        async def attempt(address: str) -> P:
            _, connection = await loop.create_connection(
                factory,
                address,
                origin.port,
                ssl=context,
                server_hostname=origin.host if context else None,
                ssl_shutdown_timeout=TLS_SHUTDOWN_SECONDS if context else None,
            )
            return connection

        try:
            async with asyncio.timeout_at(until):
                addresses = await self._judge(self.resolver, origin.host)
                return await first_that_opens(addresses, until, attempt)
        except (OSError, ValueError) as error:
            raise not_connected(origin.authority, error) from error

"""Connections that lead through a channel's proxy, `http://` or `socks5://`.

Only the way to the provider differs: after the proxy's hand-shake the socket is
a plain byte stream, and the same protocol, parser, pool and limits run on it.
The proxy resolves the provider's name, since local DNS is often the reason for
having one; metadata services are refused by name and by literal, and the proxy's
own address is judged like any other. An HTTP proxy is always asked to CONNECT,
so that its own refusals never look like a provider's reply.
"""

import asyncio
import base64
import re
import socket
from collections.abc import Callable
from ipaddress import ip_address
from urllib.parse import unquote, urlsplit

from msgspec import Struct
from typing_extensions import override

from posthouse.model.exchange import Certainty, ExchangeFailure, FailureKind
from posthouse.upstream.dial import (
    TLS_SHUTDOWN_SECONDS,
    Dialer,
    P,
    allowed_addresses,
    first_that_opens,
    not_connected,
    refused,
)
from posthouse.upstream.origin import Origin
from posthouse.upstream.targets import is_metadata_host

CONNECT_REPLY_BYTES = 16 * 1024
_DEFAULT_PORTS = {"http": 8080, "socks5": 1080, "socks5h": 1080}
_CONNECTED = re.compile(rb"HTTP/1\.[01] 2\d\d[ \r]")

_SOCKS_VERSION = 5
_SOCKS_NO_AUTHENTICATION = 0
_SOCKS_PASSWORD = 2
_SOCKS_CONNECT = 1
_SOCKS_IPV4, _SOCKS_NAME, _SOCKS_IPV6 = 1, 3, 4
_SOCKS_ERRORS = {
    1: "general failure",
    2: "not allowed by the rules",
    3: "network unreachable",
    4: "host unreachable",
    5: "connection refused",
    6: "time to live expired",
    7: "command not supported",
    8: "address type not supported",
}


class Proxy(Struct, frozen=True):
    """A proxy's address and how to log in."""

    scheme: str
    host: str
    port: int
    user: str
    password: str

    @override
    def __repr__(self) -> str:
        """Say where it is; its log-in stays out of logs."""
        return f"Proxy({self.scheme!r}, {self.host!r}, {self.port})"


class ProxyRefused(OSError):
    """The proxy did not open the way."""


def parse_proxy(url: str) -> Proxy:
    """Take a proxy's URL apart; raises ExchangeFailure."""
    # The URL may hold a password: it is not repeated.
    wrong = ExchangeFailure(
        FailureKind.CONNECT,
        Certainty.NOT_SENT,
        "the proxy is not http://host:port or socks5://host:port",
    )
    try:
        parts = urlsplit(url)
        port = parts.port or _DEFAULT_PORTS[parts.scheme]
    except (ValueError, KeyError):
        raise wrong from None
    if not parts.hostname or parts.path.strip("/") or parts.query:
        raise wrong
    return Proxy(
        scheme=parts.scheme,
        host=parts.hostname,
        port=port,
        user=unquote(parts.username or ""),
        password=unquote(parts.password or ""),
    )


class ProxyDialer:
    """Opens connections through one proxy."""

    def __init__(self, proxy: Proxy, dialer: Dialer) -> None:
        """Keep the proxy and what resolves its name and makes TLS contexts."""
        self._proxy = proxy
        self._dialer = dialer

    async def connect(
        self, origin: Origin, factory: Callable[[], P], limit: float
    ) -> P:
        """Connect to an origin; raises ExchangeFailure, always NOT_SENT."""
        if is_metadata_host(origin.host):
            raise refused(origin.host)
        loop = asyncio.get_running_loop()
        until = loop.time() + limit
        context = self._dialer.tls() if origin.tls else None
        try:
            async with asyncio.timeout_at(until):
                stream = await self._open(until)
                try:
                    await self._shake_hands(stream, origin)
                    _, connection = await loop.create_connection(
                        factory,
                        sock=stream,
                        ssl=context,
                        server_hostname=origin.host if context else None,
                        ssl_shutdown_timeout=(
                            TLS_SHUTDOWN_SECONDS if context else None
                        ),
                    )
                except BaseException:
                    stream.close()
                    raise
                return connection
        except (OSError, ValueError) as error:
            raise not_connected(f"{origin.authority} by proxy", error) from error

    async def _open(self, until: float) -> socket.socket:
        """Open a socket to the proxy."""
        loop = asyncio.get_running_loop()
        proxy = self._proxy

        async def attempt(address: str) -> socket.socket:
            version = ip_address(address.partition("%")[0]).version
            family = socket.AF_INET if version == 4 else socket.AF_INET6
            stream = socket.socket(family, socket.SOCK_STREAM)
            try:
                stream.setblocking(False)
                await loop.sock_connect(stream, (address, proxy.port))
            except BaseException:
                stream.close()
                raise
            return stream

        addresses = await allowed_addresses(self._dialer.resolver, proxy.host)
        return await first_that_opens(addresses, until, attempt)

    async def _shake_hands(self, stream: socket.socket, origin: Origin) -> None:
        """Have the proxy open the way to the origin."""
        if self._proxy.scheme == "http":
            await http_connect(stream, origin, self._proxy)
        else:
            await socks5_connect(stream, origin, self._proxy)


async def http_connect(stream: socket.socket, origin: Origin, proxy: Proxy) -> None:
    """Ask an HTTP proxy for a tunnel; raises OSError."""
    loop = asyncio.get_running_loop()
    host = f"[{origin.host}]" if ":" in origin.host else origin.host
    authority = f"{host}:{origin.port}"
    lines = [f"CONNECT {authority} HTTP/1.1", f"Host: {authority}"]
    if proxy.user:
        login = base64.b64encode(f"{proxy.user}:{proxy.password}".encode()).decode()
        lines.append(f"Proxy-Authorization: Basic {login}")
    await loop.sock_sendall(stream, "\r\n".join([*lines, "", ""]).encode())
    reply = b""
    while b"\r\n\r\n" not in reply:
        piece = await loop.sock_recv(stream, CONNECT_REPLY_BYTES)
        reply += piece
        if not piece or len(reply) > CONNECT_REPLY_BYTES:
            raise ProxyRefused("the proxy's reply to CONNECT is not whole")
    if _CONNECTED.match(reply) is None:
        status = reply.partition(b"\r\n")[0][:80].decode("latin-1")
        raise ProxyRefused(f"the proxy answered {status!r}")
    if not reply.endswith(b"\r\n\r\n"):
        raise ProxyRefused("bytes came before the tunnel was used")


async def socks5_connect(stream: socket.socket, origin: Origin, proxy: Proxy) -> None:
    """Ask a SOCKS5 proxy for a connection (RFC 1928, 1929); raises OSError."""
    loop = asyncio.get_running_loop()
    method = _SOCKS_PASSWORD if proxy.user else _SOCKS_NO_AUTHENTICATION
    await loop.sock_sendall(stream, bytes([_SOCKS_VERSION, 1, method]))
    if await _receive(stream, 2) != bytes([_SOCKS_VERSION, method]):
        raise ProxyRefused("the proxy wants another way of logging in")
    if proxy.user:
        user, password = proxy.user.encode(), proxy.password.encode()
        login = b"\x01" + _counted(user) + _counted(password)
        await loop.sock_sendall(stream, login)
        if (await _receive(stream, 2))[1] != 0:
            raise ProxyRefused("the proxy refused the log-in")
    request = bytes([_SOCKS_VERSION, _SOCKS_CONNECT, 0]) + _socks_address(origin.host)
    await loop.sock_sendall(stream, request + origin.port.to_bytes(2, "big"))
    version, code, _, kind = await _receive(stream, 4)
    if version != _SOCKS_VERSION or code != 0:
        raise ProxyRefused(f"the proxy: {_SOCKS_ERRORS.get(code, f'error {code}')}")
    sizes = {_SOCKS_IPV4: 4, _SOCKS_IPV6: 16}
    size = sizes.get(kind) or (await _receive(stream, 1))[0]
    await _receive(stream, size + 2)


def _socks_address(host: str) -> bytes:
    """Write a host as SOCKS5 takes it."""
    try:
        address = ip_address(host)
    except ValueError:
        return bytes([_SOCKS_NAME]) + _counted(host.encode("ascii"))
    kind = _SOCKS_IPV4 if address.version == 4 else _SOCKS_IPV6
    return bytes([kind]) + address.packed


def _counted(text: bytes) -> bytes:
    """Write a text after its length in one byte; raises ValueError."""
    return bytes([len(text)]) + text


async def _receive(stream: socket.socket, size: int) -> bytes:
    """Receive exactly so many bytes; raises OSError when the proxy closes."""
    loop = asyncio.get_running_loop()
    data = b""
    while len(data) < size:
        piece = await loop.sock_recv(stream, size - len(data))
        if not piece:
            raise ProxyRefused("the proxy closed the connection")
        data += piece
    return data

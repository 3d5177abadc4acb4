"""The caller's address, as far as the proxies in front may be believed.

Only a peer inside a trusted block may name another address. Its
X-Forwarded-For is read from the right: the first entry that is not itself a
trusted proxy is the caller; nothing further left is believed.
"""

from functools import lru_cache
from ipaddress import (
    IPv4Address,
    IPv6Address,
    IPv6Network,
    ip_address,
    ip_network,
)

Address = IPv4Address | IPv6Address


class TrustedProxies:
    """The address blocks whose X-Forwarded-For is believed."""

    def __init__(self, blocks: tuple[str, ...] = ()) -> None:
        """Take CIDR blocks or single addresses; raises ValueError on others."""
        self._networks = tuple(ip_network(block, strict=False) for block in blocks)
        self._trusts = lru_cache(maxsize=1024)(self._is_trusted)

    def caller(self, peer: str, forwarded: bytes | None) -> str:
        """Give the caller's address.

        Args:
            peer: the other end of the connection; empty for a local socket.
            forwarded: X-Forwarded-For, all of its fields joined.
        """
        if forwarded is None or not self._networks:
            return _written(peer)
        address = _parse(peer)
        if address is None or not self._trusts(address):
            return _written(peer)
        for entry in reversed(forwarded.split(b",")):
            named = _parse(_without_port(entry.decode("latin-1").strip()))
            if named is None:
                break
            address = named
            if not self._trusts(address):
                break
        return str(address)

    def _is_trusted(self, address: Address) -> bool:
        return any(
            isinstance(network, IPv6Network) == isinstance(address, IPv6Address)
            and address in network
            for network in self._networks
        )


@lru_cache(maxsize=1024)
def _parse(text: str) -> Address | None:
    try:
        address = ip_address(text)
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address


@lru_cache(maxsize=1024)
def _written(peer: str) -> str:
    """Write a peer's address in its one spelling."""
    address = _parse(peer)
    return peer if address is None else str(address)


def _without_port(text: str) -> str:
    """Drop the port that some proxies add: `1.2.3.4:5`, `[::1]:5`."""
    if text.startswith("["):
        return text[1:].partition("]")[0]
    if text.count(":") == 1:
        return text.partition(":")[0]
    return text

"""Which addresses a URL that a user gave may lead to: public ones, and no others.

Everything is refused that is not globally reachable unicast. The ranges are
IANA's registries of special addresses, written out here since Python's own
opinion (`is_global`) differs between versions and lets through what it should
not. Rules:

- IPv4 inside IPv6 (mapped, and NAT64's well-known prefix, through which hosts
  without IPv4 reach everything) is judged as the IPv4 address that it is; every
  other way of carrying one (compatible, 6to4, Teredo, ISATAP) is refused, as
  nothing that serves the public is reached by it.
- A cloud's metadata service is refused whatever the operator allows.
- What the operator denies is refused, also where he allows it.
- What he allows may be private.

Pure: no look-up happens here.
"""

import ipaddress
from collections.abc import Iterable
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

from msgspec import Struct

from posthouse.upstream.targets import (
    embedded_addresses,
    is_metadata_address,
    is_metadata_host,
)

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

_SPECIAL_V4 = tuple(
    IPv4Network(text)
    for text in (
        "0.0.0.0/8",  # this network, and the unspecified address
        "10.0.0.0/8",  # private
        "100.64.0.0/10",  # shared by carriers' NAT, and Alibaba Cloud's metadata
        "127.0.0.0/8",  # loopback
        "168.63.129.16/32",  # Azure's wire server
        "169.254.0.0/16",  # link-local, and most clouds' metadata
        "172.16.0.0/12",  # private
        "192.0.0.0/24",  # protocol assignments, and Oracle Cloud's metadata
        "192.0.2.0/24",  # documentation
        "192.31.196.0/24",  # AS112
        "192.52.193.0/24",  # AMT
        "192.88.99.0/24",  # 6to4's relays
        "192.168.0.0/16",  # private
        "192.175.48.0/24",  # AS112
        "198.18.0.0/15",  # benchmarking
        "198.51.100.0/24",  # documentation
        "203.0.113.0/24",  # documentation
        "224.0.0.0/4",  # multicast
        "240.0.0.0/4",  # reserved, and broadcast
    )
)
_GLOBAL_V6 = IPv6Network("2000::/3")
"""All global unicast that was ever given out; what lies outside is refused."""
_SPECIAL_V6 = tuple(
    IPv6Network(text)
    for text in (
        "2001::/23",  # protocol assignments: Teredo, ORCHID, benchmarking
        "2001:db8::/32",  # documentation
        "2002::/16",  # 6to4
        "2620:4f:8000::/48",  # AS112
        "3ffe::/16",  # 6bone
        "3fff::/20",  # documentation
    )
)
_PLAIN_V4_PREFIXES = (IPv6Network("::ffff:0:0/96"), IPv6Network("64:ff9b::/96"))
_PRIVATE_NAMES = frozenset(
    {
        "alt",
        "arpa",
        "corp",
        "example",
        "home",
        "internal",
        "intranet",
        "invalid",
        "lan",
        "local",
        "localdomain",
        "localhost",
        "onion",
        "private",
        "svc",
        "test",
    }
)
"""Last labels that lead to no public host: reserved (RFC 6761, 6762, 7686, 8375,
9476, ICANN's `internal`), or in use inside networks. Not even asked for."""


def plain(address: Address) -> Address:
    """Give the IPv4 address that an IPv6 address is another spelling of."""
    if isinstance(address, IPv6Address) and any(
        address in prefix for prefix in _PLAIN_V4_PREFIXES
    ):
        return IPv4Address(int(address) & 0xFFFF_FFFF)
    return address


def is_public(address: Address) -> bool:
    """Whether an address is one of the public internet's."""
    address = plain(address)
    if isinstance(address, IPv4Address):
        return not any(address in network for network in _SPECIAL_V4)
    if address not in _GLOBAL_V6 or any(address in net for net in _SPECIAL_V6):
        return False
    return all(is_public(inner) for inner in embedded_addresses(address))


class Listed(Struct, frozen=True):
    """Blocks of addresses and names of hosts, as an operator lists them."""

    networks: tuple[Network, ...] = ()
    names: tuple[str, ...] = ()

    def holds_address(self, address: Address) -> bool:
        """Whether an address lies in a block."""
        return any(
            address.version == network.version and address in network
            for network in self.networks
        )

    def holds_name(self, name: str) -> bool:
        """Whether a host is listed, or lies below one that is."""
        return any(name == one or name.endswith(f".{one}") for one in self.names)


def listed(items: Iterable[str]) -> Listed:
    """Sort an operator's list into blocks and names.

    Args:
        items: `10.0.0.0/8`, `192.0.2.7` or `files.example.com`, which stands for
            every host below it, too.
    """
    networks: list[Network] = []
    names = []
    for item in items:
        try:
            networks.append(ipaddress.ip_network(item))
        except ValueError:
            names.append(item.lower().rstrip("."))
    return Listed(tuple(networks), tuple(names))


class EgressPolicy(Struct, frozen=True):
    """What may be fetched on a user's word."""

    ports: frozenset[int]
    allowed: Listed = Listed()
    denied: Listed = Listed()

    def admits_name(self, name: str) -> bool:
        """Whether a host's name may be looked up at all.

        Args:
            name: in lower case and ASCII, without a dot at its end.
        """
        if is_metadata_host(name) or self.denied.holds_name(name):
            return False
        if self.allowed.holds_name(name):
            return True
        return "." in name and name.rpartition(".")[2] not in _PRIVATE_NAMES

    def admits_address(self, text: str, name: str) -> bool:
        """Whether an address may be dialled.

        Args:
            text: the address as a resolver wrote it; one with a zone is refused.
            name: whose it is, as `admits_name` takes it.
        """
        try:
            written = ipaddress.ip_address(text)
        except ValueError:
            return False
        if getattr(written, "scope_id", None) or is_metadata_address(text):
            return False
        address = plain(written)
        if self.denied.holds_address(address):
            return False
        return is_public(address) or self.expects(address, name)

    def expects(self, address: Address, name: str) -> bool:
        """Whether the operator allows an address or a host's name by his list."""
        return self.allowed.holds_address(plain(address)) or self.allowed.holds_name(
            name
        )


def make_policy(
    *,
    allow: Iterable[str] = (),
    deny: Iterable[str] = (),
    ports: Iterable[str] = ("80", "443"),
) -> EgressPolicy:
    """Make a policy of an operator's settings."""
    return EgressPolicy(
        ports=frozenset(int(port) for port in ports),
        allowed=listed(allow),
        denied=listed(deny),
    )

"""From where a key may be used: blocks of addresses, split once and remembered.

An IPv4 address that arrives inside IPv6 (::ffff:a.b.c.d) counts as IPv4. What
is no address, such as the peer of a local socket, is inside no block.
"""

import ipaddress
from functools import lru_cache

Block = tuple[int, int, int]
"""IP version, network, mask; the last two as integers."""

REMEMBERED_LISTS = 1024
REMEMBERED_ADDRESSES = 4096


def inside(address: str, networks: tuple[str, ...]) -> bool:
    """Whether an address lies in one of the CIDR blocks."""
    version, value = parse_address(address)
    return any(
        version == family and value & mask == network
        for family, network, mask in _blocks(networks)
    )


@lru_cache(maxsize=REMEMBERED_LISTS)
def _blocks(networks: tuple[str, ...]) -> tuple[Block, ...]:
    """Turn CIDR blocks into integers."""
    found = []
    for text in networks:
        network = ipaddress.ip_network(text, strict=False)
        found.append(
            (network.version, int(network.network_address), int(network.netmask))
        )
    return tuple(found)


@lru_cache(maxsize=REMEMBERED_ADDRESSES)
def parse_address(text: str) -> tuple[int, int]:
    """Give an address's version and value; (0, 0) is no address."""
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return 0, 0
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped:
        address = address.ipv4_mapped
    return address.version, int(address)


def origin_of(address: str) -> tuple[int, int] | str:
    """Give what stands for one party: an IPv4 address or an IPv6 /64."""
    version, value = parse_address(address)
    if version == 6:
        return version, value >> 64
    return (version, value) if version else address[:64]

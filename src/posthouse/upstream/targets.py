"""Which addresses no channel may point at: the clouds' metadata services.

They hand out the machine's own credentials to whoever asks from inside. Private
and loopback addresses are allowed here: a channel's base URL is the operator's
word. The address that is dialled is judged, after resolving, in every IPv6 form
that carries an IPv4 address; names are refused as well, since a proxy or a split
DNS may resolve them elsewhere. Pure: no look-up happens here.
"""

import socket
from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    ip_address,
)

_METADATA_NETWORKS = (
    IPv4Network("169.254.0.0/16"),  # link-local: AWS, GCP, Azure, ECS and others
    IPv4Network("100.100.100.200/32"),  # Alibaba Cloud
    IPv4Network("192.0.0.192/32"),  # Oracle Cloud
    IPv4Network("168.63.129.16/32"),  # Azure's wire server
)
_METADATA_V6 = frozenset(
    {IPv6Address("fd00:ec2::254"), IPv6Address("fd20:ce::254")}  # AWS, GCP
)
_METADATA_NAMES = frozenset(
    {
        "metadata",
        "metadata.google.internal",
        "metadata.goog",
        "metadata.tencentyun.com",
        "metadata.azure.com",
        "metadata.azure.internal",
        "instance-data",
        "instance-data.ec2.internal",
    }
)
# Prefixes whose last 32 bits are an IPv4 address: compatible, mapped, translated,
# NAT64 and NAT64's local-use prefix.
_LOW_WORD_PREFIXES = tuple(
    IPv6Network(prefix)
    for prefix in (
        "::/96",
        "::ffff:0:0/96",
        "::ffff:0:0:0/96",
        "64:ff9b::/96",
        "64:ff9b:1::/48",
    )
)
_SIX_TO_FOUR = IPv6Network("2002::/16")
_TEREDO = IPv6Network("2001::/32")
_NAT64_LOCAL = IPv6Network("64:ff9b:1::/48")
_ISATAP_MARKS = frozenset({0x00005EFE, 0x02005EFE})


def embedded_addresses(address: IPv6Address) -> list[IPv4Address]:
    """List the IPv4 addresses that an IPv6 address may stand for."""
    value = int(address)
    low = value & 0xFFFFFFFF
    found: list[int] = []
    if any(address in prefix for prefix in _LOW_WORD_PREFIXES):
        found.append(low)
    if address in _SIX_TO_FOUR:
        found.append((value >> 80) & 0xFFFFFFFF)
    if address in _TEREDO:
        # The server's address stands plain, the client's inverted.
        found += [(value >> 64) & 0xFFFFFFFF, low ^ 0xFFFFFFFF]
    if address in _NAT64_LOCAL:
        # A /48 prefix splits the address around the reserved byte (RFC 6052).
        found.append(((value >> 64) & 0xFFFF) << 16 | ((value >> 40) & 0xFFFF))
    if (value >> 32) & 0xFFFFFFFF in _ISATAP_MARKS:
        found.append(low)
    return [IPv4Address(item) for item in found]


def is_metadata_address(text: str) -> bool:
    """Whether an IP address, as the resolver wrote it, is a metadata service.

    Args:
        text: an IPv4 or IPv6 literal; an IPv6 zone (`%eth0`) is ignored.
    """
    address = ip_address(text.partition("%")[0])
    if isinstance(address, IPv4Address):
        return any(address in network for network in _METADATA_NETWORKS)
    return address in _METADATA_V6 or any(
        any(inner in network for network in _METADATA_NETWORKS)
        for inner in embedded_addresses(address)
    )


def is_metadata_host(host: str) -> bool:
    """Whether a host as written names a metadata service, without a look-up.

    Catches the known names and every literal, also the short and numeric forms
    (`0xa9fea9fe`, `2852039166`, `169.254.43518`) that a resolver would accept.
    """
    name = host.rstrip(".").lower()
    if name in _METADATA_NAMES:
        return True
    try:
        return is_metadata_address(name)
    except ValueError:
        pass
    try:
        return is_metadata_address(socket.inet_ntoa(socket.inet_aton(name)))
    except (OSError, ValueError):
        return False

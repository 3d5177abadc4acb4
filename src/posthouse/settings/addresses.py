"""Which addresses an operator may write: base URLs, proxies, origins, networks.

Private and loopback addresses are the operator's own business. Addresses at
which a cloud answers with the machine's credentials are never a provider's,
however they are spelled.
"""

import ipaddress
import re
import socket
from urllib.parse import SplitResult, urlsplit

_METADATA_NETWORKS = tuple(
    ipaddress.ip_network(text)
    for text in (
        "169.254.0.0/16",  # link-local: every cloud's, and containers' on AWS
        "100.100.100.200/32",  # Alibaba Cloud
        "192.0.0.192/32",  # Oracle Cloud
        "168.63.129.16/32",  # Azure
        "fd00:ec2::/32",  # AWS
        "fd20:ce::254/128",  # Google Cloud
        "fe80::/10",  # link-local
    )
)
_METADATA_NAMES = frozenset(
    {
        "metadata",
        "metadata.google.internal",
        "metadata.goog",
        "metadata.azure.com",
        "metadata.azure.internal",
        "metadata.tencentyun.com",
        "metadata.oraclecloud.com",
        "instance-data",
        "instance-data.ec2.internal",
        "kubernetes.default.svc",
    }
)
_HOST_NAME = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_.-]{0,252}[A-Za-z0-9_])?\.?")
# The ranges of IPv6 in whose last 32 bits an IPv4 address may travel.
_EMBEDDING = tuple(
    ipaddress.IPv6Network(text)
    for text in ("::/96", "::ffff:0:0/96", "::ffff:0:0:0/96", "64:ff9b::/96")
)

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


def is_metadata_address(address: Address) -> bool:
    """Whether a cloud serves its machine's credentials at this address."""
    if any(address in network for network in _METADATA_NETWORKS):
        return True
    if isinstance(address, ipaddress.IPv4Address):
        return False
    return any(is_metadata_address(inner) for inner in _embedded(address))


def _embedded(address: ipaddress.IPv6Address) -> list[ipaddress.IPv4Address]:
    """Give the IPv4 addresses that an IPv6 address may stand for."""
    found = []
    if any(address in network for network in _EMBEDDING):
        found.append(ipaddress.IPv4Address(int(address) & 0xFFFF_FFFF))
    if address.sixtofour is not None:
        found.append(address.sixtofour)
    if address.teredo is not None:
        found.extend(address.teredo)
    return found


def literal_address(host: str) -> Address | None:
    """Read an address in any spelling that a resolver takes; None is a name."""
    try:
        return ipaddress.ip_address(host.split("%", 1)[0])
    except ValueError:
        pass
    try:
        # Also 0x7f.1, 0177.1 and 2130706433, as the C library does.
        return ipaddress.IPv4Address(socket.inet_aton(host.rstrip(".")))
    except (OSError, ValueError):
        return None


def is_metadata_host(host: str) -> bool:
    """Whether a URL's host, a name or an address, is a cloud's metadata."""
    name = host.lower().rstrip(".")
    if name in _METADATA_NAMES or name.startswith("kubernetes.default.svc."):
        return True
    address = literal_address(host)
    return address is not None and is_metadata_address(address)


def _split(url: str, schemes: tuple[str, ...]) -> SplitResult:
    """Take a URL apart; raises ValueError with the reason for the operator."""
    if not url.isascii() or any(ord(char) <= 32 or ord(char) == 127 for char in url):
        raise ValueError("holds a space or a character that no URL may hold")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise ValueError("is not a URL") from None
    if parts.scheme not in schemes:
        names = " or ".join(f"{scheme}://" for scheme in schemes)
        raise ValueError(f"must begin with {names}")
    if not url.startswith(f"{parts.scheme}://") or "\\" in url or not parts.hostname:
        raise ValueError("has no host")
    if port == 0:
        raise ValueError("has a port that is not one")
    if literal_address(parts.hostname) is None and not _HOST_NAME.fullmatch(
        parts.hostname
    ):
        raise ValueError("has a host that is neither a name nor an address")
    return parts


def check_base_url(url: str) -> None:
    """Raise ValueError when a channel may not point at this URL."""
    parts = _split(url, ("https", "http"))
    if "@" in parts.netloc:
        raise ValueError("must not hold a user or password; use api_key")
    if parts.query or parts.fragment or url.endswith(("?", "#")):
        raise ValueError("must end with its path, without ? or #")
    if is_metadata_host(parts.hostname or ""):
        raise ValueError("points at a cloud's metadata service")


def check_proxy(url: str) -> None:
    """Raise ValueError when this is no proxy that a channel may use."""
    parts = _split(url, ("http", "socks5"))
    if parts.port is None:
        raise ValueError("has no port")
    if parts.path.strip("/") or parts.query or parts.fragment:
        raise ValueError("must end with its port")
    if is_metadata_host(parts.hostname or ""):
        raise ValueError("points at a cloud's metadata service")


def check_network(text: str) -> None:
    """Raise ValueError when this is neither an address nor a CIDR block."""
    try:
        ipaddress.ip_network(text)
    except ValueError:
        pass
    else:
        return
    try:
        meant = ipaddress.ip_network(text, strict=False)
    except ValueError:
        raise ValueError(
            f"{text!r} is not a block of addresses such as 10.0.0.0/8"
        ) from None
    raise ValueError(f"{text!r} has host bits set; the block is {meant}")


def check_place(text: str) -> None:
    """Raise ValueError when this is no block of addresses and no host's name."""
    if "/" in text or literal_address(text) is not None:
        check_network(text)
    elif not _HOST_NAME.fullmatch(text):
        raise ValueError(f"{text!r} is neither a block of addresses nor a host")


def check_port(text: str) -> None:
    """Raise ValueError when this is not the number of a port."""
    if not re.fullmatch(r"[1-9][0-9]{0,4}", text) or int(text) > 65_535:
        raise ValueError(f"{text!r} is not a port")


def check_node(text: str) -> None:
    """Raise ValueError when this cannot name a machine in a header."""
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}", text):
        raise ValueError(f"{text!r} is not letters, digits, dots and dashes")


def check_origin(text: str) -> None:
    """Raise ValueError when this is neither `*` nor an origin of the web."""
    if text == "*":
        return
    try:
        parts = _split(text, ("https", "http"))
    except ValueError as error:
        raise ValueError(f"{text!r} {error}") from None
    if text != f"{parts.scheme}://{parts.netloc}" or "@" in parts.netloc:
        raise ValueError(f"{text!r} is not an origin such as https://example.com")

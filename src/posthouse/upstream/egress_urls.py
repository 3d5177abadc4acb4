"""A user's URL, taken apart once: what is judged is what is dialled and asked for.

No second parser ever sees the text. What is not plainly `http(s)://host[:port]`
with a path and perhaps a query is refused, not repaired; in particular:

- no user or password, and no backslash, blank or control character anywhere;
- a host is a name in letters, digits, hyphens and underscores (others become
  that by IDNA), an IPv6 address in brackets without a zone, or an IPv4 address
  as four decimal numbers. 2130706433, 0x7f.1, 0177.0.0.1 and 127.1 are ways
  around a filter, and nobody else's;
- a dot at a name's end is dropped; a fragment is, too.

Pure: no look-up happens here.
"""

import re
from ipaddress import AddressValueError, IPv4Address, IPv6Address
from urllib.parse import quote, urljoin

from msgspec import Struct
from typing_extensions import override

from posthouse.upstream.origin import Origin

URL_CHARACTERS = 8192
NAME_CHARACTERS = 253
_DEFAULT_PORTS = {"http": 80, "https": 443}
_URL = re.compile(
    r"(?P<scheme>https?)://(?P<authority>[^/?#]*)(?P<target>[^#]*)(?:#.*)?",
    re.IGNORECASE,
)
_AUTHORITY = re.compile(
    r"(?P<host>\[[0-9A-Fa-f:.]+\]|[^\[\]:@%]+)(?::(?P<port>[0-9]{1,5}))?"
)
_LABEL = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?<!-)")
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")
_NEVER = re.compile(r"[\x00-\x20\x7f-\xa0\\\u2028\u2029]")
"""Characters that parsers are known to drop, repair or take for a slash."""


class URLRefused(Exception):
    """A URL is none that may be fetched, by its text or by where it leads."""


class WebURL(Struct, frozen=True):
    """A URL in parts."""

    origin: Origin
    target: str
    """Path and query, in ASCII."""

    @override
    def __str__(self) -> str:
        scheme = "https" if self.origin.tls else "http"
        return f"{scheme}://{self.origin.authority}{self.target}"


def parse_url(text: str) -> WebURL:
    """Take a URL apart; raises URLRefused."""
    if len(text) > URL_CHARACTERS or _NEVER.search(text):
        raise URLRefused
    match = _URL.fullmatch(text)
    authority = _AUTHORITY.fullmatch(match["authority"]) if match else None
    if match is None or authority is None:
        raise URLRefused
    scheme = match["scheme"].lower()
    port = int(authority["port"] or _DEFAULT_PORTS[scheme])
    if not 0 < port < 65536:
        raise URLRefused
    host = _host(authority["host"])
    shown = f"[{host}]" if ":" in host else host
    return WebURL(
        Origin(
            tls=scheme == "https",
            host=host,
            port=port,
            authority=shown if port == _DEFAULT_PORTS[scheme] else f"{shown}:{port}",
        ),
        _target(match["target"]),
    )


def follow(base: WebURL, location: bytes) -> WebURL:
    """Give where a redirect leads; raises URLRefused.

    Args:
        base: what was asked for.
        location: the header's value.
    """
    try:
        text = location.decode()
    except UnicodeDecodeError:
        text = location.decode("latin-1")
    if not text or len(text) > URL_CHARACTERS or _NEVER.search(text):
        raise URLRefused
    if re.match(r"[A-Za-z][A-Za-z0-9+.-]*:", text):
        return parse_url(text)
    if text.startswith("//"):
        return parse_url(f"{'https' if base.origin.tls else 'http'}:{text}")
    return parse_url(urljoin(str(base), text))


def is_literal(host: str) -> bool:
    """Whether the host of a URL that was taken apart is an address."""
    return ":" in host or _looks_numeric(host)


def _host(text: str) -> str:
    """Give a host in its one spelling."""
    if text.startswith("["):
        try:
            return str(IPv6Address(text[1:-1]))
        except AddressValueError:
            raise URLRefused from None
    name = _ascii(text).removesuffix(".")
    labels = name.split(".")
    if len(name) > NAME_CHARACTERS or not all(map(_LABEL.fullmatch, labels)):
        raise URLRefused
    if _looks_numeric(name):
        try:
            return str(IPv4Address(name))
        except AddressValueError:
            raise URLRefused from None
    return name


def _ascii(text: str) -> str:
    """Write a name as DNS has it."""
    if text.isascii():
        return text.lower()
    if len(text) > NAME_CHARACTERS:
        # Python's codec takes time that grows with the square of the length.
        raise URLRefused
    try:
        return text.encode("idna").decode("ascii").lower()
    except UnicodeError:
        raise URLRefused from None


def _looks_numeric(name: str) -> bool:
    """Whether a resolver may take a name for an IPv4 address, in any spelling."""
    return _NUMBER.fullmatch(name.rpartition(".")[2]) is not None


def _target(text: str) -> str:
    """Write path and query as they go onto the wire."""
    if not text.startswith("/"):
        text = f"/{text}"
    return text if text.isascii() else quote(text, safe=_PRINTABLE)


_PRINTABLE = "".join(map(chr, range(0x21, 0x7F)))

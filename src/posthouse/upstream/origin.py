"""A provider's `scheme://host[:port]`, taken apart once and kept."""

import re

from msgspec import Struct

from posthouse.model.exchange import Certainty, ExchangeFailure, FailureKind

_ORIGIN = re.compile(
    r"(?P<scheme>https?)://"
    r"(?P<host>\[[0-9A-Fa-f:.]+(?:%[0-9A-Za-z._~-]+)?\]|[^\s/?#@:\\\[\]%\x00-\x1f]+)"
    r"(?::(?P<port>[0-9]{1,5}))?",
    re.IGNORECASE,
)
_DEFAULT_PORTS = {"http": 80, "https": 443}


class Origin(Struct, frozen=True):
    """Where a connection leads and what its Host header says."""

    tls: bool
    host: str
    """A name in its ASCII form, or an address without brackets."""
    port: int
    authority: str
    """Host and port as the Host header takes them."""


def parse_origin(text: str) -> Origin:
    """Take an origin apart.

    Raises ExchangeFailure when it is not exactly one of `http` or `https`, a host
    and perhaps a port: no user, path, query or blank is let through.
    """
    match = _ORIGIN.fullmatch(text)
    if match is None:
        raise _not_an_origin(text)
    scheme = match["scheme"].lower()
    port = int(match["port"] or _DEFAULT_PORTS[scheme])
    host = match["host"].lower()
    if not host.isascii():
        try:
            host = host.encode("idna").decode("ascii")
        except UnicodeError:
            raise _not_an_origin(text) from None
    if not 0 < port < 65536 or len(host) > 255:
        raise _not_an_origin(text)
    return Origin(
        tls=scheme == "https",
        host=host.strip("[]"),
        port=port,
        authority=host if port == _DEFAULT_PORTS[scheme] else f"{host}:{port}",
    )


def _not_an_origin(text: str) -> ExchangeFailure:
    """Build the refusal."""
    return ExchangeFailure(
        FailureKind.CONNECT, Certainty.NOT_SENT, f"not an origin: {text[:200]!r}"
    )

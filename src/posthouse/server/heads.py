"""Heads of HTTP/1.1 messages: what of a request's is refused, how a reply's is made.

Pure. httptools (llhttp without leniencies) has already refused what is not
HTTP at all: bad tokens, folded lines, NUL and bare CR or LF, Content-Length
that repeats, is no number or comes with Transfer-Encoding. Here is the rest,
so that no proxy in front can read the same bytes otherwise.

A reply's framing fields belong to the server: a caller's own are left out.
"""

import re
from collections.abc import Sequence
from email.utils import formatdate
from functools import lru_cache
from http import HTTPStatus
from urllib.parse import unquote

from msgspec import Struct
from typing_extensions import override

from posthouse.errors import HeadersTooLarge, InvalidRequest
from posthouse.server.limits import ServerLimits

Headers = Sequence[tuple[bytes, bytes]]
"""Names in lower case, in the order of the wire."""

_SINGLE = frozenset({b"host", b"content-length", b"transfer-encoding"})
_OWNED = frozenset(
    {
        b"connection",
        b"content-length",
        b"date",
        b"keep-alive",
        b"transfer-encoding",
        b"upgrade",
        b"x-request-id",
    }
)
_LINE_OVERHEAD = 4
_HOST_BYTES = 300
_HOST = re.compile(
    rb"(?:[A-Za-z0-9._~!$&'()*+,;=-]|%[0-9A-Fa-f]{2})+(?::[0-9]{0,5})?"
    rb"|\[[0-9A-Fa-f:.]+\](?::[0-9]{0,5})?"
)
_ABSOLUTE = re.compile(rb"[Hh][Tt][Tt][Pp][Ss]?://[^/?]+(.*)")


class RequestHead(Struct, frozen=True, gc=False):
    """A request's head that has passed every check."""

    method: str
    path: str
    """Percent escapes decoded once."""
    raw_path: bytes
    query: bytes
    """Without the question mark; escapes as they stood."""
    version: str
    """"1.1" or "1.0"."""
    fields: dict[bytes, bytes]
    """By name in lower case; repeated fields joined with a comma."""
    content_length: int | None
    chunked: bool
    key: str | None = None
    """The key that it presents, where that was read with it; None: it was not."""

    @override
    def __repr__(self) -> str:
        """Tell what was asked, and not with which key."""
        return f"RequestHead({self.method} {self.path} HTTP/{self.version})"


class Nowhere(dict[bytes, bytes]):
    """Takes the trailers of chunked bodies, which nothing here wants."""

    @override
    def __setitem__(self, name: bytes, value: bytes) -> None:
        """Forget it."""


NOWHERE = Nowhere()


def add_repeated(fields: dict[bytes, bytes], name: bytes, value: bytes) -> None:
    """Join a repeated field to what stands there; raises InvalidRequest."""
    if name in _SINGLE:
        raise InvalidRequest(f"The {name.decode('ascii')} header is repeated.")
    fields[name] += b", " + value


def check_size(
    fields: dict[bytes, bytes], repeated: list[bytes], limits: ServerLimits
) -> None:
    """Hold a head to its limits; raises HeadersTooLarge.

    Args:
        fields: by name; repeated ones as `add_repeated` joins them.
        repeated: the names of those, once for each that was added.
        limits: of every connection.
    """
    size = sum(len(name) + len(value) for name, value in fields.items())
    # The value of a repeated field has been counted, with its ", ".
    size += sum(len(name) - len(b", ") for name in repeated)
    count = len(fields) + len(repeated)
    size += _LINE_OVERHEAD * count
    if count > limits.head_fields or size > limits.head_bytes:
        raise HeadersTooLarge


def read_head(
    method: bytes, target: bytes, version: str, fields: dict[bytes, bytes]
) -> RequestHead:
    """Judge a parsed head; raises InvalidRequest.

    Args:
        method: in capitals.
        target: as it came.
        version: "1.1", say.
        fields: by name in lower case; repeated ones as `add_repeated` joins them.
    """
    host = fields.get(b"host")
    if host is None:
        if version != "1.0":
            raise InvalidRequest("The Host header is missing.")
    elif len(host) > _HOST_BYTES or not _is_host(host):
        raise InvalidRequest("The Host header is malformed.")
    if version not in ("1.1", "1.0"):
        raise InvalidRequest("Only HTTP/1.1 and HTTP/1.0 are spoken here.")
    coding = fields.get(b"transfer-encoding")
    length = fields.get(b"content-length")
    if coding is not None and (
        length is not None or version == "1.0" or coding.lower() != b"chunked"
    ):
        raise InvalidRequest("Transfer-Encoding may only be `chunked`, and alone.")
    split = _split if target.find(b"?") >= 0 else _split_cached
    name, path, raw_path, query = split(method, target)
    return RequestHead(
        name,
        path,
        raw_path,
        query,
        version,
        fields,
        None if length is None else int(length),
        coding is not None,
    )


@lru_cache(maxsize=256)
def _is_host(host: bytes) -> bool:
    return _HOST.fullmatch(host) is not None


def _split(method: bytes, target: bytes) -> tuple[str, str, bytes, bytes]:
    """Give method, path, raw path and query; an authority in the target is moot."""
    if b"#" in target:
        raise InvalidRequest("The request target holds a fragment.")
    raw_path, _, query = _origin_form(method, target).partition(b"?")
    path = raw_path.decode("ascii")
    path = unquote(path) if "%" in path else path
    return method.decode("ascii"), path, raw_path, query


# Without a query there is no key in it, and few targets are asked for often.
_split_cached = lru_cache(maxsize=256)(_split)


def _origin_form(method: bytes, target: bytes) -> bytes:
    if target.startswith(b"/") or (target == b"*" and method == b"OPTIONS"):
        return target
    match = _ABSOLUTE.fullmatch(target)
    if match is None:
        raise InvalidRequest("The request target is malformed.")
    return match[1] if match[1].startswith(b"/") else b"/" + match[1]


def status_prefix(status: int, unix_time: float) -> bytes:
    """Render a reply's status line and Date."""
    try:
        phrase = HTTPStatus(status).phrase
    except ValueError:
        phrase = ""
    date = formatdate(unix_time, usegmt=True)
    return f"HTTP/1.1 {status} {phrase}\r\ndate: {date}\r\n".encode("ascii")


def render_fields(headers: Headers) -> bytes:
    """Render a reply's fields, each with its line end.

    Raises ValueError if a value would begin another line: a fault of ours or of
    a provider that must never reach the wire.
    """
    parts: list[bytes] = []
    for name, value in headers:
        if name not in _OWNED:
            parts += (name, b": ", value, b"\r\n")
    block = b"".join(parts)
    # Every CR and LF must be one that was put here.
    if len(block.splitlines()) << 2 != len(parts) or block.find(b"\0") >= 0:
        raise ValueError("a reply's header holds a line break or NUL")
    return block


render_constant = lru_cache(maxsize=64)(render_fields)
"""The same for tuples, of which there are few."""

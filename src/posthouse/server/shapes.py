"""Heads that are known: what a client sends again and again is parsed once.

Two calls of one SDK differ, in their heads, by the body's length and the key.
A head is cut at these two values; what is left is its shape. A shape whose head
was once judged whole needs no parser again: all its bytes but those two values
are the same, and the two are held to the form that they must have.

Rules. Only a head that stands whole at the beginning of what arrived is cut, and
only at lines that begin with the fields' own names. A shape is learnt from a head
that the parser took for a plain POST of HTTP/1.1 that keeps its connection: none
with a query, another credential, an upgrade or an expectation. What is kept holds
no key, and is bounded.
"""

import re
from typing import Final

from msgspec import Struct, structs

from posthouse.server.heads import RequestHead

LONGEST_HEAD: Final = 4096
SHAPES_KEPT: Final = 512
_END = b"\r\n\r\n"
_LENGTH = (b"\nContent-Length: ", b"\ncontent-length: ")
_BEARER = (b"\nAuthorization: Bearer ", b"\nauthorization: Bearer ")
_TOKEN = re.compile(rb"[\x21-\x7e]{1,1024}")
_DIGITS = 15
_KEEP_ALIVE = b"keep-alive"
_BARRED = frozenset(
    {
        b"api-key",
        b"cookie",
        b"expect",
        b"proxy-authorization",
        b"transfer-encoding",
        b"upgrade",
        b"x-api-key",
        b"x-goog-api-key",
    }
)
"""Fields that hold secrets, or change how the connection goes on."""


class Cut(Struct, frozen=True, gc=False):
    """A head without the two values."""

    shape: bytes
    bearer: str
    """The key, as presented."""
    length: int
    """Bytes of the body."""
    end: int
    """Where the body begins."""


def cut(data: bytes) -> Cut | None:
    """Cut the head at the beginning of `data`; None where it must be parsed."""
    end = data.find(_END, 0, LONGEST_HEAD)
    if end < 0:
        return None
    key = _value(data, _BEARER, end)
    length = _value(data, _LENGTH, end)
    if key < 0 or length < 0:
        return None
    key_end, length_end = data.find(b"\r", key), data.find(b"\r", length)
    digits, token = data[length:length_end], data[key:key_end]
    if len(digits) > _DIGITS or not digits.isdigit() or not _TOKEN.fullmatch(token):
        return None
    if key < length:
        pieces = (data[:key], data[key_end:length], data[length_end:end])
    else:
        pieces = (data[:length], data[length_end:key], data[key_end:end])
    return Cut(b"\0".join(pieces), token.decode(), int(digits), end + len(_END))


def _value(data: bytes, starts: tuple[bytes, bytes], end: int) -> int:
    """Give where a field's value begins; -1 if it is not there as SDKs write it."""
    for start in starts:
        found = data.find(start, 0, end)
        if found >= 0:
            return found + len(start)
    return -1


class KnownHeads:
    """The shapes that one server has learnt."""

    def __init__(self) -> None:
        """Begin knowing none."""
        self._heads: dict[bytes, RequestHead] = {}
        self.find = self._heads.get
        """Gives a shape's head, whose fields are without the two values; or None."""

    def learn(self, known: Cut, head: RequestHead) -> None:
        """Remember the parsed head of what was cut, if nothing in it is unusual."""
        fields = dict(head.fields)
        # The parser refuses a repeated length; a repeated key it joins.
        del fields[b"content-length"]
        if (
            fields.pop(b"authorization") != b"Bearer " + known.bearer.encode()
            or fields.get(b"connection", _KEEP_ALIVE).lower() != _KEEP_ALIVE
            or not _BARRED.isdisjoint(fields)
            or (head.method, head.version, head.query) != ("POST", "1.1", b"")
        ):
            return
        if len(self._heads) >= SHAPES_KEPT:
            self._heads.clear()
        self._heads[known.shape] = structs.replace(head, fields=fields)

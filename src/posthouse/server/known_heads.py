"""Heads that are known by their bytes, and need not be parsed again.

Clients send the same head with every call, but for the length of the body and,
behind a proxy, for whose key it is. What has the bytes of a head that httptools and
`read_head` have passed, other digits and another key aside, means the same.

Rules: a head is learnt only from a connection that sent it whole with its body, and
serves that connection alone; nothing of a key is kept. What is not one whole request,
differs in any other byte, or has no good key in its place goes to the parser.
"""

import re
from typing import TYPE_CHECKING

from msgspec import Struct, structs
from typing_extensions import override
from uvicorn.protocols.http.flow_control import HIGH_WATER_LIMIT

from posthouse.server.credentials import KEY_VALUES
from posthouse.server.heads import RequestHead

if TYPE_CHECKING:
    from posthouse.server.exchange import Exchange

_END = b"\r\n\r\n"
_LENGTH = b"content-length"
_NOT_LEARNT = frozenset({b"cookie", b"expect", b"proxy-authorization", b"upgrade"})
"""Fields that hold other secrets, or ask for more than an answer."""
_MOST_BYTES = 4096
"""Of a head that is known."""
_MOST_HEADS = 512


class KnownHead(Struct, frozen=True):
    """A head with two gaps: one for a key, one for the length of the body."""

    before: bytes
    """What stands before the key."""
    after: bytes
    """What stands behind it, with the empty line."""
    key: bytes
    """The name of the field with the key, in lower case."""
    value: re.Pattern[bytes]
    """What such a field holds; its group is the key."""
    length_before: bool
    """Whether it is `before`, not `after`, that is a format of the length."""
    most: int
    """Bytes that the head may have."""
    head: RequestHead
    """With nothing in the gaps."""

    @override
    def __repr__(self) -> str:
        """Tell what is asked with it, and nothing else of what it says."""
        return f"KnownHead({self.head!r})"

    def read(self, data: bytes) -> tuple[RequestHead, bytes] | None:
        """Give head and body of one whole request that has this head.

        None decides nothing: the parser does.
        """
        end = data.find(_END, 0, self.most) + len(_END)
        size = len(data) - end
        before, after = self.before, self.after
        if self.length_before:
            before %= size
        else:
            after %= size
        key_end = end - len(after)
        # No parser takes it for anything but one value, as it stands.
        match = self.value.fullmatch(data, len(before), key_end)
        if (
            match is None
            or not data.startswith(before)
            or not data.startswith(after, key_end)
            or size > HIGH_WATER_LIMIT
        ):
            return None
        head = self.head
        fields = head.fields.copy()
        fields[self.key] = match[0]
        fields[_LENGTH] = b"%d" % size
        key = match[1].decode()
        head = structs.replace(head, fields=fields, content_length=size, key=key)
        return head, data[end:]


class KnownHeads:
    """What the connections of a process have learnt; each head is kept once."""

    def __init__(self) -> None:
        """Begin knowing none."""
        self._heads: dict[tuple[bytes, bytes], KnownHead] = {}

    def __len__(self) -> int:
        """Give the number of heads known."""
        return len(self._heads)

    def learn(self, data: bytes, exchange: "Exchange") -> KnownHead | None:
        """Know a head from now on, if it is one of those that come again.

        Args:
            data: what the parser was given when a request was due.
            exchange: what it made of it.
        """
        head = exchange.head
        end = data.find(_END) + len(_END)
        most = min(exchange.context.limits.head_bytes, _MOST_BYTES)
        if (
            not exchange.keep_alive
            or head.content_length != exchange.received
            or len(data) != end + exchange.received
            or end > most
            # Each line tells a field of its own: none is repeated or left out.
            or data.count(b"\r\n", 0, end) != len(head.fields) + 2
            or not _NOT_LEARNT.isdisjoint(head.fields)
            or head.query
        ):
            return None
        known = _with_gaps(data[:end], head, most)
        if known is None:
            return None
        if len(self._heads) >= _MOST_HEADS:
            self._heads.clear()
        return self._heads.setdefault((known.before, known.after), known)


def _with_gaps(text: bytes, head: RequestHead, most: int) -> KnownHead | None:
    """Leave the key and the length out of a head; None for one without either."""
    names = KEY_VALUES.keys() & head.fields
    if len(names) != 1:
        return None
    (name,) = names
    key, key_end = _gap(text, name, head.fields[name])
    length, length_end = _gap(text, _LENGTH, head.fields[_LENGTH])
    if key < 0 or length < 0:
        return None
    before, after = text[:key], text[key_end:]
    if length < key:
        before = _format(text[:length], text[length_end:key])
    else:
        after = _format(text[key_end:length], text[length_end:])
    fields = {**head.fields, name: b"", _LENGTH: b""}
    bare = structs.replace(head, fields=fields, content_length=None, key=None)
    return KnownHead(before, after, name, KEY_VALUES[name], length < key, most, bare)


def _format(begin: bytes, end: bytes) -> bytes:
    """Make a format of a length between two texts."""
    return b"%b%%d%b" % (begin.replace(b"%", b"%%"), end.replace(b"%", b"%%"))


def _gap(text: bytes, name: bytes, value: bytes) -> tuple[int, int]:
    """Give where a field's value begins and ends; -1 if it is written otherwise."""
    line = b"\r\n%b: " % name
    begin = text.lower().find(line) + len(line)
    end = begin + len(value)
    if begin < len(line) or not value or text[begin : end + 2] != value + b"\r\n":
        return -1, -1
    return begin, end

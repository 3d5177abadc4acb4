"""Marks: by which a request that is refused for overload is known without parsing.

While there are far more requests than can be served, what a refusal costs decides
how many are. Clients send the same head again and again, but for the length of the
body; what has the bytes of a head that was parsed, other digits aside, means the
same. Only hashes are kept, under a secret of the process: keys stand in heads.
"""

from collections.abc import Sequence

from msgspec import Struct

_END = b"\r\n\r\n"
_LENGTHS = (b"\nContent-Length: ", b"\ncontent-length: ")
_MOST_DIGITS = 8
_MOST_MARKS = 20_000


def mark_of(data: bytes) -> int:
    """Give the mark of one whole request with a body of a declared length; else 0.

    Args:
        data: what has arrived since the last request ended.
    """
    end = data.find(_END)
    if end < 0:
        return 0
    for name in _LENGTHS:
        begin = data.find(name, 0, end)
        if begin >= 0:
            break
    else:
        return 0
    begin += len(name)
    stop = data.find(b"\r", begin)
    digits = data[begin:stop]
    if (
        not digits.isdigit()
        or len(digits) > _MOST_DIGITS
        or len(data) - end - len(_END) != int(digits)
    ):
        return 0
    return hash((data[:begin], data[stop:end]))


ConstantReply = tuple[int, tuple[tuple[bytes, bytes], ...], bytes]
"""Status, headers, body."""


class Refused(Struct, frozen=True):
    """A request that was refused."""

    tenant: str
    replies: Sequence[ConstantReply]
    """What who sends the like is told, in turn."""


class Marks:
    """Marks of what was refused."""

    def __init__(self) -> None:
        """Begin knowing none."""
        self._refused: dict[int, Refused] = {}
        self.get = self._refused.get

    def add(self, mark: int, refused: Refused) -> None:
        """Know a mark; when there are too many, all are learnt anew."""
        if len(self._refused) >= _MOST_MARKS:
            self._refused.clear()
        self._refused[mark] = refused

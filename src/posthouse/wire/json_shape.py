"""How deep and how full a JSON text is, told before anything is decoded.

Rules: a tiny value costs a parser a hundred times the bytes it is written in,
and the parsers behind us each have a depth of their own, below which they
fail in ways of their own; so both have limits that no honest text meets. The
text need not be valid: up to its first fault it is counted as a parser reads
it, and behind that none does. Time is linear, and for an ordinary text it is
that of two searches for a byte; a large one is read in steps, between which
other threads may run.
"""

from array import array
from itertools import accumulate

DEPTH_LIMIT = 128
"""What the strictest of the common parsers take."""
VALUES_LIMIT = 320_000
"""Values in one text; a list or an object counts as two. The largest request
of a common API is one of 300,000 tokens given as numbers."""

_SMALL = VALUES_LIMIT
"""Bytes in which so many values cannot stand without many brackets."""
_STEP = 256 * 1024
_NOT_STRUCTURE = bytes(set(range(256)) - set(b'"[]{},'))
_STEPS = bytes.maketrans(b"[{]}", b"\x01\x01\xff\xff")
"""One level down and one up, as signed bytes."""


class BadShape(ValueError):
    """The text is too deep or too full; str() says which."""


def check_shape(data: bytes) -> None:
    """Raise BadShape for a text beyond DEPTH_LIMIT or VALUES_LIMIT."""
    size = len(data)
    if size <= _SMALL:
        # Taking them out counts brackets at the speed of memchr; count() does not.
        lists, objects = data.replace(b"[", b""), data.replace(b"{", b"")
        if 2 * size - len(lists) - len(objects) > DEPTH_LIMIT:
            _look_closely(data)
    elif _may_be_full(data):
        _look_closely(data)


def _may_be_full(data: bytes) -> bool:
    """Whether there are enough brackets or commas, inside of strings or not."""
    opened = commas = 0
    for at in range(0, len(data), _STEP):
        end = at + _STEP
        opened += data.count(b"[", at, end) + data.count(b"{", at, end)
        commas += data.count(b",", at, end)
        if opened > DEPTH_LIMIT or commas + 2 * opened > VALUES_LIMIT:
            return True
    return False


def _look_closely(data: bytes) -> None:
    """Count what stands outside of strings."""
    values = depth = inside = at = 0
    while at < len(data):
        piece = data[at : at + _STEP]
        if (len(piece) - len(piece.rstrip(b"\\"))) & 1:
            # An escape goes with what it escapes.
            piece = data[at : at + _STEP + 1]
        at += len(piece)
        if b"\\" in piece:
            piece = piece.replace(b"\\\\", b"").replace(b'\\"', b"")
        pieces = piece.translate(None, _NOT_STRUCTURE).split(b'"')
        outside = b"".join(pieces[inside::2])
        inside ^= (len(pieces) - 1) & 1
        steps = array("b", outside.translate(_STEPS, b","))
        opened = steps.count(1)
        values += len(outside) - len(steps) + 2 * opened
        if values > VALUES_LIMIT:
            raise BadShape("the JSON holds too many values")
        if depth + opened > DEPTH_LIMIT and depth + _highest(steps) > DEPTH_LIMIT:
            raise BadShape("the JSON is nested too deeply")
        depth += 2 * opened - len(steps)
        if depth < 0:
            # More was closed than opened: no parser reads on.
            return


def _highest(steps: "array[int]") -> int:
    """Give the highest sum that the steps reach."""
    return max(accumulate(steps), default=0)

"""A weighted consistent-hash ring.

A call's affinity hash names a point; the members that follow it on the ring,
in order, are where the call goes first, second, and so on. Adding or removing
a member moves only that member's share (and a little more where the mean
weight changes by half or to its double). A look-up costs O(log points), which
a rendezvous hash over a thousand channels would not.
"""

import struct
from array import array
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from hashlib import shake_128
from itertools import chain
from math import log2
from zlib import crc32

POINTS_PER_MEMBER = 64
"""About so many on average; a member has more or fewer by its weight."""

_OWNER_BITS = 20
_OWNER = (1 << _OWNER_BITS) - 1
"""The low bits of a point on the ring say whose it is."""
_WHOLE = 2**64 - 1
_SPREAD = 0x9E3779B97F4A7C15
"""2⁶⁴ over the golden ratio: multiples of it lie evenly on the circle."""


def hash_point(data: bytes, salt: bytes = b"") -> int:
    """A 64-bit point for `data`; `salt` keeps tenants apart.

    A checksum does: it only spreads calls, and of a long prompt it takes a
    fraction of what a cryptographic hash would.
    """
    return crc32(data, crc32(salt)) * _SPREAD & _WHOLE


class Ring:
    """Members by weight on a circle; immutable."""

    __slots__ = ("_points", "shares", "size")

    def __init__(self, members: Sequence[tuple[str, float]]) -> None:
        """Place members, given as (stable name, weight above zero)."""
        self.size = len(members)
        total = sum(weight for _, weight in members)
        self.shares = [weight / total for _, weight in members]
        """What each member has of the whole, by index."""
        placed: list[int] = []
        if self.size > 1:
            # In powers of two, lest every change of a weight moves everyone.
            scale = 2.0 ** round(log2(total / self.size))
            for index, (name, weight) in enumerate(members):
                count = max(1, round(POINTS_PER_MEMBER * weight / scale))
                placed += [point & ~_OWNER | index for point in _points(name, count)]
        placed.sort()
        self._points = array("Q", placed)

    def walk(self, point: int) -> Iterator[int]:
        """Give each member's index once, from the nearest after `point` on."""
        if self.size == 1:
            yield 0
            return
        points = self._points
        start = bisect_right(points, point) % len(points)
        # Mostly the nearest can serve, and nobody asks for another.
        nearest = points[start] & _OWNER
        yield nearest
        seen = {nearest}
        for position in chain(range(start + 1, len(points)), range(start)):
            owner = points[position] & _OWNER
            if owner not in seen:
                seen.add(owner)
                yield owner
                if len(seen) == self.size:
                    return


def _points(name: str, count: int) -> tuple[int, ...]:
    """A member's points; the first of them are the same for every count."""
    digest = shake_128(name.encode()).digest(8 * count)
    return struct.unpack(f"<{count}Q", digest)

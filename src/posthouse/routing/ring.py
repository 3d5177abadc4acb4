"""A weighted consistent-hash ring.

A call's affinity hash names a point; the members that follow it on the ring,
in order, are where the call goes first, second, and so on. Adding or removing
a member moves only that member's share. A look-up costs O(log points), which
a rendezvous hash over a thousand channels would not.
"""

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from hashlib import blake2b

POINTS_PER_MEMBER = 64
"""On average; a member has more or fewer by its weight."""


def hash_point(data: bytes, salt: bytes = b"") -> int:
    """A 64-bit point for `data`; `salt` (at most 64 bytes) keeps tenants apart."""
    return int.from_bytes(blake2b(data, digest_size=8, key=salt[:64]).digest(), "big")


class Ring:
    """Members by weight on a circle; immutable."""

    __slots__ = ("_owners", "_points", "size")

    def __init__(self, members: Sequence[tuple[str, float]]) -> None:
        """Place members, given as (stable name, weight above zero)."""
        self.size = len(members)
        mean = sum(weight for _, weight in members) / max(1, len(members))
        placed: list[tuple[int, int]] = []
        for index, (name, weight) in enumerate(members):
            count = max(1, round(POINTS_PER_MEMBER * weight / mean))
            seed = name.encode()
            placed += (
                (hash_point(seed + b"\0%d" % point), index) for point in range(count)
            )
        placed.sort()
        self._points = [point for point, _ in placed]
        self._owners = [owner for _, owner in placed]

    def walk(self, point: int) -> Iterator[int]:
        """Give each member's index once, from the nearest after `point` on."""
        if self.size == 1:
            yield 0
            return
        owners = self._owners
        start = bisect_right(self._points, point)
        seen: set[int] = set()
        for offset in range(len(owners)):
            owner = owners[(start + offset) % len(owners)]
            if owner not in seen:
                seen.add(owner)
                yield owner
                if len(seen) == self.size:
                    return

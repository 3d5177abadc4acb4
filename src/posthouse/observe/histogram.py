"""A histogram of values that come many at a time: a bisection per bound."""

from bisect import bisect_right
from collections.abc import Sequence
from operator import add


class Histogram:
    """Counts values by upper bounds."""

    __slots__ = ("bounds", "counts", "total")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        """Take ascending upper bounds; above the last is counted too."""
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0

    def add(self, values: Sequence[float]) -> None:
        """Count values, in any order."""
        if not values:
            return
        ordered = sorted(values)
        counts = self.counts
        counted = 0
        for index, bound in enumerate(self.bounds):
            up_to = bisect_right(ordered, bound, counted)
            counts[index] += up_to - counted
            counted = up_to
        counts[-1] += len(ordered) - counted
        self.total += sum(ordered)

    @property
    def is_used(self) -> bool:
        """Whether anything was counted."""
        return any(self.counts)

    def merge(self, other: "Histogram") -> None:
        """Add what another of the same bounds has counted."""
        self.counts = list(map(add, self.counts, other.counts))
        self.total += other.total

    def cumulative(self) -> list[tuple[str, float]]:
        """Give (upper bound, count up to it), ending with "+Inf"."""
        running = 0
        rows: list[tuple[str, float]] = []
        names = [*map(_bound_name, self.bounds), "+Inf"]
        for name, count in zip(names, self.counts, strict=True):
            running += count
            rows.append((name, float(running)))
        return rows


def _bound_name(bound: float) -> str:
    return repr(float(bound))

"""Bad keys by address: after too many within a minute the address must wait.

An address is an IPv4 address or an IPv6 /64. The table is bounded; when it is
full of addresses that still count, the one that began first is let go.
"""

import math
from collections import OrderedDict
from collections.abc import Callable

from posthouse.access.networks import origin_of
from posthouse.errors import RateLimited

WINDOW = 60.0
"""Seconds from an address's first failure to a clean slate."""

Origin = tuple[int, int] | str


class _Tally:
    """The failures of one address since its first one."""

    __slots__ = ("began", "count")

    def __init__(self, began: float) -> None:
        self.began = began
        self.count = 0


class FailureTable:
    """Counts failures and refuses addresses that have too many."""

    def __init__(
        self, per_minute: int, capacity: int, clock: Callable[[], float]
    ) -> None:
        """Begin with no failures; `clock` gives monotonic seconds."""
        self._per_minute = per_minute
        self._capacity = capacity
        self._clock = clock
        self._tallies: OrderedDict[Origin, _Tally] = OrderedDict()

    def __len__(self) -> int:
        return len(self._tallies)

    def check(self, address: str) -> None:
        """Raise RateLimited when the address has failed too often."""
        if not self._tallies:
            return
        tally = self._tallies.get(origin_of(address))
        if tally is None or tally.count < self._per_minute:
            return
        left = tally.began + WINDOW - self._clock()
        if left > 0:
            raise RateLimited(
                "Too many incorrect API keys from your address.",
                retry_after=math.ceil(left),
            )

    def count(self, address: str) -> None:
        """Note a failure."""
        now = self._clock()
        origin = origin_of(address)
        tally = self._tallies.get(origin)
        if tally is None or now - tally.began >= WINDOW:
            self._tallies.pop(origin, None)
            if len(self._tallies) >= self._capacity:
                self._tallies.popitem(last=False)
            tally = self._tallies[origin] = _Tally(now)
        tally.count += 1

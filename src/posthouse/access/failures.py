"""Bad keys by address: after too many within a minute the address must wait.

An address is an IPv4 address or an IPv6 /64. The table is bounded; when it is
full of addresses that still count, the one that began first is let go.

A key that is remembered never gets here, and one that is known to be bad costs no
look-up. The others need a turn: no more of an address are looked up at the same
time than it may still get wrong, so a thousand guesses at once are no more than
twenty. An address that must wait has one turn a second all the same: a good key
behind it, of a colleague of the guesser, gets in; a bad one is told to wait.
"""

import asyncio
import math
from collections import OrderedDict, deque
from collections.abc import Callable
from typing import NamedTuple

from posthouse.access.networks import origin_of
from posthouse.errors import RateLimited

WINDOW = 60.0
"""Seconds from an address's first failure to a clean slate."""
SPARE_SECONDS = 1.0
"""Between two look-ups for an address that must wait."""

Origin = tuple[int, int] | str


class _Tally:
    """The failures of one address since its first one, and who is trying."""

    __slots__ = ("began", "count", "spare_at", "trying", "waiting")

    def __init__(self) -> None:
        self.began = 0.0
        self.count = 0
        self.trying = 0
        self.spare_at = 0.0
        """When the address has its next turn although it must wait."""
        self.waiting: deque[asyncio.Future[None]] = deque()


class Turn(NamedTuple):
    """The right to look one key up."""

    origin: Origin
    tally: _Tally
    spare: bool
    """The address must wait: a bad key is told so, whatever it is."""


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
            raise _refused(left)

    def count(self, address: str) -> None:
        """Note a failure."""
        self._count(self._tally(origin_of(address)))

    async def enter(self, address: str) -> Turn:
        """Wait for a turn to look a key up; `leave` must follow.

        Raises RateLimited when the address has failed too often.
        """
        origin = origin_of(address)
        while True:
            tally = self._tally(origin)
            left = self._per_minute - tally.count
            if left <= 0:
                now = self._clock()
                if now < tally.spare_at:
                    raise _refused(tally.spare_at - now)
                tally.spare_at = now + SPARE_SECONDS
                tally.trying += 1
                return Turn(origin, tally, spare=True)
            if tally.trying < left:
                tally.trying += 1
                return Turn(origin, tally, spare=False)
            woken = asyncio.get_running_loop().create_future()
            tally.waiting.append(woken)
            try:
                await woken
            except asyncio.CancelledError:
                # It may have been woken before; then it is another's turn.
                self._wake(tally)
                raise

    def leave(self, turn: Turn, *, failed: bool) -> None:
        """Give a turn back; `failed` if the key was bad."""
        tally = turn.tally
        tally.trying -= 1
        if failed and not turn.spare:
            self._count(tally)
        self._wake(tally)
        # Nothing is remembered of an address that only has good keys.
        idle = not (tally.count or tally.trying or tally.waiting)
        if idle and self._tallies.get(turn.origin) is tally:
            del self._tallies[turn.origin]

    def _wake(self, tally: _Tally) -> None:
        """Let those who wait look whether it is their turn."""
        left = self._per_minute - tally.count
        free = left - tally.trying if left > 0 else len(tally.waiting)
        while free > 0 and tally.waiting:
            woken = tally.waiting.popleft()
            if not woken.done():
                woken.set_result(None)
                free -= 1

    def _tally(self, origin: Origin) -> _Tally:
        """Give an address's tally; one whose minute is over begins anew."""
        tally = self._tallies.get(origin)
        if tally is not None:
            if tally.count and self._clock() - tally.began >= WINDOW:
                tally.count = 0
                self._tallies.move_to_end(origin)
            return tally
        if len(self._tallies) >= self._capacity:
            self._tallies.popitem(last=False)
        tally = self._tallies[origin] = _Tally()
        return tally

    def _count(self, tally: _Tally) -> None:
        """Note a failure."""
        now = self._clock()
        if not tally.count:
            tally.began = now
        tally.count += 1
        tally.spare_at = now + SPARE_SECONDS


def _refused(left: float) -> RateLimited:
    """Build the refusal; `left` in seconds."""
    return RateLimited(
        "Too many incorrect API keys from your address.", retry_after=math.ceil(left)
    )

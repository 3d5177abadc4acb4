"""How soon channels answer: a decayed average per channel and model.

Streams count to their first content, whole replies to their end, each apart:
they are not comparable. A figure that is older than `STALE` is forgotten. A
failure counts as slow, lest a channel that fails at once look fast. The table
belongs to one process and outlives configurations.
"""

from math import exp

from msgspec import Struct

from posthouse.routing.table import REMEMBERED_NAMES, Asked, Member, Tier

HALF_FORGOTTEN = 30.0
"""Seconds; about so old is what an average is made of, where calls are rare."""
LEAST_WEIGHT = 0.1
"""Of a new time in the average, however quickly it follows the last one."""
STALE = 600.0
"""Seconds after which a figure says nothing."""
FAILURE_SECONDS = 10.0
"""What a failure counts as, unless it took longer."""
EXPLORED = 20
"""One in so many choices goes to the member whose figure is the oldest."""
TOLERANCE = 1.1
"""Members within this multiple of the best time are as good: sessions stay."""

Key = tuple[str, str, bool]
"""Channel, upstream model, whether streamed."""


class Figure(Struct, gc=False):
    """An average, and when it was last added to."""

    seconds: float
    at: float

    def add(self, seconds: float, now: float) -> None:
        """Take a time into the average."""
        weight = max(LEAST_WEIGHT, 1.0 - exp((self.at - now) / HALF_FORGOTTEN))
        self.seconds += weight * (seconds - self.seconds)
        self.at = now


class LatencyTable:
    """The figures of one process."""

    def __init__(self) -> None:
        """Begin knowing nothing."""
        self._figures: dict[Key, Figure] = {}
        self._choices = 0

    def keep_only(self, channels: set[str]) -> None:
        """Forget channels that no longer exist."""
        for key in [key for key in self._figures if key[0] not in channels]:
            del self._figures[key]

    def add(self, key: Key, seconds: float, now: float) -> None:
        """Take a time into an average; `now` in monotonic seconds."""
        figure = self._figures.get(key)
        if figure is None:
            if len(self._figures) >= REMEMBERED_NAMES:
                del self._figures[next(iter(self._figures))]
            self._figures[key] = Figure(seconds, now)
        elif now - figure.at > STALE:
            figure.seconds, figure.at = seconds, now
        else:
            figure.add(seconds, now)

    def find(self, key: Key, now: float) -> Figure | None:
        """An average that is not stale."""
        figure = self._figures.get(key)
        return None if figure is None or now - figure.at > STALE else figure

    def by_channel(self, now: float) -> dict[str, dict[str, float]]:
        """What each channel's models take, in seconds; streams are named so."""
        found: dict[str, dict[str, float]] = {}
        for (channel, model, stream), figure in self._figures.items():
            if now - figure.at <= STALE:
                name = f"{model} (stream)" if stream else model
                found.setdefault(channel, {})[name] = figure.seconds
        return found

    def explores(self) -> bool:
        """Whether the choice that is made now is one of those that explore."""
        self._choices += 1
        return self._choices % EXPLORED == 0


class LowestLatency:
    """The member that answers soonest; those of which nothing is known first.

    A member that is not known is asked by one call at a time.
    """

    def __init__(self, table: LatencyTable) -> None:
        """Judge by a table, and add to it."""
        self._table = table

    def best(self, tier: Tier, usable: list[int], asked: Asked) -> list[int]:
        """See Policy."""
        figures: dict[int, Figure] = {}
        unknown = []
        for index in usable:
            figure = self._table.find(_key(tier.members[index], asked), asked.now)
            if figure is not None:
                figures[index] = figure
            elif not tier.in_flight[index]:
                unknown.append(index)
        if unknown:
            return unknown
        if not figures:
            return usable
        if self._table.explores():
            return [min(figures, key=lambda index: figures[index].at)]
        limit = TOLERANCE * min(figure.seconds for figure in figures.values())
        return [index for index, figure in figures.items() if figure.seconds <= limit]

    def observe(
        self, member: Member, seconds: float, now: float, *, stream: bool, failed: bool
    ) -> None:
        """See Policy."""
        if failed:
            seconds = max(seconds, FAILURE_SECONDS)
        key = (member.channel.name, member.upstream_model, stream)
        self._table.add(key, seconds, now)


def _key(member: Member, asked: Asked) -> Key:
    return member.channel.name, member.upstream_model or asked.model, asked.stream

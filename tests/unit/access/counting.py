"""Counter stores for tests: one in memory, driven by hand or by an event loop."""

from collections.abc import Callable, Sequence

from typing_extensions import override

from posthouse.access.counters import Answer, Ask, Tally, answer
from posthouse.access.ports import CounterStore, CountersUnavailable


class Clock:
    """A clock that a test moves."""

    def __init__(self, now: float = 1000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


class Counters:
    """What several stores of a test share."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self.clock = clock
        self.tallies: dict[str, Tally] = {}
        self.dead: set[str] = set()
        self.exchanges = 0

    def answer(self, asks: Sequence[Ask], owner: str) -> list[Answer]:
        """Answer as a store does."""
        self.exchanges += 1
        now = self.clock()
        return [
            answer(
                self.tallies.setdefault(ask.subject, Tally()),
                ask,
                owner=owner,
                now=now,
                is_dead=self.dead.__contains__,
            )
            for ask in asks
        ]


class MemoryStore(CounterStore):
    """One owner's way to the counters; it can be told to fail."""

    def __init__(self, counters: Counters, owner: str) -> None:
        self.counters = counters
        self.owner = owner
        self.error: Exception | None = None
        self.told: list[Ask] = []

    @override
    def start(self) -> None:
        """Nothing needs to be begun."""

    @override
    async def exchange(self, asks: Sequence[Ask]) -> list[Answer]:
        if self.error is not None:
            raise self.error
        self.told.extend(asks)
        return self.counters.answer(asks, self.owner)

    @override
    async def close(self) -> None:
        self.counters.dead.add(self.owner)


UNREACHABLE = CountersUnavailable("out of reach")

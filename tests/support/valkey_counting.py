"""Counters in a real Valkey that tests drive by hand, by a clock of their own."""

import itertools
from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any

import msgspec
from tests.support.valkey import Desk, Valkey
from tests.unit.access.counting import Counters, MemoryStore
from typing_extensions import override

from posthouse.access.counters import Answer, Ask, Tally
from posthouse.access.windows import Bucket
from posthouse.storage.coordination.valkey import (
    _TALLY,
    DEAD_SECONDS,
    ValkeyCounters,
    _decode,
    _encode,
)

_marks = itertools.count()


class ValkeyTallies(Counters):
    """What several stores of a test share, in a Valkey."""

    def __init__(self, clock: Callable[[], float], valkey: Valkey, desk: Desk) -> None:
        self.clock = clock
        self.valkey = valkey
        self.mark = f"test-{next(_marks)}"
        self.dead: set[str] = set()
        self.exchanges = 0
        self._prefix = f"posthouse:{self.mark}:limits:"
        self._desk = desk

    @override
    def answer(self, asks: Sequence[Ask], owner: str) -> list[Answer]:
        """Answer as Valkey does, to whom everybody but the dead seems alive."""
        self.exchanges += 1
        now = self.clock()
        self._keep_alive([self._key(ask.subject) for ask in asks], now)
        head = ("EVAL", _TALLY.text, 1)
        commands = [
            (*head, self._key(ask.subject), owner, _encode(ask), repr(now))
            for ask in asks
        ]
        return [_decode(reply).answer(now, now) for reply in self._desk.ask(*commands)]

    @property
    @override
    def tallies(self) -> dict[str, Tally]:
        (keys,) = self._desk.ask(("KEYS", f"{self._prefix}{{?*}}"))
        found = defaultdict(Tally)
        for key in keys:
            buckets, places, lent_until, kept_until = self._state(key)
            found[key.decode().removeprefix(self._prefix)[1:-1]] = Tally(
                [Bucket(*bucket) for bucket in buckets],
                {owner: int(place[0]) for owner, place in places.items()},
                lent_until,
                kept_until,
            )
        return found

    @tallies.setter
    def tallies(self, value: dict[str, Tally]) -> None:
        raise NotImplementedError

    def _key(self, subject: str) -> str:
        return f"{self._prefix}{{{subject}}}"

    def _state(self, key: str | bytes) -> list[Any]:
        (stored,) = self._desk.ask(("GET", key))
        if stored is None:
            return [[], {}, 0, 0]
        state: list[Any] = msgspec.msgpack.decode(stored)
        # Lua has one kind of table.
        state[1] = state[1] or {}
        return state

    def _keep_alive(self, keys: list[str], now: float) -> None:
        """Let each owner that lives have been heard of just now."""
        for key in keys:
            state = self._state(key)
            for owner, place in state[1].items():
                place[1] = now - DEAD_SECONDS if owner in self.dead else now
            if state[1]:
                self._desk.ask(("SET", key, msgspec.msgpack.encode(state), "KEEPTTL"))


class ValkeyStore(ValkeyCounters, MemoryStore):
    """The real store, which can be told to fail."""

    def __init__(self, counters: ValkeyTallies) -> None:
        ValkeyCounters.__init__(
            self,
            counters.valkey.place,
            counters.mark,
            clock=counters.clock,
            moment=counters.clock,
            seconds=10,
        )
        self.counters = counters
        self.error: Exception | None = None

    @override
    async def exchange(self, asks: Sequence[Ask]) -> list[Answer]:
        if self.error is not None:
            raise self.error
        self.counters.exchanges += 1
        return await ValkeyCounters.exchange(self, asks)


def make_store(counters: Counters, owner: str) -> MemoryStore:
    """One owner's way to the counters, where these are."""
    if isinstance(counters, ValkeyTallies):
        return ValkeyStore(counters)
    return MemoryStore(counters, owner)

"""Guesses at once are no more than guesses in turn; good keys among them get in."""

import asyncio
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from posthouse.access.authenticator import Authenticator, Bounds
from posthouse.access.failures import SPARE_SECONDS, WINDOW, FailureTable, Turn
from posthouse.access.keys import digest
from posthouse.access.principal import Principal
from posthouse.errors import AuthenticationFailed, RateLimited, StorageUnavailable

PEPPER = b"p" * 32
HERE = "192.0.2.1"
ELSEWHERE = "192.0.2.2"


class Clock:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Store:
    """Keys that begin with `good` are good; a look-up takes a turn of the loop."""

    def __init__(self) -> None:
        self.reads: list[bytes] = []
        self.good: set[bytes] = set()
        self.error: Exception | None = None

    async def find(self, digest: bytes) -> Principal | None:
        self.reads.append(digest)
        await asyncio.sleep(0)
        if self.error is not None:
            raise self.error
        if digest in self.good:
            return Principal(digest.hex(), "good", "default")
        return None


class Door:
    """An authenticator with its clock and store."""

    def __init__(self, **bounds: int) -> None:
        self.clock, self.store = Clock(), Store()
        self.inner = Authenticator(
            self.store,
            PEPPER,
            bounds=Bounds(**bounds),
            wall_clock=self.clock,
            clock=self.clock,
        )

    def good(self, key: str) -> str:
        """Make a key good."""
        self.store.good.add(digest(PEPPER, key))
        return key

    async def outcome(self, key: str, address: str = HERE) -> str:
        """Give how a key fares."""
        try:
            await self.inner.authenticate(key, address)
        except AuthenticationFailed:
            return "bad"
        except RateLimited as error:
            return f"wait {error.retry_after}"
        return "good"

    async def together(self, *keys: str, address: str = HERE) -> Counter[str]:
        """Try keys at the same time."""
        return Counter(
            await asyncio.gather(*(self.outcome(key, address) for key in keys))
        )


async def test_a_thousand_guesses_at_once_are_twenty() -> None:
    """The others are told to wait, and cost nothing."""
    door = Door()
    found = await door.together(*(f"sk-{n}" for n in range(1000)))
    assert found == {"bad": 20, "wait 1": 980}
    assert len(door.store.reads) == 20
    assert await door.outcome("sk-x", ELSEWHERE) == "bad"


async def test_a_thousand_good_keys_at_once_are_good() -> None:
    """A whole office comes back after a restart; nothing is kept of its address."""
    door = Door()
    keys = [door.good(f"sk-{n}") for n in range(900)]
    assert await door.together(*keys) == {"good": 900}
    assert len(door.inner._failures) == 0


async def test_good_keys_between_guesses_get_in() -> None:
    """As far as the guesses leave turns; after that, one a second."""
    door = Door()
    guesses = [f"sk-bad-{n}" for n in range(10)]
    keys = [door.good(f"sk-{n}") for n in range(50)]
    assert await door.together(*guesses, *keys) == {"bad": 10, "good": 50}
    late = door.good("sk-late")
    assert (await door.together(*(f"sk-more-{n}" for n in range(30))))["bad"] == 10
    assert await door.outcome(late) == "wait 1"
    # Who is known does not wait at all.
    assert await door.outcome(keys[0]) == "good"
    door.clock.now += SPARE_SECONDS
    assert await door.outcome(late) == "good"


async def test_an_address_that_waits_has_one_look_up_a_second() -> None:
    """A bad key is told to wait, looked up or not; never that it is bad."""
    door = Door()
    await door.together(*(f"sk-{n}" for n in range(40)))
    reads = len(door.store.reads)
    for second in range(1, 11):
        door.clock.now += SPARE_SECONDS
        found = await door.together(*(f"sk-{second}-{n}" for n in range(10)))
        assert sum(found.values()) == 10
        assert all(outcome.startswith("wait") for outcome in found)
        assert len(door.store.reads) == reads + second
        # What is known to be bad takes nobody's turn.
        assert await door.outcome(f"sk-{second}-0") == f"wait {WINDOW - second:.0f}"


async def test_after_a_minute_an_address_begins_anew() -> None:
    """Counted from its first failure."""
    door = Door()
    assert await door.together(*(f"sk-{n}" for n in range(30))) == {
        "bad": 20,
        "wait 1": 10,
    }
    door.clock.now += WINDOW
    assert await door.together(*(f"sk-b{n}" for n in range(30))) == {
        "bad": 20,
        "wait 1": 10,
    }


async def test_who_goes_away_holds_up_nobody() -> None:
    """Neither while it waits, nor when it was just its turn."""
    door = Door(failures_per_minute=1)
    keys = [door.good(f"sk-{n}") for n in range(100)]
    tasks = [asyncio.ensure_future(door.outcome(key)) for key in keys]
    for number in range(0, 100, 2):
        await asyncio.sleep(0)
        tasks[number].cancel()
    found = await asyncio.wait_for(
        asyncio.gather(*tasks, return_exceptions=True), timeout=5
    )
    assert all(outcome == "good" for outcome in found[1::2])
    assert len(door.inner._failures) == 0


async def test_a_storage_that_fails_is_nobodys_guess() -> None:
    """Turns come back."""
    door = Door()
    door.store.error = StorageUnavailable()
    for number in range(50):
        with pytest.raises(StorageUnavailable):
            await door.outcome(f"sk-{number}")
    assert len(door.inner._failures) == 0


class Play:
    """A table whose turns are taken, given back and waited for in any order."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.table = FailureTable(3, 2, self.clock)
        self.turns: list[Turn] = []
        self.tasks: set[asyncio.Task[None]] = set()

    async def _enter(self, address: str) -> None:
        try:
            self.turns.append(await self.table.enter(address))
        except RateLimited:
            return

    def step(self, step: str | float | bool) -> None:
        """Do what a step says: an address, a pause, a turn's end, None."""
        if isinstance(step, str):
            self.tasks.add(asyncio.ensure_future(self._enter(step)))
        elif isinstance(step, bool):
            if self.turns:
                self.table.leave(self.turns.pop(0), failed=step)
        elif step:
            self.clock.now += step
        elif self.tasks:
            next(iter(self.tasks)).cancel()

    async def pause(self) -> None:
        """Let everybody go on."""
        for _ in range(3):
            await asyncio.sleep(0)
        self.tasks = {task for task in self.tasks if not task.done()}

    async def play(self, steps: list[str | float | bool]) -> None:
        """Do all steps; in the end nobody may be waiting for nothing."""
        for step in steps:
            self.step(step)
            await self.pause()
            assert len(self.table) <= 2
        while self.turns:
            self.table.leave(self.turns.pop(0), failed=False)
            await self.pause()
        assert not self.tasks


STEPS = st.sampled_from([HERE, HERE, ELSEWHERE, "::1", True, False, 0, 0.5, 1.0, 60.0])


@settings(deadline=None, max_examples=100)
@given(st.lists(STEPS, max_size=60))
def test_turns_are_never_lost(steps: list[str | float | bool]) -> None:
    """Whatever happens in whatever order."""
    asyncio.run(Play().play(steps))

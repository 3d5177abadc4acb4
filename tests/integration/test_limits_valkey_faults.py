"""Limits of several nodes while their Valkey is away, slow, flapping, full, emptied.

What must hold throughout: no call fails for it, none waits for long, and none is
without limits; it is told once per change, and it ends by itself.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import structlog
from tests.fakes.tcp_proxy import TCPProxy
from tests.support.valkey import Valkey

from posthouse.access import shared
from posthouse.access.counters import LEISURE
from posthouse.access.principal import Principal
from posthouse.access.shared import SharedLimits
from posthouse.access.windows import Permit
from posthouse.errors import RateLimited
from posthouse.settings.coordination import Coordination
from posthouse.storage.coordination import valkey as coordination_valkey
from posthouse.storage.coordination.valkey import ValkeyCounters

NODES = 3
ANSWER, SHORT_ANSWER = 0.5, 0.1
"""Seconds in which the Valkey must answer."""
PATIENT = 10.0
"""For one that is always there, however busy the machine is."""
LONGEST = ANSWER + 0.3
"""Seconds that a call waits, once; those are not counted that we had to stand still."""
LOOK = 0.005
FIRST_RETRY = 0.1
FLAPS = 4


class Served:
    """Seconds in which this loop ran; a machine busy with others adds none."""

    def __init__(self) -> None:
        self.now = 0.0

    async def count(self) -> None:
        while True:
            before = time.monotonic()
            await asyncio.sleep(LOOK)
            self.now += min(time.monotonic() - before, 2 * LOOK)


served = Served()


@pytest.fixture(autouse=True)
async def _count() -> AsyncIterator[None]:
    task = asyncio.create_task(served.count())
    yield
    task.cancel()


def key(name: str, **rates: int) -> Principal:
    return Principal(name, "a", "default", **rates)


@pytest.fixture(scope="module")
def own() -> Iterator[Valkey]:
    with Valkey() as server:
        yield server


@pytest.fixture
async def proxy(own: Valkey) -> AsyncIterator[TCPProxy]:
    own.do("FLUSHALL")
    async with TCPProxy(own.port) as proxy:
        yield proxy


@pytest.fixture(autouse=True)
def _hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shared, "RETRY_SECONDS", 0.2)


@asynccontextmanager
async def running(
    port: int, answer: float = ANSWER
) -> AsyncIterator[list[SharedLimits]]:
    """Some nodes of one process each, which know how many they are."""
    place = Coordination("127.0.0.1", port)
    stores = [ValkeyCounters(place, "faults", seconds=answer) for _ in range(NODES)]
    nodes = [SharedLimits(store, 1) for store in stores]
    for node in nodes:
        await node.start()
    for node, store in zip(nodes, stores, strict=True):
        if not node.is_alone:
            # As each does of itself after a while.
            await store.exchange([])
    try:
        yield nodes
    finally:
        for node in nodes:
            await node.close()


class Tally:
    """What became of calls."""

    def __init__(self) -> None:
        self.admitted: list[Any] = []
        self.refused = 0
        self.waits: list[float] = []

    async def call(self, node: SharedLimits, principal: Principal) -> None:
        began = served.now
        try:
            self.admitted.append(await node.admit(principal, 1))
        except RateLimited:
            self.refused += 1
        self.waits.append(served.now - began)

    async def flood(
        self, nodes: list[SharedLimits], principal: Principal, calls: int
    ) -> int:
        """Make calls at once, on all nodes in turn; give how many were admitted."""
        before = len(self.admitted)
        await asyncio.gather(
            *(self.call(nodes[n % len(nodes)], principal) for n in range(calls))
        )
        return len(self.admitted) - before

    def release(self) -> None:
        for permit in self.admitted:
            permit.release(1)


async def until(condition: Callable[[], bool], seconds: float = 30) -> None:
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.02)


def together(nodes: list[SharedLimits]) -> Callable[[], bool]:
    return lambda: not any(node.is_alone for node in nodes)


def words(logs: list[Any]) -> list[str]:
    return [entry["log_level"] for entry in logs]


async def test_away_at_the_start(proxy: TCPProxy) -> None:
    """Nodes serve within their workers' limits; they find each other when it comes."""
    await proxy.shut()
    tally = Tally()
    with structlog.testing.capture_logs() as logs:
        began = served.now
        async with running(proxy.port) as nodes:
            assert served.now - began < 1
            assert await tally.flood(nodes, key("early", rpm=6), 60) == 6 * NODES
            assert words(logs) == ["warning"] * NODES
            await proxy.open()
            await until(together(nodes))
            assert await tally.flood(nodes, key("late", rpm=6), 60) == 6
            assert words(logs) == ["warning"] * NODES + ["info"] * NODES
    assert {entry["reason"] for entry in logs[:NODES]} == {
        "no connection: Connection refused"
    }


async def test_away_in_the_middle(proxy: TCPProxy) -> None:
    """Each node keeps to its part, and places that are taken stay taken."""
    tally = Tally()
    async with running(proxy.port) as nodes:
        held = key("held", concurrency=6)
        assert await tally.flood(nodes, held, 30) == 6
        with structlog.testing.capture_logs() as logs:
            await proxy.shut()
            assert await tally.flood(nodes, key("k", rpm=12), 90) == 12
            assert await tally.flood(nodes, key("k", rpm=12), 90) == 0
            assert [entry["processes"] for entry in logs] == [NODES] * NODES
            await proxy.open()
            await until(together(nodes))
        assert words(logs) == ["warning"] * NODES + ["info"] * NODES
        assert await tally.flood(nodes, held, 30) == 0
        tally.release()
        assert await tally.flood(nodes, held, 30) == 6
    assert max(tally.waits) < LONGEST


async def test_slow(proxy: TCPProxy) -> None:
    """It is waited for once per node; who comes after that waits for nothing."""
    async with running(proxy.port) as nodes:
        proxy.delay = 5.0
        first, later = Tally(), Tally()
        assert await first.flood(nodes, key("k", rpm=12), 30) == 12
        assert max(first.waits) < LONGEST
        for number in range(60):
            await later.flood(nodes, key(f"k{number}", rpm=12), 12)
            await asyncio.sleep(0.01)
        assert len(later.admitted) == 60 * 12
        assert sorted(later.waits)[int(len(later.waits) * 0.99)] < 0.05
        proxy.delay = 0.0
        await proxy.cut()
        await until(together(nodes))


async def test_flapping(proxy: TCPProxy, monkeypatch: pytest.MonkeyPatch) -> None:
    """A node leaves one that fails again and again alone, for longer each time."""
    monkeypatch.setattr(shared, "RETRY_SECONDS", FIRST_RETRY)
    monkeypatch.setattr(shared, "STEADY_SECONDS", float("inf"))
    tally = Tally()
    principal = key("k", rpm=30, concurrency=100)
    with structlog.testing.capture_logs() as logs:
        async with running(proxy.port, SHORT_ANSWER) as nodes:

            async def calls_until(condition: Callable[[], bool]) -> None:
                async with asyncio.timeout(60):
                    while not condition():
                        await tally.flood(nodes, principal, 6)
                        await asyncio.sleep(0.01)

            for flap in range(FLAPS):
                began = time.monotonic()
                proxy.is_deaf = True
                await proxy.cut()
                await calls_until(lambda: all(node.is_alone for node in nodes))
                proxy.is_deaf = False
                await calls_until(together(nodes))
                assert time.monotonic() - began > FIRST_RETRY * 2**flap
    assert 30 <= len(tally.admitted) <= 60
    assert len(tally.admitted) + tally.refused == len(tally.waits)
    # Near the limit a call may wait for what others were lent, twice.
    assert max(tally.waits) < LONGEST + 2 * LEISURE
    assert words(logs).count("warning") >= FLAPS * NODES


@pytest.mark.parametrize("kind", ["restarted", "full", "read-only", "still"])
async def test_server_in_trouble(own: Valkey, proxy: TCPProxy, kind: str) -> None:
    """Whatever it is: parts while it lasts, the whole again soon after."""
    begin, end = {
        "restarted": (own.stop, own.start),
        "full": (
            lambda: own.do("CONFIG", "SET", "maxmemory", "1"),
            lambda: own.do("CONFIG", "SET", "maxmemory", "0"),
        ),
        "read-only": (
            lambda: own.do("REPLICAOF", "127.0.0.1", "1"),
            lambda: own.do("REPLICAOF", "NO", "ONE"),
        ),
        "still": (lambda: own.pause(on=True), lambda: own.pause(on=False)),
    }[kind]
    tally = Tally()
    async with running(proxy.port) as nodes:
        await tally.flood(nodes, key("warm", rpm=100), 9)
        begin()
        try:
            assert await tally.flood(nodes, key("k", rpm=9), 60) == 9
            assert await tally.flood(nodes, key("k", rpm=9), 60) == 0
            assert all(node.is_alone for node in nodes)
        finally:
            end()
        await until(together(nodes))
        assert await tally.flood(nodes, key("new", rpm=9), 60) == 9
    assert max(tally.waits) < LONGEST


def told_since(nodes: list[SharedLimits], name: str, then: float) -> bool:
    """Whether each node has told what it holds of a subject."""
    held = [node._store._held.get(name) for node in nodes]
    return all(one.told_at > then for one in held if one is not None)


async def test_flushed_under_load(
    own: Valkey, proxy: TCPProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A minute may begin anew; places are taken as before, when they are renewed."""
    monkeypatch.setattr(coordination_valkey, "RENEW_SECONDS", 0.4)
    tally = Tally()
    places = key("places", concurrency=6)
    with structlog.testing.capture_logs() as logs:
        async with running(proxy.port, PATIENT) as nodes:
            assert await tally.flood(nodes, places, 30) == 6
            principal = key("k", rpm=60)
            made = 0
            for number in range(40):
                if number == 20:
                    own.do("FLUSHALL")
                    own.do("SCRIPT", "FLUSH")
                    flushed = time.monotonic()
                made += await tally.flood(nodes, principal, 6)
                await asyncio.sleep(0.005)
            assert 60 <= made <= 120
            await until(lambda: told_since(nodes, "key places", flushed))
            assert await tally.flood(nodes, places, 30) == 0
    assert not logs
    assert max(tally.waits) < LONGEST + 2 * LEISURE
    assert not any(isinstance(permit, Permit) for permit in tally.admitted)

"""PostgreSQL goes away while calls are served: nothing is lost, nobody waits long."""

import asyncio
import signal
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from tests.support import store
from tests.support.postgres import Server
from tests.unit.billing.books import Books, faults, opening, record

from posthouse.billing.holds import HoldManager
from posthouse.errors import InsufficientQuota, StorageUnavailable
from posthouse.storage.ledger.postgres import PostgresLedger

LONGEST_SECONDS = 3.0
"""A second, on a machine that does much else."""


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """One to be stopped, and not others' who are tested beside."""
    with Server() as server:
        yield server


@pytest.fixture
def books(
    tmp_path: Path, server: Server, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Books]:
    monkeypatch.setattr(store, "server", server)
    yield Books(tmp_path)
    server.clear()


@pytest.fixture
async def manager(books: Books) -> HoldManager:
    books.fund("a", 10**9)
    return await HoldManager.start(
        books.root, lambda: PostgresLedger(books.postgres), durability="process"
    )


async def work(manager: HoldManager, settled: dict[str, int], over: asyncio.Event):
    """Settle calls, one after the other; those that are refused are not counted."""
    price = 0
    while not over.is_set():
        price = price % 90 + 1
        call = opening("a", 100)
        try:
            hold = await manager.open(call)
        except (StorageUnavailable, InsufficientQuota):
            await asyncio.sleep(0.02)
            continue
        await asyncio.sleep(0)
        await hold.settle(record(call, price))
        settled[call.call_id] = price


async def until_posted(books: Books, settled: dict[str, int]) -> None:
    """Wait until the ledger has what was settled, each call once."""
    until = time.monotonic() + 60
    while time.monotonic() < until:
        ends = await asyncio.to_thread(books.ends)
        if ends.keys() >= settled.keys():
            assert {name: end[2] for name, end in ends.items()} == settled
            return
        await asyncio.sleep(0.1)
    raise AssertionError("the ledger does not catch up")


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGQUIT])
async def test_a_restart_while_journals_are_drained(books, manager, server, how):
    """In good order or as a crash, thrice: every call is there once."""
    settled: dict[str, int] = {}
    over = asyncio.Event()
    working = [asyncio.create_task(work(manager, settled, over)) for _ in range(4)]
    for pause in (0.3, 0.5, 0.2):
        await asyncio.sleep(pause)
        await asyncio.to_thread(server.stop, how)
        await asyncio.sleep(pause)
        await asyncio.to_thread(server.start)
    await asyncio.sleep(0.3)
    over.set()
    await asyncio.gather(*working)
    await until_posted(books, settled)
    assert await manager.close()
    assert len(settled) > 50
    assert books.available("a") == 10**9 - sum(settled.values())
    assert faults(await books.audit(served=settled)) == {}


async def test_a_server_that_stands_still_is_told_of_soon(books, manager, server):
    """It answers nobody, but nobody waits; what was admitted ends as ever."""
    running = opening("a", 100)
    hold = await manager.open(running)
    settled: dict[str, int] = {}
    server.pause(on=True)
    try:
        # What was drawn already serves on; who needs more is told soon.
        slowest = 0.0
        refused = told = 0
        for _ in range(8):
            call = opening("a", 10**7)
            began = time.monotonic()
            try:
                admitted = await manager.open(call)
            except StorageUnavailable as error:
                refused += 1
                told += bool(error.retry_after)
            else:
                await admitted.settle(record(call, 1))
                settled[call.call_id] = 1
            slowest = max(slowest, time.monotonic() - began)
        await hold.settle(record(running, 7))
        settled[running.call_id] = 7
    finally:
        server.pause(on=False)
    # Everybody is told when to come again.
    assert refused == told > 0
    assert slowest < LONGEST_SECONDS
    await until_posted(books, settled)
    again = opening("a", 100)
    for _ in range(100):
        with suppress(StorageUnavailable):
            await (await manager.open(again)).settle(record(again, 3))
            break
        await asyncio.sleep(0.05)
    settled[again.call_id] = 3
    assert await manager.close()
    assert books.available("a") == 10**9 - sum(settled.values())
    assert faults(await books.audit(served=settled)) == {}


async def test_a_close_without_the_server_leaves_all_to_the_next_start(
    books, manager, server
):
    """The journal stays; who starts when the server is back posts what is in it."""
    settled: dict[str, int] = {}
    over = asyncio.Event()
    working = asyncio.create_task(work(manager, settled, over))
    await asyncio.sleep(0.2)
    await asyncio.to_thread(server.stop, signal.SIGQUIT)
    over.set()
    await working
    assert not await manager.close()
    await asyncio.to_thread(server.start)
    following = await books.start()
    assert await following.close()
    await until_posted(books, settled)
    assert books.available("a") == 10**9 - sum(settled.values())
    assert faults(await books.audit(served=settled)) == {}

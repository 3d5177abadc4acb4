"""Many calls, several processes and a failing ledger: the money stays right."""

import asyncio

import msgspec
import pytest
from tests.unit.billing.books import Books, faults, opening, record

from posthouse.billing import drain_thread, leases
from posthouse.billing.leases import LeasePolicy
from posthouse.billing.segments import segment_numbers
from posthouse.errors import InsufficientQuota, StorageUnavailable
from posthouse.storage.ledger.sqlite import SqliteLedger


@pytest.fixture
def books(tmp_path, store) -> Books:
    return Books(tmp_path)


async def test_money_for_ten_admits_ten_of_a_thousand(books):
    """1,000 parallel calls: exactly 10 admitted, 990 refused, never below zero."""
    books.fund("a", 1000)
    manager = await books.start()
    results = await asyncio.gather(
        *(manager.open(opening("a", 100)) for _ in range(1000)), return_exceptions=True
    )
    admitted = [item for item in results if not isinstance(item, BaseException)]
    refused = [item for item in results if isinstance(item, InsufficientQuota)]
    assert (len(admitted), len(refused)) == (10, 990)
    assert (await books.balance("a")).shown == 0
    for hold in admitted:
        await hold.settle(record(hold.state().opening, 100))
    await manager.close()
    assert books.available("a") == 0
    assert books.revenue() == 1000
    assert faults(await books.audit()) == {}


async def test_refusals_cost_few_transactions(books, monkeypatch):
    """Calls that wait together are drawn for, and refused, together."""
    books.fund("a", 1000)
    manager = await books.start()
    exchanges = 0
    original = SqliteLedger.exchange

    def counted(*arguments):
        nonlocal exchanges
        exchanges += 1
        return original(*arguments)

    monkeypatch.setattr(SqliteLedger, "exchange", counted)
    await asyncio.gather(
        *(manager.open(opening("a", 100)) for _ in range(1000)), return_exceptions=True
    )
    assert exchanges <= 3
    for hold in list(manager.journal.bucket.values()):
        await hold.settle(record(hold.state().opening, 0))
    await manager.close()


async def test_waiting_calls_get_what_a_settlement_frees(books):
    """A call that waits for a draw is served from money that comes back."""
    books.fund("a", 100)
    manager = await books.start()
    first, second = opening("a", 100), opening("a", 100)
    hold = await manager.open(first)
    waiting = asyncio.ensure_future(manager.open(second))
    await asyncio.sleep(0)
    await hold.settle(record(first, 0))
    other = await waiting
    await other.settle(record(second, 100))
    await manager.close()
    assert books.revenue() == 100


async def test_a_cancelled_wait_gives_its_money_back(books):
    """Callers that go away while they wait leave nothing held."""
    books.fund("a", 1000)
    manager = await books.start()
    for turns in range(6):
        tasks = [
            asyncio.ensure_future(manager.open(opening("a", 100))) for _ in range(5)
        ]
        for _ in range(turns):
            await asyncio.sleep(0.0005)
        for task in tasks:
            task.cancel()
        done = await asyncio.gather(*tasks, return_exceptions=True)
        for hold in done:
            if not isinstance(hold, BaseException):
                await hold.void(record(hold.state().opening, 0), "abandoned_unanswered")
    await manager.drain()
    assert manager.open_holds == 0
    assert (await books.balance("a")).shown == 1000
    call = opening("a", 1000)
    await (await manager.open(call)).settle(record(call, 1000))
    await manager.close()
    assert books.available("a") == 0


async def test_idle_wallets_are_given_back_and_forgotten(books):
    """After the idle time the account has its money and memory its room."""
    for number in range(50):
        books.fund(f"a{number}", 1000)
    manager = await books.start(policy=LeasePolicy(idle_seconds=0.0))
    for number in range(50):
        call = opening(f"a{number}", 10)
        await (await manager.open(call)).settle(record(call, 10))
    for _ in range(3):
        await asyncio.sleep(0.01)
        manager.wallets.sweep()
        await manager.drain()
    assert len(manager.wallets) == 0
    assert {books.available(f"a{number}") for number in range(50)} == {990}
    call = opening("a7", 10)
    await (await manager.open(call)).settle(record(call, 10))
    await manager.close()
    assert books.available("a7") == 980
    assert books.execute("SELECT count(*) FROM leases") == [(50,)]


async def test_wallets_are_bounded(books):
    """Beyond the most wallets the least recently used goes, whatever its age."""
    for number in range(30):
        books.fund(f"a{number}", 1000)
    manager = await books.start(policy=LeasePolicy(max_wallets=10))
    for number in range(30):
        call = opening(f"a{number}", 10)
        await (await manager.open(call)).settle(record(call, 10))
    for _ in range(3):
        manager.wallets.sweep()
        await manager.drain()
    assert len(manager.wallets) <= 10
    await manager.close()


async def test_a_broken_ledger_refuses_new_holds_and_loses_nothing(books, monkeypatch):
    """While the database fails, holds end in the journal; then all is posted."""
    monkeypatch.setattr(drain_thread, "TICK_SECONDS", 0.01)
    books.fund("a", 1000)
    books.fund("b", 1000)
    manager = await books.start()
    call = opening("a", 100)
    hold = await manager.open(call)
    books.execute("ALTER TABLE calls RENAME TO hidden")
    books.execute("ALTER TABLE accounts RENAME TO gone")
    with pytest.raises(StorageUnavailable):
        await manager.open(opening("b", 100))
    await hold.settle(record(call, 60))
    for _ in range(200):
        if not manager.available:
            break
        await asyncio.sleep(0.01)
    with pytest.raises(StorageUnavailable):
        await manager.open(opening("a", 100))
    books.execute("ALTER TABLE gone RENAME TO accounts")
    books.execute("ALTER TABLE hidden RENAME TO calls")
    for _ in range(200):
        if manager.available:
            break
        await asyncio.sleep(0.01)
    again = opening("b", 100)
    await (await manager.open(again)).settle(record(again, 1))
    assert await manager.close()
    assert books.revenue() == 61
    assert faults(await books.audit()) == {}


async def test_a_ledger_locked_for_long_delays_draws_only(books):
    """A writer that sits on the database for a while: nothing is lost."""
    books.fund("a", 100_000)
    manager = await books.start()
    call = opening("a", 100)
    hold = await manager.open(call)
    with books.locked():
        other = opening("a", 100)
        covered = await manager.open(other)
        await covered.settle(record(other, 5))
        await hold.settle(record(call, 5))
        await asyncio.sleep(0.3)
    assert await manager.close()
    assert books.revenue() == 10


async def test_two_processes_share_an_account_to_the_last(books, monkeypatch):
    """Two journals on one ledger: together they admit what is paid for.

    Never more; and no less than a slice that may still be on its way.
    """
    # A busy machine must not make a refusal of what only comes late.
    monkeypatch.setattr(leases, "PATIENCE_SECONDS", 5.0)
    books.fund("a", 1000)
    one, two = await books.start(), await books.start()
    results = await asyncio.gather(
        *(
            manager.open(opening("a", 100))
            for _ in range(200)
            for manager in (one, two)
        ),
        return_exceptions=True,
    )
    admitted = [item for item in results if not isinstance(item, BaseException)]
    assert 9 <= len(admitted) <= 10
    assert {type(item) for item in results if isinstance(item, BaseException)} == {
        InsufficientQuota
    }
    for hold in admitted:
        await hold.settle(record(hold.state().opening, 100))
    assert await two.close()
    assert await one.close()
    assert books.revenue() == 100 * len(admitted)
    assert faults(await books.audit()) == {}


async def test_a_refusal_waits_for_what_another_process_returns(books):
    """Strict: the rest of a hold elsewhere comes back and admits who waits."""
    books.fund("a", 100)
    one, two = await books.start(), await books.start()
    call, next_call = opening("a", 100), opening("a", 90)
    hold = await one.open(call)
    waiting = asyncio.ensure_future(two.open(next_call))
    await asyncio.sleep(0.1)
    assert not waiting.done()
    await hold.settle(record(call, 10))
    other = await waiting
    await other.settle(record(next_call, 90))
    await one.close()
    await two.close()
    assert books.revenue() == 100


async def test_closing_with_an_open_hold_leaves_it_to_recovery(books):
    """A hold that nobody ended is void after the next start, not forgotten."""
    books.fund("a", 1000)
    manager = await books.start()
    call = opening("a", 100)
    await manager.open(call)
    assert not await manager.close()
    again = await books.start()
    assert again.recovery.voided == 1
    assert await again.close()
    assert books.ends() == {call.call_id: ("void", "crash_unanswered", 0)}
    assert books.available("a") == 1000


async def test_the_journal_stays_short_under_load(books, monkeypatch):
    """Thousands of calls over small segments leave few files and no gap."""
    monkeypatch.setattr(drain_thread, "TICK_SECONDS", 0.01)
    books.fund("a", 10**9)
    manager = await books.start(segment_size=64 * 1024)
    lasting = opening("a", 100)
    hold = await manager.open(lasting)
    most = 0
    for number in range(3000):
        call = opening("a", 100)
        await (await manager.open(call)).settle(record(call, 1))
        if number % 50 == 0:
            await asyncio.sleep(0.02)
            manager.journal.carry()
            most = max(most, len(segment_numbers(manager.journal.directory)))
    assert manager.journal.rotations > 10
    assert most < 12
    await hold.settle(record(lasting, 7))
    assert await manager.close()
    assert books.revenue() == 3007
    assert faults(await books.audit()) == {}


async def test_the_stored_call_is_the_record(books):
    """What was settled can be read back field by field."""
    from posthouse.storage.database import Database
    from posthouse.storage.ledger.queries import LedgerReader

    books.fund("a", 1000)
    manager = await books.start()
    wanted = []
    for price in (1, 2, 3):
        call = opening("a", 100)
        wanted.append(record(call, price))
        await (await manager.open(call)).settle(wanted[-1])
    unknown = opening("a", 100)
    wanted.append(msgspec.structs.replace(record(unknown, 4), cost=None))
    await (await manager.open(unknown)).settle(wanted[-1])
    await manager.close()
    database = Database(books.url)
    reader = LedgerReader(database, books.root)
    page = await reader.calls(limit=3)
    rest = await reader.calls(before=page[-1].seq)
    assert [item.record for item in page + rest] == wanted[::-1]
    assert (await reader.call(wanted[0].id)).record == wanted[0]
    assert await reader.call("nobody's") is None
    assert await reader.calls(key_id="other") == []
    (line,) = await reader.lines(call_id=wanted[1].id)
    assert (line.kind, line.amount, line.reference) == ("settle", -2, wanted[1].id)
    lines = await reader.lines(account_id="a")
    assert sum(item.amount for item in lines) == 1000 - 10
    inner = await reader.lines(account_id="a", internal=True)
    assert sum(item.amount for item in inner) == 1000 - 10
    assert len(inner) > len(lines)
    await database.close()


async def test_what_another_process_keeps_free_is_asked_back(books):
    """Slices that one process drew for later serve the calls of another."""
    books.fund("a", 1000)
    one, two = await books.start(), await books.start()
    first = opening("a", 10)
    holds = [(first, await one.open(first))]
    assert books.available("a") < 990  # It has drawn for calls to come.
    calls = [opening("a", 10) for _ in range(99)]
    results = await asyncio.gather(*(two.open(call) for call in calls))
    holds += zip(calls, results, strict=True)
    with pytest.raises(InsufficientQuota):
        await one.open(opening("a", 10))
    for call, hold in holds:
        await hold.settle(record(call, 10))
    await one.close()
    await two.close()
    assert (books.available("a"), books.revenue()) == (0, 1000)
    assert faults(await books.audit()) == {}


async def test_processes_that_spend_at_once_use_the_last_of_the_money(books):
    """Each takes what it needs, keeps nothing near the end, and none is refused."""
    books.fund("a", 4000)
    managers = [await books.start() for _ in range(4)]

    async def spend(manager) -> int:
        for _ in range(100):
            call = opening("a", 10)
            hold = await manager.open(call)
            await asyncio.sleep(0)
            await hold.settle(record(call, 10))
        return 100

    assert await asyncio.gather(*map(spend, managers)) == [100] * 4
    with pytest.raises(InsufficientQuota):
        await managers[0].open(opening("a", 10))
    for manager in managers:
        await manager.close()
    assert (books.available("a"), books.revenue()) == (0, 4000)
    assert faults(await books.audit()) == {}

"""Holds: taken before, ended once, extended in time, and never beyond the money."""

import asyncio

import msgspec
import pytest

from posthouse.billing import drain_thread
from posthouse.billing.holds import HoldEnded
from posthouse.billing.leases import LeasePolicy
from posthouse.billing.segments import segment_numbers
from posthouse.errors import InsufficientQuota, StorageUnavailable
from posthouse.storage.ledger import SqliteLedger
from tests.unit.billing.books import Books, faults, opening, record


@pytest.fixture
def books(tmp_path) -> Books:
    return Books(tmp_path)


async def test_a_settled_call_is_charged_once_and_the_rest_returns(books):
    """Hold 100, price 30: revenue 30, the account keeps 70 of every 100."""
    books.fund("a", 1000)
    manager = await books.start()
    first = opening("a", 100)
    hold = await manager.open(first)
    assert hold.amount == 100
    assert (await books.balance("a")).shown == 900
    await hold.settle(record(first, 30))
    assert (await books.balance("a")).shown == 970
    await manager.drain()
    assert (await books.balance("a")).shown == 970
    assert books.ends() == {first.call_id: ("settle", "", 30)}
    assert await manager.close()
    assert books.available("a") == 970
    assert faults(await books.audit(served=[first.call_id])) == {}
    assert [path.name for path in books.root.iterdir()] == ["writer.lock"]


async def test_a_second_end_raises_and_changes_nothing(books):
    """Settle after settle, void after settle: HoldEnded."""
    books.fund("a", 1000)
    manager = await books.start()
    call = opening("a", 100)
    hold = await manager.open(call)
    await hold.settle(record(call, 30))
    with pytest.raises(HoldEnded):
        await hold.settle(record(call, 30))
    with pytest.raises(HoldEnded):
        await hold.void(record(call, 0), "failed")
    await manager.close()
    assert books.revenue() == 30


async def test_a_void_charges_nothing_and_says_why(books):
    """A void has a transfer without entries, whatever price the record has."""
    books.fund("a", 100)
    manager = await books.start()
    call = opening("a", 100)
    await (await manager.open(call)).void(record(call, 5, "failed"), "failed")
    await manager.close()
    assert books.ends() == {call.call_id: ("void", "failed", 0)}
    assert books.available("a") == 100
    assert faults(await books.audit()) == {}


async def test_a_call_that_cost_nothing_has_a_transfer(books):
    """A free model: hold 0, charge 0, even for an account without money."""
    books.fund("a", 0)
    manager = await books.start()
    call = opening("a", 0)
    hold = await manager.open(call)
    assert await hold.progress(0)
    await hold.settle(record(call, 0))
    await manager.close()
    assert books.ends() == {call.call_id: ("settle", "", 0)}
    assert faults(await books.audit()) == {}


async def test_bad_ends_are_refused_and_the_hold_stays_open(books):
    """Another call's record, a negative price, an unlisted reason: ValueError."""
    books.fund("a", 1000)
    manager = await books.start()
    call = opening("a", 100)
    hold = await manager.open(call)
    for bad in (record(opening(), 5), record(call, -1), record(call, 2**63)):
        with pytest.raises(ValueError):
            await hold.settle(bad)
    with pytest.raises(ValueError):
        await hold.void(record(call, 0), "because")
    with pytest.raises(ValueError):
        await manager.open(opening("a", -1))
    await hold.settle(record(call, 1))
    await manager.close()
    assert books.revenue() == 1


async def test_an_absurd_hold_is_refused(books):
    """More than a million dollars is nobody's, also without a credit limit."""
    books.fund("a", 10**17)
    books.fund("unlimited", 0, None)
    manager = await books.start()
    for account in ("a", "unlimited"):
        with pytest.raises(InsufficientQuota):
            await manager.open(opening(account, 2**63))
    await manager.close()


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


async def test_no_refusal_while_unspent_money_exists(books):
    """Near the limit cheap calls go on until less than one hold is left."""
    books.fund("a", 1000)
    manager = await books.start()
    served = 0
    with pytest.raises(InsufficientQuota):
        while True:
            call = opening("a", 100)
            await (await manager.open(call)).settle(record(call, 7))
            served += 1
    assert served == (1000 - 100) // 7 + 1
    await manager.close()
    assert books.available("a") == 1000 - served * 7
    assert faults(await books.audit()) == {}


async def test_parallel_cheap_calls_never_overspend(books):
    """Hundreds of tasks that hold 50 and pay 10 to 50 end within the balance."""
    books.fund("a", 5_000)
    manager = await books.start()

    async def one(number: int) -> int:
        call = opening("a", 50)
        try:
            hold = await manager.open(call)
        except InsufficientQuota:
            return 0
        await asyncio.sleep(0.001 * (number % 5))
        price = 10 + number % 41
        await hold.settle(record(call, price))
        return price

    paid = sum(await asyncio.gather(*(one(number) for number in range(600))))
    await manager.close()
    assert paid == books.revenue() <= 5_000
    assert books.available("a") == 5_000 - paid
    assert faults(await books.audit()) == {}


async def test_a_covered_call_does_not_suspend(books):
    """Once a slice is drawn, open returns without giving the loop a turn."""
    books.fund("a", 100_000)
    manager = await books.start()
    first = opening("a", 100)
    hold = await manager.open(first)
    coroutine = manager.open(opening("a", 100, call_id="covered"))
    with pytest.raises(StopIteration) as stopped:
        coroutine.send(None)
    other = stopped.value.value
    settling = hold.settle(record(first, 1))
    with pytest.raises(StopIteration):
        settling.send(None)
    await other.settle(record(other.state().opening, 1))
    await manager.close()


async def test_slices_are_a_quarter_at_most_and_64_holds_at_most(books):
    """What is drawn at once: 64 holds, but no more than a quarter."""
    books.fund("rich", 10**9)
    books.fund("poor", 1000)
    manager = await books.start()
    await manager.open(opening("rich", 100))
    await manager.open(opening("poor", 100))
    assert books.available("rich") == 10**9 - 6400
    assert books.available("poor") == 750
    assert not await manager.close()


async def test_an_unlimited_account_goes_below_zero(books):
    """A NULL credit line: every call is admitted, the balance says what is owed."""
    books.fund("default", 0, None)
    manager = await books.start()
    for _ in range(200):
        call = opening("default", 1000)
        await (await manager.open(call)).settle(record(call, 900))
    await manager.close()
    assert books.available("default") == -180_000
    assert faults(await books.audit()) == {}


async def test_a_credit_line_is_the_limit(books):
    """With a line of 300 an empty account pays for three calls of 100."""
    books.fund("a", 0, 300)
    manager = await books.start()
    for _ in range(3):
        call = opening("a", 100)
        await (await manager.open(call)).settle(record(call, 100))
    with pytest.raises(InsufficientQuota):
        await manager.open(opening("a", 100))
    await manager.close()
    assert books.available("a") == -300
    assert faults(await books.audit()) == {}


async def test_a_charge_above_the_hold_is_drawn_then_the_houses(books):
    """Hold 100, price 350, account 300: it pays 300, the house 50, flagged."""
    books.fund("a", 300)
    manager = await books.start()
    call = opening("a", 100)
    await (await manager.open(call)).settle(record(call, 350))
    await manager.close()
    assert books.available("a") == 0
    assert books.ends() == {call.call_id: ("settle", "overrun", 350)}
    assert books.execute(
        "SELECT sum(amount) FROM entries WHERE account_id = 'overrun'"
    ) == [(-50,)]
    assert books.execute(
        "SELECT held, excess FROM transfers WHERE kind = 'settle'"
    ) == [(100, 250)]
    assert faults(await books.audit()) == {}


async def test_a_charge_above_the_hold_takes_what_the_account_has(books):
    """With money enough the excess is the customer's, flagged, and no overrun."""
    books.fund("a", 10_000)
    manager = await books.start()
    call = opening("a", 100)
    await (await manager.open(call)).settle(record(call, 9_000))
    await manager.close()
    assert books.available("a") == 1_000
    assert books.ends() == {call.call_id: ("settle", "above_hold", 9_000)}
    assert faults(await books.audit()) == {}


async def test_streams_extend_their_hold(books):
    """At half of what remains the hold grows; below it nothing happens."""
    books.fund("a", 100_000)
    manager = await books.start()
    call = opening("a", 100, prompt=20)
    hold = await manager.open(call)
    hold.answering("main")
    assert await hold.progress(39)
    assert hold.amount == 100
    assert await hold.progress(40)
    assert hold.amount == 180
    assert await hold.progress(1000)
    assert hold.amount >= 1020
    await hold.settle(record(call, 1020))
    await manager.close()
    assert books.ends() == {call.call_id: ("settle", "", 1020)}
    assert faults(await books.audit()) == {}


async def test_a_stream_ends_when_nothing_more_can_be_held(books):
    """It may use what it holds, then progress says no; it never overruns."""
    books.fund("a", 250)
    manager = await books.start()
    call = opening("a", 100)
    hold = await manager.open(call)
    charge = 0
    while await hold.progress(charge):
        charge += 1
        assert charge <= hold.amount
    assert hold.amount == 250
    assert 235 <= charge <= 250
    await hold.settle(record(call, charge))
    await manager.close()
    assert books.available("a") == 250 - charge
    assert faults(await books.audit()) == {}


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
    import sqlite3

    books.fund("a", 100_000)
    manager = await books.start()
    call = opening("a", 100)
    hold = await manager.open(call)
    blocker = sqlite3.connect(books.path, isolation_level=None)
    blocker.execute("BEGIN IMMEDIATE")
    other = opening("a", 100)
    covered = await manager.open(other)
    await covered.settle(record(other, 5))
    await hold.settle(record(call, 5))
    await asyncio.sleep(0.3)
    blocker.execute("ROLLBACK")
    blocker.close()
    assert await manager.close()
    assert books.revenue() == 10


async def test_two_processes_share_an_account_to_the_last(books):
    """Two journals on one ledger: together they admit what is paid for."""
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
    assert len(admitted) == 10
    assert {type(item) for item in results if isinstance(item, BaseException)} == {
        InsufficientQuota
    }
    for hold in admitted:
        await hold.settle(record(hold.state().opening, 100))
    assert await two.close()
    assert await one.close()
    assert books.revenue() == 1000
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
    from posthouse.billing import journal as journal_module

    monkeypatch.setattr(drain_thread, "TICK_SECONDS", 0.01)
    monkeypatch.setattr(
        journal_module.Journal.__init__,
        "__kwdefaults__",
        {**journal_module.Journal.__init__.__kwdefaults__, "segment_size": 64 * 1024},
    )
    books.fund("a", 10**9)
    manager = await books.start()
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
    from posthouse.storage.database import Database, sqlite_url
    from posthouse.storage.ledger_queries import LedgerReader

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
    database = Database(sqlite_url(books.path))
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

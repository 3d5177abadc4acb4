"""Several machines on one ledger: who is silent too long is taken for dead."""

import asyncio
from itertools import pairwise

import pytest
from tests.unit.billing.books import Books, faults, opening, record

from posthouse.billing import drain, drain_thread
from posthouse.billing.ports import (
    DrawRequest,
    GiveBack,
    JournalMovedOn,
    LedgerUnavailable,
)
from posthouse.billing.records import Settlement
from posthouse.billing.recovery import recover
from posthouse.errors import StorageUnavailable

pytestmark = pytest.mark.usefixtures("store")


@pytest.fixture
def books(tmp_path) -> Books:
    return Books(tmp_path)


def end_by_others(books: Books, journal_id: str) -> None:
    """Do what another machine does with a journal that was silent too long."""
    ledger = books.connect()
    ledger.finish(journal_id, [], "recovered")
    ledger.close()


async def test_what_was_settled_meanwhile_is_posted_late_and_once(books):
    """A machine that comes back finds its leases gone, and loses no charge."""
    books.fund("a", 1000)
    manager = await books.start()
    settled, open_call = opening("a", 100), opening("a", 100)
    await (await manager.open(settled)).settle(record(settled, 70))
    await manager.open(open_call)
    manager._thread.abandon()
    end_by_others(books, manager.journal.id)
    assert books.available("a") == 1000
    manager.journal.close()
    for expected in (2, 0):
        ledger = books.connect()
        recovery = recover(books.root, ledger)
        ledger.close()
        assert recovery.late == expected
    assert books.ends() == {
        settled.call_id: ("settle", "", 70),
        open_call.call_id: ("void", "crash_unanswered", 0),
    }
    assert books.available("a") == 930
    assert faults(await books.audit()) == {}


async def test_what_the_account_cannot_pay_any_more_is_the_houses(books):
    """Its money was spent by others meanwhile: overrun, and never below zero."""
    books.fund("a", 100)
    manager = await books.start()
    call = opening("a", 100)
    await (await manager.open(call)).settle(record(call, 100))
    manager._thread.abandon()
    end_by_others(books, manager.journal.id)
    manager.journal.close()
    other, spent = "another-journal", opening("a", 60)
    ledger = books.connect()
    ledger.register(other)
    (draw,) = ledger.exchange(other, [], [DrawRequest("a", 60, 1, 0)])
    charge = record(spent, 60)
    settled = Settlement(spent.call_id, "a", draw.lease_id, 60, 60, "", charge)
    ledger.post(other, [settled], 1)
    ledger.finish(other, [], "closed")
    assert books.available("a") == 40
    assert recover(books.root, ledger).late == 1
    ledger.close()
    assert books.available("a") == 0
    assert books.revenue() == 160
    assert books.ends()[call.call_id] == ("settle", "overrun", 100)
    assert faults(await books.audit()) == {}


async def test_a_process_that_was_taken_for_dead_holds_no_more(books, monkeypatch):
    """It refuses, says so once, and leaves its files to a new start."""
    monkeypatch.setattr(drain_thread, "TICK_SECONDS", 0.02)
    books.fund("a", 1000)
    told = asyncio.Event()
    manager = await books.start(disowned=told.set)
    call = opening("a", 100)
    hold = await manager.open(call)
    end_by_others(books, manager.journal.id)
    await hold.settle(record(call, 40))
    async with asyncio.timeout(5):
        await told.wait()
    assert not manager.available
    with pytest.raises(StorageUnavailable):
        await manager.open(opening("a", 10))
    assert not await manager.close()
    again = await books.start()
    assert again.recovery.late == 1
    await again.close()
    assert books.ends() == {call.call_id: ("settle", "", 40)}
    assert books.available("a") == 960
    assert faults(await books.audit()) == {}


async def test_only_who_had_the_ledger_all_the_time_judges_silence(books, monkeypatch):
    """A failure of the database starts the minute anew."""
    silent: list[str] = []
    finished: list[str] = []
    now = 1000.0
    manager = await books.start()
    await manager.close()
    thread = drain_thread.LedgerThread(
        books.root, manager.journal, books.connect, lambda: now
    )

    class Ledger:
        def renew(self, journal_id: str) -> None: ...

        def silent(self, seconds: float) -> list[str]:
            assert seconds == drain_thread.SILENT_SECONDS
            return silent

        def finish(self, journal_id, settlements, state) -> None:
            if journal_id in finished:
                raise JournalMovedOn(journal_id)
            finished.append(journal_id)

    ledger = Ledger()
    silent.append("gone")
    thread._keep_alive(ledger)
    assert finished == []
    now += drain_thread.SILENT_SECONDS - 1
    thread._guard(lambda: (_ for _ in ()).throw(OSError()))
    now += 30
    thread._keep_alive(ledger)
    assert finished == []
    now += 31
    # The database's clock jumps: one is not heard of until it is again.
    silent.append("alive")
    thread._keep_alive(ledger)
    silent.remove("alive")
    for look in range(3):
        assert finished == (["gone"] if look > 1 else [])
        now += drain_thread.RENEW_SECONDS
        thread._keep_alive(ledger)
        assert finished == (["gone"] if look else [])
    assert thread.recovery.lost == 1


async def test_the_database_knows_which_machines_are_silent(books):
    """By its own clock; our own machine's locks tell of ours, and one ends once."""
    if not books.postgres:
        ledger = books.connect()
        assert ledger.silent(0) == []
        ledger.close()
        return
    ours, theirs = books.connect(), books.connect_from("another-home")
    theirs.register("their-journal")
    ours.register("our-journal")
    await asyncio.sleep(0.05)
    assert ours.silent(0.01) == ["their-journal"]
    assert ours.silent(60) == []
    theirs.renew("their-journal")
    assert ours.silent(0.04) == []
    ours.finish("their-journal", [], "recovered")
    assert ours.silent(0) == []
    with pytest.raises(JournalMovedOn):
        theirs.renew("their-journal")
    ours.close()
    theirs.close()


async def test_who_posts_a_long_backlog_is_heard_of_all_the_while(books, monkeypatch):
    """A slow database after a long outage: nobody takes a machine at work for dead."""
    monkeypatch.setattr(drain_thread, "TICK_SECONDS", 1000.0)
    monkeypatch.setattr(drain, "BATCH", 5)
    books.fund("a", 1000)
    manager = await books.start()
    for _ in range(50):
        call = opening("a", 10)
        await (await manager.open(call)).settle(record(call, 3))
    manager._thread.abandon()
    now = 1000.0
    heard: list[float] = []

    class Slow:
        def __init__(self) -> None:
            self._ledger = books.connect()

        def renew(self, journal_id: str) -> None:
            heard.append(now)
            self._ledger.renew(journal_id)

        def post(self, *given) -> None:
            nonlocal now
            now += drain_thread.SILENT_SECONDS / 4
            self._ledger.post(*given)

        def __getattr__(self, name: str):
            return getattr(self._ledger, name)

    thread = drain_thread.LedgerThread(
        books.root, manager.journal, Slow, clock=lambda: now
    )
    thread._tick()
    assert now >= 1000 + 10 * drain_thread.SILENT_SECONDS / 4
    longest = max(b - a for a, b in pairwise([*heard, now]))
    assert longest < drain_thread.SILENT_SECONDS
    thread._hang_up()
    manager.journal.close()
    assert len(books.ends()) == 50


async def test_nothing_is_drawn_for_a_journal_that_others_have_ended(books):
    """Nobody would ever return it; who comes back may ask before it knows."""
    books.fund("a", 1000)
    ledger = books.connect()
    ledger.register("gone")
    (draw,) = ledger.exchange("gone", [], [DrawRequest("a", 60, 1, 0)])
    end_by_others(books, "gone")
    for returns, requests in (
        ([], [DrawRequest("a", 60, 1, 0)]),
        ([GiveBack(draw.lease_id, "a", 60)], []),
    ):
        with pytest.raises(LedgerUnavailable):
            ledger.exchange("gone", returns, requests)
    ledger.close()
    assert books.available("a") == 1000
    assert faults(await books.audit()) == {}


async def test_what_comes_while_a_batch_is_posted_waits_for_the_next_tick(
    books, monkeypatch
):
    """Else a busy process would post its last calls one by one, without end."""
    monkeypatch.setattr(drain_thread, "TICK_SECONDS", 1000.0)
    monkeypatch.setattr(drain, "BATCH", 5)
    books.fund("a", 1000)
    manager = await books.start()
    for _ in range(7):
        call = opening("a", 10)
        await (await manager.open(call)).settle(record(call, 3))
    manager._thread.abandon()
    posted: list[int] = []
    once = drain.Follower.drain

    def counted(follower, *given, **named) -> int:
        posted.append(once(follower, *given, **named))
        return posted[-1]

    monkeypatch.setattr(drain.Follower, "drain", counted)
    thread = drain_thread.LedgerThread(books.root, manager.journal, books.connect)
    thread._tick()
    assert posted == [5, 2]
    thread._hang_up()
    manager.journal.close()
    assert len(books.ends()) == 7

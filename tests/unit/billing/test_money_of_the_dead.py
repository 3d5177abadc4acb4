"""What a process had drawn when it died, or fell silent: nobody else goes without."""

import asyncio
import time

import pytest
from tests.unit.billing.books import Books, faults, opening, record
from tests.unit.billing.test_recovery import draw, settle

from posthouse.billing import drain_thread
from posthouse.billing.holds import HoldManager
from posthouse.billing.journal import Journal
from posthouse.billing.leases import PATIENCE_SECONDS
from posthouse.billing.recovery import recover
from posthouse.errors import InsufficientQuota, StorageUnavailable

pytestmark = pytest.mark.usefixtures("store")

AMOUNT = 100
CALLS = 20


@pytest.fixture
def books(tmp_path, monkeypatch) -> Books:
    # As long as it takes on a machine that is busy.
    monkeypatch.setattr(drain_thread, "SCAN_SECONDS", 3600.0)
    return Books(tmp_path)


async def spend(manager: HoldManager, calls: int) -> None:
    """Make so many calls, one after the other."""
    for _ in range(calls):
        call = opening("a", AMOUNT)
        await (await manager.open(call)).settle(record(call, AMOUNT))


async def test_what_a_dead_sibling_had_drawn_is_there_when_it_is_needed(books):
    """It keeps a quarter of the money free; others on its machine are refused none."""
    books.fund("a", CALLS * AMOUNT)
    one, two = await books.start(), await books.start()
    while two._thread._scanned < 0:
        await asyncio.sleep(0.01)
    await spend(one, 1)
    assert one.wallets.wallet("a").free > 0
    one._thread.abandon()
    one.journal.close()
    await spend(two, CALLS - 1)
    with pytest.raises(InsufficientQuota):
        await two.open(opening("a", AMOUNT))
    assert await two.close()
    assert books.revenue() == CALLS * AMOUNT
    assert faults(await books.audit()) == {}


async def test_who_does_not_answer_is_no_reason_to_say_there_is_no_money(books):
    """A process stands still with money: callers are told to come again."""
    books.fund("a", CALLS * AMOUNT)
    one, two = await books.start(), await books.start()
    await spend(one, 1)
    kept = one.wallets.wallet("a").free // AMOUNT
    one._thread.abandon()
    await spend(two, CALLS - 1 - kept)
    with pytest.raises(StorageUnavailable) as refused:
        await two.open(opening("a", AMOUNT))
    assert refused.value.retry_after
    # It is gone for good.
    one.journal.close()
    await spend(two, kept)
    with pytest.raises(InsufficientQuota):
        await two.open(opening("a", AMOUNT))
    assert await two.close()
    assert books.revenue() == CALLS * AMOUNT


async def test_patience_begins_when_others_have_been_asked(books, monkeypatch):
    """A database that is slow to say who has money takes nothing off it."""
    books.fund("a", CALLS * AMOUNT)
    one, two = await books.start(), await books.start()
    await spend(one, 1)
    await spend(two, CALLS - 1 - one.wallets.wallet("a").free // AMOUNT)
    exchange = two._thread._exchange

    def slowly(commands) -> None:
        time.sleep(PATIENCE_SECONDS + 0.1)
        monkeypatch.undo()
        exchange(commands)

    monkeypatch.setattr(two._thread, "_exchange", slowly)
    await spend(two, 1)
    assert await two.close()
    assert await one.close()


async def test_what_is_held_elsewhere_is_not_there(books):
    """A process that lives and holds all of it for its calls has answered."""
    books.fund("a", AMOUNT)
    one, two = await books.start(), await books.start()
    call = opening("a", AMOUNT)
    hold = await one.open(call)
    for manager in (one, two):
        with pytest.raises(InsufficientQuota) as refused:
            await manager.open(opening("a", AMOUNT))
        assert refused.value.held
    await hold.settle(record(call, AMOUNT))
    await one.drain()
    for manager in (one, two):
        with pytest.raises(InsufficientQuota) as refused:
            await manager.open(opening("a", AMOUNT))
        assert not refused.value.held
    assert await one.close()
    assert await two.close()


def test_leases_return_though_a_sibling_posts_at_the_same_time(books):
    """Two find what the dead had written: it is posted once, and its money returns."""
    books.fund("a", CALLS * AMOUNT)
    journal = Journal(books.root)
    lease = draw(books, journal, 5 * AMOUNT)
    settle(journal, lease, opening("a", AMOUNT), AMOUNT)
    journal.close()
    ledger, sibling = books.connect(), books.connect()
    post = ledger.post

    def post_second(*what) -> None:
        sibling.post(*what)
        post(*what)

    ledger.post = post_second
    recovery = recover(books.root, ledger)
    assert (recovery.journals, recovery.late) == (1, 0)
    assert books.available("a") == (CALLS - 1) * AMOUNT
    ledger.close()
    sibling.close()

"""Holds: taken before, ended once, extended in time, and never beyond the money."""

import asyncio

import pytest
from tests.unit.billing.books import Books, faults, opening, record

from posthouse.billing.holds import HoldEnded
from posthouse.errors import InsufficientQuota


@pytest.fixture
def books(tmp_path, store) -> Books:
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


async def test_what_is_not_covered_is_not_opened_at_once(books):
    """A call that must wait for the ledger changes nothing; the next need not wait."""
    books.fund("a", 1000)
    manager = await books.start()
    first, second = opening("a", 100), opening("a", 100)
    assert manager.open_now(first) is None
    assert manager.open_holds == 0
    held = await manager.open(first)
    at_once = manager.open_now(second)
    assert at_once is not None
    assert manager.open_holds == 2
    assert at_once.end(record(second, 30)) is None
    await held.settle(record(first, 20))
    await manager.close()
    assert books.available("a") == 950
    assert faults(await books.audit()) == {}


async def test_no_refusal_while_unspent_money_exists(books):
    """Near the limit cheap calls go on until less than one hold is left."""
    books.fund("a", 1000)
    manager = await books.start()
    served = 0
    while True:
        call = opening("a", 100)
        try:
            hold = await manager.open(call)
        except InsufficientQuota:
            break
        await hold.settle(record(call, 7))
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


async def test_what_had_begun_to_answer_is_known_also_where_room_is_short(
    books, monkeypatch
):
    """What is kept for settlements has room for that: a client had content."""
    books.fund("a", 100)
    manager = await books.start()
    call = opening("a", 100, prompt=20)
    hold = await manager.open(call)
    monkeypatch.setattr(manager.journal, "has_room", lambda holds: False)
    hold.answering("main")
    manager._timer.cancel()
    manager._thread.abandon()
    manager.journal.close()
    successor = await books.start()
    assert successor.recovery.charged == 1
    await successor.close()
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


async def test_a_covered_stream_takes_no_more_and_is_written_down(books):
    """Its hold reaches to its end: nothing is added, and recovery knows how far."""
    books.fund("a", 100)
    manager = await books.start()
    call = opening("a", 100, prompt=20)
    hold = await manager.open(call)
    assert hold.covers(80)
    assert not hold.covers(82)
    hold.answering("main")
    for charge in (39, 40, 60, 79, 80, 200, 10_000):
        assert await hold.progress(charge, covered=True)
    assert hold.amount == 100
    manager._timer.cancel()
    manager._thread.abandon()
    manager.journal.close()
    successor = await books.start()
    assert successor.recovery.charged == 1
    assert books.ends() == {call.call_id: ("settle", "", 100)}
    await successor.close()

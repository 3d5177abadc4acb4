"""Batches of settlements: many rows per statement, and each call decided alone."""

import sqlite3

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.billing.books import Books, faults, opening, record

from posthouse.billing.ports import DrawRequest, LedgerUnavailable
from posthouse.billing.records import Settlement
from posthouse.storage.ledger.sqlite import ROWS_PER_STATEMENT, SqliteLedger

JOURNAL = "journal"


@pytest.fixture
def books(tmp_path, store) -> Books:
    return Books(tmp_path)


@pytest.fixture
def ledger(books):
    ledger = books.connect()
    ledger.register(JOURNAL)
    yield ledger
    ledger.close()


@pytest.fixture
def own_books(tmp_path, on_sqlite) -> Books:
    """On SQLite alone: what is tested is how its statements are."""
    return Books(tmp_path)


@pytest.fixture
def own_ledger(own_books):
    ledger = own_books.open()
    ledger.register(JOURNAL)
    yield ledger
    ledger.close()


def lease(books: Books, ledger: SqliteLedger, account: str, amount: int) -> str:
    """Fund an account and draw a tenth of it."""
    books.fund(account, 10 * amount)
    request = DrawRequest(account, need=amount, unit=1, slice=amount)
    (draw,) = ledger.exchange(JOURNAL, [], [request])
    assert draw.amount == amount
    return draw.lease_id


def settlement(account: str, lease_id: str, price: int, *, held: int = 100):
    wanted = opening(account, held)
    reason = "" if price else "failed"
    outcome = "served" if price else "failed"
    end = record(wanted, price, outcome)
    return Settlement(wanted.call_id, account, lease_id, held, price, reason, end)


Sizes = given(count=st.integers(0, 2 * ROWS_PER_STATEMENT + 3), free=st.integers(1, 9))


@pytest.mark.parametrize("store", ["sqlite"], indirect=True)
@Sizes
@settings(max_examples=25, deadline=None)
def test_a_batch_of_any_size_is_written_whole(tmp_path_factory, store, count, free):
    """Every settlement has its transfer, entries, record and place, in order."""
    check_batch(Books(tmp_path_factory.mktemp("books")), count, free)


@pytest.mark.parametrize("store", ["postgresql"], indirect=True)
@Sizes
@settings(max_examples=6, deadline=None)
def test_a_batch_of_any_size_is_copied_whole(tmp_path_factory, store, count, free):
    """The same where a batch is copied."""
    check_batch(Books(tmp_path_factory.mktemp("books")), count, free)


def check_batch(books: Books, count: int, free: int) -> None:
    """Post so many settlements, every so-manyth without a charge."""
    ledger = books.connect()
    ledger.register(JOURNAL)
    leased = lease(books, ledger, "a", 1_000)
    batch = [
        settlement("a", leased, 0 if number % free == 0 else 1 + number % 3)
        for number in range(count)
    ]
    ledger.post(JOURNAL, batch, 1)
    ledger.close()
    prices = [item.record.price for item in batch]
    assert books.revenue() == sum(prices)
    assert books.execute("SELECT balance FROM accounts WHERE id = ?", leased) == [
        (1_000 - sum(prices),)
    ]
    assert books.execute(
        "SELECT calls.id, reference, price FROM transfers"
        " JOIN calls ON seq = transfers.id ORDER BY seq"
    ) == [(item.call_id, item.call_id, item.record.price) for item in batch]


def test_a_batch_takes_few_statements_whatever_its_accounts(own_books, own_ledger):
    """The event loop is waited for once per statement, so their number matters."""
    books, ledger = own_books, own_ledger
    leased = {name: lease(books, ledger, name, 100) for name in map(str, range(300))}
    batch = [settlement(name, leased[name], 7) for name in leased]
    statements: list[str] = []
    ledger._connection.set_trace_callback(statements.append)
    ledger.post(JOURNAL, batch, 1)
    assert len(statements) < 40
    assert books.revenue() == 2_100


async def test_a_lease_that_lacks_is_found_among_many_that_do_not(books, ledger):
    """Its calls are paid by the account; the others' leases pay for theirs."""
    rich = lease(books, ledger, "rich", 1_000)
    poor = lease(books, ledger, "poor", 50)
    batch = [settlement("rich", rich, 10) for _ in range(70)]
    batch += [settlement("poor", poor, 40), settlement("poor", poor, 40)]
    ledger.post(JOURNAL, batch, 1)
    assert books.available(rich) == 300
    assert books.available(poor) == 0
    assert books.available("poor") == 450 - 30
    assert faults(await books.audit()) == {}


async def test_calls_that_are_there_already_are_left_as_they_are(books, ledger):
    """A batch posted again in part adds only what is new."""
    leased = lease(books, ledger, "a", 10_000)
    batch = [settlement("a", leased, 10) for _ in range(ROWS_PER_STATEMENT + 1)]
    ledger.post(JOURNAL, batch[:-1], 1)
    ledger.post(JOURNAL, [*batch, batch[0]], 2)
    assert books.revenue() == 10 * len(batch)
    assert books.available(leased) == 10_000 - 10 * len(batch)
    assert faults(await books.audit()) == {}


def test_a_batch_that_fails_late_leaves_nothing(own_books, own_ledger, monkeypatch):
    """The rows of earlier statements go with the one that could not be written."""
    books, ledger = own_books, own_ledger
    leased = lease(books, ledger, "a", 10_000)
    batch = [settlement("a", leased, 10) for _ in range(2 * ROWS_PER_STATEMENT)]

    def fail(_amounts) -> None:
        raise sqlite3.OperationalError("disk I/O error")

    monkeypatch.setattr(ledger, "_take", fail)
    with pytest.raises(LedgerUnavailable):
        ledger.post(JOURNAL, batch, 1)
    assert books.ends() == {}
    monkeypatch.undo()
    ledger.post(JOURNAL, batch, 1)
    assert len(books.ends()) == len(batch)


def test_names_are_names_whatever_is_in_them(books, ledger):
    """Quotes, braces and other alphabets in an account's name change nothing."""
    name = "a\"'\\{}[],:驿站\u2028\x01"
    leased = lease(books, ledger, name, 100)
    batch = [settlement(name, leased, 7), settlement(name, leased, 150)]
    ledger.post(JOURNAL, batch, 1)
    assert books.available(leased) == 0
    assert books.revenue() == 157

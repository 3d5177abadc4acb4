"""The auditor: silent on sound books, and each planted fault is named."""

import pytest
from tests.unit.billing.books import NOW_MS, Books, faults, opening, record

from posthouse.billing.audit import TITLES, AuditReport
from posthouse.billing.journal import Journal
from posthouse.billing.records import OPENED, Opened
from posthouse.storage.database import Database
from posthouse.storage.ledger.accounts import (
    ReferenceTaken,
    credit_account,
    open_account,
    set_credit_line,
)
from posthouse.wire import json


@pytest.fixture
async def books(tmp_path, store) -> Books:
    """Two accounts, a settled call of one, a void of the other, an overrun."""
    books = Books(tmp_path)
    books.fund("a", 1000)
    books.fund("b", 1000)
    manager = await books.start()
    for account, name, price in (("a", "call_1", 30), ("a", "call_2", 1200)):
        call = opening(account, 100, call_id=name)
        await (await manager.open(call)).settle(record(call, price))
    call = opening("b", 100, call_id="call_3")
    await (await manager.open(call)).void(record(call, 0, "failed"), "failed")
    await manager.close()
    return books


CONSTRAINTS = [
    ("accounts", "ck_accounts_within_credit_line"),
    ("entries", "ck_entries_not_zero"),
    ("transfers", "pk_transfers"),
    ("transfers", "uq_transfers_reference"),
]


def spoil(books: Books, statement: str) -> None:
    """Change the books behind everybody's back."""
    if books.postgres:
        for table, constraint in CONSTRAINTS:
            drop = (
                f"ALTER TABLE IF EXISTS {table} DROP CONSTRAINT IF EXISTS {constraint}"
            )
            books.execute(drop)
        books.execute(statement)
        return
    import sqlite3

    connection = sqlite3.connect(books.path, isolation_level=None)
    connection.execute("PRAGMA ignore_check_constraints = ON")
    connection.execute("PRAGMA foreign_keys = OFF")
    connection.execute("PRAGMA writable_schema = ON")
    connection.execute(statement)
    connection.close()


async def test_sound_books_are_clean(books):
    """All ten invariants are asked and hold; overruns are counted."""
    report = await books.audit(served=["call_1", "call_2", "call_3"])
    assert report.clean
    assert [check.name for check in report.checks] == list(TITLES)
    assert report.counts["overruns"] == 1
    assert report.counts["calls"] == 3
    assert json.decode(json.encode(report), AuditReport) == report


CALL = "(SELECT id FROM transfers WHERE reference = 'call_1')"
VOID = "(SELECT id FROM transfers WHERE reference = 'call_3')"

SPOILS = [
    (
        "I1",
        f"UPDATE entries SET amount = 31 WHERE amount = 30 AND transfer_id = {CALL}",
    ),
    ("I1", "INSERT INTO entries VALUES (999, 'a', 5)"),
    (
        "I1",
        (
            "DELETE FROM entries WHERE transfer_id IN"
            " (SELECT id FROM transfers WHERE kind = 'draw')"
        ),
    ),
    ("I2", "UPDATE accounts SET balance = balance + 1 WHERE id = 'b'"),
    (
        "I2",
        (
            f"UPDATE entries SET account_id = 'x' WHERE transfer_id = {CALL}"
            " AND amount < 0"
        ),
    ),
    ("I3", f"DELETE FROM calls WHERE seq = {CALL}"),
    ("I3", f"DELETE FROM transfers WHERE id = {CALL}"),
    ("I3", f"UPDATE calls SET id = 'call_9' WHERE seq = {CALL}"),
    ("I4", "UPDATE accounts SET balance = -1 WHERE id = 'b'"),
    ("I4", "UPDATE accounts SET balance = 5 WHERE id = 'lease:1:a'"),
    ("I4", "UPDATE leases SET state = 'open'"),
    ("I5", f"UPDATE transfers SET held = 29 WHERE id = {CALL}"),
    ("I5", "UPDATE transfers SET reason = '' WHERE excess > 0"),
    ("I6", f"UPDATE calls SET id = 'call_2' WHERE seq = {CALL}"),
    ("I6", "UPDATE transfers SET reference = NULL WHERE kind = 'opening'"),
    ("I7", f"UPDATE calls SET price = 29 WHERE seq = {CALL}"),
    ("I7", f"UPDATE calls SET outcome = 'served' WHERE seq = {VOID}"),
    ("I7", f"UPDATE transfers SET reason = 'because' WHERE id = {VOID}"),
    ("I8", f"UPDATE transfers SET account_id = 'b' WHERE id = {CALL}"),
    ("I9", f"UPDATE transfers SET price_version = '' WHERE id = {CALL}"),
    ("I9", f"UPDATE calls SET usage_source = 'none' WHERE seq = {CALL}"),
    ("I9", f"UPDATE calls SET usage = '{{}}' WHERE seq = {CALL}"),
]


@pytest.mark.parametrize(("name", "statement"), SPOILS)
async def test_each_planted_fault_is_named(books, name, statement):
    """The check of that invariant fails and gives an example."""
    spoil(books, statement)
    report = await books.audit()
    assert not report.clean
    found = faults(report)
    assert found[name], found


async def test_two_transfers_of_one_call_are_found(books):
    """Were the unique index missing, a double charge would still be seen."""
    spoil(books, "CREATE TABLE copy AS SELECT * FROM transfers")
    spoil(books, "DROP TABLE transfers")
    spoil(books, "ALTER TABLE copy RENAME TO transfers")
    spoil(
        books,
        "INSERT INTO transfers SELECT id + 100, kind, reference, account_id, held,"
        " excess, reason, price_version, created_ms FROM transfers"
        " WHERE reference = 'call_1'",
    )
    found = faults(await books.audit())
    assert found["I3"]
    assert found["I6"]


async def test_a_served_call_that_no_ledger_knows_is_found(books):
    """What the provider served must be in the ledger or in a journal."""
    found = faults(await books.audit(served=["call_1", "call_1", "call_7"]))
    assert found == {"I7": ["call call_7: served, and in no ledger"]}


async def test_old_holds_are_found_and_young_ones_are_not(books):
    """A chat may take 35 minutes, what is priced by its result 72 hours."""
    journal = Journal(books.root)
    ledger = books.connect()
    ledger.register(journal.id)
    ledger.close()
    for name, by_result in (("chat", False), ("task", True)):
        call = opening("a", 0, call_id=name, priced_by_result=by_result)
        journal.append(OPENED, Opened(call, 0))
    assert faults(await books.audit()) == {}

    async def found_after(minutes: int) -> list[str]:
        from posthouse.storage.audit import audit

        database = Database(books.url)
        at = NOW_MS + minutes * 60_000
        report = await audit(database, books.root, at_ms=at)
        await database.close()
        return [text.split(":")[0] for text in faults(report).get("I10", [])]

    assert await found_after(34) == []
    assert await found_after(36) == ["chat"]
    assert sorted(await found_after(73 * 60)) == ["chat", "task"]
    journal.close()


async def test_a_hold_that_is_open_and_ended_is_found(books):
    """A journal that has open what the ledger has ended is a fault."""
    journal = Journal(books.root)
    ledger = books.connect()
    ledger.register(journal.id)
    ledger.close()
    journal.append(OPENED, Opened(opening("a", 5, call_id="call_1"), 5))
    assert list(faults(await books.audit())) == ["I3"]
    journal.close()


async def test_the_audit_is_clean_while_the_server_runs(tmp_path, store):
    """Open holds, undrained settlements and leases out are no faults."""
    books = Books(tmp_path)
    books.fund("a", 10_000)
    manager = await books.start()
    served = []
    holds = []
    for number in range(60):
        call = opening("a", 100)
        hold = await manager.open(call)
        served.append(call.call_id)
        if number % 3:
            await hold.settle(record(call, number))
        else:
            holds.append((hold, call))
        if number % 10 == 0:
            assert faults(await books.audit(served=served)) == {}
    for hold, call in holds:
        await hold.settle(record(call, 1))
    assert await manager.close()
    assert faults(await books.audit(served=served)) == {}


class TestCredits:
    """Credits are posted once, under their ids."""

    @pytest.fixture
    async def database(self, tmp_path, store):
        books = Books(tmp_path)
        database = Database(books.url)
        yield database
        await database.close()
        assert faults(await books.audit()) == {}

    async def test_an_opening_credit_is_posted_once(self, database):
        """Asking again, with whatever amount, posts nothing."""
        async with database.write() as connection:
            assert await open_account(connection, "key:1", "app", 500)
            assert not await open_account(connection, "key:1", "app", 900)
            assert not await open_account(connection, "key:2", "empty", 0)

    async def test_a_top_up_has_an_id(self, database):
        """The same credit twice posts once; another amount under it is refused."""
        async with database.write() as connection:
            await open_account(connection, "key:1", "app", 0)
            assert await credit_account(connection, "key:1", 70, "one")
            assert not await credit_account(connection, "key:1", 70, "one")
            with pytest.raises(ReferenceTaken):
                await credit_account(connection, "key:1", 80, "one")
            assert await credit_account(connection, "key:1", 70, "two")
            with pytest.raises(LookupError):
                await credit_account(connection, "nobody", 70, "three")
            for amount in (0, -5, 2**63):
                with pytest.raises(ValueError):
                    await credit_account(connection, "key:1", amount, "four")

    async def test_a_credit_line_can_be_granted(self, database):
        """The line is what the account may go below zero."""
        async with database.write() as connection:
            await open_account(connection, "key:1", "app", 0)
            await set_credit_line(connection, "key:1", 300)

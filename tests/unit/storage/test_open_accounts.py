"""Many accounts opened at once: each as if it had been opened alone."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import event, func, select
from tests.support import store

from posthouse.storage.database import Database
from posthouse.storage.ledger import accounts as ledger_accounts
from posthouse.storage.ledger.accounts import (
    MAX_CREDIT,
    Opening,
    open_account,
    open_accounts,
)
from posthouse.storage.schema import accounts, entries, transfers

MANY = 2_300


async def new_database(path: Path) -> Database:
    return Database(store.new_installation(path))


@pytest.fixture
async def database(tmp_path: Path, store: str) -> AsyncIterator[Database]:
    database = await new_database(tmp_path / "books.db")
    yield database
    await database.close()


async def balances(database: Database) -> dict[str, int]:
    async with database.read() as connection:
        rows = await connection.execute(
            select(accounts.c.id, accounts.c.balance).where(accounts.c.kind != "house")
        )
        return {row.id: row.balance for row in rows}


async def posted(database: Database) -> list[tuple[str, str, str, int]]:
    async with database.read() as connection:
        rows = await connection.execute(
            select(
                transfers.c.kind,
                transfers.c.reference,
                entries.c.account_id,
                entries.c.amount,
            )
            .join(entries, entries.c.transfer_id == transfers.c.id)
            .order_by(transfers.c.reference, entries.c.account_id)
        )
        return [tuple(row) for row in rows]


async def test_many_are_opened_with_few_statements(database: Database) -> None:
    """Each has its credit, once, and its two entries; nobody asks for them singly."""
    statements = 0

    @event.listens_for(database.engine.sync_engine, "before_cursor_execute")
    def count(*_: object) -> None:
        nonlocal statements
        statements += 1

    openings = [Opening(f"key:{n}", f"app-{n}", n) for n in range(MANY)]
    async with database.write() as connection:
        names = await open_accounts(connection, openings)
    assert statements < 60
    assert names == {f"app-{n}" for n in range(1, MANY)}
    assert await balances(database) == {f"key:{n}": n for n in range(MANY)}
    async with database.read() as connection:
        assert await connection.scalar(select(func.sum(entries.c.amount))) == 0
        count_of = select(func.count()).select_from(entries)
        assert await connection.scalar(count_of) == 2 * (MANY - 1)


async def test_what_was_posted_before_is_not_posted_again(database: Database) -> None:
    """Among new ones stand some whose credit or whose account is there already."""
    async with database.write() as connection:
        await open_account(connection, "key:1", "app", 500)
        await open_account(connection, "key:2", "empty", 0)
        names = await open_accounts(
            connection,
            [
                Opening("key:3", "app", 900),
                Opening("key:2", "filled", 70),
                Opening("key:4", "new", 80),
            ],
        )
    assert names == {"filled", "new"}
    assert await balances(database) == {
        "key:1": 500,
        "key:2": 70,
        "key:3": 0,
        "key:4": 80,
    }
    assert await posted(database) == [
        ("opening", "opening:app", "funding", -500),
        ("opening", "opening:app", "key:1", 500),
        ("opening", "opening:filled", "funding", -70),
        ("opening", "opening:filled", "key:2", 70),
        ("opening", "opening:new", "funding", -80),
        ("opening", "opening:new", "key:4", 80),
    ]


@pytest.mark.parametrize("amount", [-1, MAX_CREDIT + 1])
async def test_one_impossible_credit_fails_them_all(
    database: Database, amount: int
) -> None:
    """Nothing is left of a transaction with an amount that is no credit."""
    openings = [Opening("key:1", "a", 5), Opening("key:2", "b", amount)]
    with pytest.raises(ValueError, match="a credit is above zero"):
        async with database.write() as connection:
            await open_accounts(connection, openings)
    assert await balances(database) == {}


async def test_the_houses_accounts_take_no_opening(database: Database) -> None:
    """They have no balance that could be credited."""
    with pytest.raises(LookupError, match="revenue"):
        async with database.write() as connection:
            await open_accounts(connection, [Opening("revenue", "a", 5)])


@settings(
    max_examples=12,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    rounds=st.lists(
        st.dictionaries(
            st.sampled_from("abcdef"),
            st.tuples(st.sampled_from(["k1", "k2", "k3"]), st.integers(0, 3)),
            max_size=6,
        ),
        max_size=3,
    ),
    at_once=st.integers(1, 4),
)
async def test_together_is_as_one_by_one(
    tmp_path_factory: pytest.TempPathFactory,
    on_sqlite: None,
    rounds: list[dict[str, tuple[str, int]]],
    at_once: int,
) -> None:
    """However they are cut into statements, the books are those of single ones."""
    folder = tmp_path_factory.mktemp("books")
    together = await new_database(folder / "together.db")
    single = await new_database(folder / "single.db")
    usual = ledger_accounts.AT_ONCE
    try:
        for names in rounds:
            openings = [
                Opening(account, name, amount)
                for name, (account, amount) in names.items()
            ]
            ledger_accounts.AT_ONCE = at_once
            async with together.write() as connection:
                found = await open_accounts(connection, openings)
            ledger_accounts.AT_ONCE = usual
            one_by_one = set()
            async with single.write() as connection:
                for one in openings:
                    if await open_account(
                        connection, one.account_id, one.name, one.amount
                    ):
                        one_by_one.add(one.name)
            assert found == one_by_one
        assert await balances(together) == await balances(single)
        assert await posted(together) == await posted(single)
    finally:
        ledger_accounts.AT_ONCE = usual
        await together.close()
        await single.close()

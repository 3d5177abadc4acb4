"""Finds an account's transfers and a key's calls among those of all.

The newest are looked through. When there are many they become a run: their
numbers are written once more, in the order of accounts and of keys, behind those
of all earlier runs. So a page takes the numbers of many calls, where one index
over all would have a page of each key's written. A reader goes through the runs
from the last to the first, and in each to the one place of its account or key.
Runs are made in the transaction that makes them due; the audit checks them.
"""

import sqlite3
from collections.abc import Callable
from typing import Any, Final

from msgspec import Struct
from sqlalchemy import Column, Row, Select, desc, func, select

from posthouse.storage.engine import AsyncConnection
from posthouse.storage.schema import calls, run_calls, run_transfers, runs, transfers

RUN: Final = 8_192
"""Transfers that become a run; a query looks through as many, and there is one
place to look at for as many."""
LONGEST: Final = 2 * RUN
"""Other writers wait while a run is made."""
_LAST: Final = "SELECT coalesce(max(up_to), 0) FROM runs"
# In the tables' order, so that all is appended.
_MAKE: Final = (
    "INSERT OR ROLLBACK INTO runs (up_to) VALUES (:last)",
    """
    INSERT OR ROLLBACK INTO run_transfers (run, account_id, transfer_id)
    SELECT :last, account_id, id FROM transfers
    WHERE id > :after AND id <= :last ORDER BY account_id, id
    """,
    """
    INSERT OR ROLLBACK INTO run_calls (run, key_id, seq)
    SELECT :last, key_id, seq FROM calls
    WHERE seq > :after AND seq <= :last ORDER BY key_id, seq
    """,
)


def make_runs(execute: Callable[..., sqlite3.Cursor], newest: int) -> None:
    """Make a run if one is due; one that would be too long is cut.

    Args:
        execute: runs a statement within a writing transaction.
        newest: the last transfer's number.
    """
    after = execute(_LAST).fetchone()[0]
    if newest - after < RUN:
        return
    numbers = {"after": after, "last": min(newest, after + LONGEST)}
    for statement in _MAKE:
        execute(statement, numbers)


class Places(Struct, frozen=True):
    """Rows that belong to owners, and where the runs say which."""

    number: Column[int]
    """The rows' number."""
    owner: Column[str]
    run: Column[int]
    """A run that has the row, and the two that it has of it:"""
    placed_owner: Column[str]
    placed_number: Column[int]


TRANSFERS: Final = Places(
    transfers.c.id,
    transfers.c.account_id,
    run_transfers.c.run,
    run_transfers.c.account_id,
    run_transfers.c.transfer_id,
)
"""Of accounts."""
CALLS: Final = Places(
    calls.c.seq, calls.c.key_id, run_calls.c.run, run_calls.c.key_id, run_calls.c.seq
)
"""Of keys."""


async def newest(
    connection: AsyncConnection,
    query: Select[Any],
    places: Places,
    owner: str | None,
    *,
    before: int | None,
    limit: int,
) -> list[Row[Any]]:
    """Give a page of rows, the newest first.

    Args:
        connection: a reading transaction.
        query: selects the rows of all owners.
        places: whose rows they are.
        owner: only this one's.
        before: only those with a lower number.
        limit: how many at most.
    """
    number = places.number
    if before is not None:
        query = query.where(number < before)
    if owner is None:
        page = query.order_by(desc(number)).limit(limit)
        return list(await connection.execute(page))
    up_to = await connection.scalar(select(func.coalesce(func.max(runs.c.up_to), 0)))
    young = query.where(number > up_to, places.owner == owner)
    page = young.order_by(desc(number)).limit(limit)
    found = list(await connection.execute(page))
    if len(found) < limit:
        old = _in_runs(query, places, owner)
        if before is not None:
            old = old.where(places.placed_number < before)
        found += await connection.execute(old.limit(limit - len(found)))
    return found


def _in_runs(query: Select[Any], places: Places, owner: str) -> Select[Any]:
    """Those of an owner's rows that are in runs, the newest first."""
    # The sum cannot be looked up: so runs are gone through, not what is in them.
    run = runs.c.up_to + 0
    return (
        query.join(places.run.table, places.placed_number == places.number)
        .join(runs, places.run == run)
        .where(places.placed_owner == owner)
        .order_by(desc(runs.c.up_to), desc(places.placed_number))
    )

"""What people ask of the ledger: balances, its lines, and the calls.

A balance as shown is what could be spent by a new call: what is available, and
what processes have drawn and not spent, less open holds and less settlements
that are still on their way from a journal.
"""

import asyncio
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from msgspec import Struct
from sqlalchemy import Row, func, select

from posthouse.billing.journal_view import JournalView, view_journals
from posthouse.model.call import AttemptRecord, CallRecord
from posthouse.storage.database import Database
from posthouse.storage.engine import AsyncConnection
from posthouse.storage.ledger.index import CALLS, TRANSFERS, newest
from posthouse.storage.ledger.rows import ATTEMPTS, STREAMED, USAGE, customer_of
from posthouse.storage.schema import (
    accounts,
    calls,
    entries,
    journals,
    leases,
    transfers,
)
from posthouse.wire import json

PAGE = 50
NOTHING: Mapping[str, str | None] = {}
_attempts = json.decoder(list[AttemptRecord])
_usage = json.decoder(dict[str, int])


class Balance(Struct, frozen=True):
    """What an account has, in nano-dollars."""

    account_id: str
    available: int
    """In the account itself."""
    leased: int
    """Drawn by processes, settlements on their way not yet taken off."""
    pending: int
    """Charged by those settlements."""
    held: int
    """In open holds."""
    credit_line: int | None
    """How far below zero it may go; None is without a limit."""

    @property
    def shown(self) -> int:
        """What a new call could spend, the credit line aside."""
        return self.available + self.leased - self.pending - self.held


class LedgerLine(Struct, frozen=True):
    """A transfer and its entries."""

    id: int
    kind: str
    reference: str
    """A call's id, `opening:<name>` or `credit:<id>`; empty otherwise."""
    account_id: str
    amount: int
    """What it adds to (or takes from) the customer's money, nano-dollars."""
    entries: list[tuple[str, int]]
    held: int | None
    reason: str
    price_version: str
    created_ms: int


class StoredCall(Struct, frozen=True):
    """A call's record and its place in the order of ends, for paging."""

    seq: int
    record: CallRecord


class LedgerReader:
    """Reads the ledger while others write it."""

    def __init__(self, database: Database, journals_root: Path) -> None:
        """Read from `database` and the journals below `journals_root`."""
        self._database = database
        self._root = journals_root

    async def balances(self, account_id: str | None = None) -> list[Balance]:
        """Balances of all accounts, or of one (empty if there is none)."""
        async with self._database.read() as connection:
            return await read_balances(connection, self._root, account_id)

    async def lines(
        self,
        *,
        account_id: str | None = None,
        call_id: str | None = None,
        before: int | None = None,
        internal: bool = False,
        limit: int = PAGE,
    ) -> list[LedgerLine]:
        """Ledger lines, the newest first.

        Args:
            account_id: only those on this account's behalf.
            call_id: only this call's.
            before: only those with a lower id (the last page's last).
            internal: draws and returns too, which move money between pockets.
            limit: how many at most.
        """
        query = select(transfers)
        if call_id is not None:
            query = query.where(transfers.c.reference == call_id)
            if account_id is not None:
                query = query.where(transfers.c.account_id == account_id)
                account_id = None  # There is but one, no need to look for it.
        if not internal:
            query = query.where(transfers.c.reference.is_not(None))
        async with self._database.read() as connection:
            rows = await newest(
                connection, query, TRANSFERS, account_id, before=before, limit=limit
            )
            legs = await _entries(connection, [row.id for row in rows])
        return [_line(row, legs.get(row.id, [])) for row in rows]

    async def calls(
        self,
        *,
        key_id: str | None = None,
        only: Mapping[str, str | None] = NOTHING,
        before: int | None = None,
        limit: int = PAGE,
    ) -> list[StoredCall]:
        """Ended calls, the latest end first.

        Args:
            key_id: only this key's.
            only: columns of the record and the value that each must have; None
                takes all.
            before: only those with a lower seq (the last page's last).
            limit: how many at most.
        """
        query = select(calls)
        for name, value in only.items():
            if value is not None:
                query = query.where(calls.c[name] == str(value))
        async with self._database.read() as connection:
            rows = await newest(
                connection, query, CALLS, key_id, before=before, limit=limit
            )
        return [_call(tuple(row)) for row in rows]

    async def call(self, call_id: str) -> StoredCall | None:
        """One call by its id."""
        query = (
            select(calls)
            .join(transfers, transfers.c.id == calls.c.seq)
            .where(transfers.c.reference == call_id)
        )
        async with self._database.read() as connection:
            row = (await connection.execute(query)).one_or_none()
        return None if row is None else _call(tuple(row))

    async def spent(self) -> dict[str, int]:
        """What each key has been charged for all its calls, by its id."""
        query = select(calls.c.key_id, func.sum(calls.c.price).label("spent"))
        async with self._database.read() as connection:
            rows = await connection.execute(query.group_by(calls.c.key_id))
            return {row.key_id: int(row.spent) for row in rows}


async def read_positions(connection: AsyncConnection) -> dict[str, int]:
    """Up to where the ledger has each journal that is not finished."""
    query = select(journals.c.id, journals.c.drained_to)
    rows = await connection.execute(query.where(journals.c.state == "open"))
    return {row.id: row.drained_to for row in rows}


async def read_balances(
    connection: AsyncConnection, root: Path, account_id: str | None = None
) -> list[Balance]:
    """Balances in the snapshot that `connection` reads, and in the journals."""
    # The positions come first: they begin the snapshot.
    positions = await read_positions(connection)
    view = await asyncio.to_thread(view_journals, root, positions)
    drawn = accounts.alias("drawn")
    query = (
        select(
            accounts.c.id,
            accounts.c.balance,
            accounts.c.credit_line,
            func.coalesce(func.sum(drawn.c.balance), 0).label("leased"),
        )
        .outerjoin(leases, leases.c.available_id == accounts.c.id)
        .outerjoin(drawn, drawn.c.id == leases.c.account_id)
        .where(accounts.c.kind == "available")
        .group_by(accounts.c.id, accounts.c.balance, accounts.c.credit_line)
        .order_by(accounts.c.id)
    )
    if account_id is not None:
        query = query.where(accounts.c.id == account_id)
    rows = (await connection.execute(query)).all()
    return _with_journals(rows, view)


def _with_journals(rows: Iterable[Any], view: JournalView) -> list[Balance]:
    held, charged = view.held(), view.charged()
    return [
        Balance(
            account_id=row.id,
            available=row.balance,
            leased=int(row.leased),
            pending=charged[row.id],
            held=held[row.id],
            credit_line=row.credit_line,
        )
        for row in rows
    ]


async def _entries(
    connection: AsyncConnection, ids: list[int]
) -> dict[int, list[tuple[str, int]]]:
    legs: dict[int, list[tuple[str, int]]] = {}
    rows = await connection.execute(
        select(entries).where(entries.c.transfer_id.in_(ids))
    )
    for row in rows:
        legs.setdefault(row.transfer_id, []).append((row.account_id, row.amount))
    return legs


def _line(row: Row[Any], legs: list[tuple[str, int]]) -> LedgerLine:
    return LedgerLine(
        id=row.id,
        kind=row.kind,
        reference=row.reference or "",
        account_id=row.account_id,
        amount=sum(
            amount for name, amount in legs if customer_of(name) == row.account_id
        ),
        entries=legs,
        held=row.held,
        reason=row.reason,
        price_version=row.price_version,
        created_ms=row.created_ms,
    )


def _call(row: tuple[Any, ...]) -> StoredCall:
    """Turn a row, whose columns are in a CallRecord's order, into a record."""
    seq, *values = row
    values[STREAMED] = bool(values[STREAMED])
    values[USAGE] = json.decode_with(_usage, values[USAGE].encode())
    values[ATTEMPTS] = json.decode_with(_attempts, values[ATTEMPTS].encode())
    return StoredCall(seq, CallRecord(*values))

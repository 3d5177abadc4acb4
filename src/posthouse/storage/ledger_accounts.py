"""Accounts and credits: the ledger's slow side, inside a caller's transaction.

A credit has an id and is posted at most once under it; money enters from the
house account `funding`.
"""

from sqlalchemy import insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from posthouse.storage.ledger_rows import FUNDING, HOUSE_ACCOUNTS
from posthouse.storage.ownership import now_ms
from posthouse.storage.schema import accounts, entries, transfers

AVAILABLE = "available"
HOUSE = "house"
OPENING = "opening"
CREDIT = "credit"
MAX_CREDIT = 10**18
"""A billion US dollars."""


class ReferenceTaken(Exception):
    """A credit with this id was posted before, but to another account or amount."""


async def ensure_house_accounts(connection: AsyncConnection) -> None:
    """Open the house's accounts, where they are missing."""
    rows = await connection.execute(
        select(accounts.c.id).where(accounts.c.kind == HOUSE)
    )
    missing = set(HOUSE_ACCOUNTS) - set(rows.scalars())
    for name in sorted(missing):
        await connection.execute(
            insert(accounts).values(id=name, kind=HOUSE, created_ms=now_ms())
        )


async def open_account(
    connection: AsyncConnection, account_id: str, name: str, amount: int
) -> bool:
    """Open an account without a credit line and post its opening credit.

    Args:
        connection: a writing transaction.
        account_id: the account; one that is there is kept as it is.
        name: the credit is posted once ever under `opening:<name>`.
        amount: nano-dollars; 0 posts nothing.

    Returns whether the credit was posted now.
    """
    found = await connection.scalar(
        select(accounts.c.id).where(accounts.c.id == account_id)
    )
    if found is None:
        await connection.execute(
            insert(accounts).values(
                id=account_id,
                kind=AVAILABLE,
                balance=0,
                credit_line=0,
                created_ms=now_ms(),
            )
        )
    if amount == 0:
        return False
    reference = f"{OPENING}:{name}"
    if await _posted(connection, reference) is not None:
        return False
    await _post(connection, (OPENING, reference), account_id, amount)
    return True


async def credit_account(
    connection: AsyncConnection, account_id: str, amount: int, credit_id: str
) -> bool:
    """Credit an account once under `credit:<credit_id>`.

    Returns whether it was posted now; False: the very same was before. Raises
    ReferenceTaken, LookupError for an unknown account, and ValueError for an
    amount that is no credit.
    """
    reference = f"{CREDIT}:{credit_id}"
    before = await _posted(connection, reference)
    if before is not None:
        if before != (account_id, amount):
            raise ReferenceTaken(reference)
        return False
    await _post(connection, (CREDIT, reference), account_id, amount)
    return True


async def set_credit_line(
    connection: AsyncConnection, account_id: str, credit_line: int | None
) -> None:
    """Let an account go below zero by so much; None is without a limit."""
    await connection.execute(
        update(accounts)
        .where(accounts.c.id == account_id, accounts.c.kind == AVAILABLE)
        .values(credit_line=credit_line)
    )


async def _posted(
    connection: AsyncConnection, reference: str
) -> tuple[str, int] | None:
    """To which account, and how much, was posted under a reference."""
    row = (
        await connection.execute(
            select(transfers.c.account_id, entries.c.amount)
            .join(entries, entries.c.transfer_id == transfers.c.id)
            .where(
                transfers.c.reference == reference,
                entries.c.account_id == transfers.c.account_id,
            )
        )
    ).one_or_none()
    return None if row is None else (row.account_id, row.amount)


async def _post(
    connection: AsyncConnection, name: tuple[str, str], account_id: str, amount: int
) -> None:
    """Move money from funding into an account; `name` is kind and reference."""
    kind, reference = name
    if not 0 < amount <= MAX_CREDIT:
        raise ValueError("a credit is above zero and at most a billion US dollars")
    changed = await connection.execute(
        update(accounts)
        .where(accounts.c.id == account_id, accounts.c.kind == AVAILABLE)
        .values(balance=accounts.c.balance + amount)
    )
    if changed.rowcount != 1:
        raise LookupError(f"there is no account {account_id!r}")
    result = await connection.execute(
        insert(transfers).values(
            kind=kind, reference=reference, account_id=account_id, created_ms=now_ms()
        )
    )
    key = result.inserted_primary_key
    number = key[0] if key is not None else None
    await connection.execute(
        insert(entries),
        [
            {"transfer_id": number, "account_id": FUNDING, "amount": -amount},
            {"transfer_id": number, "account_id": account_id, "amount": amount},
        ],
    )

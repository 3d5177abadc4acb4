"""Accounts and credits: the ledger's slow side, inside a caller's transaction.

A credit has an id and is posted at most once under it; money enters from the
house account `funding`.
"""

from collections.abc import Collection, Mapping, Sequence

from msgspec import Struct
from sqlalchemy import bindparam, insert, select, update

from posthouse.storage.engine import AsyncConnection
from posthouse.storage.ledger.rows import FUNDING, HOUSE_ACCOUNTS
from posthouse.storage.ownership import now_ms
from posthouse.storage.postgres import share_numbers
from posthouse.storage.schema import accounts, entries, transfers

AVAILABLE = "available"
HOUSE = "house"
OPENING = "opening"
CREDIT = "credit"
MAX_CREDIT = 10**18
"""A billion US dollars."""
AT_ONCE = 500
"""Rows per statement."""

Credits = Mapping[str, tuple[str, int]]
"""To which account, and how much, by the reference it is posted under."""

_ADD = (
    update(accounts)
    .where(accounts.c.id == bindparam("account"))
    .values(balance=accounts.c.balance + bindparam("amount"))
)


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


class Opening(Struct, frozen=True):
    """An account to open, and what it begins with."""

    account_id: str
    """An account that is there is kept as it is."""
    name: str
    """The credit is posted once ever under `opening:<name>`."""
    amount: int
    """Nano-dollars; 0 posts nothing."""


async def open_account(
    connection: AsyncConnection, account_id: str, name: str, amount: int
) -> bool:
    """Open one account, see `open_accounts`; whether its credit was posted now."""
    opening = Opening(account_id, name, amount)
    return name in await open_accounts(connection, [opening])


async def open_accounts(
    connection: AsyncConnection, openings: Sequence[Opening]
) -> set[str]:
    """Open accounts without a credit line and post their opening credits.

    Args:
        connection: a writing transaction.
        openings: each with a name of its own.

    Returns the names of those whose credit was posted now.
    """
    posted: set[str] = set()
    for start in range(0, len(openings), AT_ONCE):
        some = openings[start : start + AT_ONCE]
        credits_ = {
            f"{OPENING}:{opening.name}": (opening.account_id, opening.amount)
            for opening in some
            if opening.amount
        }
        for reference in await _posted(connection, credits_):
            del credits_[reference]
        _check(credits_)
        balances = dict.fromkeys((opening.account_id for opening in some), 0)
        for account_id, amount in credits_.values():
            balances[account_id] += amount
        await _open(connection, balances)
        await _enter(connection, OPENING, credits_)
        posted.update(reference.partition(":")[2] for reference in credits_)
    return posted


async def credit_account(
    connection: AsyncConnection, account_id: str, amount: int, credit_id: str
) -> bool:
    """Credit an account once under `credit:<credit_id>`.

    Returns whether it was posted now; False: the very same was before. Raises
    ReferenceTaken, LookupError for an unknown account, and ValueError for an
    amount that is no credit.
    """
    reference = f"{CREDIT}:{credit_id}"
    before = (await _posted(connection, [reference])).get(reference)
    if before is not None:
        if before != (account_id, amount):
            raise ReferenceTaken(reference)
        return False
    credit = {reference: (account_id, amount)}
    _check(credit)
    await _add(connection, {account_id: amount})
    await _enter(connection, CREDIT, credit)
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
    connection: AsyncConnection, references: Collection[str]
) -> dict[str, tuple[str, int]]:
    """To which account, and how much, was posted under references."""
    rows = await connection.execute(
        select(transfers.c.reference, transfers.c.account_id, entries.c.amount)
        .join(entries, entries.c.transfer_id == transfers.c.id)
        .where(
            transfers.c.reference.in_(references),
            entries.c.account_id == transfers.c.account_id,
        )
    )
    return {row.reference: (row.account_id, row.amount) for row in rows}


def _check(credits_: Credits) -> None:
    """Raise ValueError when an amount is no credit."""
    if not all(0 < amount <= MAX_CREDIT for _, amount in credits_.values()):
        raise ValueError("a credit is above zero and at most a billion US dollars")


async def _open(connection: AsyncConnection, balances: Mapping[str, int]) -> None:
    """Open accounts with balances, or add these to accounts that are there."""
    found = await connection.execute(
        select(accounts.c.id).where(accounts.c.id.in_(balances))
    )
    there = set(found.scalars())
    created_ms = now_ms()
    new = [
        {
            "id": account_id,
            "kind": AVAILABLE,
            "balance": balance,
            "credit_line": 0,
            "created_ms": created_ms,
        }
        for account_id, balance in balances.items()
        if account_id not in there
    ]
    if new:
        await connection.execute(insert(accounts), new)
    await _add(
        connection,
        {
            account_id: balances[account_id]
            for account_id in there
            if balances[account_id]
        },
    )


async def _add(connection: AsyncConnection, amounts: Mapping[str, int]) -> None:
    """Add to balances; raises LookupError when one is no account to be credited."""
    if not amounts:
        return
    found = await connection.execute(
        select(accounts.c.id).where(
            accounts.c.id.in_(amounts), accounts.c.kind == AVAILABLE
        )
    )
    missing = amounts.keys() - set(found.scalars())
    if missing:
        raise LookupError(f"there is no account {min(missing)!r}")
    await connection.execute(
        _ADD,
        [
            {"account": account_id, "amount": amount}
            for account_id, amount in amounts.items()
        ],
    )


async def _enter(connection: AsyncConnection, kind: str, credits_: Credits) -> None:
    """Write the transfers, from funding, of amounts that the balances have."""
    if not credits_:
        return
    created_ms = now_ms()
    await share_numbers(connection)
    await connection.execute(
        insert(transfers),
        [
            {
                "kind": kind,
                "reference": reference,
                "account_id": account_id,
                "created_ms": created_ms,
            }
            for reference, (account_id, _) in credits_.items()
        ],
    )
    numbered = await connection.execute(
        select(transfers.c.id, transfers.c.reference).where(
            transfers.c.reference.in_(credits_)
        )
    )
    legs = []
    for number, reference in numbered:
        account_id, amount = credits_[reference]
        legs += [(number, FUNDING, -amount), (number, account_id, amount)]
    await connection.execute(
        insert(entries),
        [
            {"transfer_id": number, "account_id": account_id, "amount": amount}
            for number, account_id, amount in legs
        ],
    )

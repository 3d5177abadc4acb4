"""What an account can still spend, as callers may ask for their own.

Two indexed reads: the account, and what processes have drawn of it. What is charged
but not yet posted is still counted: it is told at most some seconds late.
"""

from sqlalchemy import func, select

from posthouse.errors import StorageUnavailable
from posthouse.storage.database import Database
from posthouse.storage.schema import accounts, leases


class StoredAccounts:
    """Reads accounts."""

    def __init__(self, database: Database) -> None:
        """Read from this database."""
        self._database = database

    async def remaining(self, account_id: str) -> int | None:
        """Give what is left, the credit line included, in nano-dollars.

        None has no limit. Raises StorageUnavailable for an account that is not there.
        """
        drawn = accounts.alias("drawn")
        leased = (
            select(func.coalesce(func.sum(drawn.c.balance), 0))
            .select_from(leases.join(drawn, drawn.c.id == leases.c.account_id))
            .where(leases.c.available_id == account_id)
            .scalar_subquery()
        )
        query = select(accounts.c.balance, accounts.c.credit_line, leased).where(
            accounts.c.id == account_id
        )
        async with self._database.read() as connection:
            row = (await connection.execute(query)).first()
        if row is None:
            raise StorageUnavailable
        balance, credit_line, drawn_sum = row
        if credit_line is None:
            return None
        return int(balance) + int(drawn_sum) + int(credit_line)

"""The ledger of a campaign, asked from outside while the gateway works."""

import asyncio
import sqlite3
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path

from msgspec import Struct
from tests.crash.judge import Row
from tests.support.postgres import execute

from posthouse.billing.audit import AuditReport
from posthouse.billing.journal_view import view_journals
from posthouse.storage.audit import audit
from posthouse.storage.database import Database, sqlite_url
from posthouse.storage.keys import find_key
from posthouse.storage.ledger.accounts import credit_account

_ROWS = """
SELECT c.seq, c.id, c.requested_model, t.account_id, t.kind, t.reason, t.held,
    t.excess, c.price, coalesce(e.amount, 0), c.usage_source, c.outcome
FROM calls c
JOIN transfers t ON t.id = c.seq
LEFT JOIN entries e ON e.transfer_id = c.seq AND e.account_id = 'revenue'
WHERE c.seq > ?
"""
_BALANCES = """
SELECT a.id, a.balance + coalesce(sum(b.balance), 0)
FROM accounts a
LEFT JOIN leases l ON l.available_id = a.id
LEFT JOIN accounts b ON b.id = l.account_id
WHERE a.kind = 'available'
GROUP BY a.id
"""
_CREDITS = """
SELECT t.account_id, sum(e.amount)
FROM transfers t
JOIN entries e ON e.transfer_id = t.id AND e.account_id = t.account_id
WHERE t.kind IN ('opening', 'credit')
GROUP BY t.account_id
"""
_CHARGES = """
SELECT t.account_id, sum(e.amount)
FROM transfers t
JOIN entries e ON e.transfer_id = t.id AND e.account_id IN ('revenue', 'overrun')
WHERE t.kind = 'settle'
GROUP BY t.account_id
"""
_OUTSIDE_THE_LEASE = """
SELECT t.reference
FROM transfers t
JOIN entries e ON e.transfer_id = t.id
JOIN accounts a ON a.id = e.account_id
WHERE t.kind = 'settle' AND t.excess = 0 AND a.kind <> 'lease'
    AND e.account_id <> 'revenue' AND t.id > ?
"""


class Balance(Struct, frozen=True):
    """An account: nano-dollars."""

    credits: int
    charges: int
    left: int
    """What it has, with what leases hold of it."""


class View(Struct, frozen=True):
    """One snapshot of the ledger."""

    rows: list[Row]
    """Calls that ended since the last look."""
    balances: dict[str, Balance]
    outside: list[str]
    """New settlements within their hold that something else than it paid."""


Ask = Callable[..., list[tuple]]
"""Takes a statement and its values; gives the rows."""


class Books:
    """The database and the journals of one data folder."""

    def __init__(self, data: Path, url: str = "") -> None:
        """Ask what is in a data folder, or in the PostgreSQL that `url` names.

        Of the latter there are no snapshots: nobody may write while it is looked at.
        """
        self._database = data / "posthouse.db"
        self._url = url or sqlite_url(self._database)
        self._journals = data / "journal"
        self._seen = 0

    @contextmanager
    def snapshot(self) -> Iterator[Ask]:
        """Give what asks."""
        if self._url.startswith("postgresql"):
            yield partial(execute, self._url)
            return
        with closing(sqlite3.connect(self._database)) as connection:
            connection.execute("BEGIN")
            yield lambda statement, *values: connection.execute(
                statement, values
            ).fetchall()

    def look(self) -> View:
        """Take a snapshot; gives only the calls that the last one had not."""
        with self.snapshot() as ask:
            rows = [Row(*row) for row in ask(_ROWS, self._seen)]
            credited = dict(ask(_CREDITS))
            charged = dict(ask(_CHARGES))
            balances = {
                account: Balance(
                    credited.get(account, 0), charged.get(account, 0), left
                )
                for account, left in ask(_BALANCES)
            }
            found = ask(_OUTSIDE_THE_LEASE, self._seen)
        self._seen = max((row.seq for row in rows), default=self._seen)
        return View(rows, balances, [row[0] for row in found])

    def accounts(self, names: Sequence[str]) -> list[str]:
        """The accounts of some keys."""
        with self.snapshot() as ask:
            found = dict(ask("SELECT name, account_id FROM keys"))
        return [found[name] for name in names]

    def audit(self, served: Collection[str]) -> AuditReport:
        """Have the auditor check everything."""

        async def work() -> AuditReport:
            database = Database(self._url)
            try:
                return await audit(database, self._journals, served=served)
            finally:
                await database.close()

        return asyncio.run(work())

    def credit(self, amounts: dict[str, int], identity: str) -> None:
        """Add money to keys by their names, under ids of their own."""

        async def work() -> None:
            database = Database(self._url)
            try:
                async with database.write() as connection:
                    for name, amount in amounts.items():
                        row = await find_key(connection, name)
                        assert row is not None
                        assert await credit_account(
                            connection, row.account_id, amount, f"{identity}:{name}"
                        )
            finally:
                await database.close()

        asyncio.run(work())

    def journals(self) -> list[str]:
        """The journals that have files."""
        if not self._journals.exists():
            return []
        return sorted(path.name for path in self._journals.iterdir() if path.is_dir())

    def posted_and_pending(self) -> list[str]:
        """Calls in the ledger that its position in their journal denies."""
        with closing(sqlite3.connect(self._database)) as connection:
            positions = dict(
                connection.execute(
                    "SELECT id, drained_to FROM journals WHERE state = 'open'"
                ).fetchall()
            )
            pending = view_journals(self._journals, positions).pending
            posted = connection.execute(
                "SELECT reference FROM transfers WHERE kind IN ('settle', 'void')"
                " AND id > ?",
                (self._seen,),
            ).fetchall()
        return [name for (name,) in posted if name in pending]

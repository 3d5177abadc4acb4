"""A ledger in a temporary directory, and what the tests of money put into it."""

import sqlite3
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

from tests.support import store

from posthouse.billing.audit import AuditReport
from posthouse.billing.holds import HoldManager
from posthouse.billing.leases import LeasePolicy
from posthouse.billing.ports import LedgerStore
from posthouse.billing.records import Opening
from posthouse.model.call import AttemptRecord, CallRecord
from posthouse.storage.audit import audit
from posthouse.storage.database import Database, sqlite_url
from posthouse.storage.ledger.postgres import PostgresLedger
from posthouse.storage.ledger.queries import Balance, LedgerReader
from posthouse.storage.ledger.sqlite import SqliteLedger

NOW_MS = 1_700_000_000_000
PATIENT = 20.0
"""The machine that runs tests may be busy."""


class Books:
    """A database with the schema, and a root for journals.

    It may be on PostgreSQL (see the fixture `store`), and then a file in the folder
    has its URL, for other processes.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(exist_ok=True)
        self.folder = folder
        self.path = folder / "posthouse.db"
        self.root = folder / "journal"
        self.keep = False
        self.kept: Database | None = None
        noted = folder / "database.url"
        if store.server is not None and not noted.exists():
            noted.write_text(store.server.new_installation())
        self.postgres = noted.read_text() if noted.exists() else ""
        self.url = self.postgres or sqlite_url(self.path)
        if not self.postgres and not self.path.exists():
            store.new_installation(self.path)

    def execute(self, statement: str, *values: object) -> list[tuple]:
        if self.postgres:
            from tests.support import postgres

            return postgres.execute(self.postgres, statement, *values)
        connection = sqlite3.connect(self.path, isolation_level=None, timeout=5)
        try:
            return connection.execute(statement, values).fetchall()
        finally:
            connection.close()

    def fund(self, account: str, amount: int, line: int | None = 0) -> None:
        """Open an account with a balance that came from funding."""
        self.execute(
            "INSERT INTO accounts VALUES (?,'available',?,?,0,0)", account, amount, line
        )
        if amount:
            self.execute(
                "INSERT INTO transfers (kind, reference, account_id, created_ms)"
                " VALUES ('opening', ?, ?, 0)",
                f"opening:{account}",
                account,
            )
            self.execute(
                "INSERT INTO entries SELECT id, 'funding', CAST(? AS BIGINT)"
                " FROM transfers"
                " WHERE reference = ?",
                -amount,
                f"opening:{account}",
            )
            self.execute(
                "INSERT INTO entries SELECT id, ?, CAST(? AS BIGINT) FROM transfers"
                " WHERE reference = ?",
                account,
                amount,
                f"opening:{account}",
            )

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Somebody else sits on the accounts."""
        if self.postgres:
            from tests.support import postgres

            with postgres.transaction(self.postgres, "LOCK TABLE accounts"):
                yield
            return
        blocker = sqlite3.connect(self.path, isolation_level=None)
        blocker.execute("BEGIN IMMEDIATE")
        yield
        blocker.execute("ROLLBACK")
        blocker.close()

    def connect(self) -> Any:
        """A ledger to use at once, also where an event loop runs."""
        if self.postgres:
            from tests.support.postgres import InThread

            return InThread(self.open)
        return self.open()

    def connect_from(self, home: str) -> Any:
        """A ledger on PostgreSQL, as a node with another folder has it."""
        from tests.support.postgres import InThread

        return InThread(
            lambda: PostgresLedger(self.postgres, home=home, seconds=PATIENT)
        )

    def open(self) -> LedgerStore:
        """A ledger for the thread that opens it."""
        if self.postgres:
            return PostgresLedger(self.postgres, seconds=PATIENT)
        return SqliteLedger(self.path)

    async def start(
        self,
        *,
        durability: str = "process",
        policy: LeasePolicy | None = None,
        segment_size: int = 256 * 1024,
        disowned: Callable[[], None] | None = None,
    ) -> HoldManager:
        return await HoldManager.start(
            self.root,
            self.open,
            durability=durability,
            policy=policy,
            segment_size=segment_size,
            disowned=disowned,
        )

    @asynccontextmanager
    async def database(self) -> AsyncIterator[Database]:
        """The database as the slow side sees it; kept open once `keep` is set."""
        if self.keep:
            self.kept = self.kept or Database(self.url)
            yield self.kept
            return
        database = Database(self.url)
        try:
            yield database
        finally:
            await database.close()

    async def release(self) -> None:
        """Close what was kept open."""
        if self.kept is not None:
            await self.kept.close()
            self.kept = None

    async def audit(self, **options: object) -> AuditReport:
        async with self.database() as database:
            return await audit(database, self.root, at_ms=NOW_MS, **options)

    async def balances(self) -> dict[str, Balance]:
        async with self.database() as database:
            found = await LedgerReader(database, self.root).balances()
        return {balance.account_id: balance for balance in found}

    async def balance(self, account: str) -> Balance:
        return (await self.balances())[account]

    def available(self, account: str) -> int:
        return self.execute("SELECT balance FROM accounts WHERE id = ?", account)[0][0]

    def revenue(self) -> int:
        return self.execute(
            "SELECT coalesce(sum(amount), 0) FROM entries WHERE account_id = 'revenue'"
        )[0][0]

    def ends(self) -> dict[str, tuple[str, str, int]]:
        """Kind, reason and charge by call id."""
        return {
            row[0]: row[1:]
            for row in self.execute(
                "SELECT reference, kind, reason, coalesce((SELECT amount FROM entries"
                " WHERE transfer_id = id AND account_id = 'revenue'), 0)"
                " FROM transfers WHERE kind IN ('settle', 'void')"
            )
        }


def opening(
    account: str = "a",
    amount: int = 100,
    *,
    prompt: int = 0,
    call_id: str = "",
    priced_by_result: bool = False,
) -> Opening:
    """A hold for a streamed chat."""
    return Opening(
        call_id=call_id or f"call_{uuid.uuid4().hex}",
        account_id=account,
        key_id="key_1",
        operation="chat",
        model="gpt-4o",
        price_version="gpt-4o:1",
        created_ms=NOW_MS,
        amount=amount,
        prompt_charge=prompt,
        streamed=True,
        dialect="openai-chat",
        priced_by_result=priced_by_result,
    )


def record(hold: Opening, price: int, outcome: str = "served") -> CallRecord:
    """The usage record of a call that cost `price`."""
    attempt = AttemptRecord("main", 0, "gpt-4o", 0, 9, outcome, "", 200, price)
    return CallRecord(
        id=hold.call_id,
        created_ms=hold.created_ms,
        key_id=hold.key_id,
        operation=hold.operation,
        dialect=hold.dialect,
        streamed=hold.streamed,
        requested_model=hold.model,
        channel="main",
        upstream_model="gpt-4o",
        usage={"input": 3, "output": 4},
        usage_source="provider",
        cost=price,
        list_price=price,
        price=price,
        price_version=hold.price_version,
        status=200,
        outcome=outcome,
        error_code="",
        first_token_ms=5,
        total_ms=9,
        attempts=[attempt],
    )


def faults(report: AuditReport) -> dict[str, list[str]]:
    """What an audit found, by invariant; empty when it is clean."""
    return {check.name: check.examples for check in report.checks if check.faults}

"""The ledger in SQLite, behind billing's ports: one connection, one thread.

The raw driver and statements of many rows keep the cost per call small: the
interpreter's lock is let go at every step of a statement, and each time the
event loop may have to be waited for. So lists go into a statement, and come
out of it, as one JSON value. Every transaction begins IMMEDIATE, so that what
was read is still true when it is written. A refused row takes the transaction
with it (OR ROLLBACK): else SQLite would keep each page that a statement changes
as it was, to undo that statement alone. Foreign keys are not checked here: rows
are made together with what they point to, and the audit looks for orphans.
"""

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Final, Protocol, TypeVar

from posthouse.billing.killpoints import reach
from posthouse.billing.ports import (
    Draw,
    DrawRequest,
    GiveBack,
    JournalMovedOn,
    LedgerUnavailable,
)
from posthouse.billing.records import Settlement
from posthouse.storage.ledger.index import make_runs
from posthouse.storage.ledger.leases import ENDED, Keeps, reach_exchange, what_is_drawn
from posthouse.storage.ledger.rows import (
    CALL_COLUMNS,
    ENTRY_COLUMNS,
    LEASE,
    TRANSFER_COLUMNS,
    Funds,
    LeaseFunds,
    Rows,
    Value,
    are_covered,
    in_chunks,
    lease_name,
    touched_accounts,
    without_lease,
)
from posthouse.storage.ownership import now_ms
from posthouse.wire import json

T = TypeVar("T")

BUSY_TIMEOUT_SECONDS: Final = 1.0
ROWS_PER_STATEMENT: Final = 128
CACHE_KIB: Final = 2_048
"""Pages kept in memory: balances that change, and where rows are appended. The rest
comes from the system's cache at no cost that shows: with four times as much, settling
takes as long."""
CHECKPOINT_PAGES: Final = 4_096
"""The longer the log, the more often a page changes before it is written home."""
OPEN: Final = "open"
_FIND_CALLS: Final = (
    "SELECT json_group_array(reference) FROM transfers"
    " WHERE reference IN (SELECT value FROM json_each(?))"
)
_FIND_FUNDS: Final = (
    "SELECT json_group_object(accounts.id, json_array(balance, credit_line))"
    " FROM json_each(?) AS name JOIN accounts ON accounts.id = name.value"
)
_TAKE_FUNDS: Final = (
    "UPDATE OR ROLLBACK accounts SET balance = balance - taken.value"
    " FROM json_each(?) AS taken WHERE accounts.id = taken.key"
)
# What `Keeps` counts stands here as numbers, which an index knows.
_ASK_OTHERS: Final = (
    "UPDATE leases SET keeps = 1"
    " WHERE available_id = ? AND owner <> ? AND state = 'open' AND keeps = 0"
)
_OTHERS_HOLD: Final = (
    "SELECT count(*), coalesce(sum(keeps = 1), 0) FROM leases JOIN accounts"
    " ON accounts.id = leases.account_id WHERE available_id = ?"
    " AND owner <> ? AND state = 'open' AND balance > 0"
)
# An account has few leases, and their owner as many as accounts: it has no index here.
_KEEP: Final = (
    "UPDATE leases SET keeps = ?"
    " WHERE available_id = ? AND +owner = ? AND state = ? AND keeps <> ?"
)
_ASKED_BACK: Final = (
    "SELECT available_id FROM leases WHERE owner = ? AND state = 'open' AND keeps = 1"
)
_STATE: Final = "SELECT state FROM journals WHERE id = ?"
_funds: Final = json.decoder(dict[str, tuple[int, int | None]])
_names: Final = json.decoder(list[str])


@cache
def _insertion(table: str, columns: tuple[str, ...], rows: int) -> str:
    """The statement that inserts so many rows; there are few of them."""
    row = f"({','.join('?' * len(columns))})"
    head = f"INSERT OR ROLLBACK INTO {table} ({','.join(columns)}) VALUES "  # noqa: S608 - our own names
    return head + ",".join([row] * rows)


class WriteSettlements(Protocol):
    """One transaction that writes settlements."""

    def __call__(self, unposted: Sequence[Settlement], *, trusting: bool) -> None:
        """Write them; `trusting` is explained at SqliteLedger._insert."""


class SqliteLedger:
    """Implements billing's LedgerStore. Use from the thread that made it."""

    def __init__(
        self, path: Path, *, durable: bool = False, clock: Callable[[], int] = now_ms
    ) -> None:
        """Open the database at `path`, whose schema must be there.

        Args:
            path: the database file.
            durable: sync at every commit, to survive power loss.
            clock: Unix time in milliseconds.
        """
        self._clock = clock
        try:
            self._connection = sqlite3.connect(
                path,
                timeout=BUSY_TIMEOUT_SECONDS,
                isolation_level=None,
                cached_statements=256,
            )
            execute = self._connection.execute
            execute("PRAGMA journal_mode = WAL")
            execute(f"PRAGMA synchronous = {'FULL' if durable else 'NORMAL'}")
            execute(f"PRAGMA cache_size = -{CACHE_KIB}")
            execute(f"PRAGMA wal_autocheckpoint = {CHECKPOINT_PAGES}")
        except sqlite3.Error as error:
            raise LedgerUnavailable(str(error)) from error
        self._execute = execute

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    # Leases

    def exchange(
        self,
        journal_id: str,
        returns: Sequence[GiveBack],
        requests: Sequence[DrawRequest],
    ) -> list[Draw]:
        """See LeaseStore."""
        with self._transaction():
            for (state,) in self._execute(_STATE, (journal_id,)):
                if state != OPEN:
                    raise LedgerUnavailable(ENDED)
            for item in returns:
                if item.amount:
                    self._move(item.lease_id, item.account_id, item.amount, "return")
                if item.answers:
                    self._keeps(journal_id, item.account_id, Keeps.NOTHING)
            draws = [self._draw(journal_id, item) for item in requests]
            reach_exchange(returns, requests, "before")
        reach_exchange(returns, requests, "after")
        return draws

    def _draw(self, journal_id: str, request: DrawRequest) -> Draw:
        """Serve one request within a transaction."""
        row = self._execute(
            "SELECT balance, credit_line FROM accounts"
            " WHERE id = ? AND kind = 'available'",
            (request.account_id,),
        ).fetchone()
        if row is None:
            return Draw("", 0, strict=True)
        amount, strict = what_is_drawn(request, *row)
        elsewhere = unanswered = 0
        if amount < request.need:
            elsewhere, unanswered = self._recall(journal_id, request.account_id)
        others = bool(elsewhere), bool(unanswered)
        if amount == 0:
            self._keeps(journal_id, request.account_id, Keeps.NOTHING)
            return Draw("", 0, strict, *others)
        lease_id = self._lease(journal_id, request.account_id)
        self._move(request.account_id, lease_id, amount, "draw")
        keeps = Keeps.NOTHING if strict else Keeps.FREE
        self._keeps(journal_id, request.account_id, keeps)
        return Draw(lease_id, amount, strict, *others)

    def _keeps(self, journal_id: str, account_id: str, keeps: Keeps) -> None:
        """Note what a journal may keep free of an account."""
        self._execute(_KEEP, (keeps, account_id, journal_id, OPEN, keeps))

    def _recall(self, journal_id: str, account_id: str) -> tuple[int, int]:
        """Ask other journals for what they keep free; how many hold money.

        Of what they hold for open calls, a part may come back as well. The second
        number is of those that have been asked before, and have not answered.
        """
        both = (account_id, journal_id)
        holding, unanswered = self._execute(_OTHERS_HOLD, both).fetchone()
        self._execute(_ASK_OTHERS, both)
        return holding, unanswered

    def recalled(self, journal_id: str) -> list[str]:
        """See LeaseStore."""
        try:
            rows = self._execute(_ASKED_BACK, (journal_id,)).fetchall()
        except sqlite3.Error as error:
            raise LedgerUnavailable(str(error)) from error
        return [row[0] for row in rows]

    def _lease(self, journal_id: str, account_id: str) -> str:
        """The journal's lease account: its own, a returned one, or a new one."""
        rows = self._execute(
            "SELECT account_id, owner, state FROM leases WHERE available_id = ?",
            (account_id,),
        ).fetchall()
        returned = ""
        for lease_id, owner, state in rows:
            if state == OPEN and owner == journal_id:
                return str(lease_id)
            if state != OPEN:
                returned = lease_id
        if returned:
            self._execute(
                "UPDATE leases SET owner = ?, state = ?, epoch = epoch + 1,"
                " keeps = 0 WHERE account_id = ?",
                (journal_id, OPEN, returned),
            )
            return returned
        lease_id = lease_name(account_id, len(rows) + 1)
        created = self._clock()
        self._execute(
            "INSERT INTO accounts (id, kind, balance, credit_line, created_ms)"
            " VALUES (?, ?, 0, 0, ?)",
            (lease_id, LEASE, created),
        )
        self._execute(
            "INSERT INTO leases"
            " (account_id, available_id, owner, epoch, state, created_ms)"
            " VALUES (?, ?, ?, 1, ?, ?)",
            (lease_id, account_id, journal_id, OPEN, created),
        )
        return lease_id

    def _move(self, source: str, target: str, amount: int, kind: str) -> None:
        """Transfer between an account and its lease."""
        account = target if kind == "return" else source
        cursor = self._execute(
            "INSERT INTO transfers (kind, account_id, created_ms) VALUES (?, ?, ?)",
            (kind, account, self._clock()),
        )
        number = cursor.lastrowid
        self._execute(
            "INSERT INTO entries (transfer_id, account_id, amount)"
            " VALUES (?, ?, ?), (?, ?, ?)",
            (number, source, -amount, number, target, amount),
        )
        self._add(source, -amount)
        self._add(target, amount)

    def _add(self, account_id: str, amount: int) -> None:
        """Change a balance; the account must be there."""
        changed = self._execute(
            "UPDATE accounts SET balance = balance + ? WHERE id = ?",
            (amount, account_id),
        ).rowcount
        if changed != 1:
            raise sqlite3.IntegrityError(f"there is no account {account_id!r}")

    # Journals

    def register(self, journal_id: str) -> int:
        """See JournalStore."""
        with self._transaction():
            self._execute(
                "INSERT OR IGNORE INTO journals (id, state, created_ms)"
                " VALUES (?, ?, ?)",
                (journal_id, OPEN, self._clock()),
            )
            drained_to, state = self._execute(
                "SELECT drained_to, state FROM journals WHERE id = ?", (journal_id,)
            ).fetchone()
        if state != OPEN:
            raise JournalMovedOn(journal_id)
        return int(drained_to)

    def post(
        self, journal_id: str, settlements: Sequence[Settlement], position: int
    ) -> None:
        """See JournalStore."""

        def write(unposted: Sequence[Settlement], *, trusting: bool) -> None:
            with self._transaction():
                self._advance(
                    "UPDATE journals SET drained_to = ?"
                    " WHERE id = ? AND state = 'open' AND drained_to < ?",
                    (position, journal_id, position),
                )
                self._insert(unposted, trusting=trusting)
                reach("drain.before_commit")

        self._write_once(settlements, write)
        reach("drain.after_commit")

    def finish(
        self, journal_id: str, settlements: Sequence[Settlement], state: str
    ) -> None:
        """See JournalStore."""

        def write(unposted: Sequence[Settlement], *, trusting: bool) -> None:
            with self._transaction():
                self._advance(
                    "UPDATE journals SET state = ? WHERE id = ? AND state = 'open'",
                    (state, journal_id),
                )
                self._insert(unposted, trusting=trusting)
                self._return_leases(journal_id)
                reach("recovery.before_commit")

        self._write_once(settlements, write)
        reach("recovery.after_commit")

    def _advance(self, statement: str, values: tuple[str | int, ...]) -> None:
        """Move a journal on; one that does not move has been finished."""
        if self._execute(statement, values).rowcount != 1:
            raise JournalMovedOn

    def _write_once(
        self,
        settlements: Sequence[Settlement],
        write: WriteSettlements,
    ) -> None:
        """Write settlements, first as if all were new and all leases had enough.

        The tables' constraints refuse what is not so. Since that happens only
        after a power loss or a fault, it is looked up only then.
        """
        try:
            write(settlements, trusting=True)
        except LedgerUnavailable as error:
            if not isinstance(error.__cause__, sqlite3.IntegrityError):
                raise
            write(self._unposted(settlements), trusting=False)

    def _return_leases(self, journal_id: str) -> None:
        """Give back what a journal's leases hold, and free them for others."""
        for lease_id, account_id, balance in self._execute(
            "SELECT leases.account_id, available_id, balance FROM leases"
            " JOIN accounts ON accounts.id = leases.account_id"
            " WHERE owner = ? AND state = ? ORDER BY available_id",
            (journal_id, OPEN),
        ).fetchall():
            if balance:
                self._move(lease_id, account_id, balance, "return")
        self._execute(
            "UPDATE leases SET state = 'returned' WHERE owner = ?", (journal_id,)
        )

    def post_late(self, settlements: Sequence[Settlement]) -> None:
        """See JournalStore."""
        late = [without_lease(item) for item in settlements]
        with self._transaction():
            self._insert(self._unposted(late), trusting=False)

    def renew(self, journal_id: str) -> None:
        """See JournalStore; one machine's locks tell who lives."""

    def silent(self, seconds: float) -> list[str]:
        """See JournalStore; there are no other machines."""
        del seconds
        return []

    def unfinished(self) -> list[str]:
        """See JournalStore."""
        rows = self._execute("SELECT id FROM journals WHERE state = ?", (OPEN,))
        return [row[0] for row in rows]

    def lease_ids(self, journal_id: str) -> dict[str, str]:
        """See JournalStore."""
        rows = self._execute(
            "SELECT available_id, account_id FROM leases WHERE owner = ? AND state = ?",
            (journal_id, OPEN),
        )
        return dict(rows.fetchall())

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        """Commit on leaving; roll back and translate the driver's errors."""
        try:
            self._execute("BEGIN IMMEDIATE")
            try:
                yield
                self._execute("COMMIT")
            except BaseException:
                if self._connection.in_transaction:
                    self._execute("ROLLBACK")
                raise
        except sqlite3.Error as error:
            raise LedgerUnavailable(str(error)) from error

    def _unposted(self, settlements: Sequence[Settlement]) -> list[Settlement]:
        """Those of the settlements whose calls have not ended in the ledger."""
        missing = {item.call_id: item for item in reversed(settlements)}
        for found in self._ask(_FIND_CALLS, list(missing), _names):
            del missing[found]
        return list(reversed(missing.values()))

    def _insert(self, settlements: Sequence[Settlement], *, trusting: bool) -> None:
        """Insert the rows of settlements and change the balances they touch.

        Trusting: a lease that must pay what its journal says is not looked at.
        """
        if not settlements:
            return
        first = self._execute(
            "SELECT coalesce(max(id), 0) + 1 FROM transfers"
        ).fetchone()[0]
        rows = Rows(first)
        if trusting and are_covered(settlements):
            funds: Funds = LeaseFunds()
        else:
            names = touched_accounts(settlements)
            funds = Funds(self._ask(_FIND_FUNDS, names, _funds))
        for start in range(0, len(settlements), ROWS_PER_STATEMENT):
            # The event loop gets its turn while a statement runs.
            for settlement in settlements[start : start + ROWS_PER_STATEMENT]:
                rows.add(settlement, funds)
            self._insert_rows("transfers", TRANSFER_COLUMNS, rows.transfers)
            self._insert_rows("entries", ENTRY_COLUMNS, rows.entries)
            self._insert_rows("calls", CALL_COLUMNS, rows.calls)
            rows.clear()
        self._take(funds.taken)
        make_runs(self._execute, first + len(settlements) - 1)

    def _take(self, amounts: dict[str, int]) -> None:
        """Take amounts from balances, in order of the accounts' ids."""
        if not amounts:
            return
        ordered = {name: amounts[name] for name in sorted(amounts)}
        changed = self._execute(_TAKE_FUNDS, (json.encode(ordered).decode(),)).rowcount
        if changed != len(amounts):
            raise sqlite3.IntegrityError("an account that must pay is not there")

    def _ask(self, query: str, names: list[str], decoder: json.Decoder[T]) -> T:
        """Give a list to a query and decode its one value."""
        found = self._execute(query, (json.encode(names).decode(),)).fetchone()[0]
        return json.decode_with(decoder, found.encode())

    def _insert_rows(
        self, table: str, columns: tuple[str, ...], values: list[Value]
    ) -> None:
        """Insert flat rows, many per statement."""
        width = len(columns)
        for chunk in in_chunks(values, width, ROWS_PER_STATEMENT):
            self._execute(_insertion(table, columns, len(chunk) // width), chunk)

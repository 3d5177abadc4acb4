"""The ledger in PostgreSQL, behind billing's ports: several nodes at a time.

A batch goes in by COPY, three streams and one UPDATE whatever its size. Numbers
of transfers come from a sequence, so those of several nodes interleave, and they
are committed in any order. Rows of `accounts` are locked before they are looked
at, customers' first, then leases', each in the order of their ids: so nobody waits
in a circle. A journal's row lets one process at a time post what is in it.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from typing import Any, Final

from posthouse.billing.killpoints import reach
from posthouse.billing.ports import (
    Draw,
    DrawRequest,
    GiveBack,
    JournalMovedOn,
    LedgerUnavailable,
)
from posthouse.billing.records import Settlement
from posthouse.storage.ledger import index as ledger_index
from posthouse.storage.ledger.exchange import (
    ASKED_BACK,
    DRAW,
    LOCK,
    OPEN,
    RETURN,
    Exchange,
    Move,
    move,
)
from posthouse.storage.ledger.leases import ENDED, reach_exchange
from posthouse.storage.ledger.rows import (
    CALL_COLUMNS,
    ENTRY_COLUMNS,
    TRANSFER_COLUMNS,
    Funds,
    LeaseFunds,
    Rows,
    Value,
    are_covered,
    touched_accounts,
    without_lease,
)
from posthouse.storage.ledger.session import SECONDS, Connection, Doubt, Session
from posthouse.storage.ownership import now_ms
from posthouse.storage.postgres import NUMBERS, RUNS

_NUMBERS: Final = (
    "SELECT array_agg(nextval('transfers_id_seq')) FROM generate_series(1, $1)"
)
_ADVANCE: Final = (
    "UPDATE journals SET drained_to = $2"
    " WHERE id = $1 AND state = 'open' AND drained_to < $2 RETURNING 1"
)
# Whoever ends a journal waits for who draws for it, and the other way round; whoever
# posts what is in it waits for neither.
_STATE: Final = "SELECT state FROM journals WHERE id = $1 FOR KEY SHARE"
_BEFORE_ITS_END: Final = "SELECT 1 FROM journals WHERE id = $1 FOR UPDATE"
_END: Final = (
    "UPDATE journals SET state = $2 WHERE id = $1 AND state = 'open' RETURNING 1"
)
_POSTED: Final = "SELECT reference FROM transfers WHERE reference = ANY($1::text[])"
_TAKE: Final = """
    UPDATE accounts SET balance = balance - taken.amount
    FROM unnest($1::text[], $2::bigint[]) AS taken (id, amount)
    WHERE accounts.id = taken.id
"""
_NOW: Final = "(extract(epoch FROM clock_timestamp()) * 1000)::bigint"
_REGISTER: Final = (
    "INSERT INTO journals (id, home, state, created_ms, seen_ms)"  # noqa: S608 - our own words
    f" VALUES ($1, $2, 'open', $3, {_NOW}) ON CONFLICT (id) DO NOTHING"
)
_RENEW: Final = (
    f"UPDATE journals SET seen_ms = {_NOW}"  # noqa: S608 - our own words
    " WHERE id = $1 AND state = 'open' RETURNING 1"
)
_SILENT: Final = (
    "SELECT id FROM journals"  # noqa: S608 - our own words
    f" WHERE state = 'open' AND home <> $1 AND seen_ms < {_NOW} - $2"
)
_JOURNAL: Final = "SELECT drained_to, state FROM journals WHERE id = $1"
_LEASES: Final = (
    "SELECT available_id, account_id FROM leases WHERE owner = $1 AND state = 'open'"
)
_LEFT: Final = """
    SELECT available_id, account_id, balance FROM leases
    JOIN accounts ON accounts.id = leases.account_id
    WHERE owner = $1 AND state = 'open' AND balance <> 0 ORDER BY account_id
"""
_TRY_LOCK: Final = "SELECT pg_try_advisory_xact_lock($1)"
_LOCK: Final = "SELECT pg_advisory_xact_lock($1)"
_HURRY: Final = "SET LOCAL lock_timeout = '200ms'"
_NEWEST: Final = "SELECT coalesce(max(id), 0) FROM transfers"
_LAST_RUN: Final = "SELECT coalesce(max(up_to), 0) FROM runs"
_MAKE_RUN: Final = (
    "INSERT INTO runs (up_to) SELECT $2::bigint WHERE $1::bigint < $2::bigint",
    """
    INSERT INTO run_transfers (run, account_id, transfer_id)
    SELECT $2::bigint, account_id, id FROM transfers
    WHERE id > $1::bigint AND id <= $2::bigint ORDER BY account_id, id
    """,
    """
    INSERT INTO run_calls (run, key_id, seq)
    SELECT $2::bigint, key_id, seq FROM calls
    WHERE seq > $1::bigint AND seq <= $2::bigint ORDER BY key_id, seq
    """,
)


class _NotAsJournalled(Exception):
    """A call is there already, or a lease lacks what its journal says."""


class PostgresLedger:
    """Implements billing's LedgerStore. Use from the thread that made it."""

    def __init__(
        self,
        url: str,
        *,
        home: str = "",
        seconds: float = SECONDS,
        clock: Callable[[], int] = now_ms,
    ) -> None:
        """Connect; the schema must be there.

        Args:
            url: the database.
            home: names the folder of the journals that may be told of here.
            seconds: for the server to answer a call that waits.
            clock: Unix time in milliseconds.
        """
        self._clock = clock
        self._home = home
        self._session = Session(url, seconds=seconds)
        self._run_at = 0
        """From which number on it is worth looking whether a run is due."""
        self._doubt: tuple[str, list[Move]] | None = None
        """A transaction whose end is not known, and what it moved."""
        self._ended: tuple[str, str] | None = None
        """The journal, and the state, of a `finish` whose end is not known."""

    def close(self) -> None:
        """Close the connection."""
        self._session.close()

    # Leases

    def exchange(
        self,
        journal_id: str,
        returns: Sequence[GiveBack],
        requests: Sequence[DrawRequest],
    ) -> list[Draw]:
        """See LeaseStore.

        When it cannot be known whether it was done, what returns is taken as
        returned: nobody may spend it then. The rest is set right later.
        """
        self._settle_doubt(journal_id)
        moves: list[Move] = []

        async def work(connection: Connection) -> list[Draw]:
            if await _is_ended(connection, journal_id):
                raise LedgerUnavailable(ENDED)
            exchange = Exchange(connection, journal_id, self._clock())
            moves[:] = []
            draws = await exchange.serve(returns, requests)
            moves.extend(exchange.moves)
            reach_exchange(returns, requests, "before")
            return draws

        try:
            draws = self._session.transact(work, urgent=True)
        except LookupError as error:
            raise LedgerUnavailable(str(error)) from error
        except Doubt as doubt:
            self._doubt = doubt.number, moves
            if not returns:
                raise
            return [Draw("", 0, strict=True, elsewhere=True) for _ in requests]
        reach_exchange(returns, requests, "after")
        return draws

    def _settle_doubt(self, journal_id: str) -> None:
        """Make true what was told of an exchange; raises LedgerUnavailable.

        It was told that all is returned and nothing is drawn. If the journal has
        been ended by others meanwhile, all has returned.
        """
        if self._doubt is None:
            return
        number, moves = self._doubt
        committed = self._session.was_committed(number)
        if committed is None:
            raise Doubt(number)
        wrong = DRAW if committed else RETURN
        self._doubt = None
        back = [
            Move(RETURN, item.account, item.lease, item.amount)
            for item in moves
            if item.kind == wrong
        ]

        async def work(connection: Connection) -> None:
            if await _is_ended(connection, journal_id):
                return
            names = {name for item in back for name in item.legs}
            await connection.fetch(LOCK, sorted(names))
            await move(connection, back, self._clock())

        if not back:
            return
        # Until this is known to be done, it is as if it had not been tried.
        self._doubt = number, moves
        try:
            self._session.transact(work, urgent=True)
        except Doubt as doubt:
            self._doubt = doubt.number, back
            raise
        self._doubt = None

    def recalled(self, journal_id: str) -> list[str]:
        """See LeaseStore."""
        return [row[0] for row in self._session.ask(ASKED_BACK, journal_id)]

    # Journals

    def register(self, journal_id: str) -> int:
        """See JournalStore."""
        rows = self._session.ask(_JOURNAL, journal_id)
        if not rows:
            self._session.ask(_REGISTER, journal_id, self._home, self._clock())
            rows = self._session.ask(_JOURNAL, journal_id)
        drained_to, state = rows[0]
        if state != OPEN and self._ended != (journal_id, state):
            raise JournalMovedOn(journal_id)
        return int(drained_to)

    def post(
        self, journal_id: str, settlements: Sequence[Settlement], position: int
    ) -> None:
        """See JournalStore.

        Whether one whose end is not known was done shows when it is repeated: by
        the journal's position, and by the calls that are there.
        """

        async def advance(connection: Connection) -> None:
            if await connection.fetchval(_ADVANCE, journal_id, position) is None:
                raise JournalMovedOn(journal_id)

        async def conclude(_connection: Connection) -> None:
            reach("drain.before_commit")

        newest = self._write_once(settlements, advance, conclude)
        reach("drain.after_commit")
        if newest >= self._run_at:
            self._run_at = newest + ledger_index.RUN // 4
            with suppress(LedgerUnavailable):
                self._run_at = self._make_run() + ledger_index.RUN

    def finish(
        self, journal_id: str, settlements: Sequence[Settlement], state: str
    ) -> None:
        """See JournalStore."""

        async def advance(connection: Connection) -> None:
            await connection.execute(_BEFORE_ITS_END, journal_id)
            if await connection.fetchval(_END, journal_id, state) is None:
                raise JournalMovedOn(journal_id)
            names = set(touched_accounts(settlements))
            for available, lease in await connection.fetch(_LEASES, journal_id):
                names |= {available, lease}
            await connection.fetch(LOCK, sorted(names))

        async def conclude(connection: Connection) -> None:
            left = await connection.fetch(_LEFT, journal_id)
            moves = [Move(RETURN, *row) for row in left]
            await move(connection, moves, self._clock())
            await connection.execute(
                "UPDATE leases SET state = 'returned' WHERE owner = $1", journal_id
            )
            reach("recovery.before_commit")

        try:
            self._write_once(settlements, advance, conclude)
        except Doubt:
            self._ended = journal_id, state
            raise
        except JournalMovedOn:
            if self._ended != (journal_id, state):
                raise
        reach("recovery.after_commit")

    def post_late(self, settlements: Sequence[Settlement]) -> None:
        """See JournalStore."""

        async def nothing(_connection: Connection) -> None:
            """There is no journal to move on."""

        late = [without_lease(item) for item in settlements]
        self._write_once(late, nothing, nothing)

    def renew(self, journal_id: str) -> None:
        """See JournalStore."""
        if not self._session.ask(_RENEW, journal_id):
            raise JournalMovedOn(journal_id)

    def silent(self, seconds: float) -> list[str]:
        """See JournalStore."""
        rows = self._session.ask(_SILENT, self._home, round(seconds * 1000))
        return [row[0] for row in rows]

    def unfinished(self) -> list[str]:
        """See JournalStore; only those whose files would be at home here."""
        rows = self._session.ask(
            "SELECT id FROM journals WHERE state = 'open' AND home = $1", self._home
        )
        return [row[0] for row in rows]

    def lease_ids(self, journal_id: str) -> dict[str, str]:
        """See JournalStore."""
        return {row[0]: row[1] for row in self._session.ask(_LEASES, journal_id)}

    # Settlements

    def _write_once(
        self, settlements: Sequence[Settlement], advance: Any, conclude: Any
    ) -> int:
        """Write settlements, first as if all were new and all leases had enough.

        The tables' constraints refuse what is not so. Since that happens only
        after a power loss or a fault, it is looked up only then. Gives the newest
        number.
        """

        async def write(connection: Connection) -> int:
            await advance(connection)
            newest = await self._insert(connection, settlements)
            await conclude(connection)
            return newest

        async def write_what_lacks(connection: Connection) -> int:
            await advance(connection)
            unposted = await _unposted(connection, settlements)
            newest = await self._insert(connection, unposted, trusting=False)
            await conclude(connection)
            return newest

        try:
            return self._session.transact(write)
        except _NotAsJournalled:
            pass
        except LedgerUnavailable as error:
            if not self._session.is_refusal(error):
                raise
        return self._session.transact(write_what_lacks)

    async def _insert(
        self,
        connection: Connection,
        settlements: Sequence[Settlement],
        *,
        trusting: bool = True,
    ) -> int:
        """Insert the rows of settlements and change the balances they touch.

        Trusting: a lease that must pay what its journal says is not looked at.
        Gives the newest number, 0 without settlements.
        """
        if not settlements:
            return 0
        numbers = await connection.fetchval(_NUMBERS, len(settlements))
        rows = Rows(numbers)
        if trusting and are_covered(settlements):
            funds: Funds = LeaseFunds()
        else:
            found = await connection.fetch(LOCK, touched_accounts(settlements))
            funds = Funds({name: (has, line) for name, has, line, _ in found})
        for settlement in settlements:
            rows.add(settlement, funds)
        if not trusting:
            _take_out_nul(rows)
        await _copy(connection, "transfers", TRANSFER_COLUMNS, rows.transfers)
        await _copy(connection, "entries", ENTRY_COLUMNS, rows.entries)
        await _copy(connection, "calls", CALL_COLUMNS, rows.calls)
        await _take(connection, funds.taken, trusting=trusting)
        return int(numbers[-1])

    # Runs

    def _make_run(self) -> int:
        """Make a run if one is due; give where the last one ends. See `ledger_index`.

        While we alone have `NUMBERS`, every number up to the newest has been
        committed, or never will be. Raises LedgerUnavailable also when others keep
        it for long; they wait behind us, so we do not wait for long.
        """

        async def newest_number(connection: Connection) -> int:
            if not await connection.fetchval(_TRY_LOCK, NUMBERS):
                await connection.execute(_HURRY)
                await connection.execute(_LOCK, NUMBERS)
            return int(await connection.fetchval(_NEWEST))

        async def make(connection: Connection) -> int:
            await connection.execute(_LOCK, RUNS)
            after = int(await connection.fetchval(_LAST_RUN))
            if newest - after < ledger_index.RUN:
                return after
            last = min(newest, after + ledger_index.LONGEST)
            for statement in _MAKE_RUN:
                await connection.execute(statement, after, last)
            return last

        ((after,),) = self._session.ask(_LAST_RUN)
        ((last,),) = self._session.ask(_NEWEST)
        if last - after < ledger_index.RUN:
            return int(after)
        newest = self._session.transact(newest_number)
        return self._session.transact(make)


async def _is_ended(connection: Connection, journal_id: str) -> bool:
    """Whether a journal has been ended; while it is not, nobody ends it."""
    return await connection.fetchval(_STATE, journal_id) not in {None, OPEN}


async def _unposted(
    connection: Connection, settlements: Sequence[Settlement]
) -> list[Settlement]:
    """Those of the settlements whose calls have not ended in the ledger."""
    missing = {item.call_id: item for item in reversed(settlements)}
    for row in await connection.fetch(_POSTED, list(missing)):
        del missing[row[0]]
    return list(reversed(missing.values()))


async def _copy(
    connection: Connection, table: str, columns: tuple[str, ...], values: list[Value]
) -> None:
    """Append flat rows to a table."""
    if values:
        await connection.copy_records_to_table(
            table, records=_cut(values, len(columns)), columns=columns
        )


def _cut(values: list[Value], width: int) -> Iterator[tuple[Value, ...]]:
    """Cut flat rows into tuples.

    The driver takes them in one go; between two of them other threads get a turn.
    """
    for start in range(0, len(values), width):
        yield tuple(values[start : start + width])


async def _take(
    connection: Connection, amounts: dict[str, int], *, trusting: bool
) -> None:
    """Take amounts from balances; they must be there, and are locked now."""
    if not amounts:
        return
    if trusting:
        await connection.fetch(LOCK, sorted(amounts))
    done = await connection.execute(_TAKE, list(amounts), list(amounts.values()))
    if done.split() != ["UPDATE", str(len(amounts))]:
        raise _NotAsJournalled("an account that must pay is not there")


def _take_out_nul(rows: Rows) -> None:
    """Replace the one character that PostgreSQL's texts cannot hold."""
    for values in (rows.transfers, rows.calls):
        for place, value in enumerate(values):
            if isinstance(value, str) and "\0" in value:
                values[place] = value.replace("\0", "\N{REPLACEMENT CHARACTER}")

"""Draws and returns in PostgreSQL: decided here, written a few statements for all.

What is drawn is decided as on SQLite (`ledger_leases`). The accounts of all
requests and returns are locked first, so what is decided is still true when it is
written; an account's row guards its leases, too.
"""

from collections.abc import Iterable, Sequence
from typing import Any, Final

from msgspec import Struct

from posthouse.billing.ports import Draw, DrawRequest, GiveBack
from posthouse.storage.ledger.leases import Keeps, what_is_drawn
from posthouse.storage.ledger.rows import LEASE, lease_name

OPEN: Final = "open"
RETURN: Final = "return"
DRAW: Final = "draw"

LOCK: Final = """
    SELECT id, balance, credit_line, kind FROM accounts WHERE id = ANY($1::text[])
    ORDER BY kind = 'lease', id COLLATE "C" FOR NO KEY UPDATE
"""
# The journal's leases, and those that nobody has; locked as `LOCK` would.
_FIND_LEASES: Final = """
    SELECT available_id, account_id, state, keeps
    FROM leases JOIN accounts ON accounts.id = leases.account_id
    WHERE available_id = ANY($1::text[]) AND (owner = $2 OR state <> 'open')
    ORDER BY account_id COLLATE "C" FOR NO KEY UPDATE OF accounts
"""
_COUNT_LEASES: Final = "SELECT count(*) FROM leases WHERE available_id = $1"
_NEW_ACCOUNT: Final = """
    INSERT INTO accounts (id, kind, balance, credit_line, created_ms)
    VALUES ($1, $2, 0, 0, $3)
"""
_NEW_LEASE: Final = """
    INSERT INTO leases (account_id, available_id, owner, epoch, state, created_ms)
    VALUES ($1, $2, $3, 1, 'open', $4)
"""
_TAKE_OVER: Final = """
    UPDATE leases SET owner = $2, state = 'open', epoch = epoch + 1, keeps = 0
    WHERE account_id = $1
"""
_MOVE: Final = """
    WITH moved AS MATERIALIZED (
        SELECT nextval('transfers_id_seq') AS id, kind, account, source, target, amount
        FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::bigint[])
            AS given (kind, account, source, target, amount)
    ), transferred AS (
        INSERT INTO transfers (id, kind, account_id, created_ms)
        SELECT id, kind, account, $6 FROM moved
    ), entered AS (
        INSERT INTO entries (transfer_id, account_id, amount)
        SELECT id, source, -amount FROM moved
        UNION ALL SELECT id, target, amount FROM moved
    ), changed AS (
        UPDATE accounts SET balance = balance + legs.amount FROM (
            SELECT account_id, sum(amount) AS amount FROM (
                SELECT source AS account_id, -amount AS amount FROM moved
                UNION ALL SELECT target, amount FROM moved
            ) AS leg GROUP BY account_id
        ) AS legs
        WHERE accounts.id = legs.account_id AND balance IS NOT NULL
        RETURNING id
    )
    SELECT count(*) FROM changed
"""
_KEEPS: Final = """
    UPDATE leases SET keeps = given.keeps
    FROM unnest($1::text[], $2::integer[]) AS given (account, keeps)
    WHERE available_id = account AND owner = $3 AND state = 'open'
"""
# What `Keeps` counts stands here as numbers, which an index knows.
_ASK_OTHERS: Final = """
    UPDATE leases SET keeps = 1
    WHERE available_id = ANY($1::text[]) AND owner <> $2 AND state = 'open'
        AND keeps = 0
"""
_OTHERS_HOLD: Final = """
    SELECT available_id, bool_or(keeps = 1) FROM leases
    JOIN accounts ON accounts.id = leases.account_id
    WHERE available_id = ANY($1::text[]) AND owner <> $2 AND state = 'open'
        AND balance > 0
    GROUP BY available_id
"""
ASKED_BACK: Final = """
    SELECT available_id FROM leases WHERE owner = $1 AND state = 'open' AND keeps = 1
"""


class Move(Struct, frozen=True):
    """A transfer between an account and its lease."""

    kind: str
    account: str
    """The available account."""
    lease: str
    amount: int

    @property
    def legs(self) -> tuple[str, str]:
        """Whence it goes, and whither."""
        if self.kind == DRAW:
            return self.account, self.lease
        return self.lease, self.account


async def move(connection: Any, moves: Sequence[Move], created_ms: int) -> None:
    """Write moves, in a transaction that has locked their accounts.

    Raises LookupError when one of the accounts is not there.
    """
    if not moves:
        return
    legs = [item.legs for item in moves]
    changed = await connection.fetchval(
        _MOVE,
        [item.kind for item in moves],
        [item.account for item in moves],
        [source for source, _ in legs],
        [target for _, target in legs],
        [item.amount for item in moves],
        created_ms,
    )
    if changed != len({name for leg in legs for name in leg}):
        raise LookupError("an account of a move is not there")


class Exchange:
    """One exchange within a transaction."""

    def __init__(self, connection: Any, journal_id: str, created_ms: int) -> None:
        """Begin for a journal; `created_ms` is Unix time in milliseconds."""
        self._connection = connection
        self._journal_id = journal_id
        self._created_ms = created_ms
        self._funds: dict[str, tuple[int, int | None]] = {}
        self._own: dict[str, str] = {}
        """The journal's lease, by account; also one that is to be made."""
        self._free: dict[str, str] = {}
        """A lease that nobody has, by account."""
        self._kept: dict[str, Keeps] = {}
        """What the journal's leases are noted to keep, by account."""
        self._keeps: dict[str, Keeps] = {}
        """What is to be noted."""
        self._short: set[str] = set()
        self.moves: list[Move] = []
        """What was moved, once it is done."""

    async def serve(
        self, returns: Sequence[GiveBack], requests: Sequence[DrawRequest]
    ) -> list[Draw]:
        """Take the returns, serve the requests; raises LookupError."""
        wanted = {given.account_id for given in returns}
        wanted.update(request.account_id for request in requests)
        await self._lock(wanted)
        await self._find_leases(wanted)
        for given in returns:
            if given.amount:
                self._move(RETURN, given.account_id, given.lease_id, given.amount)
            if given.answers:
                self._keeps[given.account_id] = Keeps.NOTHING
        draws = [await self._draw(request) for request in requests]
        await self._write()
        elsewhere = await self._recall()
        found = []
        for request, (lease, amount, strict, short) in zip(
            requests, draws, strict=True
        ):
            unanswered = elsewhere.get(request.account_id) if short else None
            others = unanswered is not None, bool(unanswered)
            found.append(Draw(lease, amount, strict, *others))
        return found

    async def _lock(self, names: Iterable[str]) -> None:
        """Lock accounts and learn what is in the customers' ones."""
        rows = await self._connection.fetch(LOCK, sorted(names))
        for name, balance, line, kind in rows:
            if kind == "available":
                self._funds[name] = (balance, line)

    async def _find_leases(self, names: Iterable[str]) -> None:
        rows = await self._connection.fetch(
            _FIND_LEASES, sorted(names), self._journal_id
        )
        for account, lease, state, keeps in rows:
            if state == OPEN:
                self._own[account] = lease
                self._kept[account] = Keeps(keeps)
            else:
                self._free[account] = lease

    def _move(self, kind: str, account: str, lease: str, amount: int) -> None:
        self.moves.append(Move(kind, account, lease, amount))
        if account in self._funds:
            balance, line = self._funds[account]
            change = amount if kind == RETURN else -amount
            self._funds[account] = balance + change, line

    async def _draw(self, request: DrawRequest) -> tuple[str, int, bool, bool]:
        """Decide on one request: lease, amount, strict, and whether it is short."""
        account = request.account_id
        if account not in self._funds:
            return "", 0, True, False
        amount, strict = what_is_drawn(request, *self._funds[account])
        short = amount < request.need
        if short:
            self._short.add(account)
        if amount == 0:
            self._keeps[account] = Keeps.NOTHING
            return "", 0, strict, short
        lease = await self._lease(account)
        self._move(DRAW, account, lease, amount)
        self._keeps[account] = Keeps.NOTHING if strict else Keeps.FREE
        return lease, amount, strict, short

    async def _lease(self, account: str) -> str:
        """The journal's lease account: its own, a returned one, or a new one."""
        lease = self._own.get(account) or self._free.get(account)
        if lease is None:
            lease = await self._make_lease(account)
        elif account not in self._own:
            await self._connection.execute(_TAKE_OVER, lease, self._journal_id)
        self._own[account] = lease
        self._kept.setdefault(account, Keeps.FREE)
        return lease

    async def _make_lease(self, account: str) -> str:
        count = await self._connection.fetchval(_COUNT_LEASES, account)
        lease = lease_name(account, count + 1)
        now = self._created_ms
        await self._connection.execute(_NEW_ACCOUNT, lease, LEASE, now)
        await self._connection.execute(
            _NEW_LEASE, lease, account, self._journal_id, now
        )
        return lease

    async def _write(self) -> None:
        """Write what was decided."""
        await move(self._connection, self.moves, self._created_ms)
        keeps = {
            account: int(keeps)
            for account, keeps in self._keeps.items()
            if self._kept.get(account, keeps) != keeps
        }
        if keeps:
            await self._connection.execute(
                _KEEPS, list(keeps), list(keeps.values()), self._journal_id
            )

    async def _recall(self) -> dict[str, bool]:
        """Ask other journals for what they keep free; of which accounts any hold money.

        Of what they hold for open calls, a part may come back as well. It is true
        where one of them has been asked before, and has not answered.
        """
        if not self._short:
            return {}
        both = (sorted(self._short), self._journal_id)
        rows = await self._connection.fetch(_OTHERS_HOLD, *both)
        await self._connection.execute(_ASK_OTHERS, *both)
        return {row[0]: row[1] for row in rows}

"""One connection to PostgreSQL for one thread, and transactions that come to an end.

The thread waits for an event loop of its own that nothing else runs in. A
transaction that the server gives up for others' sake (deadlock, serialization) is
tried again some times. When a connection breaks during COMMIT, the server is asked
what became of the transaction by its number, as soon as it answers.

A server that does not answer costs a caller less than a second: after a failure
the next connection is not tried at once.
"""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, Final, TypeVar

import uvloop

from posthouse.billing.ports import LedgerUnavailable
from posthouse.storage.postgres import NUMBERS, DatabaseUnreachable, connect

T = TypeVar("T")
Connection = Any
"""asyncpg's, which has no types."""
Work = Callable[[Connection], Awaitable[T]]

SECONDS: Final = 0.9
"""For one transaction of a call that waits."""
MOST_SECONDS: Final = 30.0
PAUSE_SECONDS: Final = 0.25
"""After a failure, before another connection is tried."""
ATTEMPTS: Final = 5
JITTER_SECONDS: Final = 0.02
SETTINGS: Final = {
    "application_name": "posthouse ledger",
    "lock_timeout": "5000",
    # A transaction that we were cut off from, or that stands still with us, must
    # not keep its locks: others' calls wait for them.
    "idle_in_transaction_session_timeout": "1500",
    "synchronous_commit": "on",
}
_BEGIN: Final = "BEGIN"
# Of a caller's time one half is left for whoever waits behind this one.
_BEGIN_URGENT: Final = "BEGIN; SET LOCAL lock_timeout = {:.0f}"
_TAKE_NUMBER: Final = (
    "SELECT pg_advisory_xact_lock_shared($1), pg_current_xact_id()::text AS number"
)
_OUTCOME: Final = "SELECT pg_xact_status($1::text::xid8)"
_ENDS: Final = {"committed": True, "aborted": False}


class Doubt(LedgerUnavailable):
    """Nobody knows yet whether a transaction was committed."""

    def __init__(self, number: str) -> None:
        """Take the transaction's number."""
        super().__init__("the connection broke during COMMIT")
        self.number = number


class Session:
    """A connection that is made anew when it breaks."""

    def __init__(
        self,
        url: str,
        *,
        seconds: float = SECONDS,
        clock: Callable[[], float] = time.monotonic,
        chance: Callable[[], float] = random.random,
    ) -> None:
        """Connect; raises LedgerUnavailable.

        Args:
            url: the database.
            seconds: for the server to answer a call that waits.
            clock: monotonic seconds.
            chance: gives numbers from 0 to 1, by which retries are spread.
        """
        import asyncpg  # noqa: PLC0415 - only where there is a PostgreSQL

        self._errors: Final = asyncpg
        self._url = url
        self._clock = clock
        self._chance = chance
        self._connection: Connection = None
        self._pause_until = clock()
        self._limit = seconds
        self._patience = seconds
        self._begin_urgent = _BEGIN_URGENT.format(seconds * 500)
        self._loop = uvloop.new_event_loop()
        try:
            self._loop.run_until_complete(self._open())
        except BaseException:
            self._loop.close()
            raise

    def close(self) -> None:
        """Close the connection."""
        self._drop()
        # What a broken connection left to be done is not worth waiting for.
        for task in asyncio.all_tasks(self._loop):
            task.cancel()
        self._loop.run_until_complete(asyncio.sleep(0))
        self._loop.close()

    def transact(self, work: Work[T], *, urgent: bool = False) -> T:
        """Do work in a transaction and commit it; whatever it raises rolls back.

        Args:
            work: is given the connection, possibly several times.
            urgent: fail rather than let a call wait; otherwise a slow server is
                given more time with each attempt.

        Raises LedgerUnavailable when nothing was changed, and Doubt.
        """
        return self._loop.run_until_complete(self._transact(work, urgent=urgent))

    def ask(self, query: str, *values: object) -> list[Any]:
        """Give the rows of one statement; raises LedgerUnavailable."""

        async def work() -> list[Any]:
            connection = await self._open()
            try:
                async with asyncio.timeout(self._limit):
                    return list(await connection.fetch(query, *values))
            except Exception as error:
                await self._give_up(connection, error)
                raise

        return self._loop.run_until_complete(work())

    def was_committed(self, number: str) -> bool | None:
        """What became of a transaction; None when nobody knows yet.

        Raises LedgerUnavailable when the server does not answer.
        """
        ((found,),) = self.ask(_OUTCOME, number)
        return _ENDS.get(found)

    def is_refusal(self, error: LedgerUnavailable) -> bool:
        """Whether a row was refused for what it says, not the whole for a fault."""
        return isinstance(
            error.__cause__,
            self._errors.IntegrityConstraintViolationError
            | self._errors.CharacterNotInRepertoireError,
        )

    async def _transact(self, work: Work[T], *, urgent: bool) -> T:
        attempt = 1
        while True:
            connection = await self._open()
            try:
                return await self._attempt(connection, work, urgent=urgent)
            except LedgerUnavailable as failure:
                given_up = isinstance(
                    failure.__cause__,
                    self._errors.DeadlockDetectedError
                    | self._errors.SerializationError,
                )
                if not given_up or attempt == ATTEMPTS:
                    raise
            await asyncio.sleep(self._chance() * JITTER_SECONDS * attempt)
            attempt += 1

    async def _attempt(
        self, connection: Connection, work: Work[T], *, urgent: bool
    ) -> T:
        try:
            async with asyncio.timeout(self._limit if urgent else self._patience):
                await connection.execute(self._begin_urgent if urgent else _BEGIN)
                row = await connection.fetchrow(_TAKE_NUMBER, NUMBERS)
                result = await work(connection)
        except Exception as error:
            if isinstance(error, TimeoutError) and not urgent:
                self._patience = min(2 * self._patience, MOST_SECONDS)
            await self._give_up(connection, error)
            raise
        try:
            async with asyncio.timeout(self._limit):
                await connection.execute("COMMIT")
        except (
            self._errors.IntegrityConstraintViolationError,
            self._errors.TransactionRollbackError,
        ) as error:
            await self._give_up(connection, error)
        except (self._errors.PostgresError, *self._broken) as error:
            self._drop()
            committed = await self._outcome(row["number"])
            if committed is None:
                raise Doubt(row["number"]) from error
            if not committed:
                raise LedgerUnavailable(str(error)) from error
        self._patience = self._limit
        return result

    @property
    def _broken(self) -> tuple[type[Exception], ...]:
        """What a connection that is of no use any more raises."""
        errors = self._errors
        return (errors.InterfaceError, errors.InternalClientError, OSError)

    async def _give_up(self, connection: Connection, error: Exception) -> None:
        """End the transaction; raise LedgerUnavailable unless the error is ours."""
        if isinstance(error, self._broken):
            self._drop()
        else:
            try:
                async with asyncio.timeout(self._limit):
                    await connection.execute("ROLLBACK")
            except (self._errors.PostgresError, *self._broken):
                self._drop()
        if isinstance(error, (self._errors.PostgresError, *self._broken)):
            reason = str(error) or type(error).__name__
            raise LedgerUnavailable(reason) from error

    async def _outcome(self, number: str) -> bool | None:
        """Ask until the server knows, but not for long."""
        until = self._clock() + self._limit
        while True:
            with suppress(LedgerUnavailable, self._errors.PostgresError, *self._broken):
                connection = await self._open(at_once=True)
                async with asyncio.timeout(max(0.01, until - self._clock())):
                    found = await connection.fetchval(_OUTCOME, number)
                if found in _ENDS:
                    return _ENDS[found]
            if self._clock() >= until:
                return None
            await asyncio.sleep(JITTER_SECONDS)

    async def _open(self, *, at_once: bool = False) -> Connection:
        """The connection, made if there is none; raises LedgerUnavailable."""
        if self._connection is not None and not self._connection.is_closed():
            return self._connection
        if self._clock() < self._pause_until and not at_once:
            raise LedgerUnavailable("PostgreSQL did not answer a moment ago")
        try:
            self._connection = await connect(
                self._url, timeout=self._limit, settings=SETTINGS
            )
        except DatabaseUnreachable as error:
            self._pause_until = self._clock() + PAUSE_SECONDS
            raise LedgerUnavailable(str(error)) from error
        return self._connection

    def _drop(self) -> None:
        """Forget the connection without a word to the server."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.terminate()

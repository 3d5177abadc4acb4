"""The database behind a URL: one async engine, and its transactions.

SQLite runs in WAL mode and every writing transaction starts IMMEDIATE, so
that two writers wait for each other instead of failing half-way. On PostgreSQL
they wait for each other at a lock of ours (`storage.postgres`), and readers see
one snapshot from their first statement to their last, as they do on SQLite.

The driver of SQLite answers from threads of its own. Who is cancelled while a
connection is made leaves it to be made and given back, which `close` waits for: no
thread finds the loop closed that it answers to.
"""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import (
    AbstractAsyncContextManager,
    AsyncExitStack,
    asynccontextmanager,
    suppress,
)
from functools import partial
from pathlib import Path
from typing import Any, Final

from sqlalchemy import event
from sqlalchemy.exc import DisconnectionError, SQLAlchemyError

from posthouse.storage import postgres
from posthouse.storage.engine import AsyncConnection, AsyncEngine, create_async_engine
from posthouse.storage.schema import prepare_postgres

BUSY_TIMEOUT_MS = 5_000
PATIENT_MS: Final = 2**31 - 1
POOL_SIZE: Final = 3
"""Connections to PostgreSQL that one process keeps, and as many more at most."""
POOL_SECONDS: Final = 5.0
_READ_ONLY: Final = "posthouse_read_only"


def sqlite_url(path: Path) -> str:
    """The URL of the SQLite database at `path`."""
    return f"sqlite+aiosqlite:///{path}"


class Database:
    """An open database; `read` and `write` give transactions."""

    def __init__(self, url: str, *, durable: bool = False) -> None:
        """Prepare the engine; no connection is made before the first use.

        Args:
            url: SQLAlchemy's of an SQLite file, or PostgreSQL's own.
            durable: SQLite syncs at every commit, to survive power loss.
        """
        self.url = url
        self.engine: AsyncEngine
        self._has_threads = url.startswith("sqlite")
        self._left: set[asyncio.Task[None]] = set()
        """Give connections back that nobody waits for any more."""
        if self._has_threads:
            self.engine = create_async_engine(url)
            self._snapshots = self._statements = self.engine
            _prepare_sqlite(self.engine, durable=durable)
        else:
            self.engine = _postgres_engine(url)
            self._snapshots = self.engine.execution_options(
                isolation_level="REPEATABLE READ", postgresql_readonly=True
            )
            self._statements = self.engine.execution_options(
                isolation_level="AUTOCOMMIT"
            )

    def read(self) -> AbstractAsyncContextManager[AsyncConnection]:
        """A connection for reading a consistent snapshot."""
        return self._connected(self._snapshots)

    def ask(self) -> AbstractAsyncContextManager[AsyncConnection]:
        """A connection for one statement, which is a transaction by itself."""
        return self._connected(self._statements)

    @asynccontextmanager
    async def write(self, *, patient: bool = False) -> AsyncIterator[AsyncConnection]:
        """A transaction: committed on leaving, rolled back on an exception.

        `patient`: it waits for other writers for as long as it takes.
        """
        engine = self.engine.execution_options(
            posthouse_write=True, posthouse_patient=patient
        )
        async with self._connected(engine) as connection, connection.begin():
            await postgres.take_turn(connection, patient=patient)
            yield connection

    async def close(self) -> None:
        """Close all connections."""
        if self._left:
            await asyncio.wait(self._left)
        await self.engine.dispose()

    @asynccontextmanager
    async def _connected(self, engine: AsyncEngine) -> AsyncIterator[AsyncConnection]:
        """A connection of the pool's, given back in the end."""
        if not self._has_threads:
            async with engine.connect() as connection:
                yield connection
            return
        opening = asyncio.create_task(engine.connect().start())
        try:
            connection = await asyncio.shield(opening)
        except asyncio.CancelledError:
            task = asyncio.create_task(_give_back(opening))
            self._left.add(task)
            task.add_done_callback(self._left.discard)
            raise
        async with AsyncExitStack() as stack:
            stack.push_async_exit(connection)
            yield connection


async def _give_back(opening: asyncio.Task[AsyncConnection]) -> None:
    """Give a connection back as soon as there is one."""
    with suppress(SQLAlchemyError, OSError):
        await (await opening).close()


def _postgres_engine(url: str) -> AsyncEngine:
    """An engine whose pool is bounded and forgets connections that are dead."""
    prepare_postgres()
    return create_async_engine(
        "postgresql+asyncpg://",
        async_creator=partial(postgres.connect, url),
        pool_size=POOL_SIZE,
        max_overflow=POOL_SIZE,
        pool_timeout=POOL_SECONDS,
        pool_pre_ping=True,
    )


def _prepare_sqlite(engine: AsyncEngine, *, durable: bool) -> None:
    """Set pragmas on each new connection and take over BEGIN from the driver.

    SQLite opens what it may not write to for reading, and then it stays so: such a
    connection serves readers, until the disk can be written to again.
    """
    path = engine.url.database or ""

    @event.listens_for(engine.sync_engine, "connect")
    def connect(dbapi_connection: Any, record: Any) -> None:
        record.info[_READ_ONLY] = not os.access(path, os.W_OK)
        # The driver must not open transactions by itself: BEGIN is ours.
        dbapi_connection.isolation_level = None
        cursor = dbapi_connection.cursor()
        cursor.execute("PRAGMA journal_mode = WAL")
        cursor.execute(f"PRAGMA synchronous = {'FULL' if durable else 'NORMAL'}")
        cursor.execute(f"PRAGMA busy_timeout = {BUSY_TIMEOUT_MS}")
        cursor.execute("PRAGMA foreign_keys = ON")
        cursor.close()

    @event.listens_for(engine.sync_engine, "checkout")
    def checkout(_connection: Any, record: Any, _proxy: Any) -> None:
        if record.info[_READ_ONLY] and os.access(path, os.W_OK):
            # Whoever asked for it gets a new one.
            raise DisconnectionError

    @event.listens_for(engine.sync_engine, "begin")
    def begin(connection: Any) -> None:
        options = connection.get_execution_options()
        if not options.get("posthouse_write", False):
            connection.exec_driver_sql("BEGIN")
            return
        patient = options["posthouse_patient"]
        if patient:
            connection.exec_driver_sql(f"PRAGMA busy_timeout = {PATIENT_MS}")
        try:
            connection.exec_driver_sql("BEGIN IMMEDIATE")
        finally:
            if patient:
                connection.exec_driver_sql(f"PRAGMA busy_timeout = {BUSY_TIMEOUT_MS}")

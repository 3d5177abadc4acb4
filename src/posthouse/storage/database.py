"""The database behind a URL: one async engine, its pragmas and transactions.

SQLite runs in WAL mode and every writing transaction starts IMMEDIATE, so
that two writers wait for each other instead of failing half-way.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import event
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

BUSY_TIMEOUT_MS = 5_000


def sqlite_url(path: Path) -> str:
    """The URL of the SQLite database at `path`."""
    return f"sqlite+aiosqlite:///{path}"


class Database:
    """An open database; `read` and `write` give transactions."""

    def __init__(self, url: str, *, durable: bool = False) -> None:
        """Prepare the engine; no connection is made before the first use.

        Args:
            url: an SQLAlchemy URL with an async driver.
            durable: SQLite syncs at every commit, to survive power loss.
        """
        self.url = url
        self.engine: AsyncEngine = create_async_engine(url)
        if self.engine.dialect.name == "sqlite":
            _prepare_sqlite(self.engine, durable=durable)

    @asynccontextmanager
    async def read(self) -> AsyncIterator[AsyncConnection]:
        """A connection for reading a consistent snapshot."""
        async with self.engine.connect() as connection:
            yield connection

    @asynccontextmanager
    async def write(self) -> AsyncIterator[AsyncConnection]:
        """A transaction: committed on leaving, rolled back on an exception."""
        async with self.engine.execution_options(
            posthouse_write=True
        ).begin() as connection:
            yield connection

    async def close(self) -> None:
        """Close all connections."""
        await self.engine.dispose()


def _prepare_sqlite(engine: AsyncEngine, *, durable: bool) -> None:
    """Set pragmas on each new connection and take over BEGIN from the driver."""

    @event.listens_for(engine.sync_engine, "connect")
    def connect(dbapi_connection: Any, _record: Any) -> None:
        # The driver must not open transactions by itself: BEGIN is ours.
        dbapi_connection.isolation_level = None
        cursor = dbapi_connection.cursor()
        cursor.execute("PRAGMA journal_mode = WAL")
        cursor.execute(f"PRAGMA synchronous = {'FULL' if durable else 'NORMAL'}")
        cursor.execute(f"PRAGMA busy_timeout = {BUSY_TIMEOUT_MS}")
        cursor.execute("PRAGMA foreign_keys = ON")
        cursor.close()

    @event.listens_for(engine.sync_engine, "begin")
    def begin(connection: Any) -> None:
        writing = connection.get_execution_options().get("posthouse_write", False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writing else "BEGIN")

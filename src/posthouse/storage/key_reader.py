"""Keys found by their digests, in batches: the authenticator's way to storage.

A process that serves more keys than it remembers looks many of them up. All
look-ups that gather while one read is under way go together in the next. A
SQLite file is read by a thread of ours with a statement of the driver's, for
the async engine's three crossings per read cost a millisecond of CPU.
"""

import asyncio
import sqlite3
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from pathlib import Path
from typing import Any

from msgspec import structs
from sqlalchemy import select
from sqlalchemy.exc import SQLAlchemyError
from typing_extensions import override

from posthouse.access.ports import KeyStore
from posthouse.access.principal import Principal
from posthouse.errors import StorageUnavailable
from posthouse.storage.database import Database
from posthouse.storage.keys import decode_rights
from posthouse.storage.schema import keys
from posthouse.wire.json import MalformedJSON

BATCH = 100
BUSY_TIMEOUT_SECONDS = 5.0
SERVER_SECONDS = 0.9
"""For PostgreSQL to answer; a caller is told within a second that it does not."""

Found = dict[bytes, Principal]
Waiting = dict[bytes, asyncio.Future[Principal | None]]


class StoredKeys(KeyStore):
    """Finds principals; `close` it at the end."""

    def __init__(self, database: Database) -> None:
        """Read from this database; nothing is opened before the first use."""
        self._database = database
        url = database.engine.url
        is_file = url.get_backend_name() == "sqlite" and url.database
        self._path = url.database if is_file else None
        self._connection: sqlite3.Connection | None = None
        self._thread = ThreadPoolExecutor(1, "posthouse-keys")
        self._waiting: Waiting = {}
        self._reading: asyncio.Task[None] | None = None

    @override
    async def find(self, digest: bytes) -> Principal | None:
        """See the port."""
        future = self._waiting.get(digest)
        if future is None:
            future = asyncio.get_running_loop().create_future()
            self._waiting[digest] = future
        if self._reading is None:
            self._reading = asyncio.create_task(self._read_all())
        # A caller that goes away must not take the others' answer with it.
        return await asyncio.shield(future)

    async def close(self) -> None:
        """Wait for the read under way and close the file."""
        if self._reading is not None:
            await self._reading
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(self._thread, self._close)
        self._thread.shutdown()

    async def _read_all(self) -> None:
        """Read batch after batch until nobody waits."""
        try:
            while self._waiting:
                batch = dict(list(self._waiting.items())[:BATCH])
                for digest in batch:
                    del self._waiting[digest]
                await self._answer(batch)
        finally:
            self._reading = None

    async def _answer(self, batch: Waiting) -> None:
        """Read a batch; whatever happens, nobody is left waiting."""
        cause: Exception | None = None
        try:
            found = await self._read(list(batch))
            for digest, future in batch.items():
                future.set_result(found.get(digest))
        except (SQLAlchemyError, sqlite3.Error, OSError, MalformedJSON) as error:
            cause = error
        finally:
            _fail([future for future in batch.values() if not future.done()], cause)

    async def _read(self, digests: list[bytes]) -> Found:
        """Read usable keys by the digest's unique index."""
        if self._path is not None:
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(
                self._thread, self._read_file, self._path, digests
            )
        statement = select(
            keys.c.digest, keys.c.id, keys.c.name, keys.c.account_id, keys.c.rights
        ).where(
            keys.c.digest.in_(digests), keys.c.enabled == 1, keys.c.revoked_ms.is_(None)
        )
        async with asyncio.timeout(SERVER_SECONDS), self._database.ask() as connection:
            rows = await connection.execute(statement)
            return {row.digest: _principal(*row[1:]) for row in rows}

    def _read_file(self, path: str, digests: list[bytes]) -> Found:
        """The same, in the thread."""
        if self._connection is None:
            # Never creates the file: a database that is gone is an error.
            self._connection = sqlite3.connect(
                f"{Path(path).absolute().as_uri()}?mode=rw",
                uri=True,
                timeout=BUSY_TIMEOUT_SECONDS,
            )
        rows = self._connection.execute(_query(len(digests)), digests)
        return {row[0]: _principal(*row[1:]) for row in rows.fetchall()}

    def _close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


@lru_cache(maxsize=BATCH)
def _query(count: int) -> str:
    """Write the statement for so many digests."""
    marks = ",".join("?" * count)
    return (
        "SELECT digest, id, name, account_id, rights FROM keys"  # noqa: S608 -- marks
        f" WHERE digest IN ({marks}) AND enabled = 1 AND revoked_ms IS NULL"
    )


def _principal(key_id: str, name: str, account_id: str, rights: str) -> Principal:
    """Make a principal of a key's columns."""
    return Principal(key_id, name, account_id, **structs.asdict(decode_rights(rights)))


def _fail(futures: Iterable[asyncio.Future[Any]], cause: Exception | None) -> None:
    """Tell all who wait that storage failed."""
    for future in futures:
        failure = StorageUnavailable()
        failure.__cause__ = cause
        future.set_exception(failure)
        # When nobody waits any more, that is no mistake.
        future.exception()

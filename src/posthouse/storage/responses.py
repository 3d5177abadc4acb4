"""Responses in the database: sealed, written in batches, gone when they expire.

What callers asked and were answered is never plain in the database: it is sealed
like a credential, for its own row.
"""

import asyncio

from sqlalchemy import Row, delete, insert, select
from sqlalchemy.exc import SQLAlchemyError
from typing_extensions import override

from posthouse.errors import StorageUnavailable
from posthouse.observe.logs import logger
from posthouse.relay.keeping import Kept, ResponseStore
from posthouse.storage.database import Database
from posthouse.storage.ownership import now_ms
from posthouse.storage.schema import responses
from posthouse.storage.secrets import SealBroken, SecretBox

BATCH = 100
KEEP_SECONDS = 2.0
"""For which a caller's reply waits to be kept, at most."""
PURGE_SECONDS = 60.0
"""Between two looks for what has expired."""

Waiting = list[tuple[Kept, asyncio.Future[None]]]

log = logger("posthouse.storage")


class StoredResponses(ResponseStore):
    """Keeps responses; `close` it at the end."""

    def __init__(self, database: Database, box: SecretBox) -> None:
        """Write to this database; nothing is done before the first use."""
        self._database = database
        self._box = box
        self._waiting: Waiting = []
        self._writing: asyncio.Task[None] | None = None
        self._purged = 0

    @override
    async def keep(self, kept: Kept) -> None:
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((kept, future))
        if self._writing is None:
            self._writing = asyncio.create_task(self._write())
        try:
            async with asyncio.timeout(KEEP_SECONDS):
                await future
        except TimeoutError:
            raise StorageUnavailable from None

    async def _write(self) -> None:
        """Write what waits, and all that has come meanwhile."""
        try:
            while self._waiting:
                batch = self._waiting[:BATCH]
                del self._waiting[:BATCH]
                error = await self._write_batch([kept for kept, _ in batch])
                for kept, future in batch:
                    own = error
                    if error is not None and len(batch) > 1:
                        # One that cannot be kept is no reason to keep none.
                        own = await self._write_batch([kept])
                    if future.done():
                        continue
                    if own is None:
                        future.set_result(None)
                    else:
                        future.set_exception(own)
        finally:
            self._writing = None

    async def _write_batch(self, batch: list[Kept]) -> StorageUnavailable | None:
        rows = [
            {
                "id": kept.id,
                "account_id": kept.account_id,
                "channel": kept.channel,
                "created_ms": kept.created_ms,
                "expires_ms": kept.expires_ms,
                "data": self._sealed(kept),
            }
            for kept in batch
        ]
        now = now_ms()
        try:
            async with self._database.write() as connection:
                await connection.execute(insert(responses), rows)
                if now - self._purged > PURGE_SECONDS * 1000:
                    self._purged = now
                    await connection.execute(
                        delete(responses).where(responses.c.expires_ms <= now)
                    )
        except (SQLAlchemyError, OSError) as error:
            log.warning("responses could not be kept", reason=type(error).__name__)
            return StorageUnavailable()
        return None

    def _sealed(self, kept: Kept) -> bytes | None:
        if kept.data is None:
            return None
        return self._box.seal(kept.data, _place(kept.id))

    @override
    async def find(self, response_id: str, account_id: str) -> Kept | None:
        wanted = select(responses).where(
            responses.c.id == response_id,
            responses.c.account_id == account_id,
            responses.c.expires_ms > now_ms(),
        )
        try:
            async with self._database.ask() as connection:
                row = (await connection.execute(wanted)).one_or_none()
        except (SQLAlchemyError, OSError):
            raise StorageUnavailable from None
        return None if row is None else self._opened(row)

    def _opened(self, row: Row[tuple[object, ...]]) -> Kept | None:
        data = row.data
        if data is not None:
            try:
                data = self._box.open(data, _place(row.id))
            except SealBroken as error:
                log.warning("a kept response does not open", reason=str(error))
                return None
        return Kept(
            row.id, row.account_id, row.channel, row.created_ms, row.expires_ms, data
        )

    @override
    async def forget(self, response_id: str, account_id: str) -> bool:
        gone = delete(responses).where(
            responses.c.id == response_id, responses.c.account_id == account_id
        )
        try:
            async with self._database.write() as connection:
                return (await connection.execute(gone)).rowcount > 0
        except (SQLAlchemyError, OSError):
            raise StorageUnavailable from None

    async def close(self) -> None:
        """Write what still waits."""
        if self._writing is not None:
            await self._writing


def _place(response_id: str) -> str:
    return f"responses/{response_id}"

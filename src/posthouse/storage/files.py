"""Files and what is to be removed of them, in the database."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

from msgspec import structs
from sqlalchemy import Select, and_, delete, exists, func, insert, or_, select, update
from sqlalchemy.exc import SQLAlchemyError
from typing_extensions import override

from posthouse.errors import StorageUnavailable
from posthouse.files.ports import FileInUse, FileRows, QuotaExceeded, Removals
from posthouse.files.records import DAY_MS, Page, StoredFile, UploadState
from posthouse.storage.database import Database
from posthouse.storage.engine import AsyncConnection
from posthouse.storage.ownership import now_ms
from posthouse.storage.schema import (
    UNFINISHED_STATES,
    batches,
    blob_removals,
    files,
    upload_parts,
    uploads,
)

RESULTS_MS = 29 * DAY_MS
"""For which the results of Anthropic's batches can be read."""
_SWEPT = 100
"""Rows that one transaction takes, so that nobody waits for it long."""


@asynccontextmanager
async def reading(database: Database) -> AsyncIterator[AsyncConnection]:
    """A connection for one statement; raises StorageUnavailable."""
    try:
        async with database.ask() as connection:
            yield connection
    except (SQLAlchemyError, OSError):
        raise StorageUnavailable from None


@asynccontextmanager
async def writing(database: Database) -> AsyncIterator[AsyncConnection]:
    """A transaction; raises StorageUnavailable."""
    try:
        async with database.write() as connection:
            yield connection
    except (SQLAlchemyError, OSError):
        raise StorageUnavailable from None


async def keep_file(
    connection: AsyncConnection, file: StoredFile, quota: int | None
) -> None:
    """Write a file down whose blob is whole; raises QuotaExceeded."""
    if quota is not None:
        await require_room(connection, file.account_id, file.size, quota)
    await connection.execute(insert(files), [structs.asdict(file)])
    await connection.execute(
        delete(blob_removals).where(blob_removals.c.blob == file.blob)
    )


async def give_up(
    connection: AsyncConnection, blobs: Sequence[str], due_ms: int
) -> None:
    """Have blobs removed that nothing refers to any more."""
    if blobs:
        await connection.execute(
            delete(blob_removals).where(blob_removals.c.blob.in_(blobs))
        )
        rows = [{"blob": blob, "due_ms": due_ms} for blob in blobs]
        await connection.execute(insert(blob_removals), rows)


async def require_room(
    connection: AsyncConnection, account_id: str, size: int, quota: int
) -> None:
    """Raise QuotaExceeded where an account has no room for so many bytes more."""
    if await _used(connection, account_id) + size > quota:
        raise QuotaExceeded


async def _used(connection: AsyncConnection, account_id: str) -> int:
    """Give the bytes of an account's files, and those that its uploads may bring."""
    kept = select(func.coalesce(func.sum(files.c.size), 0)).where(
        files.c.account_id == account_id
    )
    coming = select(func.coalesce(func.sum(uploads.c.size), 0)).where(
        uploads.c.account_id == account_id,
        uploads.c.state == UploadState.PENDING.value,
        uploads.c.expires_ms > now_ms(),
    )
    total = select(kept.scalar_subquery() + coming.scalar_subquery())
    return int((await connection.execute(total)).scalar_one())


class StoredFiles(FileRows):
    """Keeps the rows of files."""

    def __init__(self, database: Database) -> None:
        """Write to this database."""
        self._database = database

    @override
    async def add(self, file: StoredFile, quota: int | None) -> None:
        async with writing(self._database) as connection:
            await keep_file(connection, file, quota)

    @override
    async def find(self, file_id: str, account_id: str) -> StoredFile | None:
        wanted = select(files).where(
            files.c.id == file_id, files.c.account_id == account_id, _is_there()
        )
        async with reading(self._database) as connection:
            row = (await connection.execute(wanted)).one_or_none()
        return None if row is None else StoredFile(*row)

    @override
    async def page(self, account_id: str, page: Page) -> Sequence[StoredFile]:
        wanted = select(files).where(files.c.account_id == account_id, _is_there())
        if page.purpose:
            wanted = wanted.where(files.c.purpose == page.purpose)
        async with reading(self._database) as connection:
            rows = (await connection.execute(paged(wanted, files, page))).all()
        found = [StoredFile(*row) for row in rows]
        return found[::-1] if page.before and not page.after else found

    @override
    async def remove(self, file_id: str, account_id: str) -> bool:
        used = select(batches.c.id).where(
            batches.c.input_file == file_id,
            batches.c.account_id == account_id,
            batches.c.state.in_(UNFINISHED_STATES),
        )
        gone = (
            delete(files)
            .where(files.c.id == file_id, files.c.account_id == account_id)
            .returning(files.c.blob)
        )
        async with writing(self._database) as connection:
            if (await connection.execute(used.limit(1))).first() is not None:
                raise FileInUse
            blob = (await connection.execute(gone)).scalar_one_or_none()
            if blob is None:
                return False
            await give_up(connection, [blob], now_ms())
            return True

    @override
    async def used(self, account_id: str) -> int:
        async with reading(self._database) as connection:
            return await _used(connection, account_id)


def _is_there() -> Any:
    return or_(files.c.expires_ms.is_(None), files.c.expires_ms > now_ms())


def paged(wanted: Select[Any], table: Any, page: Page) -> Select[Any]:
    """Cut a page out of a list, and one row more.

    A page that ends before a row and begins nowhere is read from its end.
    """
    descending = page.descending
    for name, follows in ((page.after, True), (page.before, False)):
        if not name:
            continue
        made, own = table.c.created_ms, table.c.id
        place = select(made).where(own == name).scalar_subquery()
        earlier = descending is follows
        wanted = wanted.where(
            or_(
                made < place if earlier else made > place,
                and_(made == place, own < name if earlier else own > name),
            )
        )
    if page.before and not page.after:
        descending = not descending
    order = (table.c.created_ms, table.c.id)
    if descending:
        wanted = wanted.order_by(*(column.desc() for column in order))
    else:
        wanted = wanted.order_by(*order)
    return wanted.limit(page.limit + 1)


class StoredRemovals(Removals):
    """Keeps the rows of what is to be removed."""

    def __init__(self, database: Database) -> None:
        """Write to this database."""
        self._database = database

    @override
    async def begin(self, blob: str, due_ms: int) -> None:
        async with writing(self._database) as connection:
            await connection.execute(
                insert(blob_removals), [{"blob": blob, "due_ms": due_ms}]
            )

    @override
    async def hasten(self, blob: str, due_ms: int) -> None:
        async with writing(self._database) as connection:
            await connection.execute(
                update(blob_removals)
                .where(blob_removals.c.blob == blob)
                .values(due_ms=due_ms)
            )

    @override
    async def expire(self, now_ms: int) -> None:
        while (
            await self._expire_files(now_ms)
            or await self._expire_uploads(now_ms)
            or await self._expire_results(now_ms)
        ):
            pass

    async def _expire_files(self, now: int) -> bool:
        """Delete some files; whether there may be more."""
        in_use = exists().where(
            batches.c.input_file == files.c.id,
            batches.c.state.in_(UNFINISHED_STATES),
        )
        expired = (
            select(files.c.id, files.c.blob)
            .where(files.c.expires_ms <= now, ~in_use)
            .limit(_SWEPT)
        )
        async with reading(self._database) as connection:
            rows = (await connection.execute(expired)).all()
        if not rows:
            return False
        async with writing(self._database) as connection:
            gone = delete(files).where(files.c.id.in_([row.id for row in rows]))
            blobs = (await connection.execute(gone.returning(files.c.blob))).scalars()
            await give_up(connection, list(blobs), now)
        return True

    async def _expire_uploads(self, now: int) -> bool:
        """Delete some uploads that are over, with their parts, an hour after."""
        expired = select(uploads.c.id).where(uploads.c.expires_ms <= now).limit(_SWEPT)
        async with reading(self._database) as connection:
            names = list((await connection.execute(expired)).scalars())
        if not names:
            return False
        async with writing(self._database) as connection:
            parts = delete(upload_parts).where(upload_parts.c.upload_id.in_(names))
            blobs = await connection.execute(parts.returning(upload_parts.c.blob))
            await give_up(connection, list(blobs.scalars()), now)
            await connection.execute(delete(uploads).where(uploads.c.id.in_(names)))
        return True

    async def _expire_results(self, now: int) -> bool:
        """Delete some batches whose results are files of nobody's."""
        old = (
            batches.c.output_blob.is_not(None),
            batches.c.created_ms <= now - RESULTS_MS,
        )
        async with reading(self._database) as connection:
            found = select(batches.c.id).where(*old).limit(_SWEPT)
            names = list((await connection.execute(found)).scalars())
        if not names:
            return False
        async with writing(self._database) as connection:
            gone = delete(batches).where(batches.c.id.in_(names), *old)
            blobs = await connection.execute(gone.returning(batches.c.output_blob))
            await give_up(connection, list(blobs.scalars()), now)
        return True

    @override
    async def due(self, now_ms: int, limit: int) -> Sequence[str]:
        wanted = (
            select(blob_removals.c.blob)
            .where(blob_removals.c.due_ms <= now_ms)
            .limit(limit)
        )
        async with reading(self._database) as connection:
            return list((await connection.execute(wanted)).scalars())

    @override
    async def removed(self, blobs: Sequence[str]) -> None:
        async with writing(self._database) as connection:
            await connection.execute(
                delete(blob_removals).where(blob_removals.c.blob.in_(blobs))
            )

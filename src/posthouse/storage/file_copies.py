"""Files of ours that providers have been given, in the database.

A copy is to be deleted when the file is gone: that is asked of the files themselves,
so nobody who deletes one, or has it expire, need know of copies.
"""

from collections.abc import Iterable, Sequence

from msgspec import structs
from sqlalchemy import delete, exists, insert, select, update
from typing_extensions import override

from posthouse.relay.resources.file_copies import Copy, CopyRows
from posthouse.storage.database import Database
from posthouse.storage.files import reading, writing
from posthouse.storage.schema import file_copies, files

BATCH = 500
"""Ids of one statement."""

_COLUMNS = tuple(file_copies.c[name] for name in Copy.__struct_fields__)


class StoredCopies(CopyRows):
    """Keeps the rows."""

    def __init__(self, database: Database) -> None:
        """Write to this database."""
        self._database = database

    @override
    async def add(self, copy: Copy) -> None:
        async with writing(self._database) as connection:
            same = delete(file_copies).where(
                file_copies.c.id == copy.id, file_copies.c.channel == copy.channel
            )
            await connection.execute(same)
            await connection.execute(insert(file_copies), [structs.asdict(copy)])

    @override
    async def of_files(self, file_ids: Iterable[str]) -> list[Copy]:
        return await self._where(file_copies.c.file_id, list(file_ids))

    @override
    async def named(self, ids: Iterable[str]) -> list[Copy]:
        return await self._where(file_copies.c.id, list(ids))

    async def _where(self, column: object, wanted: Sequence[str]) -> list[Copy]:
        found: list[Copy] = []
        if not wanted:
            return found
        async with reading(self._database) as connection:
            for start in range(0, len(wanted), BATCH):
                rows = await connection.execute(
                    select(*_COLUMNS)
                    .where(column.in_(wanted[start : start + BATCH]))  # type: ignore[attr-defined]  # a column
                    .order_by(file_copies.c.created_ms)
                )
                found += [Copy(*row) for row in rows]
        return found

    @override
    async def orphans(self, now_ms: int, limit: int) -> list[Copy]:
        there = exists().where(files.c.id == file_copies.c.file_id)
        wanted = (
            select(*_COLUMNS).where(file_copies.c.due_ms <= now_ms, ~there).limit(limit)
        )
        async with reading(self._database) as connection:
            return [Copy(*row) for row in await connection.execute(wanted)]

    @override
    async def put_off(self, copy: Copy, due_ms: int) -> None:
        later = (
            update(file_copies)
            .where(file_copies.c.id == copy.id, file_copies.c.channel == copy.channel)
            .values(tries=copy.tries + 1, due_ms=due_ms)
        )
        async with writing(self._database) as connection:
            await connection.execute(later)

    @override
    async def gone(self, copy: Copy) -> None:
        rows = delete(file_copies).where(
            file_copies.c.id == copy.id, file_copies.c.channel == copy.channel
        )
        async with writing(self._database) as connection:
            await connection.execute(rows)

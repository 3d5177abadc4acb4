"""What providers keep for callers, in the database.

A row is written once and never changed: who was first is the owner. Rows that a
process has seen are remembered for a while, so that answers which name the same
things again and again write nothing.
"""

from collections import OrderedDict
from collections.abc import Iterable, Sequence

from msgspec import structs
from sqlalchemy import Executable, delete, select, tuple_
from sqlalchemy.dialects import sqlite
from sqlalchemy.exc import SQLAlchemyError
from typing_extensions import override

from posthouse.errors import StorageUnavailable
from posthouse.relay.resources.objects import ObjectStore, Owned, Page
from posthouse.storage.database import Database
from posthouse.storage.schema import objects

BATCH = 500
"""Rows of one statement."""
REMEMBERED = 20_000

_COLUMNS = tuple(objects.c[name] for name in Owned.__struct_fields__)


class StoredObjects(ObjectStore):
    """Remembers things."""

    def __init__(self, database: Database) -> None:
        """Write to this database."""
        self._database = database
        self._seen: OrderedDict[tuple[str, str], None] = OrderedDict()

    @override
    async def learn(self, things: Sequence[Owned]) -> None:
        new = {
            (thing.id, thing.channel): structs.asdict(thing)
            for thing in things
            if (thing.id, thing.channel) not in self._seen
        }
        if not new:
            return
        rows = list(new.values())
        statement = self._unless_known()
        try:
            async with self._database.write() as connection:
                for start in range(0, len(rows), BATCH):
                    await connection.execute(statement, rows[start : start + BATCH])
        except (SQLAlchemyError, OSError):
            raise StorageUnavailable from None
        for key in new:
            self._seen[key] = None
        while len(self._seen) > REMEMBERED:
            self._seen.popitem(last=False)

    def _unless_known(self) -> Executable:
        """The statement that leaves rows alone which are there."""
        if self._database.engine.dialect.name == "sqlite":
            return sqlite.insert(objects).on_conflict_do_nothing()
        # Half a megabyte of code, for those who have such a database.
        from sqlalchemy.dialects import postgresql  # noqa: PLC0415 - see above

        return postgresql.insert(objects).on_conflict_do_nothing()

    @override
    async def find(self, ids: Iterable[str]) -> list[Owned]:
        wanted = list(ids)
        found: list[Owned] = []
        if not wanted:
            return found
        try:
            async with self._database.ask() as connection:
                for start in range(0, len(wanted), BATCH):
                    some = wanted[start : start + BATCH]
                    rows = await connection.execute(
                        select(*_COLUMNS).where(objects.c.id.in_(some))
                    )
                    found += [Owned(*row) for row in rows]
        except (SQLAlchemyError, OSError):
            raise StorageUnavailable from None
        return found

    @override
    async def page(self, account_id: str, page: Page) -> list[Owned]:
        place = tuple_(objects.c.created_ms, objects.c.id)
        wanted = select(*_COLUMNS).where(
            objects.c.account_id == account_id,
            objects.c.family == page.family,
            objects.c.kind == page.kind,
        )
        if page.after is not None:
            known = (page.after.created_ms, page.after.id)
            wanted = wanted.where(place < known if page.descending else place > known)
        columns = (objects.c.created_ms, objects.c.id)
        order = [c.desc() if page.descending else c.asc() for c in columns]
        try:
            async with self._database.ask() as connection:
                rows = await connection.execute(
                    wanted.order_by(*order).limit(page.limit)
                )
                return [Owned(*row) for row in rows]
        except (SQLAlchemyError, OSError):
            raise StorageUnavailable from None

    @override
    async def forget(self, thing: Owned) -> None:
        gone = delete(objects).where(
            objects.c.id == thing.id,
            objects.c.channel == thing.channel,
            objects.c.account_id == thing.account_id,
        )
        self._seen.pop((thing.id, thing.channel), None)
        try:
            async with self._database.write() as connection:
                await connection.execute(gone)
        except (SQLAlchemyError, OSError):
            raise StorageUnavailable from None

"""Batches in the database: made, listed, taken, ended.

Who may write for a batch is who owns it, which each transaction looks at first.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from msgspec import structs
from sqlalchemy import ColumnElement, delete, func, insert, or_, select, text, update
from typing_extensions import override

from posthouse.files.records import Page, StoredFile
from posthouse.storage.database import Database
from posthouse.storage.engine import AsyncConnection
from posthouse.storage.files import give_up, keep_file, paged, reading, writing
from posthouse.storage.ownership import now_ms
from posthouse.storage.schema import (
    UNFINISHED,
    UNFINISHED_STATES,
    batch_lines,
    batch_parts,
    batches,
    blob_removals,
    journals,
    transfers,
)
from posthouse.tasks.ports import BatchLost, BatchQueue, BatchRows, TooManyBatches
from posthouse.tasks.records import (
    ENDED,
    Batch,
    BatchAPI,
    BatchDetails,
    BatchState,
)
from posthouse.wire import json

MOST_UNFINISHED = 100
"""Batches of an account that are not over."""
MOST_OF_ACCOUNT = 4
"""Batches of an account that one process works on at a time."""
_LOOKED_AT = 500
_CANCELLABLE = frozenset({BatchState.VALIDATING, BatchState.IN_PROGRESS})


class StoredBatches(BatchRows, BatchQueue):
    """Keeps the rows of batches."""

    def __init__(self, database: Database) -> None:
        """Write to this database."""
        self._database = database

    @override
    async def add(self, batch: Batch) -> None:
        row = structs.asdict(batch)
        row["details"] = _encoded(batch.details)
        unfinished = (
            select(func.count())
            .select_from(batches)
            .where(text(UNFINISHED), batches.c.account_id == batch.account_id)
        )
        async with writing(self._database) as connection:
            if (await connection.execute(unfinished)).scalar_one() >= MOST_UNFINISHED:
                raise TooManyBatches
            await connection.execute(insert(batches), [row])
            # The input of a batch that came with it is whole by now.
            await connection.execute(
                delete(blob_removals).where(blob_removals.c.blob == batch.input_blob)
            )

    @override
    async def find(self, batch_id: str, account_id: str) -> Batch | None:
        wanted = select(batches).where(
            batches.c.id == batch_id, batches.c.account_id == account_id
        )
        async with reading(self._database) as connection:
            row = (await connection.execute(wanted)).one_or_none()
        return None if row is None else _batch(row)

    @override
    async def page(self, account_id: str, api: str, page: Page) -> Sequence[Batch]:
        wanted = select(batches).where(
            batches.c.account_id == account_id, batches.c.api == api
        )
        async with reading(self._database) as connection:
            rows = (await connection.execute(paged(wanted, batches, page))).all()
        found = [_batch(row) for row in rows]
        return found[::-1] if page.before and not page.after else found

    @override
    async def cancel(self, batch_id: str, at_ms: int) -> Batch | None:
        async with writing(self._database) as connection:
            batch = await _read(connection, batch_id)
            if batch is None or batch.state not in _CANCELLABLE:
                return None
            state = BatchState.CANCELLING
            times = {**batch.details.times, state.value: at_ms}
            details = structs.replace(batch.details, times=times)
            return await _write(
                connection, batch, {"state": state.value, "details": details}
            )

    @override
    async def forget(self, batch_id: str, account_id: str) -> bool:
        gone = (
            delete(batches)
            .where(
                batches.c.id == batch_id,
                batches.c.account_id == account_id,
                batches.c.state.in_([state.value for state in ENDED]),
            )
            .returning(batches.c.output_blob)
        )
        async with writing(self._database) as connection:
            row = (await connection.execute(gone)).one_or_none()
            if row is None:
                return False
            parts = delete(batch_parts).where(batch_parts.c.batch_id == batch_id)
            await connection.execute(parts)
            if row.output_blob is not None:
                await give_up(connection, [row.output_blob], now_ms())
            return True

    async def latest(self, most: int) -> Sequence[Batch]:
        """Give the newest of all accounts, the newest first."""
        wanted = select(batches).order_by(batches.c.created_ms.desc(), batches.c.id)
        async with reading(self._database) as connection:
            rows = (await connection.execute(wanted.limit(most))).all()
        return [_batch(row) for row in rows]

    # --- for those who work on them -----------------------------------------------

    @override
    async def take(
        self, owner: str, most: int, busy: Mapping[str, int]
    ) -> Sequence[Batch]:
        free = (
            select(batches.c.id, batches.c.account_id)
            .where(text(UNFINISHED), _is_free())
            .order_by(batches.c.created_ms)
            .limit(_LOOKED_AT)
        )
        async with reading(self._database) as connection:
            if not (await connection.execute(free)).first():
                return []
        async with writing(self._database) as connection:
            rows = (await connection.execute(free)).all()
            names = _fairly([tuple(row) for row in rows], most, busy)
            taken = update(batches).where(batches.c.id.in_(names)).values(owner=owner)
            found = (await connection.execute(taken.returning(batches))).all()
        return sorted((_batch(row) for row in found), key=lambda one: one.created_ms)

    @override
    async def change(self, batch: Batch, changes: dict[str, Any]) -> Batch:
        async with writing(self._database) as connection:
            return await _change(connection, batch, changes)

    @override
    async def look(self, batch: Batch) -> Batch:
        wanted = select(batches).where(
            batches.c.id == batch.id, batches.c.owner == batch.owner
        )
        async with reading(self._database) as connection:
            row = (await connection.execute(wanted)).one_or_none()
        if row is None:
            raise BatchLost(batch.id)
        return _batch(row)

    @override
    async def cancelled(self, owner: str) -> frozenset[str]:
        wanted = select(batches.c.id).where(
            batches.c.owner == owner,
            text(UNFINISHED),
            batches.c.state == BatchState.CANCELLING.value,
        )
        async with reading(self._database) as connection:
            return frozenset((await connection.execute(wanted)).scalars())

    @override
    async def charged(self, call_id: str) -> bool:
        wanted = select(transfers.c.id).where(
            transfers.c.reference == call_id, transfers.c.kind == "settle"
        )
        async with reading(self._database) as connection:
            return (await connection.execute(wanted)).first() is not None

    @override
    async def finish(
        self, batch: Batch, changes: dict[str, Any], files: Sequence[StoredFile]
    ) -> None:
        lines = delete(batch_lines).where(batch_lines.c.batch_id == batch.id)
        large = select(batch_lines.c.answer_blob).where(
            batch_lines.c.batch_id == batch.id, batch_lines.c.answer_blob.is_not(None)
        )
        async with writing(self._database) as connection:
            await _change(connection, batch, changes)
            for file in files:
                await keep_file(connection, file, None)
            output = changes.get("output_blob")
            if output is not None:
                kept = delete(blob_removals).where(blob_removals.c.blob == output)
                await connection.execute(kept)
            blobs = list((await connection.execute(large)).scalars())
            if batch.input_file is None:
                blobs.append(batch.input_blob)
            await give_up(connection, blobs, now_ms())
            await connection.execute(lines)


def _fairly(
    free: Sequence[tuple[str, str]], most: int, busy: Mapping[str, int]
) -> list[str]:
    """Choose batches, oldest first, but no account has more than its share."""
    counts = dict(busy)
    names: list[str] = []
    for name, account_id in free:
        if len(names) == most:
            break
        if counts.get(account_id, 0) < MOST_OF_ACCOUNT:
            counts[account_id] = counts.get(account_id, 0) + 1
            names.append(name)
    return names


def _is_free() -> ColumnElement[bool]:
    """Whether nobody works on a batch: its owner's journal has ended."""
    alive = select(journals.c.id).where(journals.c.state == "open")
    return or_(batches.c.owner == "", batches.c.owner.not_in(alive))


async def require_owner(connection: AsyncConnection, batch: Batch) -> None:
    """Raise BatchLost where a batch is not ours any more."""
    owner = select(batches.c.owner).where(batches.c.id == batch.id)
    if (await connection.execute(owner)).scalar_one_or_none() != batch.owner:
        raise BatchLost(batch.id)


async def _read(connection: AsyncConnection, batch_id: str) -> Batch | None:
    wanted = select(batches).where(batches.c.id == batch_id)
    row = (await connection.execute(wanted)).one_or_none()
    return None if row is None else _batch(row)


async def _change(
    connection: AsyncConnection, batch: Batch, changes: dict[str, Any]
) -> Batch:
    """Write what the owner knows; what was cancelled meanwhile stays so."""
    now = await _read(connection, batch.id)
    if now is None or now.owner != batch.owner:
        raise BatchLost(batch.id)
    values = dict(changes)
    if "details" in values:
        times = {**now.details.times, **values["details"].times}
        values["details"] = structs.replace(values["details"], times=times)
    if now.state is BatchState.CANCELLING and values.get("state") in UNFINISHED_STATES:
        del values["state"]
    return await _write(connection, batch, values)


async def _write(
    connection: AsyncConnection, batch: Batch, values: dict[str, Any]
) -> Batch:
    if "details" in values:
        values = {**values, "details": _encoded(values["details"])}
    changed = update(batches).where(batches.c.id == batch.id).values(values)
    row = (await connection.execute(changed.returning(batches))).one()
    return _batch(row)


def _encoded(details: BatchDetails) -> str:
    return json.encode(details).decode()


def _batch(row: Any) -> Batch:
    return Batch(
        id=row.id,
        account_id=row.account_id,
        key_id=row.key_id,
        api=BatchAPI(row.api),
        endpoint=row.endpoint,
        state=BatchState(row.state),
        input_file=row.input_file,
        input_blob=row.input_blob,
        completion_window=row.completion_window,
        details=json.decode(row.details.encode(), BatchDetails),
        created_ms=row.created_ms,
        expires_ms=row.expires_ms,
        output_file=row.output_file,
        error_file=row.error_file,
        output_blob=row.output_blob,
        keep_seconds=row.keep_seconds,
        total=row.total,
        completed=row.completed,
        failed=row.failed,
        owner=row.owner,
    )

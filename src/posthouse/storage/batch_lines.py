"""The lines of batches: claimed, answered, judged after a crash.

Answers are sealed for their own row, as kept responses are; large ones are blobs,
which the row points to. Answers of calls that end together are written together.
"""

import asyncio
from collections.abc import Sequence
from typing import Any

from msgspec import Struct
from sqlalchemy import Row, bindparam, case, delete, func, insert, select, update
from typing_extensions import override

from posthouse.errors import StorageUnavailable
from posthouse.files.ports import BlobMissing, BlobUnavailable
from posthouse.files.service import Files, Limit
from posthouse.observe.logs import logger
from posthouse.storage.batches import require_owner
from posthouse.storage.database import Database
from posthouse.storage.engine import AsyncConnection
from posthouse.storage.files import give_up, reading, writing
from posthouse.storage.ownership import now_ms
from posthouse.storage.schema import batch_lines, batches, blob_removals, transfers
from posthouse.storage.secrets import SealBroken, SecretBox
from posthouse.tasks.ports import BatchLost, LineRows
from posthouse.tasks.records import Answered, Batch, Line, LineState

log = logger("posthouse.batches")

LARGE = 64 * 1024
"""Bytes from which an answer is a blob."""
_LOOKED_UP = 500
"""Calls that one statement asks the ledger about."""
_LARGEST = 256 * 1024 * 1024
_OF_LINE = (
    (batch_lines.c.batch_id == bindparam("of_batch"))
    & (batch_lines.c.number == bindparam("of_number"))
    & (batch_lines.c.call_id == bindparam("of_call"))
)


class _Kept(Struct, frozen=True):
    """An answer that is to be written."""

    batch: Batch
    line: Line
    answer: bytes | None
    blob: str | None


Waiting = list[tuple[_Kept, asyncio.Future[None]]]


class StoredLines(LineRows):
    """Keeps the rows of lines."""

    def __init__(self, database: Database, box: SecretBox, files: Files) -> None:
        """Write to this database, and large answers where files are."""
        self._database = database
        self._box = box
        self._files = files
        self._waiting: Waiting = []
        self._writing: asyncio.Task[None] | None = None

    @override
    async def fill(self, batch: Batch, lines: Sequence[Line], *, first: bool) -> None:
        rows = [
            {
                "batch_id": batch.id,
                "number": line.number,
                "custom_id": line.custom_id,
                "place": line.place,
                "size": line.size,
            }
            for line in lines
        ]
        before = delete(batch_lines).where(batch_lines.c.batch_id == batch.id)
        async with writing(self._database) as connection:
            await require_owner(connection, batch)
            if first:
                await connection.execute(before)
            if rows:
                await connection.execute(insert(batch_lines), rows)

    @override
    async def recover(self, batch: Batch) -> None:
        running = select(
            batch_lines.c.number,
            batch_lines.c.call_id,
            batch_lines.c.answer_blob,
            batch_lines.c.answer.is_not(None).label("has_answer"),
        ).where(
            batch_lines.c.batch_id == batch.id,
            batch_lines.c.state == LineState.RUNNING.value,
        )
        async with writing(self._database) as connection:
            await require_owner(connection, batch)
            rows = (await connection.execute(running)).all()
            charged = await _charged(connection, [row.call_id for row in rows])
            for row in rows:
                await _judge(connection, batch, row, charged=row.call_id in charged)
            await _recount(connection, batch)

    @override
    async def claim(self, batch: Batch, most: int) -> Sequence[Line]:
        wanted = (
            select(batch_lines)
            .where(
                batch_lines.c.batch_id == batch.id,
                batch_lines.c.state == LineState.PENDING.value,
            )
            .order_by(batch_lines.c.number)
            .limit(most)
        )
        async with writing(self._database) as connection:
            await require_owner(connection, batch)
            rows = (await connection.execute(wanted)).all()
            return [await claimed(connection, batch, row) for row in rows]

    # --- answers ----------------------------------------------------------------------

    @override
    async def keep_answer(self, batch: Batch, line: Line, body: bytes) -> None:
        kept = await self._made(batch, line, body)
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((kept, future))
        if self._writing is None:
            self._writing = asyncio.create_task(self._write())
        await future

    async def _made(self, batch: Batch, line: Line, body: bytes) -> _Kept:
        """Seal an answer, or put it where files are."""
        if len(body) < LARGE:
            place = _place(batch.id, line.number)
            return _Kept(batch, line, self._box.seal(body, place), None)
        got = await self._files.receive(Limit(_LARGEST))
        try:
            await got.write(body)
            await got.finish()
        except BaseException:
            await got.abort()
            raise
        got.leave()
        return _Kept(batch, line, None, got.blob)

    async def _write(self) -> None:
        """Write what waits, and all that has come meanwhile."""
        try:
            while self._waiting:
                waiting, self._waiting = self._waiting, []
                try:
                    lost = await self._write_all([kept for kept, _ in waiting])
                except StorageUnavailable as error:
                    for _, future in waiting:
                        if not future.done():
                            future.set_exception(error)
                    continue
                for kept, future in waiting:
                    if future.done():
                        continue
                    if kept.line.call_id in lost:
                        future.set_exception(BatchLost(kept.batch.id))
                    else:
                        future.set_result(None)
        finally:
            self._writing = None

    async def _write_all(self, kept: Sequence[_Kept]) -> set[str]:
        """Write answers; give the calls that are nobody's any more."""
        lost = set()
        async with writing(self._database) as connection:
            for one in kept:
                changed = (
                    update(batch_lines)
                    .where(_OF_LINE)
                    .values(answer=one.answer, answer_blob=one.blob)
                )
                given = _named(one.batch, one.line.number, one.line.call_id)
                if not (await connection.execute(changed, given)).rowcount:
                    lost.add(one.line.call_id)
                elif one.blob is not None:
                    await connection.execute(
                        delete(blob_removals).where(blob_removals.c.blob == one.blob)
                    )
        return lost

    @override
    async def end(
        self, batch: Batch, answered: Sequence[Answered], again: Sequence[int]
    ) -> None:
        made = [
            (one, await self._made(batch, _line_of(one), one.body))
            for one in answered
            if one.body
        ]
        done = [one for one in answered if not one.body]
        async with writing(self._database) as connection:
            await require_owner(connection, batch)
            await _drop_blobs(
                connection, batch, [*again, *(one.number for one, _ in made)]
            )
            for one, kept in made:
                values = {"answer": kept.answer, "answer_blob": kept.blob}
                await _end(connection, batch, one, values)
                if kept.blob is not None:
                    await connection.execute(
                        delete(blob_removals).where(blob_removals.c.blob == kept.blob)
                    )
            for one in done:
                await _end(connection, batch, one, {})
            if again:
                await connection.execute(_reset(batch, again))
            good = sum(one.status == 200 for one in answered)
            counted = update(batches).where(batches.c.id == batch.id)
            await connection.execute(
                counted.values(
                    completed=batches.c.completed + good,
                    failed=batches.c.failed + len(answered) - good,
                )
            )

    @override
    async def read(self, batch: Batch, after: int, most: int) -> Sequence[Answered]:
        wanted = (
            select(batch_lines)
            .where(batch_lines.c.batch_id == batch.id, batch_lines.c.number > after)
            .order_by(batch_lines.c.number)
            .limit(most)
        )
        async with reading(self._database) as connection:
            rows = (await connection.execute(wanted)).all()
        return [await self._answered(batch, row) for row in rows]

    async def _answered(self, batch: Batch, row: Row[Any]) -> Answered:
        """Give a line with its answer; one that is damaged is as one that is lost."""
        done = row.state == LineState.DONE.value
        status = row.status if done else 0
        try:
            body = await self._answer_of(batch, row)
        except (SealBroken, BlobMissing):
            log.warning("an answer of a batch is lost", batch=batch.id, line=row.number)
            status, body = 0, b""
        call_id = row.call_id if done else ""
        return Answered(row.number, row.custom_id, call_id, status, body)

    async def _answer_of(self, batch: Batch, row: Row[Any]) -> bytes:
        if row.answer_blob is not None:
            try:
                pieces = [one async for one in self._files.blobs.read(row.answer_blob)]
            except BlobMissing:
                raise
            except BlobUnavailable:
                raise StorageUnavailable from None
            return b"".join(pieces)
        if row.answer is None:
            return b""
        return self._box.open(row.answer, _place(batch.id, row.number))


async def _charged(connection: AsyncConnection, call_ids: list[str]) -> set[str]:
    """Give those of some calls that the ledger has charged."""
    found: set[str] = set()
    for start in range(0, len(call_ids), _LOOKED_UP):
        some = call_ids[start : start + _LOOKED_UP]
        wanted = select(transfers.c.reference).where(
            transfers.c.reference.in_(some), transfers.c.kind == "settle"
        )
        found |= set((await connection.execute(wanted)).scalars())
    return found


async def _judge(
    connection: AsyncConnection, batch: Batch, row: Row[Any], *, charged: bool
) -> None:
    """Say what becomes of a line that a dead process was at."""
    if charged:
        # Its answer was kept before. If it is not there, nobody is charged again.
        answer = row.has_answer or row.answer_blob is not None
        changed = (
            update(batch_lines)
            .where(
                batch_lines.c.batch_id == batch.id, batch_lines.c.number == row.number
            )
            .values(state=LineState.DONE.value, status=200 if answer else 0)
        )
        await connection.execute(changed)
        return
    if row.answer_blob is not None:
        await give_up(connection, [row.answer_blob], now_ms())
    await connection.execute(_reset(batch, [row.number]))


def _reset(batch: Batch, numbers: Sequence[int]) -> Any:
    """Let lines be run again; what their last calls bring late finds no line.

    Those whose answers a provider has wait for them again.
    """
    state = case(
        (batch_lines.c.part > 0, LineState.WAITING.value),
        else_=LineState.PENDING.value,
    )
    return (
        update(batch_lines)
        .where(batch_lines.c.batch_id == batch.id, batch_lines.c.number.in_(numbers))
        .values(state=state, call_id="", answer=None, answer_blob=None)
    )


async def _drop_blobs(
    connection: AsyncConnection, batch: Batch, numbers: Sequence[int]
) -> None:
    """Have the answers removed that lines had, if they were large."""
    wanted = select(batch_lines.c.answer_blob).where(
        batch_lines.c.batch_id == batch.id,
        batch_lines.c.number.in_(numbers),
        batch_lines.c.answer_blob.is_not(None),
    )
    blobs = list((await connection.execute(wanted)).scalars())
    await give_up(connection, blobs, now_ms())


async def _recount(connection: AsyncConnection, batch: Batch) -> None:
    """Count the lines that are done anew."""
    done = (
        select(func.count())
        .select_from(batch_lines)
        .where(
            batch_lines.c.batch_id == batch.id,
            batch_lines.c.state == LineState.DONE.value,
        )
    )
    good = done.where(batch_lines.c.status == 200)
    completed = (await connection.execute(good)).scalar_one()
    ended = (await connection.execute(done)).scalar_one()
    changed = update(batches).where(batches.c.id == batch.id)
    await connection.execute(
        changed.values(completed=completed, failed=ended - completed)
    )


async def _end(
    connection: AsyncConnection, batch: Batch, one: Answered, values: dict[str, Any]
) -> None:
    changed = update(batch_lines).where(_OF_LINE)
    await connection.execute(
        changed.values(state=LineState.DONE.value, status=one.status, **values),
        _named(batch, one.number, one.call_id),
    )


async def claimed(connection: AsyncConnection, batch: Batch, row: Row[Any]) -> Line:
    """Give a line its next call's id: no two calls of any line have the same."""
    tries = row.tries + 1
    call_id = f"{batch.id}-{row.number}-{tries}"
    await connection.execute(
        update(batch_lines)
        .where(
            batch_lines.c.batch_id == batch.id,
            batch_lines.c.number == row.number,
        )
        .values(state=LineState.RUNNING.value, tries=tries, call_id=call_id)
    )
    return Line(row.number, row.custom_id, row.place, row.size, tries, call_id)


def _line_of(one: Answered) -> Line:
    return Line(one.number, one.custom_id, 0, 0, call_id=one.call_id)


def _named(batch: Batch, number: int, call_id: str) -> dict[str, Any]:
    return {"of_batch": batch.id, "of_number": number, "of_call": call_id}


def _place(batch_id: str, number: int) -> str:
    return f"batch_lines/{batch_id}/{number}"

"""The parts of batches: what of them providers were given, as batches of their own.

A part is written down, with the lines that are in it, before its provider hears of
it. Who may write is who owns the batch.
"""

from collections.abc import Sequence
from typing import Any

from msgspec import structs
from sqlalchemy import insert, select, update
from typing_extensions import override

from posthouse.storage.batch_lines import claimed
from posthouse.storage.batches import require_owner
from posthouse.storage.database import Database
from posthouse.storage.files import reading, writing
from posthouse.storage.schema import batch_lines, batch_parts
from posthouse.tasks.ports import PartRows
from posthouse.tasks.records import HERE, Batch, Line, LineState, Part, PartState

_AT_ONCE = 500
"""Lines that one statement names."""


class StoredParts(PartRows):
    """Keeps the rows of parts."""

    def __init__(self, database: Database) -> None:
        """Write to this database."""
        self._database = database

    @override
    async def unplaced(self, batch: Batch, after: int, most: int) -> Sequence[Line]:
        wanted = (
            select(batch_lines)
            .where(
                batch_lines.c.batch_id == batch.id,
                batch_lines.c.state == LineState.PENDING.value,
                batch_lines.c.part == 0,
                batch_lines.c.number > after,
            )
            .order_by(batch_lines.c.number)
            .limit(most)
        )
        async with reading(self._database) as connection:
            rows = (await connection.execute(wanted)).all()
        return [
            Line(row.number, row.custom_id, row.place, row.size, row.tries)
            for row in rows
        ]

    @override
    async def place(
        self, batch: Batch, numbers: Sequence[int], part: Part | None
    ) -> None:
        values: dict[str, Any] = {"part": HERE}
        if part is not None:
            values = {"part": part.number, "state": LineState.WAITING.value}
        async with writing(self._database) as connection:
            await require_owner(connection, batch)
            for some in _some(numbers):
                placed = update(batch_lines).where(
                    batch_lines.c.batch_id == batch.id,
                    batch_lines.c.number.in_(some),
                    batch_lines.c.state == LineState.PENDING.value,
                )
                await connection.execute(placed.values(values))
            if part is not None:
                row = structs.asdict(part)
                row["state"] = part.state.value
                await connection.execute(insert(batch_parts), [row])

    @override
    async def created(self, batch: Batch, part: Part, remote_id: str) -> None:
        values = {"state": PartState.CREATED.value, "remote_id": remote_id}
        async with writing(self._database) as connection:
            await require_owner(connection, batch)
            await connection.execute(_part(part).values(values))

    @override
    async def over(self, batch: Batch, part: Part, *, here: bool) -> None:
        unanswered = (
            update(batch_lines)
            .where(
                batch_lines.c.batch_id == batch.id,
                batch_lines.c.part == part.number,
                batch_lines.c.state == LineState.WAITING.value,
            )
            .values(state=LineState.PENDING.value, part=HERE if here else 0)
        )
        async with writing(self._database) as connection:
            await require_owner(connection, batch)
            await connection.execute(unanswered)
            await connection.execute(_part(part).values(state=PartState.OVER.value))

    @override
    async def all(self, batch: Batch) -> Sequence[Part]:
        wanted = (
            select(batch_parts)
            .where(batch_parts.c.batch_id == batch.id)
            .order_by(batch_parts.c.number)
        )
        async with reading(self._database) as connection:
            rows = (await connection.execute(wanted)).all()
        return [_read(row) for row in rows]

    @override
    async def claim(
        self, batch: Batch, part: Part, numbers: Sequence[int]
    ) -> Sequence[Line]:
        wanted = (
            select(batch_lines)
            .where(
                batch_lines.c.batch_id == batch.id,
                batch_lines.c.number.in_(numbers),
                batch_lines.c.part == part.number,
                batch_lines.c.state == LineState.WAITING.value,
            )
            .order_by(batch_lines.c.number)
        )
        async with writing(self._database) as connection:
            await require_owner(connection, batch)
            rows = (await connection.execute(wanted)).all()
            return [await claimed(connection, batch, row) for row in rows]


def _part(part: Part) -> Any:
    return update(batch_parts).where(
        batch_parts.c.batch_id == part.batch_id, batch_parts.c.number == part.number
    )


def _some(numbers: Sequence[int]) -> list[Sequence[int]]:
    return [
        numbers[start : start + _AT_ONCE] for start in range(0, len(numbers), _AT_ONCE)
    ]


def _read(row: Any) -> Part:
    return Part(
        row.batch_id,
        row.number,
        row.channel,
        row.credential,
        row.model,
        row.url,
        row.lines,
        row.reserve,
        row.intended_ms,
        PartState(row.state),
        row.remote_id,
    )

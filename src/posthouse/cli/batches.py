"""`posthouse batches`: how batches stand, and which providers work on them.

It only looks, also while a server runs. What providers call their own batches is
told nowhere else but in the log: it is the operator's.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from msgspec import to_builtins

from posthouse.cli.installation import open_books
from posthouse.cli.options import AsJSON, Data, Limit, command, run
from posthouse.cli.output import Column, print_json, print_table, show_time
from posthouse.settings.environment import load_settings
from posthouse.storage.batch_parts import StoredParts
from posthouse.storage.batches import StoredBatches
from posthouse.storage.keys import key_names
from posthouse.tasks.records import Batch, Part

COLUMNS: Final = (
    Column("time", 2),
    Column("batch"),
    Column("key", 1),
    Column("state"),
    Column("model", 1),
    Column("lines", right=True),
    Column("answered", right=True),
    Column("failed", right=True),
    Column("at_providers", 3),
)

_Found = list[tuple[Batch, Sequence[Part]]]


def batches(*, limit: Limit = 20, data: Data = None, as_json: AsJSON = False) -> None:
    """List batches, the latest first, with what of them went to providers."""

    async def work() -> tuple[_Found, dict[str, str]]:
        async with open_books(load_settings(data=data)) as books:
            rows = await StoredBatches(books.database).latest(limit)
            parts = StoredParts(books.database)
            found = [(batch, await parts.all(batch)) for batch in rows]
            ids = {batch.key_id for batch in rows}
            async with books.database.read() as connection:
                return found, await key_names(connection, ids)

    found, names = run(work())
    if as_json:
        print_json([_object(batch, parts, names) for batch, parts in found])
        return
    rows = [
        [
            show_time(batch.created_ms),
            batch.id,
            names.get(batch.key_id, batch.key_id),
            batch.state.value,
            batch.details.model or None,
            batch.total,
            batch.completed,
            batch.failed,
            "; ".join(map(_told, parts)) or None,
        ]
        for batch, parts in found
    ]
    print_table(COLUMNS, rows, empty="There are no batches.")


def _told(part: Part) -> str:
    name = part.remote_id or "not created"
    return f"{part.channel} {name} ({part.lines}, {part.state.name.lower()})"


def _object(
    batch: Batch, parts: Sequence[Part], names: Mapping[str, str]
) -> dict[str, Any]:
    """Write a batch for scripts."""
    return {
        "id": batch.id,
        "key": names.get(batch.key_id),
        "api": batch.api.value,
        "endpoint": batch.endpoint,
        "state": batch.state.value,
        "model": batch.details.model,
        "total": batch.total,
        "completed": batch.completed,
        "failed": batch.failed,
        "created_ms": batch.created_ms,
        "expires_ms": batch.expires_ms,
        "parts": [
            {**to_builtins(part), "state": part.state.name.lower()} for part in parts
        ],
    }


batches_command = command(batches)

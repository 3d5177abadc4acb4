"""Prices and fallbacks in the database, and the versions that were charged by.

Neither is referred to by its row: a call names the price's version, whose
content is kept for ever. So what the file no longer says is deleted.
"""

from collections.abc import Iterable, Mapping

from sqlalchemy import delete, insert, select

from posthouse.settings.file import FallbackSpec, PriceSpec
from posthouse.storage.engine import AsyncConnection
from posthouse.storage.ownership import Owner, new_id
from posthouse.storage.schema import fallbacks, price_versions, prices
from posthouse.wire import json

NAMES_PER_QUERY = 500


async def list_prices(
    connection: AsyncConnection, owner: Owner | None = None
) -> list[PriceSpec]:
    """Give the prices of one owner or of all, in the order of their names."""
    statement = select(prices.c.specification).order_by(
        prices.c.model, prices.c.channel
    )
    if owner is not None:
        statement = statement.where(prices.c.owner == owner)
    rows = await connection.execute(statement)
    return [json.decode(row.specification.encode(), PriceSpec) for row in rows]


async def replace_prices(
    connection: AsyncConnection, specs: Iterable[PriceSpec], created_ms: int
) -> None:
    """Make these the file's prices; the caller tells the feed of changes."""
    await connection.execute(delete(prices).where(prices.c.owner == Owner.FILE))
    rows = [
        {
            "id": new_id(),
            "model": spec.model,
            "channel": spec.channel or "",
            "specification": json.encode(spec).decode(),
            "owner": Owner.FILE,
            "created_ms": created_ms,
        }
        for spec in specs
    ]
    if rows:
        await connection.execute(insert(prices), rows)


async def list_fallbacks(
    connection: AsyncConnection, owner: Owner | None = None
) -> list[FallbackSpec]:
    """Give the fallbacks of one owner or of all, in the order of their models."""
    statement = select(fallbacks.c.model, fallbacks.c.targets).order_by(
        fallbacks.c.model
    )
    if owner is not None:
        statement = statement.where(fallbacks.c.owner == owner)
    rows = await connection.execute(statement)
    return [
        FallbackSpec(row.model, json.decode(row.targets.encode(), tuple[str, ...]))
        for row in rows
    ]


async def replace_fallbacks(
    connection: AsyncConnection, specs: Iterable[FallbackSpec]
) -> None:
    """Make these the file's fallbacks; the caller tells the feed of changes."""
    await connection.execute(delete(fallbacks).where(fallbacks.c.owner == Owner.FILE))
    rows = [
        {
            "model": spec.model,
            "targets": json.encode(spec.to).decode(),
            "owner": Owner.FILE,
        }
        for spec in specs
    ]
    if rows:
        await connection.execute(insert(fallbacks), rows)


async def keep_versions(
    connection: AsyncConnection, contents: Mapping[str, bytes], created_ms: int
) -> int:
    """Keep the content of price versions, each once; give how many were new.

    Args:
        connection: a writing transaction.
        contents: canonical JSON by version.
        created_ms: Unix time in milliseconds.
    """
    versions = list(contents)
    known: set[str] = set()
    for start in range(0, len(versions), NAMES_PER_QUERY):
        part = versions[start : start + NAMES_PER_QUERY]
        rows = await connection.execute(
            select(price_versions.c.version).where(price_versions.c.version.in_(part))
        )
        known.update(row.version for row in rows)
    new = [
        {
            "version": version,
            "content": contents[version].decode(),
            "created_ms": created_ms,
        }
        for version in versions
        if version not in known
    ]
    if new:
        await connection.execute(insert(price_versions), new)
    return len(new)

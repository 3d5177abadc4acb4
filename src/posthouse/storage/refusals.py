"""Credentials that providers refuse, known to every process and over restarts.

A credential is named by a fingerprint, so a new one in its place is not taken
for it. Whoever writes tells the feed of changes.
"""

from collections.abc import Collection
from hashlib import blake2b

from msgspec import Struct, structs
from sqlalchemy import delete, insert, select
from sqlalchemy.exc import IntegrityError

from posthouse.storage import changes
from posthouse.storage.database import Database
from posthouse.storage.engine import AsyncConnection
from posthouse.storage.schema import refused_credentials

_PURPOSE = b"credential"


class Refusal(Struct, frozen=True):
    """A credential that a provider does not accept."""

    channel: str
    fingerprint: str
    credential: int
    """Its place among the channel's when it was refused."""
    status: int
    """What the provider answered."""
    created_ms: int
    """Unix milliseconds."""


def fingerprint(credential: str, pepper: bytes) -> str:
    """Name a credential; without the installation's secret it tells nothing."""
    return blake2b(
        credential.encode(), digest_size=16, key=pepper[:64], person=_PURPOSE
    ).hexdigest()


async def list_refusals(connection: AsyncConnection) -> list[Refusal]:
    """Give all of them, the oldest first."""
    rows = await connection.execute(
        select(refused_credentials).order_by(
            refused_credentials.c.created_ms, refused_credentials.c.fingerprint
        )
    )
    return [Refusal(*row) for row in rows]


async def add_refusal(database: Database, refusal: Refusal) -> bool:
    """Keep a refusal; whether it was news."""
    try:
        async with database.write() as connection:
            await connection.execute(
                insert(refused_credentials).values(structs.asdict(refusal))
            )
            await changes.append(connection, [changes.CREDENTIALS], refusal.created_ms)
    except IntegrityError:
        return False
    return True


async def forget_refusals(
    connection: AsyncConnection,
    channel: str,
    fingerprints: Collection[str] | None,
    now_ms: int,
) -> int:
    """Forget some of a channel's refusals, or all; give how many there were."""
    statement = delete(refused_credentials).where(
        refused_credentials.c.channel == channel
    )
    if fingerprints is not None:
        statement = statement.where(refused_credentials.c.fingerprint.in_(fingerprints))
    result = await connection.execute(statement)
    if result.rowcount:
        await changes.append(connection, [changes.CREDENTIALS], now_ms)
    return result.rowcount

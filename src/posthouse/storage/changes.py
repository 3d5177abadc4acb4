"""The feed of changes: how every process learns what another has written.

A change is written in the transaction that it tells of. Its subject says what
to forget: `configuration`, `credentials` (those that providers refuse),
`key:<id>`, `account:<id>`, or `everything` where too much has changed at once
to be named.

Readers go on behind the last number that they have seen, so a number must never
be committed after a higher one: `Database.write` has one writer at a time.
"""

from collections.abc import Iterable

from msgspec import Struct
from sqlalchemy import delete, func, insert, select, text

from posthouse.storage.engine import AsyncConnection
from posthouse.storage.schema import changes

CONFIGURATION = "configuration"
CREDENTIALS = "credentials"
EVERYTHING = "everything"
KEY_PREFIX = "key:"
MOST_AT_ONCE = 1000

# A sequence does not take back what a transaction that failed has drawn of it,
# and the readers would take the gap for changes that were deleted.
_CLOSE_GAP = text(
    "SELECT setval(pg_get_serial_sequence('changes', 'seq'), max(seq)) FROM changes"
    " HAVING max(seq) IS NOT NULL"
)


class Changes(Struct, frozen=True):
    """What has changed since the last look."""

    seq: int
    """The last change seen; where the next look begins."""
    configuration: bool
    """Whether channels, prices or fallbacks must be read again."""
    keys: tuple[str, ...]
    """The ids of keys to forget."""
    others: tuple[str, ...]
    """Further subjects, as they were written."""
    gap: bool
    """Whether some are not named here: forget everything and read again."""


def key_subject(key_id: str) -> str:
    """Name the change of a key."""
    return KEY_PREFIX + key_id


async def append(
    connection: AsyncConnection, subjects: Iterable[str], created_ms: int
) -> None:
    """Tell of changes in the transaction, of `Database.write`, that makes them."""
    told = list(dict.fromkeys(subjects))
    if len(told) > MOST_AT_ONCE:
        # A look must be enough to learn of all that was committed together.
        told = [EVERYTHING]
    rows = [{"subject": subject, "created_ms": created_ms} for subject in told]
    if rows:
        if connection.dialect.name == "postgresql":
            await connection.execute(_CLOSE_GAP)
        await connection.execute(insert(changes), rows)


async def latest(connection: AsyncConnection) -> int:
    """Give the number of the last change; 0 before the first."""
    found = await connection.scalar(select(func.max(changes.c.seq)))
    return int(found or 0)


async def since(connection: AsyncConnection, seq: int) -> Changes:
    """Read the changes after a number, a bounded number of them at once."""
    statement = (
        select(changes.c.seq, changes.c.subject)
        .where(changes.c.seq > seq)
        .order_by(changes.c.seq)
        .limit(MOST_AT_ONCE)
    )
    rows = (await connection.execute(statement)).all()
    if not rows:
        return Changes(seq, configuration=False, keys=(), others=(), gap=False)
    subjects = dict.fromkeys(row.subject for row in rows)
    keys = tuple(
        subject.removeprefix(KEY_PREFIX)
        for subject in subjects
        if subject.startswith(KEY_PREFIX)
    )
    others = tuple(
        subject
        for subject in subjects
        if subject not in {CONFIGURATION, EVERYTHING}
        and not subject.startswith(KEY_PREFIX)
    )
    last = rows[-1].seq
    return Changes(
        seq=last,
        configuration=CONFIGURATION in subjects,
        keys=keys,
        others=others,
        gap=last - seq != len(rows) or EVERYTHING in subjects,
    )


async def prune(connection: AsyncConnection, before_ms: int) -> int:
    """Delete what was written before a time that every process has passed."""
    result = await connection.execute(
        delete(changes).where(changes.c.created_ms < before_ms)
    )
    return result.rowcount

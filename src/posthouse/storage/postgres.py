"""Connections to PostgreSQL, and the locks by which writers take turns.

The driver is imported on first use: an installation on SQLite never loads it.
Nothing that is raised here holds the password.

Three locks keep what one writer keeps by itself on SQLite. They belong to the
database, so all nodes obey them. `WRITERS`: whoever changes the configuration,
keys or credits waits for the one before, so that what it has read stays true and
the numbers of the changes feed are in the order of the commits. `NUMBERS`: whoever
inserts transfers shares it from before it takes their numbers until it commits;
who holds it alone knows that below the newest number nothing is missing any more.
`RUNS`: runs are made by one node at a time.
"""

import socket
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from sqlalchemy import func, select

from posthouse.storage.engine import AsyncConnection

if TYPE_CHECKING:
    import asyncpg

WRITERS: Final = 0x706F7374_0001
NUMBERS: Final = 0x706F7374_0002
RUNS: Final = 0x706F7374_0003

APPLICATION: Final = "posthouse"
CONNECT_SECONDS: Final = 5.0
STATEMENT_MS: Final = 120_000
LOCK_MS: Final = 120_000
"""A node may wait for others that apply a large file."""
IDLE_MS: Final = 60_000
"""For which a transaction may do nothing before the server ends it."""
_SILENCE: Final = {
    socket.TCP_KEEPIDLE: 10,
    socket.TCP_KEEPINTVL: 3,
    socket.TCP_KEEPCNT: 3,
    socket.TCP_USER_TIMEOUT: 15_000,
}
"""Seconds, a count, and milliseconds for what was sent to be acknowledged."""


class DatabaseUnreachable(ConnectionError):
    """PostgreSQL does not answer, or does not let us in; str() tells why."""


async def connect(
    url: str,
    *,
    timeout: float = CONNECT_SECONDS,  # noqa: ASYNC109 - the driver's own, for each step
    settings: Mapping[str, str] | None = None,
) -> "asyncpg.Connection":
    """Open a connection; raises DatabaseUnreachable.

    Args:
        url: as PostgreSQL's own clients take it.
        timeout: seconds until it must be there.
        settings: parameters of the session beside, or instead of, the usual ones.
    """
    import asyncpg  # noqa: PLC0415 - see the module's docstring

    usual = {
        "application_name": APPLICATION,
        "statement_timeout": str(STATEMENT_MS),
        "lock_timeout": str(LOCK_MS),
        "idle_in_transaction_session_timeout": str(IDLE_MS),
        "jit": "off",
    }
    try:
        connection = await asyncpg.connect(
            url, timeout=timeout, server_settings={**usual, **(settings or {})}
        )
    except (asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        raise DatabaseUnreachable(f"PostgreSQL: {error}") from None
    except TimeoutError:
        reason = f"PostgreSQL does not answer within {timeout:g} seconds"
        raise DatabaseUnreachable(reason) from None
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise DatabaseUnreachable(f"PostgreSQL: {reason}") from None
    _notice_silence(connection)
    return connection


def _notice_silence(connection: "asyncpg.Connection") -> None:
    """Let the system end a connection to a machine that is gone.

    Else whoever waits for an answer when a server fails over waits for a quarter of
    an hour, and hears of no change meanwhile.
    """
    transport = connection._transport  # noqa: SLF001 - the driver has no option for it
    found = transport.get_extra_info("socket")
    if found is not None and found.family != socket.AF_UNIX:
        found.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for option, value in _SILENCE.items():
            found.setsockopt(socket.IPPROTO_TCP, option, value)


async def take_turn(connection: AsyncConnection, *, patient: bool = False) -> None:
    """Be the only writer until the transaction ends; nothing on SQLite.

    Args:
        connection: a transaction that has just begun.
        patient: wait, and work, for as long as it takes.
    """
    if connection.dialect.name == "postgresql":
        if patient:
            await relax(connection)
        await connection.execute(select(func.pg_advisory_xact_lock(WRITERS)))


async def share_numbers(connection: AsyncConnection) -> None:
    """Before transfers are inserted: see `NUMBERS`; nothing on SQLite."""
    if connection.dialect.name == "postgresql":
        await connection.execute(select(func.pg_advisory_xact_lock_shared(NUMBERS)))


async def relax(connection: AsyncConnection) -> None:
    """Let the transaction's statements take any time; nothing on SQLite."""
    if connection.dialect.name == "postgresql":
        for name in ("statement_timeout", "lock_timeout"):
            await connection.execute(select(func.set_config(name, "0", True)))

"""Databases of tests, and which kind the tests of money are on: see `store`.

To bring about the schema takes longer than most tests do: it is done once in each
process, and copied from then on.
"""

import asyncio
import functools
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

from posthouse.cli.installation import DATABASE_NAME
from posthouse.storage.database import Database, sqlite_url
from posthouse.storage.migrate import migrate

if TYPE_CHECKING:
    from tests.support.postgres import Server

server: "Server | None" = None
"""Set while tests run on PostgreSQL."""


def new_installation(path: Path) -> str:
    """The URL of a database with the schema and the house's accounts.

    Args:
        path: where it is if it is SQLite's; there is nothing yet.
    """
    if server is not None:
        return server.new_installation()
    path.write_bytes(_migrated())
    return sqlite_url(path)


def new_database(path: Path) -> str:
    """The URL of an empty database."""
    return sqlite_url(path) if server is None else server.new_database()


def lay_out(data: Path) -> None:
    """Make a data folder as it is after a first start, but for the secret."""
    data.mkdir(mode=0o700)
    (data / DATABASE_NAME).write_bytes(_migrated())


@functools.cache
def _migrated() -> bytes:
    """A database of SQLite with the schema and the house's accounts."""
    with (
        tempfile.TemporaryDirectory() as folder,
        # Whoever asks may run in a loop.
        ThreadPoolExecutor(1) as thread,
    ):
        path = Path(folder) / DATABASE_NAME
        thread.submit(asyncio.run, _migrate(path)).result()
        return path.read_bytes()


async def _migrate(path: Path) -> None:
    database = Database(sqlite_url(path))
    await migrate(database)
    await database.close()

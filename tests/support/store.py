"""Which database the tests of money and configuration are on: see `store`."""

from pathlib import Path
from typing import TYPE_CHECKING

from posthouse.storage.database import sqlite_url

if TYPE_CHECKING:
    from tests.support.postgres import Server

server: "Server | None" = None
"""Set while tests run on PostgreSQL."""


def new_installation(path: Path) -> str:
    """The URL of a database: a file that is to be made, or one with the schema."""
    return sqlite_url(path) if server is None else server.new_installation()


def new_database(path: Path) -> str:
    """The URL of an empty database."""
    return sqlite_url(path) if server is None else server.new_database()

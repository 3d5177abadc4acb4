"""Brings a database to the schema that this version of the program needs.

An empty database is given the schema as it is now, without the steps that led
to it. Alembic is imported only when there are steps to go: a start with an
up-to-date database reads one row. Concurrent starters wait for each other at
the database's write lock; the second finds nothing to do.
"""

from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import (
    Column,
    Connection,
    MetaData,
    PrimaryKeyConstraint,
    String,
    Table,
    insert,
    inspect,
    text,
)

from posthouse.storage.database import Database
from posthouse.storage.ledger_accounts import ensure_house_accounts
from posthouse.storage.schema import metadata

if TYPE_CHECKING:
    from alembic.config import Config

HEAD = "0001"
"""The newest step in migrations/versions."""

_VERSION = Table(
    "alembic_version",
    MetaData(),
    Column("version_num", String(32), nullable=False),
    PrimaryKeyConstraint("version_num", name="alembic_version_pkc"),
)
"""As Alembic makes it."""


class UnknownSchema(Exception):
    """The database was made by a newer version of the program."""


async def migrate(database: Database) -> list[str]:
    """Apply the steps that are missing; give their names, oldest first.

    Of an empty database only the newest is named. Raises UnknownSchema.
    """
    async with database.read() as connection:
        version = await connection.run_sync(_version)
    if version == HEAD:
        return []
    async with database.write() as connection:
        empty = await connection.run_sync(_is_empty)
        applied = await connection.run_sync(_create if empty else _upgrade)
        await ensure_house_accounts(connection)
    return applied


async def schema_version(database: Database) -> str | None:
    """The step that the database is at; None for an empty one."""
    async with database.read() as connection:
        return await connection.run_sync(_version)


def configuration(connection: Connection | None = None) -> "Config":
    """Alembic's configuration, for a connection whose transaction is ours."""
    from alembic.config import Config  # noqa: PLC0415 - costs 100 ms at start-up

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    return config


def _version(connection: Connection) -> str | None:
    if not inspect(connection).has_table("alembic_version"):
        return None
    version = connection.scalar(text("SELECT version_num FROM alembic_version"))
    return None if version is None else str(version)


def _is_empty(connection: Connection) -> bool:
    return not inspect(connection).get_table_names()


def _create(connection: Connection) -> list[str]:
    """Make the newest schema at once."""
    metadata.create_all(connection)
    _VERSION.create(connection)
    connection.execute(insert(_VERSION).values(version_num=HEAD))
    return [HEAD]


def _upgrade(connection: Connection) -> list[str]:
    """Apply within the transaction of `connection`, which holds the write lock."""
    from alembic import command  # noqa: PLC0415 - as above
    from alembic.script import ScriptDirectory  # noqa: PLC0415 - as above

    config = configuration(connection)
    steps = [
        step.revision
        for step in reversed(list(ScriptDirectory.from_config(config).walk_revisions()))
    ]
    before = _version(connection)
    if before is not None and before not in steps:
        raise UnknownSchema(f"the database is at step {before}, unknown here")
    command.upgrade(config, "head")
    return steps if before is None else steps[steps.index(before) + 1 :]

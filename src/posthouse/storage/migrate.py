"""Brings a database to the schema that this version of the program needs.

An empty database is given the schema as it is now, without the steps that led
to it. Alembic is imported only when there are steps to go: a start with an
up-to-date database reads one row.

Each step is one transaction with the number that says it is done, so whoever dies
in one leaves the database at the step before, and the next start goes on there.
Concurrent starters wait for each other at the database's write lock; those that
come second find nothing to do.
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
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from posthouse.storage.database import Database
from posthouse.storage.ledger.accounts import ensure_house_accounts
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


class MigrationFailed(Exception):
    """A step could not be done, and nothing of it was kept; str() tells why."""


async def migrate(database: Database) -> list[str]:
    """Apply the steps that are missing; give their names, oldest first.

    Of an empty database only the newest is named. Raises UnknownSchema and
    MigrationFailed.
    """
    version = await schema_version(database)
    applied: list[str] = []
    while version != HEAD:
        async with database.write(patient=True) as connection:
            before = await connection.run_sync(_version)
            try:
                version = await connection.run_sync(_advance)
                await ensure_house_accounts(connection)
            except (SQLAlchemyError, OSError) as error:
                raise MigrationFailed(_reason(before, error)) from error
        if version != before:
            applied.append(version)
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


def _advance(connection: Connection) -> str:
    """Go one step, if there is one to go; give the step that is reached then."""
    if _is_empty(connection):
        metadata.create_all(connection)
        _VERSION.create(connection)
        connection.execute(insert(_VERSION).values(version_num=HEAD))
        return HEAD
    version = _version(connection)
    if version == HEAD:
        # Somebody else did it while we waited.
        return HEAD
    following = _following(version)
    from alembic import command  # noqa: PLC0415 - as above

    command.upgrade(configuration(connection), following)
    return following


def _following(version: str | None) -> str:
    """The step after one, or the first; raises UnknownSchema."""
    from alembic.script import ScriptDirectory  # noqa: PLC0415 - as above

    script = ScriptDirectory.from_config(configuration())
    steps = [step.revision for step in reversed(list(script.walk_revisions()))]
    if version is None:
        return steps[0]
    if version not in steps:
        raise UnknownSchema(f"the database is at step {version}, unknown here")
    return steps[steps.index(version) + 1]


def _reason(before: str | None, error: Exception) -> str:
    """Say where the database stands after a step that could not be done."""
    cause = error.orig if isinstance(error, DBAPIError) else error
    place = "still empty" if before is None else f"still at step {before}"
    return f"the schema could not be brought up to date ({cause}); it is {place}"

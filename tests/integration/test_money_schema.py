"""The schema's history leads to the schema, once, and starts cost nothing."""

import asyncio
import subprocess
import sys

import pytest
from sqlalchemy import text

from posthouse.storage.database import Database, sqlite_url
from posthouse.storage.migrate import (
    HEAD,
    UnknownSchema,
    configuration,
    migrate,
    schema_version,
)
from posthouse.storage.schema import metadata


@pytest.fixture
async def database(tmp_path):
    database = Database(sqlite_url(tmp_path / "posthouse.db"))
    yield database
    await database.close()


def go(connection, revision: str = "head") -> None:
    """Apply the steps one by one."""
    from alembic import command

    command.upgrade(configuration(connection), revision)


async def test_the_steps_lead_to_what_the_tables_say(database):
    """Comparing the migrated database with the metadata finds nothing."""
    from alembic.autogenerate import compare_metadata
    from alembic.migration import MigrationContext

    assert await schema_version(database) is None
    async with database.write() as connection:
        await connection.run_sync(go)
    assert await schema_version(database) == HEAD

    def compare(connection):
        context = MigrationContext.configure(connection)
        return compare_metadata(context, metadata)

    async with database.read() as connection:
        assert await connection.run_sync(compare) == []
        made = await connection.run_sync(_tables)
    other = Database("sqlite+aiosqlite://")
    assert await migrate(other) == [HEAD]
    assert await schema_version(other) == HEAD
    async with other.read() as connection:
        assert made == await connection.run_sync(_tables)
    await other.close()


def _tables(connection) -> dict[str, set[str]]:
    """Each table's and index's definition, as a set of its lines."""
    rows = connection.execute(
        text("SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL")
    )
    return {
        row.name: {line.strip().rstrip(",") for line in row.sql.splitlines()}
        for row in rows
    }


async def test_no_start_without_steps_loads_alembic(database):
    """Neither making a database nor finding it up to date needs Alembic."""
    program = (
        "import asyncio, sys\n"
        "from posthouse.storage.database import Database\n"
        "from posthouse.storage.migrate import migrate\n"
        f"asyncio.run(migrate(Database({database.url!r})))\n"
        "assert not [name for name in sys.modules if name.startswith('alembic')]\n"
    )
    for _ in range(2):
        subprocess.run([sys.executable, "-c", program], check=True)
    assert await migrate(database) == []


async def test_the_head_is_the_newest_step():
    """HEAD and the versions folder agree, and there is one line of steps."""
    from alembic.script import ScriptDirectory

    assert ScriptDirectory.from_config(configuration()).get_heads() == [HEAD]


async def test_a_newer_database_is_refused(database):
    """An older program does not touch what it does not know."""
    await migrate(database)
    async with database.write() as connection:
        await connection.execute(text("UPDATE alembic_version SET version_num = '9'"))
    with pytest.raises(UnknownSchema):
        await migrate(database)


async def test_concurrent_starters_migrate_once(tmp_path):
    """Of several that start together one applies the steps, the others none."""
    databases = [Database(sqlite_url(tmp_path / "posthouse.db")) for _ in range(4)]
    results = await asyncio.gather(*(migrate(database) for database in databases))
    assert sorted(results) == [[], [], [], [HEAD]]
    for database in databases:
        await database.close()


async def test_a_step_back_leaves_nothing(database):
    """The first step's downgrade removes every table."""
    from alembic import command

    await migrate(database)
    async with database.write() as connection:
        await connection.run_sync(
            lambda sync: command.downgrade(configuration(sync), "base")
        )
        names = await connection.execute(
            text("SELECT name FROM sqlite_master WHERE type = 'table'")
        )
        left = {name for name in names.scalars() if not name.startswith("sqlite_")}
        assert left == {"alembic_version"}


async def test_a_failed_step_leaves_the_database_as_it_was(database, monkeypatch):
    """Steps and their version are one transaction."""
    from posthouse.storage import migrate as module

    async def fail(connection) -> None:
        raise RuntimeError("planted")

    monkeypatch.setattr(module, "ensure_house_accounts", fail)
    with pytest.raises(RuntimeError):
        await migrate(database)
    monkeypatch.undo()
    assert await schema_version(database) is None
    assert await migrate(database) == [HEAD]

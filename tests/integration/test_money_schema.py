"""The schema's history leads to the schema, once, and starts cost nothing."""

import asyncio
import itertools
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from sqlalchemy import inspect, text
from tests.support import store as stores

from posthouse.storage.database import Database
from posthouse.storage.migrate import (
    HEAD,
    MigrationFailed,
    UnknownSchema,
    configuration,
    migrate,
    schema_version,
)
from posthouse.storage.schema import metadata


@pytest.fixture
async def database(tmp_path, store):
    database = Database(stores.new_database(tmp_path / "posthouse.db"))
    yield database
    await database.close()


def go(connection, revision: str = "head") -> None:
    """Apply the steps one by one."""
    from alembic import command

    command.upgrade(configuration(connection), revision)


def _is_declared(item, _name, kind, _reflected, _other) -> bool:
    """Whether an object of the metadata is meant for this database."""
    condition = getattr(item, "_ddl_if", None)
    return kind != "foreign_key_constraint" or condition is None


async def test_the_steps_lead_to_what_the_tables_say(database, tmp_path):
    """Comparing the migrated database with the metadata finds nothing."""
    from alembic.autogenerate import compare_metadata
    from alembic.migration import MigrationContext

    assert await schema_version(database) is None
    async with database.write() as connection:
        await connection.run_sync(go)
    assert await schema_version(database) == HEAD

    def compare(connection):
        context = MigrationContext.configure(
            connection, opts={"include_object": _is_declared}
        )
        return compare_metadata(context, metadata)

    async with database.read() as connection:
        assert await connection.run_sync(compare) == []
        made = await connection.run_sync(_tables)
    other = Database(stores.new_database(tmp_path / "other.db"))
    assert await migrate(other) == [HEAD]
    assert await schema_version(other) == HEAD
    async with other.read() as connection:
        assert made == await connection.run_sync(_tables)
    await other.close()


def _tables(connection) -> dict[str, set[str]]:
    """Each table's and index's definition, as a set of its lines."""
    if connection.dialect.name == "postgresql":
        rows = connection.execute(text(_DESCRIBED))
        found: dict[str, set[str]] = {}
        for name, line in rows:
            found.setdefault(name, set()).add(line)
        return found
    rows = connection.execute(
        text("SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL")
    )
    return {
        row.name: {line.strip().rstrip(",") for line in row.sql.splitlines()}
        for row in rows
    }


_DESCRIBED = """
    SELECT table_name, concat_ws(' ', column_name, data_type, is_nullable,
        column_default) FROM information_schema.columns WHERE table_schema = 'public'
    UNION ALL
    SELECT tablename, indexdef FROM pg_indexes WHERE schemaname = 'public'
    UNION ALL
    SELECT conrelid::regclass::text, conname || pg_get_constraintdef(oid)
    FROM pg_constraint WHERE connamespace = 'public'::regnamespace
"""


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


async def test_concurrent_starters_migrate_once(database):
    """Of several that start together one applies the steps, the others none."""
    databases = [Database(database.url) for _ in range(4)]
    results = await asyncio.gather(*(migrate(database) for database in databases))
    assert sorted(results) == [[], [], [], [HEAD]]
    for item in databases:
        await item.close()


async def test_a_step_back_leaves_nothing(database):
    """The first step's downgrade removes every table."""
    from alembic import command

    await migrate(database)
    async with database.write() as connection:
        await connection.run_sync(
            lambda sync: command.downgrade(configuration(sync), "base")
        )
        left = await connection.run_sync(lambda sync: inspect(sync).get_table_names())
        assert left == ["alembic_version"]


async def test_a_failed_step_leaves_the_database_as_it_was(database, monkeypatch):
    """Steps and their version are one transaction, and a failure says where it is."""
    from posthouse.storage import migrate as module

    async def fail(_connection) -> None:
        raise OSError("planted")

    monkeypatch.setattr(module, "ensure_house_accounts", fail)
    with pytest.raises(MigrationFailed, match=r"planted.*still empty"):
        await migrate(database)
    monkeypatch.undo()
    assert await schema_version(database) is None
    assert await migrate(database) == [HEAD]


async def test_a_start_that_is_killed_in_a_step_is_made_good_by_the_next(database):
    """Everything of the step is written but for the commit."""
    program = (
        "import asyncio, os\n"
        "from posthouse.storage import migrate as module\n"
        "from posthouse.storage.database import Database\n"
        "async def die(connection):\n"
        "    os.kill(os.getpid(), 9)\n"
        "module.ensure_house_accounts = die\n"
        f"asyncio.run(module.migrate(Database({database.url!r})))\n"
    )
    killed = subprocess.run([sys.executable, "-c", program], check=False)
    assert killed.returncode == -9
    assert await schema_version(database) is None
    assert await migrate(database) == [HEAD]


MORE_STEPS = """
import sqlalchemy as sa
from alembic import op
revision, down_revision = "{number}", "{before}"
branch_labels = depends_on = None

def upgrade() -> None:
    op.create_table("step_{number}", sa.Column("id", sa.Integer(), primary_key=True))
    op.execute("INSERT INTO step_{number} VALUES (1)")
    op.execute("INSERT INTO step_{number} VALUES ({value})")
"""


class TestMoreSteps:
    """Two steps beyond today's, of which the second may not work."""

    @pytest.fixture
    def steps(self, tmp_path, monkeypatch):
        """Write the second step, so that it inserts a value beside 1."""
        from posthouse.storage import migrate as module

        folder = tmp_path / "migrations"
        shutil.copytree(Path(module.__file__).parent / "migrations", folder)
        configured = configuration

        def elsewhere(connection=None):
            config = configured(connection)
            config.set_main_option("script_location", str(folder))
            return config

        def write(value: int) -> None:
            numbers = [HEAD, "8888", "9999"]
            for before, number in itertools.pairwise(numbers):
                content = MORE_STEPS.format(
                    number=number, before=before, value=2 if number == "8888" else value
                )
                (folder / "versions" / f"m{number}.py").write_text(content)
            # Written twice within a second, and of the same size, it would pass
            # for what was compiled before.
            shutil.rmtree(folder / "versions" / "__pycache__", ignore_errors=True)

        def begin() -> None:
            monkeypatch.setattr(module, "configuration", elsewhere)
            monkeypatch.setattr(module, "HEAD", "9999")

        write(2)
        return write, begin

    async def test_a_failed_step_keeps_those_before_and_the_next_start_goes_on(
        self, database, steps
    ):
        """Nothing of the step that failed is left, and nothing is done twice."""
        write, begin = steps
        await migrate(database)
        begin()
        write(1)
        with pytest.raises(MigrationFailed, match="still at step 8888"):
            await migrate(database)
        assert await schema_version(database) == "8888"
        async with database.read() as connection:
            names = await connection.run_sync(
                lambda sync: inspect(sync).get_table_names()
            )
        assert "step_8888" in names
        assert "step_9999" not in names
        write(3)
        assert await migrate(database) == ["9999"]
        assert await migrate(database) == []

    async def test_starters_that_come_together_do_each_step_once(self, database, steps):
        """Whoever waits finds the step done, or does the next."""
        _, begin = steps
        await migrate(database)
        begin()
        databases = [Database(database.url) for _ in range(3)]
        results = await asyncio.gather(*(migrate(item) for item in databases))
        assert sorted(step for done in results for step in done) == ["8888", "9999"]
        for item in databases:
            await item.close()

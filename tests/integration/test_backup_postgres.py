"""The nodes' backups and then PostgreSQL's own, under load, restored elsewhere."""

import asyncio
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from msgspec import structs
from tests.integration.test_backup import (
    BALANCE,
    CALLERS,
    CONFIGURATION,
    Load,
    loaded,
    source_of,
)
from tests.support.postgres import Server, execute, programs
from tests.support.posthouse import Posthouse

from posthouse.billing.audit import AuditReport
from posthouse.billing.recovery import Recovery, recover
from posthouse.settings.environment import load_settings
from posthouse.storage.audit import audit
from posthouse.storage.backup.restore import restore
from posthouse.storage.backup.writing import make_backup
from posthouse.storage.database import Database
from posthouse.storage.ledger.choice import open_ledger

BALANCE_OF_KEY = (
    "SELECT balance FROM accounts JOIN keys ON account_id = accounts.id"
    " WHERE name = 'app'"
)


@pytest.fixture(scope="module")
def url(postgres: Server) -> Iterator[str]:
    """A database, which every command that is started uses."""
    with pytest.MonkeyPatch.context() as patch:
        found = postgres.new_database()
        patch.setenv("POSTHOUSE_DATABASE", found)
        yield found


@pytest.fixture(scope="module")
def posthouse(
    url: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Posthouse]:
    environment = {
        "POSTHOUSE_WORKERS": "2",
        "POSTHOUSE_JOURNAL_SEGMENT_BYTES": str(64 * 1024),
    }
    folder = tmp_path_factory.mktemp("backup")
    with Posthouse(folder, CONFIGURATION, environment) as running:
        yield running


def run(program: str, *arguments: object) -> None:
    command = [programs() / program, *map(str, arguments)]
    subprocess.run(command, check=True, timeout=60)


def prices(url: str) -> dict[str, int]:
    return dict(execute(url, "SELECT id, price FROM calls WHERE price > 0"))


def recovered(url: str, data: Path) -> Recovery:
    """Do what a node does when it starts."""
    with closing(open_ledger(url, data, durable=False)) as ledger:
        return recover(data / "journal", ledger)


async def audited(url: str, data: Path) -> AuditReport:
    database = Database(url)
    try:
        return await audit(database, data / "journal")
    finally:
        await database.close()


def wait_until_known(url: str, load: Load) -> dict[str, int]:
    end = time.monotonic() + 15
    while not load.ended.keys() <= (found := prices(url)).keys():
        assert time.monotonic() < end, "calls are not in the database"
        time.sleep(0.1)
    return found


def test_nodes_first_then_the_database(posthouse, postgres, url, tmp_path):
    """Nothing that was answered before is missing, nothing is charged twice."""
    node, dump = tmp_path / "node.tar", tmp_path / "dump"
    with loaded(posthouse.url) as load:
        time.sleep(0.6)
        before = time.time()
        make_backup(structs.replace(source_of(posthouse.data), database=None), node)
        run("pg_dump", "--format=custom", f"--file={dump}", url)
        after = time.time()
        time.sleep(0.6)
    all_prices = wait_until_known(url, load)

    elsewhere = postgres.new_database()
    run("pg_restore", "--no-owner", "--dbname", elsewhere, dump)
    data = tmp_path / "data"
    settings = load_settings(data=data, database=elsewhere)
    assert asyncio.run(restore(node, settings)).report is None
    recovery = recovered(elsewhere, data)
    report = asyncio.run(audited(elsewhere, data))
    assert report.clean, [check for check in report.checks if not check.passed]

    charged = prices(elsewhere)
    had_ended = {name for name, (_, end) in load.ended.items() if end < before}
    had_begun = {name for name, (began, _) in load.ended.items() if began < after}
    assert had_ended
    assert had_ended <= charged.keys() <= had_begun < load.ended.keys()
    differing = {name for name in charged if charged[name] != all_prices[name]}
    assert len(differing) <= recovery.charged <= CALLERS
    [[left]] = execute(elsewhere, BALANCE_OF_KEY)
    assert BALANCE - left == sum(charged.values())


@pytest.mark.slow
def test_the_wrong_order_is_seen(posthouse, postgres, url, tmp_path):
    """What the database was given between the two is in neither: why order matters."""
    node, dump = tmp_path / "node.tar", tmp_path / "dump"
    with loaded(posthouse.url) as load:
        time.sleep(0.3)
        run("pg_dump", "--format=custom", f"--file={dump}", url)
        # Until the journals were drained, and their segments of that time have gone.
        segments = set((posthouse.data / "journal").rglob("*.segment"))
        before = time.time()
        while any(path.exists() for path in segments):
            assert time.time() < before + 30
            time.sleep(0.05)
        make_backup(structs.replace(source_of(posthouse.data), database=None), node)
    elsewhere = postgres.new_database()
    run("pg_restore", "--no-owner", "--dbname", elsewhere, dump)
    data = tmp_path / "data"
    asyncio.run(restore(node, load_settings(data=data, database=elsewhere)))
    recovered(elsewhere, data)
    had_ended = {name for name, (_, end) in load.ended.items() if end < before}
    assert had_ended - prices(elsewhere).keys()

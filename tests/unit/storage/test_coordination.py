"""The shared counters in SQLite: lost, damaged, locked, full, swept, of the dead."""

import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import structlog
from tests.unit.access.counting import Clock

from posthouse.access.counters import Answer, Ask
from posthouse.access.ports import CountersUnavailable
from posthouse.access.windows import Rates
from posthouse.storage.coordination import local as coordination
from posthouse.storage.coordination.local import SqliteCounters
from posthouse.storage.coordination.owners import Owners

RATES = Rates(requests=5)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def stores(tmp_path: Path, clock: Clock) -> AsyncIterator[list[SqliteCounters]]:
    """Two owners of one file."""
    stores = [SqliteCounters(tmp_path, clock, "boot") for _ in range(2)]
    for store in stores:
        store.start()
    yield stores
    for store in stores:
        await store.close()


async def ask(
    store: SqliteCounters, calls: int, rates: Rates = RATES, subject: str = "s"
) -> Answer:
    (told,) = await store.exchange([Ask(subject, rates, 2, calls=((0, 0),) * calls)])
    return told


def admitted(told: Answer) -> int:
    return sum(isinstance(verdict, int) for verdict in told.verdicts)


async def test_both_count_in_one_place(stores: list[SqliteCounters]) -> None:
    """What one has taken the other does not get."""
    one, other = stores
    assert admitted(await ask(one, 3)) == 3
    assert admitted(await ask(other, 3)) == 2


async def test_counts_outlive_a_restart(
    stores: list[SqliteCounters], tmp_path: Path, clock: Clock
) -> None:
    """Of all processes, but not of the machine."""
    await ask(stores[0], 4)
    for store in stores:
        await store.close()
    for boot, expected in (("boot", 1), ("next", 5)):
        later = SqliteCounters(tmp_path, clock, boot)
        later.start()
        assert admitted(await ask(later, 9)) == expected
        await later.close()


async def test_lost_file_is_made_anew(
    stores: list[SqliteCounters], tmp_path: Path
) -> None:
    """Both notice, and go on counting together."""
    for store in stores:
        await ask(store, 2)
    for path in tmp_path.glob("coordination.db*"):
        path.unlink()
    assert admitted(await ask(stores[0], 3)) == 3
    assert admitted(await ask(stores[1], 3)) == 2


@pytest.mark.parametrize("others_know", [True, False])
async def test_damaged_file_is_made_anew(
    stores: list[SqliteCounters], tmp_path: Path, *, others_know: bool
) -> None:
    """Whatever is in its place, and whoever finds it first."""
    if others_know:
        await ask(stores[1], 2)
        # Else what is not yet in the file itself would cover the damage.
        with sqlite3.connect(tmp_path / "coordination.db") as connection:
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        connection.close()
    (tmp_path / "coordination.db").write_bytes(b"not a database, " * 4096)
    assert admitted(await ask(stores[0], 3)) == 3
    assert admitted(await ask(stores[1], 3)) == 2


async def test_damage_inside_is_found(
    stores: list[SqliteCounters], tmp_path: Path
) -> None:
    """A tally that cannot be read, and tables that are not ours."""
    path = tmp_path / "coordination.db"
    await ask(stores[0], 5)
    for statement in ("UPDATE subjects SET tally = x'c1'", "DROP TABLE subjects"):
        with sqlite3.connect(path, isolation_level=None) as connection:
            connection.execute(statement)
        connection.close()
        assert admitted(await ask(stores[0], 9)) == 5
        assert admitted(await ask(stores[1], 1)) == 0


async def test_file_of_another_version_is_made_anew(
    tmp_path: Path, clock: Clock
) -> None:
    """It may be lost, so nothing is converted."""
    with sqlite3.connect(tmp_path / "coordination.db") as connection:
        connection.execute("PRAGMA user_version = 77")
    connection.close()
    store = SqliteCounters(tmp_path, clock)
    store.start()
    assert admitted(await ask(store, 9)) == 5
    await store.close()


async def test_lock_held_for_long_is_told(
    stores: list[SqliteCounters], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Callers learn that nothing was taken; later all is well again."""
    monkeypatch.setattr(coordination, "BUSY_SECONDS", 0.05)
    await ask(stores[0], 1)
    hog = sqlite3.connect(tmp_path / "coordination.db", isolation_level=None)
    hog.execute("BEGIN IMMEDIATE")
    with pytest.raises(CountersUnavailable, match="locked"):
        await ask(stores[0], 1)
    hog.execute("ROLLBACK")
    hog.close()
    assert admitted(await ask(stores[0], 9)) == 4


async def test_full_disk_is_told(stores: list[SqliteCounters], tmp_path: Path) -> None:
    """What does not fit is rolled back whole."""
    await ask(stores[0], 1)
    connection = stores[0]._connection
    assert connection is not None
    connection.execute("PRAGMA max_page_count = 1")
    asks = [Ask(f"{number:0300}", RATES, 2, 0, ((0, 0),)) for number in range(90)]
    with pytest.raises(CountersUnavailable, match="full"):
        await stores[0].exchange([Ask("s", RATES, 2, 0, ((0, 0),)), *asks])
    assert admitted(await ask(stores[1], 9)) == 4


async def test_fault_of_ours_ends_nothing(
    stores: list[SqliteCounters], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is logged, and the thread lives on."""
    with monkeypatch.context() as patch, structlog.testing.capture_logs() as logs:
        patch.setattr(coordination, "answer", None)
        with pytest.raises(CountersUnavailable):
            await ask(stores[0], 1)
    assert [entry["log_level"] for entry in logs] == ["error"]
    assert admitted(await ask(stores[0], 9)) == 5


async def test_unreachable_folder_is_told(tmp_path: Path, clock: Clock) -> None:
    """A file stands where the folder should be."""
    (tmp_path / "data").write_text("")
    store = SqliteCounters(tmp_path / "data", clock)
    store.start()
    with pytest.raises(CountersUnavailable):
        await ask(store, 1)
    await store.close()


async def test_places_of_one_that_has_left_are_free(
    stores: list[SqliteCounters],
) -> None:
    """Its lock is gone with it, however it went."""
    rates = Rates(concurrency=3)
    assert admitted(await ask(stores[0], 3, rates)) == 3
    told = await ask(stores[1], 1, rates)
    assert (admitted(told), told.others) == (0, 3)
    await stores[0].close()
    stores[1]._owners._alive.clear()
    assert admitted(await ask(stores[1], 4, rates)) == 3


async def test_newcomers_sweep_out_the_idle(
    stores: list[SqliteCounters], tmp_path: Path, clock: Clock
) -> None:
    """The file holds about those of the last minutes, and the busy ones."""
    await ask(stores[0], 1, Rates(concurrency=1), "busy")
    for number in range(0, 5000, 50):
        clock.now += 3
        asks = [
            Ask(f"passer {number + step}", RATES, 2, 0, ((0, 0),)) for step in range(50)
        ]
        await stores[number % 2].exchange(asks)
    with sqlite3.connect(tmp_path / "coordination.db") as connection:
        (rows,) = connection.execute("SELECT COUNT(*) FROM subjects").fetchone()
        names = connection.execute(
            "SELECT COUNT(*) FROM subjects WHERE name = 'busy'"
        ).fetchone()
    connection.close()
    assert rows < 3000
    assert names == (1,)


def test_the_dead_leave_no_files(tmp_path: Path) -> None:
    """Who enters clears away the locks of those that are gone."""
    one = Owners(tmp_path)
    one.me()
    (tmp_path / "dead").write_text("")
    other = Owners(tmp_path)
    assert other.me() != one.me()
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(
        [one.me(), other.me(), "making"]
    )
    assert not other.is_dead(one.me())
    assert other.is_dead("dead")
    name = one.me()
    one.leave()
    assert not (tmp_path / name).exists()
    other.leave()

"""Backups in a row: each restores its instant, and costs what has changed."""

import shutil
import signal
import sqlite3
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from msgspec import structs
from tests.integration.test_backup import (
    BALANCE,
    CONFIGURATION,
    Elsewhere,
    ask,
    loaded,
    source_of,
    wait_for_prices,
)
from tests.support.posthouse import COMMAND, Posthouse
from tests.support.processes import ROOT

from posthouse.storage.backup.archive import DamagedArchive, unpack
from posthouse.storage.backup.series import Retention, Series, list_series, read_facts
from posthouse.storage.backup.writing import BackupRefused, make_backup

DAY = Retention(86_400, 2)
CREDIT = 2 * 10**9
SECONDS = 0.5


@pytest.fixture(scope="module")
def posthouse(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Posthouse]:
    """A server of two workers, whose journals often turn over."""
    environment = {
        "POSTHOUSE_WORKERS": "2",
        "POSTHOUSE_JOURNAL_SEGMENT_BYTES": str(64 * 1024),
    }
    folder = tmp_path_factory.mktemp("series")
    with Posthouse(folder, CONFIGURATION, environment) as running:
        yield running


def test_each_of_a_series_under_load_is_one_instant(posthouse, tmp_path):
    """Calls, money and keys are as they were then, whichever of them is restored."""
    folder = tmp_path / "backups"
    made = []
    with (
        loaded(posthouse.url) as load,
        Series(source_of(posthouse.data), folder, DAY) as series,
    ):
        for number in range(5):
            time.sleep(0.4)
            if number == 2:
                posthouse.ask("key", "credit", "app", "2", "--id", "once")
                posthouse.ask("key", "create", "late")
            before = time.time()
            made.append((before, series.write(time.time())))
    wait_for_prices(posthouse, load)
    assert [read_facts(file).series.number for file in list_series(folder)] == [
        *range(5)
    ]
    for number, (before, backup) in enumerate(made):
        there = Elsewhere(backup.file, tmp_path / f"{number}.data")
        assert there.done.report.clean
        assert there.done.facts.instant_ms == backup.instant.at_ms
        charged = there.charged()
        paid_in = BALANCE + (CREDIT if number >= 2 else 0)
        assert paid_in - there.remaining() == sum(charged.values())
        had_ended = {name for name, (_, end) in load.ended.items() if end < before}
        assert had_ended <= charged.keys()
        instant = backup.instant.at_ms / 1000 + 0.001
        had_begun = {name for name, (began, _) in load.ended.items() if began < instant}
        assert charged.keys() <= had_begun
        names = {name for (name,) in there.ask("SELECT name FROM keys")}
        assert ("late" in names) == (number >= 2)
    # The folder stands for its newest.
    newest = Elsewhere(folder, tmp_path / "newest.data")
    assert newest.done.facts.instant_ms == made[-1][1].instant.at_ms


def test_a_part_holds_what_has_changed(posthouse, tmp_path):
    """However much there was before; and a later process goes on with the series."""
    folder = tmp_path / "backups"
    for _ in range(40):
        assert ask(posthouse.url).status == 200
    source = source_of(posthouse.data)
    wait_until_posted(posthouse)
    with Series(source, folder, DAY) as series:
        whole = series.write(time.time())
        first = series.write(time.time())
    assert ask(posthouse.url).status == 200
    wait_until_posted(posthouse)
    with Series(source, folder, DAY) as series:
        second = series.write(time.time())
    assert rows(first.file, tmp_path) == 0
    assert 1 <= rows(second.file, tmp_path) <= 4
    assert first.size < whole.size / 2
    there = Elsewhere(second.file, tmp_path / "data")
    assert there.done.report.clean
    assert len(there.charged()) == len(
        posthouse.ask("calls", "--limit", "100000", "--key", "app")
    )


def wait_until_posted(posthouse: Posthouse) -> None:
    """Return when the ledger has what has been asked for."""
    before = -1
    while (now := len(posthouse.ask("calls", "--limit", "100000"))) != before:
        before = now
        time.sleep(0.4)


def rows(file: Path, tmp_path: Path) -> int:
    """How many transfers a part holds."""
    place = tmp_path / f"{file.name}.unpacked"
    place.mkdir()
    unpack(file, place)
    with closing(sqlite3.connect(place / "changes.db")) as changes:
        [[count]] = changes.execute("SELECT count(*) FROM transfers").fetchall()
    return count


def test_a_series_ends_when_it_is_due_and_old_ones_go(posthouse, tmp_path):
    """The newest are kept, each with all that follows its whole one."""
    source, folder = source_of(posthouse.data), tmp_path / "backups"
    now = time.time()
    with Series(source, folder, Retention(3600, 2)) as series:
        for hour in range(4):
            for part in range(3):
                series.write(now + hour * 3600 + part)
    names = [file.name.partition("-")[0] for file in list_series(folder)]
    assert len(names) == 6
    assert len(set(names)) == 2
    assert max(names) == time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(now + 3 * 3600))


def test_another_database_begins_another_series(posthouse, tmp_path):
    """Its transfers have the same numbers and are not the same."""
    folder = tmp_path / "backups"
    with Series(source_of(posthouse.data), folder, DAY) as series:
        made = series.write(time.time())
    there = Elsewhere(made.file, tmp_path / "data")
    with closing(sqlite3.connect(there.data / "posthouse.db")) as database:
        newest = made.instant.series.newest
        database.execute("UPDATE transfers SET created_ms = 1 WHERE id = ?", (newest,))
        database.commit()
    with Series(source_of(there.data), folder, DAY) as series:
        assert series.write(time.time() + 1).instant.series.number == 0


def test_what_does_not_follow_is_refused(posthouse, tmp_path):
    """A part that is missing, or of another series; and nothing is left behind."""
    source, folder = source_of(posthouse.data), tmp_path / "backups"
    with Series(source, folder, DAY) as series:
        files = [series.write(time.time()).file for _ in range(4)]
        with pytest.raises(BackupRefused, match="another process"):
            Series(source, folder, DAY).__enter__()
    assert Elsewhere(files[1], tmp_path / "one").done.report.clean
    data = tmp_path / "data"
    files[1].rename(tmp_path / "aside")
    with pytest.raises(BackupRefused, match="is not beside it"):
        Elsewhere(files[3], data)
    shutil.copy(files[2], files[1])
    with pytest.raises(DamagedArchive, match="does not follow"):
        Elsewhere(files[3], data)
    cut = (tmp_path / "aside").read_bytes()
    files[1].write_bytes(cut[:-2000])
    with pytest.raises(DamagedArchive):
        Elsewhere(files[3], data)
    assert not any(data.iterdir())
    with pytest.raises(BackupRefused, match="no series"):
        Elsewhere(data, tmp_path / "none")
    elsewhere = structs.replace(source, database=None)
    with pytest.raises(BackupRefused, match="PostgreSQL"):
        Series(elsewhere, folder, DAY)


def test_the_command_goes_on_until_it_is_told(posthouse, tmp_path):
    """What was answered an interval before the disk was lost is there."""
    folder = tmp_path / "backups"
    command = [str(COMMAND), "backup", str(folder), "--every", str(SECONDS), "--json"]
    command += ["--data", str(posthouse.data)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE) as running:
        wait_for(folder, 1)
        with loaded(posthouse.url) as load:
            time.sleep(2)
        ended = time.time()
        have = len(list_series(folder))
        wait_for(folder, have + 2)
        running.send_signal(signal.SIGTERM)
        output, _ = running.communicate(timeout=20)
    assert running.returncode == 0
    assert output.count(b'"file"') == len(list_series(folder))
    there = Elsewhere(folder, tmp_path / "data")
    assert there.done.facts.instant_ms > ended * 1000
    assert load.ended.keys() <= there.charged().keys()
    assert not list(folder.glob(".*.tar.*"))


def test_who_loses_the_machine_loses_what_came_after_the_newest(tmp_path):
    """All at once and for good, under load: the minute that is promised, scaled."""
    folder = tmp_path / "backups"
    posthouse = Posthouse(tmp_path / "lost", CONFIGURATION).__enter__()
    try:
        command = [str(COMMAND), "backup", str(folder), "--every", str(SECONDS)]
        command += ["--data", str(posthouse.data)]
        with loaded(posthouse.url) as load:
            with subprocess.Popen(
                command, cwd=ROOT, stdout=subprocess.DEVNULL
            ) as running:
                wait_for(folder, 4)
                running.kill()
            had = len(load.ended)
            while len(load.ended) < had + 20:
                time.sleep(0.01)
    finally:
        posthouse.process.kill()
        posthouse.process.wait()
    shutil.rmtree(posthouse.data)
    there = Elsewhere(folder, tmp_path / "data")
    assert there.done.report.clean
    instant = there.done.facts.instant_ms / 1000
    charged = there.charged()
    assert BALANCE - there.remaining() == sum(charged.values())
    assert any(end < instant for _, end in load.ended.values())
    assert not load.ended.keys() <= charged.keys(), "something is lost"
    for name, (began, end) in load.ended.items():
        assert name in charged or end >= instant
        assert name not in charged or began < instant + 0.001


def test_of_responses_only_new_ones_are_copied(posthouse, tmp_path):
    """Unless the newest have gone: then their numbers may be others'."""
    first = make_backup(source_of(posthouse.data), tmp_path / "whole")
    here = Elsewhere(first.file, tmp_path / "data")
    path = here.data / "posthouse.db"
    text = "CREATE TABLE IF NOT EXISTS responses (id TEXT PRIMARY KEY, data BLOB)"
    with closing(sqlite3.connect(path, isolation_level=None)) as database:
        database.execute(text)
        columns = database.execute("PRAGMA table_info(responses)").fetchall()
        values = ",".join(
            "?" if name == "id" else "1" for _, name, *_ in sorted(columns)
        )

        def keep(*names: str) -> None:
            for name in names:
                database.execute(f"INSERT INTO responses VALUES ({values})", (name,))

        held = []
        with Series(source_of(here.data), tmp_path / "backups", DAY) as series:
            keep("a", "b", "c")
            series.write(time.time())
            keep("d", "e")
            held.append(series.write(time.time()).file)
            database.execute("DELETE FROM responses WHERE id IN ('d', 'e')")
            keep("f", "g", "h")
            held.append(series.write(time.time()).file)
            keep("i")
            held.append(series.write(time.time()).file)
    assert [names_in(file, tmp_path) for file in held] == ["de", "abcfgh", "i"]
    for file, names in zip(held, ("abcde", "abcfgh", "abcfghi"), strict=True):
        there = Elsewhere(file, tmp_path / f"{file.name}.data")
        rows = there.ask("SELECT id FROM responses ORDER BY id")
        assert "".join(name for (name,) in rows) == names


def names_in(file: Path, tmp_path: Path) -> str:
    """The responses that a part holds."""
    place = tmp_path / f"{file.name}.unpacked"
    place.mkdir()
    unpack(file, place)
    with closing(sqlite3.connect(place / "changes.db")) as changes:
        rows = changes.execute("SELECT id FROM responses ORDER BY id").fetchall()
    return "".join(name for (name,) in rows)


def wait_for(folder: Path, count: int) -> None:
    """Return when there are so many backups."""
    deadline = time.monotonic() + 20
    while len(list_series(folder)) < count:
        assert time.monotonic() < deadline
        time.sleep(0.05)

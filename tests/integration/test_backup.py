"""Backups of a server under load: restored elsewhere they are that instant's books."""

import asyncio
import json
import sqlite3
import stat
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from decimal import Decimal
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from msgspec import structs
from tests.support import raw
from tests.support.cli import CommandLine
from tests.support.posthouse import Posthouse
from tests.unit.billing.books import opening

from posthouse.billing.journal import Journal
from posthouse.billing.journal_lock import LOCK_NAME, try_lock
from posthouse.billing.journal_replay import replay
from posthouse.billing.records import OPENED, Opened
from posthouse.settings.environment import load_settings
from posthouse.settings.secret import Secret
from posthouse.storage.backup import restore as restoring
from posthouse.storage.backup import writing as making
from posthouse.storage.backup.archive import unpack
from posthouse.storage.backup.restore import restore
from posthouse.storage.backup.writing import Source, make_backup

KEY = "sk-backup-0123456789abcdefghijklmnopqrstuvwxyz"
BALANCE = 10 * 10**9
CONFIGURATION = f"""
[[channels]]
name = "sandbox"
provider = "sandbox"
api_key = "sk-the-account"

[[keys]]
name = "app"
key = "{KEY}"
balance_usd = "10"

[[keys]]
name = "made"
"""
CALLERS = 6


@dataclass
class Load:
    """Callers, each with one call in flight, and what they saw of each."""

    url: str
    ended: dict[str, tuple[float, float]] = field(default_factory=dict)
    """When a call that was answered whole began and ended, by its id."""
    stopping: threading.Event = field(default_factory=threading.Event)
    numbers: Iterator[int] = field(default_factory=count)

    def caller(self) -> None:
        while not self.stopping.is_set():
            began = time.time()
            reply = ask(self.url, streamed=next(self.numbers) % 2 == 0)
            assert reply.status == 200, reply.body
            self.ended[str(reply.header("x-request-id"))] = (began, time.time())


def ask(url: str, *, streamed: bool = False) -> raw.RawReply:
    """Make a call on a connection of its own."""
    messages = [{"role": "user", "content": "Tell me of horses."}]
    body = {"model": "sandbox", "messages": messages, "stream": streamed}
    bearer = ("Authorization", f"Bearer {KEY}")
    data = json.dumps(body).encode()
    return raw.send(url, "/v1/chat/completions", data, headers=(bearer,))


@contextmanager
def loaded(url: str) -> Iterator[Load]:
    """Keep a server busy."""
    load = Load(url)
    with ThreadPoolExecutor(CALLERS) as pool:
        futures = [pool.submit(load.caller) for _ in range(CALLERS)]
        try:
            yield load
        finally:
            load.stopping.set()
        for future in futures:
            future.result()


class Elsewhere:
    """A restored data folder."""

    def __init__(self, file: Path, data: Path) -> None:
        """Restore a backup there."""
        self.data = data
        self.done = asyncio.run(restore(file, load_settings(data=data)))

    def ask(self, query: str) -> list[Any]:
        """Query the database."""
        with closing(sqlite3.connect(self.data / "posthouse.db")) as connection:
            return connection.execute(query).fetchall()

    def charged(self) -> dict[str, int]:
        """The price of each call that was paid for, in nano-dollars."""
        return dict(self.ask("SELECT id, price FROM calls WHERE price > 0"))

    def remaining(self) -> int:
        """What the key has left, in nano-dollars; nothing is drawn any more."""
        [[left]] = self.ask(
            "SELECT balance FROM accounts JOIN keys ON account_id = accounts.id"
            " WHERE name = 'app'"
        )
        return left


def source_of(data: Path) -> Source:
    """What the command makes a backup of."""
    return Source(
        data=data,
        database=data / "posthouse.db",
        secret=Secret((data / "secret.key").read_bytes().strip()),
        with_secret=True,
        configuration=None,
        files=data / "files",
    )


@pytest.fixture(scope="module")
def posthouse(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Posthouse]:
    """A server of two workers, whose journals often turn over."""
    environment = {
        "POSTHOUSE_WORKERS": "2",
        "POSTHOUSE_JOURNAL_SEGMENT_BYTES": str(64 * 1024),
    }
    folder = tmp_path_factory.mktemp("backup")
    with Posthouse(folder, CONFIGURATION, environment) as running:
        yield running


def test_a_backup_under_load_is_one_instant(posthouse, tmp_path):
    """No call that had ended before it is missing, none that began later is in it.

    Each is charged what it costs, once, and the balance is what they leave.
    """
    backups = []
    with loaded(posthouse.url) as load:
        for number in range(4):
            time.sleep(0.4)
            # In this process: until the command has started, all would be drained.
            before = time.time()
            made = make_backup(source_of(posthouse.data), tmp_path / f"{number}.backup")
            backups.append((before, made))
        # Calls begin after the last one, too, on a machine that is slow.
        time.sleep(1)
    prices = wait_for_prices(posthouse, load)
    for before, made in backups:
        there = Elsewhere(made.file, tmp_path / f"{made.file.stem}.data")
        assert there.done.report.clean
        assert there.done.facts.instant_ms == made.instant.at_ms
        charged = there.charged()
        assert BALANCE - there.remaining() == sum(charged.values())
        had_ended = {name for name, (_, end) in load.ended.items() if end < before}
        assert had_ended
        assert had_ended <= charged.keys()
        instant = made.instant.at_ms / 1000 + 0.001
        had_begun = {name for name, (began, _) in load.ended.items() if began < instant}
        assert had_begun < load.ended.keys()
        assert charged.keys() <= had_begun
        # What was under way is charged by its progress, as after a crash.
        recovery = there.done.recovery
        differing = {name for name in charged if charged[name] != prices[name]}
        assert len(differing) <= recovery.charged
        assert recovery.charged + recovery.voided <= CALLERS
        assert made.instant.blocked_ms < 500


def wait_for_prices(posthouse: Posthouse, load: Load) -> dict[str, int]:
    """Give what each call was charged, once all are in the database."""
    end = time.monotonic() + 15
    with closing(sqlite3.connect(posthouse.data / "posthouse.db")) as connection:
        while True:
            rows = connection.execute("SELECT id, price FROM calls").fetchall()
            if load.ended.keys() <= (found := dict(rows)).keys():
                return found
            assert time.monotonic() < end, "calls are not in the database"
            time.sleep(0.1)


def test_a_backup_at_rest_has_the_same_balance_and_serves(posthouse, tmp_path):
    """Keys, credentials and the configuration go on working where it is restored."""
    assert ask(posthouse.url).status == 200
    file = tmp_path / "b"
    posthouse.ask("backup", str(file), "--config", str(posthouse.configuration))
    there = Elsewhere(file, tmp_path / "elsewhere" / "data")
    [shown] = [k for k in posthouse.ask("key", "list") if k["name"] == "app"]
    assert there.remaining() == Decimal(shown["remaining_usd"]) * 10**9
    made = "keys/made"
    assert (there.data / made).read_text() == (posthouse.data / made).read_text()
    configuration = there.done.configuration.read_text()
    assert configuration == posthouse.configuration.read_text()
    with Posthouse(tmp_path / "elsewhere", configuration) as other:
        assert other.data == there.data
        assert ask(other.url).status == 200


def test_nobody_else_may_read_any_of_it(posthouse, tmp_path):
    """Neither the file nor what is restored, whatever the umask is."""
    file = tmp_path / "b"
    posthouse.ask("backup", str(file))
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    data = tmp_path / "data"
    Elsewhere(file, data)
    for path in (data, *data.rglob("*")):
        assert path.stat().st_mode & 0o077 == 0, path


# Without a server.


@pytest.fixture
def cli(tmp_path, capsys, monkeypatch) -> CommandLine:
    monkeypatch.chdir(tmp_path)
    command_line = CommandLine(tmp_path / "data", capsys)
    command_line("init")
    return command_line


def test_a_backup_replaces_nothing(cli, tmp_path):
    (tmp_path / "b").write_text("mine")
    ended = cli("backup", "b")
    assert (ended.code, ended.out) == (1, "")
    assert "is there already" in ended.err
    assert (tmp_path / "b").read_text() == "mine"


def test_what_cannot_be_written_leaves_nothing(cli, tmp_path, monkeypatch):
    """A full disk, say."""

    def fail(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(making, "_write", fail)
    ended = cli("backup", "b")
    assert ended.code == 1
    assert "No space left" in ended.err
    assert [path.name for path in tmp_path.iterdir()] == ["data"]


@pytest.mark.parametrize("name", ["posthouse.db", "notes.txt", ".hidden"])
def test_a_folder_that_is_not_empty_is_left_alone(cli, tmp_path, name):
    cli("backup", "b")
    full = tmp_path / "full"
    full.mkdir()
    (full / name).write_text("mine")
    ended = cli.plain("restore", "b", "--data", "full")
    assert ended.code == 1
    assert f"is not empty (it holds {name})" in ended.err
    assert [path.name for path in full.iterdir()] == [name]
    assert (full / name).read_text() == "mine"


def test_a_fresh_file_system_is_empty(cli, tmp_path):
    """Whose root has a folder for what is found after a crash."""
    cli("backup", "b")
    (tmp_path / "volume/lost+found").mkdir(parents=True)
    assert cli.plain("restore", "b", "--data", "volume").code == 0


def test_what_a_killed_restore_left_is_no_obstacle(cli, tmp_path):
    """Nothing of it had come to its place."""
    cli("backup", "b")
    left = tmp_path / "again/.restoring"
    left.mkdir(parents=True)
    (left / "posthouse.db").write_text("half")
    (tmp_path / "again/.restoring.lock").touch()
    assert cli.plain("restore", "b", "--data", "again").code == 0
    assert cli.plain("audit", "--data", "again").code == 0
    names = {path.name for path in (tmp_path / "again").iterdir()}
    assert names == {"posthouse.db", "secret.key"}


@pytest.mark.parametrize("place", [0.1, 0.5, 0.9, 0.999])
def test_a_damaged_backup_is_refused(cli, tmp_path, place):
    """And one that was cut short; the folder stays empty."""
    cli("backup", "b")
    whole = (tmp_path / "b").read_bytes()
    end = int(len(whole) * place)
    damaged = bytearray(whole)
    start = whole.index(b"SQLite format 3") + int(100_000 * place)
    damaged[start] ^= 1
    for content in (whole[:end], bytes(damaged)):
        (tmp_path / "bad").write_bytes(content)
        ended = cli.plain("restore", "bad", "--data", "new")
        assert ended.code == 1
        assert "is no whole backup" in ended.err
        assert list((tmp_path / "new").iterdir()) == []


def test_books_at_fault_are_refused_unless_nobody_looks(cli, tmp_path):
    """The backup is whole, but what it was made of was not right."""
    with closing(sqlite3.connect(tmp_path / "data/posthouse.db")) as connection:
        connection.execute(
            "INSERT INTO accounts (id, kind, balance, created_ms)"
            " VALUES ('a', 'available', 5, 0)"
        )
        connection.commit()
    cli("backup", "b")
    ended = cli.plain("restore", "b", "--data", "new")
    assert ended.code == 1
    assert "the audit finds faults in it (I2" in ended.err
    assert list((tmp_path / "new").iterdir()) == []
    ended = cli.plain("restore", "b", "--skip-audit", "--data", "new", "--json")
    assert ended.json["audit"] is None
    assert cli.plain("audit", "--data", "new").code == 1


def test_a_newer_versions_backup_is_refused(cli, tmp_path):
    with closing(sqlite3.connect(tmp_path / "data/posthouse.db")) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
        connection.commit()
    make_backup(source_of(tmp_path / "data"), tmp_path / "b")
    ended = cli.plain("restore", "b", "--data", "new")
    assert ended.code != 0
    assert list((tmp_path / "new").iterdir()) == []


SECRET = "correct horse battery staple, and more"


def test_without_the_secret_it_is_asked_for(cli, tmp_path, monkeypatch):
    """And only the right one will do: the content of the data folder's file."""
    cli("backup", "b", "--without-secret")
    text = (tmp_path / "data/secret.key").read_text().strip()
    assert text.encode() not in (tmp_path / "b").read_bytes()
    ended = cli.plain("restore", "b", "--data", "new")
    assert "set POSTHOUSE_SECRET" in ended.err
    monkeypatch.setenv("POSTHOUSE_SECRET", SECRET)
    ended = cli.plain("restore", "b", "--data", "new")
    assert "is not the one that it was made with" in ended.err
    monkeypatch.setenv("POSTHOUSE_SECRET", text)
    assert cli.plain("restore", "b", "--data", "new").code == 0
    assert not (tmp_path / "new/secret.key").exists()


def test_a_secret_of_the_environment_is_not_written(tmp_path, capsys, monkeypatch):
    """It stays where its owner keeps it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("POSTHOUSE_SECRET", SECRET)
    cli = CommandLine(tmp_path / "data", capsys)
    cli("init")
    cli("backup", "b")
    assert SECRET.encode() not in (tmp_path / "b").read_bytes()
    assert cli.plain("restore", "b", "--data", "new").code == 0
    monkeypatch.delenv("POSTHOUSE_SECRET")
    assert cli.plain("restore", "b", "--data", "newer").code == 1


def test_two_restores_do_not_meet(cli, tmp_path):
    cli("backup", "b")
    new = tmp_path / "new"
    new.mkdir()
    lock = try_lock(new / restoring.LOCK)
    ended = cli.plain("restore", "b", "--data", "new")
    assert "being restored to by another process" in ended.err
    lock.release()


def test_the_last_step_of_copying_is_within_the_instant(cli, tmp_path, monkeypatch):
    """What is written after the journals were first copied is not missing."""
    data = tmp_path / "data"
    journal = Journal(data / "journal", segment_size=64 * 1024)
    journal.append(OPENED, Opened(opening(call_id="call_1"), 100))
    snapshot = making._snapshot

    def copy_later(*arguments: Any) -> Any:
        journal.append(OPENED, Opened(opening(call_id="call_2"), 100))
        return snapshot(*arguments)

    monkeypatch.setattr(making, "_snapshot", copy_later)
    make_backup(source_of(data), tmp_path / "b")
    journal.close()
    unpack(tmp_path / "b", tmp_path / "out")
    found = replay(tmp_path / "out/journal" / journal.id, 0)
    assert found.open_holds.keys() == {"call_1", "call_2"}


def test_a_node_on_postgresql_keeps_its_part(cli, tmp_path, monkeypatch):
    """All but the database; it is refused where it would be taken for the whole."""
    data = tmp_path / "data"
    journal = Journal(data / "journal", segment_size=64 * 1024)
    journal.append(OPENED, Opened(opening(call_id="call_1"), 100))
    (data / "home.id").write_text("0123456789abcdef01234567\n")
    source = structs.replace(source_of(data), database=None)
    made = make_backup(source, tmp_path / "b")
    journal.close()
    assert made.instant.database is None
    ended = cli.plain("restore", "b", "--data", "new")
    assert "set POSTHOUSE_DATABASE" in ended.err
    url = "postgresql://posthouse@127.0.0.1:1/posthouse"
    monkeypatch.setenv("POSTHOUSE_DATABASE", url)
    assert cli.plain("restore", "b", "--data", "new").code == 0
    new = tmp_path / "new"
    assert {path.name for path in new.iterdir()} == {"home.id", "secret.key", "journal"}
    copy = new / "journal" / journal.id
    assert replay(copy, 0) == replay(journal.directory, 0)
    # Whoever serves there next recovers it.
    assert try_lock(copy / LOCK_NAME, create=False) is not None

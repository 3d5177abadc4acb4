"""Recovery: what the dead left is posted once, whoever dies while doing it."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from tests.support import nursery
from tests.unit.billing.books import Books, faults, opening, record

from posthouse.billing import journal as journal_module
from posthouse.billing.drain import Follower
from posthouse.billing.journal import Journal
from posthouse.billing.ports import DrawRequest
from posthouse.billing.records import (
    ANSWERING,
    OPENED,
    PROGRESS,
    SETTLEMENT,
    Answering,
    Opened,
    Progress,
    Settlement,
)
from posthouse.billing.recovery import recover
from posthouse.billing.segments import segment_path


@pytest.fixture
def books(tmp_path, store) -> Books:
    books = Books(tmp_path)
    books.fund("a", 10_000)
    return books


def draw(books: Books, journal: Journal, amount: int = 4000) -> str:
    """Give the journal a lease with so much money."""
    ledger = books.connect()
    ledger.register(journal.id)
    (lease,) = ledger.exchange(journal.id, [], [DrawRequest("a", amount, 1, 0)])
    ledger.close()
    return lease.lease_id


def settle(journal: Journal, lease: str, call, price: int) -> None:
    journal.append(OPENED, Opened(call, call.amount))
    settlement = Settlement(
        call.call_id, "a", lease, call.amount, price, "", record(call, price)
    )
    journal.append(SETTLEMENT, settlement)


def run(books: Books):
    ledger = books.connect()
    try:
        return recover(books.root, ledger)
    finally:
        ledger.close()


def crash(books: Books) -> dict[str, tuple[str, str, int]]:
    """A journal with every kind of hold in it, its owner gone; what must follow."""
    journal = Journal(books.root)
    lease = draw(books, journal)
    done, silent, streaming, extended, image = (opening("a", 100) for _ in range(5))
    streaming = opening("a", 100, prompt=30)
    extended = opening("a", 100, prompt=30)
    image = opening("a", 100, prompt=30, priced_by_result=True)
    settle(journal, lease, done, 60)
    for call in (silent, streaming, extended, image):
        journal.append(OPENED, Opened(call, 100))
    for call in (streaming, extended, image):
        journal.append(ANSWERING, Answering(call.call_id, "main"))
    journal.append(PROGRESS, Progress(extended.call_id, 300, 155))
    journal.close()
    return {
        done.call_id: ("settle", "", 60),
        silent.call_id: ("void", "crash_unanswered", 0),
        streaming.call_id: ("settle", "", 30),
        extended.call_id: ("settle", "", 185),
        image.call_id: ("void", "recovered", 0),
    }


async def test_every_kind_of_hold_ends_as_stated(books):
    """Unanswered: void. Answering: prompt and last progress. By result: void."""
    wanted = crash(books)
    result = run(books)
    assert (result.journals, result.posted) == (1, 1)
    assert (result.charged, result.voided) == (2, 2)
    assert books.ends() == wanted
    assert books.available("a") == 10_000 - 60 - 30 - 185
    assert not list(books.root.iterdir())
    report = await books.audit(served=list(wanted))
    assert faults(report) == {}
    rows = books.execute(
        "SELECT outcome, usage_source, count(*) FROM calls GROUP BY 1, 2 ORDER BY 1, 2"
    )
    assert rows == [
        ("recovered", "none", 2),
        ("recovered", "recovered", 2),
        ("served", "provider", 1),
    ]


async def test_recovering_twice_changes_nothing(books, tmp_path):
    """Files that come back after the recovery are deleted, nothing is posted."""
    wanted = crash(books)
    copy = tmp_path / "copy"
    shutil.copytree(books.root, copy)
    run(books)
    lines = books.execute("SELECT * FROM entries ORDER BY 1, 2")
    shutil.copytree(copy, books.root, dirs_exist_ok=True)
    result = run(books)
    assert (result.journals, result.posted, result.charged, result.voided) == (0,) * 4
    assert books.execute("SELECT * FROM entries ORDER BY 1, 2") == lines
    assert books.ends() == wanted
    assert not list(books.root.iterdir())


async def test_what_was_drained_before_the_crash_is_not_posted_again(books):
    """The position in the ledger and the calls' ids both stand against it."""
    journal = Journal(books.root)
    lease = draw(books, journal)
    first, second = opening("a", 100), opening("a", 100)
    settle(journal, lease, first, 10)
    ledger = books.connect()
    follower = Follower(journal.directory, 0, alive=True)
    assert follower.drain(ledger) == 1
    settle(journal, lease, second, 20)
    # A ledger that lost the position, but not the entries, is no harm either.
    books.execute("UPDATE journals SET drained_to = 0")
    ledger.close()
    follower.close()
    journal.close()
    result = run(books)
    assert result.posted == 2
    assert books.ends() == {
        first.call_id: ("settle", "", 10),
        second.call_id: ("settle", "", 20),
    }
    assert books.available("a") == 10_000 - 30
    assert faults(await books.audit()) == {}


def test_the_drain_moves_the_position_with_the_entries(books):
    """After a drain the ledger says where the next one begins."""
    journal = Journal(books.root)
    lease = draw(books, journal)
    settle(journal, lease, opening("a", 100), 10)
    ledger = books.connect()
    follower = Follower(journal.directory, 0, alive=True)
    follower.drain(ledger)
    assert ledger.register(journal.id) == journal.position == follower.position
    follower.close()
    ledger.close()
    journal.close()


async def test_a_living_journal_is_not_touched(books):
    """Another process holds the lock: its holds and files stay as they are."""
    journal = Journal(books.root)
    lease = draw(books, journal)
    call = opening("a", 100)
    journal.append(OPENED, Opened(call, 100))
    before = segment_path(journal.directory, 1).read_bytes()
    result = run(books)
    assert result.journals == result.voided == result.lost == 0
    assert segment_path(journal.directory, 1).read_bytes() == before
    assert books.ends() == {}
    report = await books.audit()
    assert faults(report) == {}
    assert report.counts["open_holds"] == 1
    settle(journal, lease, call, 5)
    journal.close()
    run(books)
    assert books.ends() == {call.call_id: ("settle", "", 5)}


async def test_a_journal_of_another_process_is_not_touched(books):
    """The same with a real process that is killed then."""
    program = (
        "import sys, time\n"
        "from pathlib import Path\n"
        "from posthouse.billing.journal import Journal\n"
        "journal = Journal(Path(sys.argv[1]))\n"
        "print(journal.id, flush=True)\n"
        "time.sleep(60)\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", program, str(books.root)], stdout=subprocess.PIPE
    )
    with process:
        name = process.stdout.readline().decode().strip()
        assert run(books).journals == 0
        assert (books.root / name).is_dir()
        process.kill()
        process.wait()
        assert run(books).journals == 1
    assert not (books.root / name).exists()


async def test_a_torn_tail_loses_only_the_torn_record(books):
    """A settlement cut in the middle leaves its hold open: it is recovered."""
    journal = Journal(books.root)
    lease = draw(books, journal)
    kept, torn = opening("a", 100), opening("a", 100)
    settle(journal, lease, kept, 10)
    settle(journal, lease, torn, 20)
    end = journal.position & 0xFFFFFFFF
    journal.close()
    path = segment_path(journal.directory, 1)
    with path.open("r+b") as file:
        file.seek(end - 20)
        file.write(bytes(20))
    run(books)
    assert books.ends() == {
        kept.call_id: ("settle", "", 10),
        torn.call_id: ("void", "crash_unanswered", 0),
    }
    assert faults(await books.audit()) == {}


async def test_a_damaged_segment_does_not_hide_the_next(books):
    """Records after a damaged segment's seal are still posted, and it is told."""
    journal = Journal(books.root, segment_size=16 * 1024)
    lease = draw(books, journal)
    calls = [opening("a", 1) for _ in range(60)]
    for call in calls:
        settle(journal, lease, call, 1)
    assert journal.rotations >= 1
    journal.close()
    path = segment_path(journal.directory, 1)
    data = bytearray(path.read_bytes())
    data[8000] ^= 1
    path.write_bytes(data)
    result = run(books)
    assert result.damaged == 1
    assert 0 < result.posted < 60
    assert calls[-1].call_id in books.ends()
    assert faults(await books.audit()) == {}


async def test_a_journal_whose_files_are_gone_returns_its_lease(books):
    """Nothing more can be known of it; the money is not lost with it."""
    journal = Journal(books.root)
    draw(books, journal)
    journal.close()
    shutil.rmtree(journal.directory)
    assert run(books).lost == 1
    assert books.available("a") == 10_000
    assert faults(await books.audit()) == {}


async def test_a_lease_that_the_ledger_lost_is_paid_by_the_account(books):
    """After a power loss the draw may be gone; the settlement still stands."""
    journal = Journal(books.root)
    ledger = books.connect()
    ledger.register(journal.id)
    ledger.close()
    settle(journal, "lease:1:a", opening("a", 100), 40)
    journal.close()
    run(books)
    assert books.available("a") == 9_960
    assert faults(await books.audit()) == {}


def test_leftovers_of_a_start_that_died_go(books):
    """A directory that never became a journal is deleted."""
    nascent = books.root / ".new-0123"
    nascent.mkdir(parents=True)
    (nascent / "lock").touch()
    run(books)
    assert not nascent.exists()


@pytest.mark.parametrize(
    "point",
    [
        "drain.before_commit",
        "drain.after_commit",
        "recovery.after_replay",
        "recovery.before_commit",
        "recovery.after_commit",
        "recovery.mid_removal",
        "recovery.before_rmdir",
    ],
)
async def test_recovery_may_be_killed_anywhere(books, point):
    """Killed at each point, the next recovery does the rest, once."""
    wanted = crash(books)
    environment = {**os.environ, "POSTHOUSE_KILL_POINT": point}
    worker = "tests.unit.billing.recovering"
    done = nursery.run(worker, books.folder, environment=environment, timeout=60)
    assert done.returncode == -9
    assert Path(books.root).exists()
    run(books)
    assert books.ends() == wanted
    assert books.available("a") == 10_000 - 60 - 30 - 185
    assert not list(books.root.iterdir())
    assert faults(await books.audit()) == {}


@pytest.mark.parametrize("name", [".new-0123", "0123456789abcdef"])
async def test_a_directory_that_its_owner_left_empty_goes(books, name):
    """Its owner died before it had made the lock, or after it had removed it."""
    (books.root / name).mkdir(parents=True)
    manager = await books.start()
    assert not (books.root / name).exists()
    assert await manager.close()


async def test_a_journal_is_made_again_where_recovery_took_its_directory(
    books, monkeypatch
):
    """A sibling's recovery may come between a directory and its lock."""
    made = []

    def interfere(name):
        if name == "journal.mid_creation" and not made:
            (directory,) = books.root.iterdir()
            made.append(directory)
            ledger = books.connect()
            recover(books.root, ledger)
            ledger.close()
            assert not directory.exists()

    monkeypatch.setattr(journal_module, "reach", interfere)
    books.root.mkdir()
    own = Journal(books.root)
    assert made
    assert own.directory.is_dir()
    own.close(remove=True)

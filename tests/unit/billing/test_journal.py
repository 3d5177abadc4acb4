"""The journal's files: records survive, torn ones do not count, disk is bounded."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.billing.books import opening, record

from posthouse.billing.journal import RESERVE, SPARE_HOLDS, Journal
from posthouse.billing.journal_lock import LOCK_NAME, is_held, try_lock
from posthouse.billing.journal_replay import records, replay
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
from posthouse.billing.segments import (
    HEADER_SIZE,
    RELEASED_FROM,
    Segment,
    SegmentReader,
    scan,
    segment_numbers,
    segment_path,
)
from posthouse.errors import StorageUnavailable

SMALL = 16 * 1024


class FakeHold:
    """An open hold, as the journal sees it."""

    def __init__(self, opened: Opened) -> None:
        self.opened = opened
        self.bucket: dict = {}

    def state(self) -> Opened:
        return self.opened


def settlement(hold, price: int = 10) -> Settlement:
    return Settlement(
        hold.call_id, "a", "lease:1:a", 100, price, "", record(hold, price)
    )


def test_replay_gives_the_open_holds_as_they_stand(tmp_path):
    """Opened, answering, progress and settlement change what is open."""
    journal = Journal(tmp_path)
    first, second = opening(), opening()
    journal.append(OPENED, Opened(first, 100))
    journal.append(OPENED, Opened(second, 100))
    journal.append(ANSWERING, Answering(first.call_id, "main"))
    journal.append(PROGRESS, Progress(first.call_id, 200, 55))
    journal.append(SETTLEMENT, settlement(second))
    found = replay(journal.directory, 0)
    assert found.open_holds == {first.call_id: Opened(first, 200, "main", 55)}
    assert found.pending == [settlement(second)]
    assert replay(journal.directory, journal.position).pending == []
    journal.close()


def test_a_torn_last_record_is_no_record_at_any_byte(tmp_path):
    """Whatever prefix of the last record was written, those before it stand."""
    journal = Journal(tmp_path)
    kept, torn = opening(call_id="kept"), opening(call_id="torn")
    journal.append(OPENED, Opened(kept, 100))
    start = journal.position & 0xFFFFFFFF
    journal.append(OPENED, Opened(torn, 100, "main", 7))  # its last byte is not zero
    end = journal.position & 0xFFFFFFFF
    journal.close()
    path = segment_path(journal.directory, 1)
    whole = path.read_bytes()
    assert len(replay(journal.directory, 0).open_holds) == 2
    for cut in range(start, end):
        path.write_bytes(whole[:cut] + bytes(len(whole) - cut))
        assert list(replay(journal.directory, 0).open_holds) == ["kept"], cut


def test_one_changed_byte_of_the_last_record_is_noticed(tmp_path):
    """A flipped bit anywhere in a record ends the journal before it."""
    journal = Journal(tmp_path)
    journal.append(OPENED, Opened(opening(call_id="kept"), 100))
    start = journal.position & 0xFFFFFFFF
    journal.append(OPENED, Opened(opening(call_id="torn"), 100))
    end = journal.position & 0xFFFFFFFF
    journal.close()
    path = segment_path(journal.directory, 1)
    whole = path.read_bytes()
    for place in range(start, end):
        changed = bytearray(whole)
        changed[place] ^= 0x10
        path.write_bytes(changed)
        assert list(replay(journal.directory, 0).open_holds) == ["kept"], place


@given(st.binary(max_size=200))
@settings(max_examples=200)
def test_garbage_is_no_record(garbage):
    """Random bytes after the records end the scan and raise nothing."""
    assert list(scan(garbage, 1)) == []


def test_a_record_of_another_segment_is_no_record(tmp_path):
    """Bytes of a segment that were left where another now stands do not count."""
    directory = tmp_path / "one"
    directory.mkdir()
    segment = Segment(directory, 1, bytes(16), SMALL)
    segment.write(OPENED, b"payload")
    data = SegmentReader(directory, 1).read(HEADER_SIZE)
    assert [kind for kind, _, _ in scan(data, 1)] == [OPENED]
    assert list(scan(data, 2)) == []
    segment.close()


def test_rotation_keeps_every_record_in_order(tmp_path):
    """Records run over many segments and are read back as written."""
    journal = Journal(tmp_path, segment_size=SMALL)
    wanted = []
    for number in range(400):
        hold = opening(call_id=f"call_{number}")
        wanted.append(hold.call_id)
        journal.append(SETTLEMENT, settlement(hold))
        if number % 7 == 0:
            journal.prepare(0)
    assert journal.rotations > 3
    assert [item.call_id for item in replay(journal.directory, 0).pending] == wanted
    assert len(list(records(journal.directory))) == 400
    journal.close()


def resident_kib(path: Path) -> int:
    """How much of a mapped file counts as this process's memory."""
    maps = Path("/proc/self/smaps").read_text()
    mapped = maps[maps.index(str(path)) :]
    return int(mapped[mapped.index("Rss:") :].split()[1])


def test_what_was_written_is_not_kept_in_memory(tmp_path):
    """Full pages are let go of, those of the next record not; every record stays."""
    journal = Journal(tmp_path)
    for number in range(5000):
        journal.append(SETTLEMENT, settlement(opening(call_id=f"call_{number}")))
    path = segment_path(journal.directory, 1)
    written = journal.position & 0xFFFFFFFF
    assert resident_kib(path) >= written // 1024
    journal.release()
    assert resident_kib(path) <= 8
    journal.append(SETTLEMENT, settlement(opening(call_id="last")))
    names = [item.call_id for item in replay(journal.directory, 0).pending]
    assert names == [*(f"call_{number}" for number in range(5000)), "last"]
    journal.close()


def test_little_is_let_go_of_together_with_more(tmp_path):
    """A few full pages are not worth a system call."""
    journal = Journal(tmp_path)
    path = segment_path(journal.directory, 1)
    while journal.position & 0xFFFFFFFF < RELEASED_FROM // 2:
        journal.append(SETTLEMENT, settlement(opening()))
    journal.release()
    assert resident_kib(path) >= RELEASED_FROM // 2 // 1024
    journal.close()


def test_the_disk_is_bounded_by_the_open_holds(tmp_path):
    """A hold that stays open is carried along while drained segments go."""
    journal = Journal(tmp_path, segment_size=SMALL)
    lasting = FakeHold(Opened(opening(call_id="lasting"), 100, "main", 7))
    journal.append(OPENED, lasting.opened)
    journal.bucket["lasting"] = lasting
    lasting.bucket = journal.bucket
    most = 0
    for _ in range(2000):
        journal.append(SETTLEMENT, settlement(opening()))
        journal.prepare(1)
        journal.carry()
        journal.reclaim(journal.position)
        most = max(most, len(segment_numbers(journal.directory)))
    assert journal.rotations > 20
    assert most <= 4 + 1 + SPARE_HOLDS * RESERVE // SMALL + 1
    assert replay(journal.directory, journal.position).open_holds == {
        "lasting": lasting.opened
    }
    journal.close()


def test_what_is_not_drained_is_never_removed(tmp_path):
    """Segments beyond the ledger's position stay."""
    journal = Journal(tmp_path, segment_size=SMALL)
    for number in range(200):
        journal.append(SETTLEMENT, settlement(opening(call_id=str(number))))
        journal.carry()
        journal.reclaim(0)
    assert len(replay(journal.directory, 0).pending) == 200
    journal.close()


def test_a_full_disk_refuses_holds_and_still_takes_settlements(tmp_path, monkeypatch):
    """Without a spare segment there is no room for more holds than fit."""
    journal = Journal(tmp_path, segment_size=SMALL)

    def full(descriptor, offset, length):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    spares = len(journal._spares)
    assert journal.has_room(8)
    assert not journal.has_room(100)
    with pytest.raises(OSError, match="No space"):
        journal.prepare(100)
    written = 0
    while True:
        try:
            journal.append(SETTLEMENT, settlement(opening()))
        except StorageUnavailable:
            break
        written += 1
    # The present segment and the spares are used up before anything fails.
    assert journal.rotations == spares
    assert len(replay(journal.directory, 0).pending) == written
    monkeypatch.undo()
    journal.append(SETTLEMENT, settlement(opening()))
    assert len(replay(journal.directory, 0).pending) == written + 1
    journal.close()


def test_a_failed_allocation_leaves_no_file(tmp_path, monkeypatch):
    """The file of a segment that got no room is gone."""

    def full(descriptor, offset, length):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(OSError, match="No space"):
        Segment(tmp_path, 1, bytes(16), SMALL)
    assert list(tmp_path.iterdir()) == []


def test_a_journal_is_locked_while_its_owner_lives(tmp_path):
    """Nobody else gets the lock; looking takes nothing away."""
    journal = Journal(tmp_path)
    assert is_held(journal.directory / LOCK_NAME)
    assert try_lock(journal.directory / LOCK_NAME, create=False) is None
    journal.close()
    assert not is_held(journal.directory / LOCK_NAME)
    lock = try_lock(journal.directory / LOCK_NAME, create=False)
    assert lock is not None
    lock.release()


def test_a_record_survives_sigkill(tmp_path):
    """What append returned from is there after kill -9, released or not, unsynced."""
    program = (
        "import os, signal, sys\n"
        "from pathlib import Path\n"
        "from posthouse.billing.journal import Journal\n"
        "from posthouse.billing.records import ANSWERING, Answering\n"
        "journal = Journal(Path(sys.argv[1]))\n"
        "for number in range(20000):\n"
        "    journal.append(ANSWERING, Answering(str(number), 'main'))\n"
        "    journal.release()\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    done = subprocess.run([sys.executable, "-c", program, str(tmp_path)], check=False)
    assert done.returncode == -9
    (directory,) = tmp_path.iterdir()
    assert len(list(records(directory))) == 20000
    assert not is_held(directory / LOCK_NAME)


def test_a_process_that_dies_in_a_record_leaves_those_before(tmp_path):
    """The kill point in the middle of a write tears exactly that record."""
    program = (
        "import sys\n"
        "from pathlib import Path\n"
        "from posthouse.billing.journal import Journal\n"
        "from posthouse.billing.records import ANSWERING, Answering\n"
        "journal = Journal(Path(sys.argv[1]))\n"
        "for number in range(1000):\n"
        "    journal.append(ANSWERING, Answering(str(number), 'main'))\n"
    )
    report = tmp_path / "report"
    environment = {
        **os.environ,
        "POSTHOUSE_KILL_POINT": "journal.mid_record:5",
        "POSTHOUSE_KILL_REPORT": str(report),
    }
    root = tmp_path / "journal"
    command = [sys.executable, "-c", program, str(root)]
    done = subprocess.run(command, env=environment, check=False)
    assert done.returncode == -9
    assert report.read_text() == "journal.mid_record\n"
    (directory,) = root.iterdir()
    assert len(list(records(directory))) == 4


def test_kill_points_do_nothing_when_none_is_armed():
    """Without the variable the hook is an empty function."""
    from posthouse.billing import killpoints

    assert killpoints.reach.__name__ == "_pass"
    assert killpoints.reach("settle.before_record") is None


def test_every_kill_point_of_billing_is_named_once_in_the_list():
    """The list for the crash suite and the code agree."""
    from posthouse.billing import killpoints

    source = Path(killpoints.__file__).parents[1]
    text = "".join(
        path.read_text()
        for folder in ("billing", "storage")
        for path in (source / folder).rglob("*.py")
        if path.name != "killpoints.py"
    )
    for name in killpoints.POINTS:
        kind, moment = name.rsplit(".", 1)
        when, _, what = moment.partition("_")
        # Before and after the same thing they may be named together.
        pair = f'f"{kind}.{{when}}_{what}"' if when in {"before", "after"} else name
        assert f'"{name}"' in text or pair in text, name

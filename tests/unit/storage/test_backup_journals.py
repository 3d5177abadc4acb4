"""Copies of journals that are being written: what a crash would have left."""

import random
from pathlib import Path

import pytest
from tests.unit.billing.books import opening, record

from posthouse.billing.journal import Journal
from posthouse.billing.journal_replay import Replay, replay
from posthouse.billing.records import OPENED, SETTLEMENT, Opened, Opening, Settlement
from posthouse.billing.segments import segment_numbers
from posthouse.storage.backup.journals import JournalCopies

SEGMENT = 64 * 1024


class Hold:
    """An open hold, as a journal carries it."""

    def __init__(self, told: Opening, bucket: dict[str, "Hold"]) -> None:
        self.told = told
        self.bucket = bucket
        bucket[told.call_id] = self

    def state(self) -> Opened:
        return Opened(self.told, self.told.amount)


class Owner:
    """A process with a journal, whose ledger is a set of calls."""

    def __init__(self, root: Path, seed: int) -> None:
        self.journal = Journal(root, segment_size=SEGMENT)
        self.chance = random.Random(seed)
        self.open: list[Hold] = []
        self.drained = 0
        self.posted: set[str] = set()
        self.settled: set[str] = set()

    def act(self) -> None:
        """Open or end a call; now and then drain, carry and reclaim."""
        chance = self.chance.random()
        if self.open and chance < 0.48:
            self.end(self.open.pop(self.chance.randrange(len(self.open))))
        elif chance < 0.97:
            told = opening(amount=7)
            self.journal.append(OPENED, Opened(told, 7))
            self.open.append(Hold(told, self.journal.bucket))
        else:
            self.drain()

    def end(self, hold: Hold) -> None:
        call_id = hold.told.call_id
        del hold.bucket[call_id]
        found = record(hold.told, 5)
        self.journal.append(SETTLEMENT, Settlement(call_id, "a", "", 7, 5, "", found))
        self.settled.add(call_id)

    def drain(self) -> None:
        self.posted |= self.settled
        self.drained = self.journal.position
        self.journal.carry()
        self.journal.prepare(len(self.open))
        self.journal.reclaim(self.drained)


def essence(found: Replay, posted: set[str]) -> tuple[set[str], set[str]]:
    """The calls that have ended and the ledger lacks, and those that are open."""
    pending = {item.call_id for item in found.pending} - posted
    return pending, found.open_holds.keys() - posted


@pytest.mark.parametrize("seed", range(12))
def test_a_copy_says_what_its_journal_said(seed, tmp_path):
    """Whatever was written, carried and reclaimed between two steps of copying."""
    owner = Owner(tmp_path / "journal", seed)
    copies = JournalCopies(tmp_path / "journal", tmp_path / "copy")
    for _ in range(70):
        for _ in range(owner.chance.randrange(1, 120)):
            owner.act()
        if owner.chance.random() < 0.3:
            copies.advance()
    assert owner.journal.number > 6
    assert segment_numbers(owner.journal.directory)[0] > 1
    copies.advance()
    copy = tmp_path / "copy" / owner.journal.id
    here, there = (
        replay(path, owner.drained) for path in (owner.journal.directory, copy)
    )
    pending, still_open = essence(there, owner.posted)
    assert (pending, still_open) == essence(here, owner.posted)
    assert pending == owner.settled - owner.posted
    assert still_open == {hold.told.call_id for hold in owner.open}
    assert sorted(copy.iterdir()) == copies.files()
    owner.journal.close(remove=True)


def test_a_copy_that_fell_behind_begins_again(tmp_path):
    """All that it had, and what followed, was reclaimed."""
    owner = Owner(tmp_path / "journal", 1)
    copies = JournalCopies(tmp_path / "journal", tmp_path / "copy")
    owner.act()
    copies.advance()
    [first] = copies.files()
    while owner.journal.number < 9:
        owner.act()
    for hold in owner.open:
        owner.end(hold)
    owner.open = []
    owner.drain()
    copies.advance()
    assert first not in copies.files()
    assert not first.exists()
    owner.journal.close(remove=True)


def test_journals_that_end_and_begin_are_followed(tmp_path):
    """A closed one keeps what was copied, for the ledger to say that it is over."""
    copies = JournalCopies(tmp_path / "journal", tmp_path / "copy")
    copies.advance()
    assert copies.files() == []
    first = Owner(tmp_path / "journal", 1)
    first.act()
    copies.advance()
    first.journal.close(remove=True)
    second = Owner(tmp_path / "journal", 2)
    second.act()
    copies.advance()
    names = {path.parent.name for path in copies.files()}
    assert names == {first.journal.id, second.journal.id}
    left = copies.files(without=frozenset({first.journal.id}))
    assert {path.parent.name for path in left} == {second.journal.id}
    second.journal.close(remove=True)


def test_a_half_made_journal_is_left_alone(tmp_path):
    root = tmp_path / "journal"
    (root / ".new-0123").mkdir(parents=True)
    (root / "writer.lock").touch()
    copies = JournalCopies(root, tmp_path / "copy")
    copies.advance()
    assert copies.files() == []

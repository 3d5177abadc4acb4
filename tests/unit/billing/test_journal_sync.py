"""Power-loss durability: a settlement waits for a sync that began after it."""

import asyncio
import threading
from pathlib import Path

import pytest
from tests.unit.billing.books import Books, faults, opening, record

from posthouse.billing.journal import Journal
from posthouse.billing.journal_replay import records
from posthouse.billing.journal_sync import GroupSync
from posthouse.billing.records import ANSWERING, Answering
from posthouse.errors import StorageUnavailable


class FakeDisk:
    """Syncs that last until they are let go, and the records each made safe."""

    def __init__(self, directory) -> None:
        self.directory = directory
        self.go = threading.Semaphore(0)
        self.safe = 0
        self.syncs = 0
        self.error: OSError | None = None

    def sync(self, descriptor: int) -> None:
        written = len(list(records(self.directory)))
        self.go.acquire()
        if self.error:
            raise self.error
        self.safe = written
        self.syncs += 1


@pytest.fixture
def journal(tmp_path):
    journal = Journal(tmp_path)
    yield journal
    journal.close()


async def settled(journal: Journal, sync: GroupSync, name: str) -> None:
    journal.append(ANSWERING, Answering(name, "main"))
    await sync.wait()


async def test_a_wait_ends_only_after_a_sync_that_began_after_the_write(journal):
    """A record written while a sync runs waits for the next one."""
    disk = FakeDisk(journal.directory)
    sync = GroupSync(journal, disk.sync)
    first = asyncio.ensure_future(settled(journal, sync, "first"))
    await asyncio.sleep(0.05)
    second = asyncio.ensure_future(settled(journal, sync, "second"))
    await asyncio.sleep(0.05)
    assert not first.done()
    disk.go.release()
    await first
    assert disk.safe == 1
    await asyncio.sleep(0.05)
    assert not second.done()
    disk.go.release()
    await second
    assert disk.safe == 2
    sync.close()


async def test_one_sync_serves_all_who_wait(journal):
    """A hundred settlements cost two syncs: the first's and the others'."""
    disk = FakeDisk(journal.directory)
    sync = GroupSync(journal, disk.sync)
    tasks = [
        asyncio.ensure_future(settled(journal, sync, str(number)))
        for number in range(100)
    ]
    await asyncio.sleep(0.05)
    disk.go.release(2)
    await asyncio.gather(*tasks)
    assert disk.syncs == 2
    assert disk.safe == 100
    sync.close()


async def test_a_failed_sync_is_never_tried_again(journal):
    """All who wait are told, nothing new is promised, the journal has failed."""
    disk = FakeDisk(journal.directory)
    disk.error = OSError(5, "Input/output error")
    sync = GroupSync(journal, disk.sync)
    tasks = [
        asyncio.ensure_future(settled(journal, sync, str(number)))
        for number in range(3)
    ]
    await asyncio.sleep(0.05)
    disk.go.release()
    for result in await asyncio.gather(*tasks, return_exceptions=True):
        assert isinstance(result, StorageUnavailable)
    assert journal.failed
    with pytest.raises(StorageUnavailable):
        await sync.wait()
    assert disk.syncs == 0
    sync.close()


async def test_segments_left_behind_are_synced_before_the_present_one(tmp_path):
    """After a rotation a wait covers the old segment too, in order."""
    synced: list[int] = []
    journal = Journal(tmp_path, segment_size=4096, durable=True, fsync=lambda _: None)
    numbers = {}
    sync = GroupSync(journal, lambda descriptor: synced.append(numbers[descriptor]))
    while journal.rotations < 3:
        numbers[journal._segment.descriptor] = journal.number
        journal.append(ANSWERING, Answering("x" * 50, "main"))
        journal.prepare(0)
    numbers[journal._segment.descriptor] = journal.number
    await sync.wait()
    assert synced == [1, 2, 3, 4]
    await sync.wait()
    assert synced == [1, 2, 3, 4, 4]
    sync.close()
    journal.close()


def test_files_and_directories_are_synced_as_they_are_made(tmp_path):
    """A durable journal syncs each new segment, then the directory it is in."""
    synced = []

    def note(descriptor: int) -> None:
        synced.append(Path(f"/proc/self/fd/{descriptor}").readlink().name)

    journal = Journal(tmp_path / "root", durable=True, fsync=note)
    nascent = f".new-{journal.id}"
    first = ["0000000001.segment", nascent, "root"]
    assert synced == [*first, "0000000002.segment", journal.id]
    journal.close()


async def test_settle_returns_after_the_sync(tmp_path):
    """In power mode the settlement is not confirmed before its sync."""
    books = Books(tmp_path)
    books.fund("a", 1000)
    manager = await books.start(durability="power")
    disk = FakeDisk(manager.journal.directory)
    manager.sync.close()
    manager.sync = GroupSync(manager.journal, disk.sync)
    call = opening("a", 100)
    hold = await manager.open(call)
    settling = asyncio.ensure_future(hold.settle(record(call, 10)))
    await asyncio.sleep(0.1)
    assert not settling.done()
    disk.go.release()
    await settling
    assert disk.safe == 2
    await manager.close()
    assert faults(await books.audit()) == {}


async def test_power_mode_works_on_a_real_disk(tmp_path):
    """Calls in parallel settle and drain with real syncs."""
    books = Books(tmp_path)
    books.fund("a", 100_000)
    manager = await books.start(durability="power")

    async def one() -> None:
        call = opening("a", 100)
        await (await manager.open(call)).settle(record(call, 10))

    await asyncio.gather(*(one() for _ in range(100)))
    assert await manager.close()
    assert books.revenue() == 1000

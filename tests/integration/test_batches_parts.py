"""Batches that providers work on: created once, whoever dies; each line answered once.

The provider is a script; what stands for death is a worker that is stopped where it
is, whose journal then ends, so that another one takes the batch.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from typing import Any

import pytest
from sqlalchemy import select
from tests.integration import test_batches_work
from tests.support import store as databases
from tests.support.batch_world import OURS, THEIRS, Runner, World

from posthouse.storage.batch_parts import StoredParts
from posthouse.storage.schema import batch_parts
from posthouse.tasks import batch_parts as parts_module
from posthouse.tasks.batch_run import Supply
from posthouse.tasks.batches import BatchWorker
from posthouse.tasks.ports import (
    PartGone,
    Progress,
    SupplierRefused,
    SupplierUncertain,
)
from posthouse.tasks.records import (
    Batch,
    BatchState,
    Bought,
    LineCall,
    Part,
    PartState,
    Place,
)

world = test_batches_work.world
POLLED = 0.01
"""Seconds between two looks."""


@pytest.fixture(
    scope="module",
    params=["sqlite", pytest.param("postgresql", marks=pytest.mark.slow)],
)
def store(request: pytest.FixtureRequest) -> Iterator[str]:
    """Which database it is on: the second one only in the slow form."""
    if request.param == "postgresql":
        databases.server = request.getfixturevalue("postgres")
    yield request.param
    if databases.server is not None:
        databases.server.clear()
        databases.server = None


class Supplier:
    """A provider with batches of its own, and money that is set aside for them."""

    def __init__(self, runner: Runner) -> None:
        self.created: dict[str, tuple[Part, list[int]]] = {}
        self.marks: list[str] = []
        """Of all that it was asked to create."""
        self.cancelled: list[str] = []
        self.refusing: set[str] = set()
        self.taking = {"one"}
        self.channels = ["one"]
        self.ended = asyncio.Event()
        self.unanswered: set[int] = set()
        self.failed: dict[int, int] = {}
        self.faults: list[str] = []
        """What the next looks and reads meet."""
        self.hangs = False
        self.loses = False
        self.money = 10**9
        self.held: dict[str, int] = {}
        self.looks = 0
        self.times: dict[str, float] = {}
        """When something was first asked, monotonic seconds."""
        runner.place = self.place  # type: ignore[method-assign]

    async def place(self, call: LineCall, without: frozenset[str]) -> Place | None:
        for channel in self.channels:
            if channel not in without:
                return Place(channel, 0, "m", "/v1/x", call.body, 10)
        return None

    # --- Suppliers

    def known(self) -> bool:
        return True

    async def create(self, part: Part, lines: Mapping[int, Place]) -> str:
        self.times.setdefault("create", time.monotonic())
        self.marks.append(part.mark)
        if part.channel in self.refusing:
            raise SupplierRefused("no")
        remote_id = f"remote-{len(self.created)}"
        if not self.loses:
            self.created[remote_id] = (part, list(lines))
        if self.hangs:
            await asyncio.Event().wait()
        if self.loses:
            raise SupplierUncertain("no reply")
        return remote_id

    async def find(self, part: Part, others: frozenset[str]) -> str | None:
        self.times.setdefault("find", time.monotonic())
        self._meet("find")
        for remote_id, (known, _) in self.created.items():
            if known.mark == part.mark:
                return remote_id
        return None

    async def look(self, part: Part) -> Progress:
        self.looks += 1
        self._meet("look")
        if part.remote_id not in self.created:
            raise PartGone
        ended = self.ended.is_set() or part.remote_id in self.cancelled
        return Progress(ended, ("results",))

    async def cancel(self, part: Part) -> None:
        self.cancelled.append(part.remote_id)

    async def results(
        self, part: Part, progress: Progress
    ) -> AsyncIterator[tuple[int, Bought | None]]:
        _, numbers = self.created[part.remote_id]
        yield 49_999, Bought("one", 0, "m", 200, b'{"nobody":"asked"}')
        yield 10**9, Bought("one", 0, "m", 200, b'{"nobody":"asked"}')
        for number in reversed(numbers):
            if number in self.unanswered:
                yield number, None
                continue
            status = self.failed.get(number, 200)
            body = b'{"from":"provider","line":%d}' % number
            yield number, Bought("one", 0, "m", status, body)
            yield number, Bought("one", 0, "m", 200, b'{"from":"a second answer"}')
            self._meet(f"result {number}")

    def _meet(self, what: str) -> None:
        if self.faults and what.startswith(self.faults[0]):
            self.faults.pop(0)
            raise SupplierUncertain(what)

    # --- Reserves

    async def open(self, batch: Batch, part: Part) -> bool:
        if sum(self.held.values()) + part.reserve > self.money:
            return False
        assert part.mark not in self.held
        self.held[part.mark] = part.reserve
        return True

    async def free(self, part: Part, *, used: bool) -> None:
        del self.held[part.mark]


@pytest.fixture
def supplier(world: World, monkeypatch: pytest.MonkeyPatch) -> Supplier:
    """A provider that the world's batches go to, looked at all the time."""
    supplier = Supplier(world.runner)
    rows = StoredParts(world.database)
    sending = asyncio.Semaphore(1)
    world.supply = Supply(rows, supplier, supplier, POLLED, sending)
    return supplier


async def _until(condition: Any) -> None:
    async with asyncio.timeout(30):
        while not condition():
            await asyncio.sleep(0.01)


async def _die(world: World, worker: BatchWorker) -> None:
    """End a worker where it is, and let its journal end."""
    await worker.close(0)
    await world.end_journal(OURS)
    await world.journal(THEIRS, "open")


async def _finished(world: World, worker: BatchWorker) -> tuple[Batch, dict[str, Any]]:
    """Wait for the end; give each line's answer, of which there is one."""
    batch = await world.ended()
    await worker.close(1)
    answers = {}
    for name in (batch.output_file, batch.error_file):
        for custom_id, line in (await world.output(name)).items():
            assert custom_id not in answers
            answers[custom_id] = line["response"] or line["error"]
    return batch, answers


def _by(answers: dict[str, Any], numbers: range | list[int]) -> set[str]:
    """By whom some lines were answered."""
    return {answers[f"line-{number}"]["body"].get("from", "us") for number in numbers}


async def test_a_provider_answers_what_it_can_and_we_the_rest(
    world: World, supplier: Supplier
) -> None:
    """Results in any order, told twice, of nobody's lines, missing, or errors."""
    supplier.unanswered = {4, 5}
    supplier.failed = {7: 400}
    await world.begin(40)
    worker = world.worker()
    worker.start()
    await _until(lambda: supplier.looks > 3)
    # A batch that rests takes nobody's place.
    await _until(lambda: worker.working == 0)
    assert supplier.held == {"batch_1-p1": 400}
    supplier.ended.set()
    batch, answers = await _finished(world, worker)
    assert batch.state is BatchState.COMPLETED
    assert (batch.total, batch.completed, batch.failed) == (40, 39, 1)
    assert supplier.marks == ["batch_1-p1"]
    assert _by(answers, [n for n in range(1, 41) if n not in (4, 5)]) == {"provider"}
    assert _by(answers, [4, 5]) == {"us"}
    assert answers["line-7"]["status_code"] == 400
    assert len(world.runner.calls) == len(set(world.runner.calls)) == 40
    assert supplier.held == {}


async def test_who_dies_once_it_was_created_has_it_found(
    world: World, supplier: Supplier
) -> None:
    """Nothing is created twice, and every line is the provider's."""
    supplier.hangs = True
    await world.begin(10)
    worker = world.worker()
    worker.start()
    await _until(lambda: supplier.created)
    await _die(world, worker)
    assert supplier.held == {}
    supplier.hangs = False
    supplier.ended.set()
    other = world.worker(THEIRS)
    other.start()
    _, answers = await _finished(world, other)
    assert supplier.marks == ["batch_1-p1"]
    assert _by(answers, range(1, 11)) == {"provider"}


async def test_what_never_arrived_is_created_anew(
    world: World, supplier: Supplier
) -> None:
    """Once it must have arrived and is not there; a search that fails says nothing."""
    supplier.loses = True
    supplier.faults = ["find", "find"]
    supplier.ended.set()
    await world.begin(10)
    worker = world.worker()
    worker.start()
    await _until(lambda: supplier.marks)
    supplier.loses = False
    _, answers = await _finished(world, worker)
    assert supplier.marks == ["batch_1-p1", "batch_1-p2"]
    assert _by(answers, range(1, 11)) == {"provider"}
    began, searched = supplier.times["create"], supplier.times["find"]
    assert searched - began >= parts_module.FOUND_AFTER * POLLED


async def test_who_dies_among_the_results_charges_each_line_once(
    world: World, supplier: Supplier
) -> None:
    """What was done is done; the rest is read again."""
    supplier.ended.set()
    answering = world.runner.answered
    stuck = asyncio.Event()

    async def answered(bought: Bought, keep: Any) -> Any:
        if len(world.runner.calls) > 20:
            stuck.set()
            await asyncio.Event().wait()
        return await answering(bought, keep)

    world.runner.answered = answered  # type: ignore[method-assign]
    await world.begin(60)
    worker = world.worker()
    worker.start()
    await stuck.wait()
    await _until(lambda: worker.calls == 4)
    await _die(world, worker)
    world.runner.answered = answering  # type: ignore[method-assign]
    other = world.worker(THEIRS)
    other.start()
    batch, answers = await _finished(world, other)
    assert batch.completed == 60
    assert _by(answers, range(1, 61)) == {"provider"}
    assert supplier.marks == ["batch_1-p1"]
    assert len(set(world.runner.calls)) == len(world.runner.calls)


async def test_refusals_lead_to_another_channel_and_then_to_us(
    world: World, supplier: Supplier
) -> None:
    """Each is asked once."""
    supplier.channels = ["one", "two"]
    supplier.refusing = {"one"}
    supplier.ended.set()
    await world.begin(5)
    worker = world.worker()
    worker.start()
    _, answers = await _finished(world, worker)
    assert _by(answers, range(1, 6)) == {"provider"}
    assert [part.channel for part, _ in supplier.created.values()] == ["two"]
    supplier.refusing = {"one", "two"}
    await world.begin(5, "batch_2")
    worker = world.worker()
    worker.start()
    batch = await world.ended("batch_2")
    await worker.close(1)
    assert batch.completed == 5
    assert supplier.marks[2:] == ["batch_2-p1", "batch_2-p2"]
    assert supplier.held == {}


async def test_a_provider_that_is_down_is_waited_for(
    world: World, supplier: Supplier
) -> None:
    """While it is asked how far it is, and while it is read."""
    supplier.faults = ["look", "look", "look", "result 20", "look", "result 5"]
    supplier.ended.set()
    await world.begin(30)
    worker = world.worker()
    worker.start()
    batch, answers = await _finished(world, worker)
    assert supplier.faults == []
    assert batch.completed == 30
    assert _by(answers, range(1, 31)) == {"provider"}
    assert len(world.runner.calls) == 30


async def test_what_a_provider_has_lost_is_run_by_us(
    world: World, supplier: Supplier
) -> None:
    """Not at the first word."""
    await world.begin(5)
    worker = world.worker()
    worker.start()
    await _until(lambda: supplier.looks)
    supplier.created.clear()
    _, answers = await _finished(world, worker)
    assert _by(answers, range(1, 6)) == {"us"}
    assert supplier.looks > parts_module.MOST_MISSED


async def test_what_is_done_when_a_batch_is_cancelled_is_kept(
    world: World, supplier: Supplier
) -> None:
    """The provider is told, and what it did is charged."""
    supplier.unanswered = {1, 2, 3}
    await world.begin(8)
    worker = world.worker()
    worker.start()
    await _until(lambda: supplier.looks)
    assert await world.rows.cancel("batch_1", int(world.now * 1000)) is not None
    batch, answers = await _finished(world, worker)
    assert batch.state is BatchState.CANCELLED
    assert set(supplier.cancelled) == {"remote-0"}
    assert (batch.completed, batch.failed) == (5, 0)
    assert _by(answers, range(4, 9)) == {"provider"}
    assert {answers[f"line-{n}"]["code"] for n in (1, 2, 3)} == {"batch_cancelled"}
    assert len(world.runner.calls) == 5


async def test_what_takes_too_long_is_run_by_us_in_time(
    world: World, supplier: Supplier
) -> None:
    """The provider is told, and what it has not done is done before the end."""
    supplier.unanswered = {1, 2, 3}
    await world.begin(8)
    worker = world.worker()
    worker.start()
    await _until(lambda: supplier.looks)
    world.now += 86_400 - parts_module.RECALLED_MS / 1000
    batch, answers = await _finished(world, worker)
    assert batch.state is BatchState.COMPLETED
    assert set(supplier.cancelled) == {"remote-0"}
    assert _by(answers, range(4, 9)) == {"provider"}
    assert _by(answers, range(1, 4)) == {"us"}


@pytest.mark.parametrize("cancels", [True, False])
async def test_nobody_waits_for_ever_for_a_provider(
    cancels: bool, world: World, supplier: Supplier
) -> None:
    """One that says nothing more keeps its lines."""
    await world.begin(3)
    worker = world.worker()
    worker.start()
    await _until(lambda: supplier.looks)
    supplier.faults = ["look"] * 10_000
    if cancels:
        assert await world.rows.cancel("batch_1", int(world.now * 1000)) is not None
        world.now += parts_module.TOLD_MS / 1000
    else:
        world.now += 86_400 - parts_module.TOLD_MS / 1000
    batch, _ = await _finished(world, worker)
    assert batch.state is (BatchState.CANCELLED if cancels else BatchState.COMPLETED)
    assert len(world.runner.calls) == (0 if cancels else 3)
    assert supplier.held == {}


async def test_without_money_for_a_whole_part_its_lines_are_run_by_us(
    world: World, supplier: Supplier
) -> None:
    """One by one, as the money reaches."""
    supplier.money = 49
    await world.begin(5)
    worker = world.worker()
    worker.start()
    _, answers = await _finished(world, worker)
    assert _by(answers, range(1, 6)) == {"us"}
    assert supplier.marks == []


async def test_large_batches_go_in_parts(
    world: World, supplier: Supplier, monkeypatch: pytest.MonkeyPatch
) -> None:
    """None has more than it may; two workers create each once."""
    monkeypatch.setattr(parts_module, "PART_LINES", 7)
    supplier.ended.set()
    await world.begin(30)
    await world.journal(THEIRS, "open")
    workers = [world.worker(), world.worker(THEIRS)]
    for worker in workers:
        worker.start()
    batch, answers = await _finished(world, workers[0])
    await workers[1].close(1)
    assert batch.completed == 30
    assert _by(answers, range(1, 31)) == {"provider"}
    assert supplier.marks == [f"batch_1-p{n}" for n in range(1, 6)]
    async with world.database.read() as connection:
        rows = (await connection.execute(select(batch_parts))).all()
    assert {row.state for row in rows} == {PartState.OVER.value}
    assert sorted(row.lines for row in rows) == [2, 7, 7, 7, 7]

"""Who works on a batch, when it ends, and what becomes of each line."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import insert, select, update
from tests.support import store as databases
from tests.support.batch_world import LINE_BYTES, OURS, THEIRS, World

from posthouse.errors import StorageUnavailable
from posthouse.files.records import Page
from posthouse.storage.batch_lines import LARGE
from posthouse.storage.batches import MOST_OF_ACCOUNT
from posthouse.storage.database import Database
from posthouse.storage.schema import batch_lines, transfers
from posthouse.tasks import batch_run, batches
from posthouse.tasks.ports import BatchLost, KeepAnswer
from posthouse.tasks.records import (
    BatchDetails,
    BatchState,
    Line,
    LineCall,
    LineReply,
)


@pytest.fixture
async def world(
    store: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[World]:
    """An empty one, where nobody waits long for anything."""
    database = Database(databases.new_installation(tmp_path / "posthouse.db"))
    for module, name, seconds in (
        (batches, "LOOK_SECONDS", 0.05),
        (batches, "RETRY_SECONDS", 0.05),
        (batch_run, "LOOK_SECONDS", 0.05),
        (batch_run, "LONGEST_PAUSE", 0.05),
    ):
        monkeypatch.setattr(module, name, seconds)
    world = World(database, tmp_path)
    await world.journal(OURS, "open")
    yield world
    await database.close()


async def test_all_lines_are_run_and_told_in_order(world: World) -> None:
    """Large answers, too, which are kept elsewhere until then."""
    large = b'{"text":"' + b"x" * LARGE + b'"}'

    async def answer(call: LineCall, keep: KeepAnswer) -> LineReply:
        if b":3}" in call.body:
            await keep(large)
            return LineReply(200, large)
        return await world.runner.good(call, keep)

    world.runner.answer = answer
    await world.begin(50)
    worker = world.worker()
    worker.start()
    batch = await world.ended()
    await worker.close(1)
    assert batch.state is BatchState.COMPLETED
    assert (batch.total, batch.completed, batch.failed) == (50, 50, 0)
    assert batch.details.usage["input"] == 49 * 2
    found = await world.output(batch.output_file)
    assert list(found) == [f"line-{n}" for n in range(1, 51)]
    assert found["line-3"]["response"]["body"]["text"] == "x" * LARGE
    assert len(set(world.runner.calls)) == 50
    async with world.database.read() as connection:
        assert (await connection.execute(select(batch_lines))).all() == []
    # The input is the caller's, the answers are not needed any more.
    assert await world.files.sweep() == 1


async def test_nobody_takes_what_another_works_on(world: World) -> None:
    """Until the other's journal has ended."""
    await world.journal(THEIRS, "open")
    await world.begin(3)
    assert len(await world.rows.take(THEIRS, 9, {})) == 1
    assert await world.rows.take(OURS, 9, {}) == []
    await world.end_journal(THEIRS)
    (taken,) = await world.rows.take(OURS, 9, {})
    assert taken.owner == OURS


async def test_who_lost_a_batch_writes_nothing_for_it(world: World) -> None:
    """No answer, no end of a line, no state."""
    await world.journal(THEIRS, "open")
    await world.begin(2)
    (theirs,) = await world.rows.take(THEIRS, 9, {})
    line = Line(1, "line-1", 0, 1)
    await world.lines.fill(theirs, [line], first=True)
    (claimed,) = await world.lines.claim(theirs, 9)
    await world.end_journal(THEIRS)
    (ours,) = await world.rows.take(OURS, 9, {})
    await world.lines.recover(ours)
    with pytest.raises(BatchLost):
        await world.lines.keep_answer(theirs, claimed, b"late")
    with pytest.raises(BatchLost):
        await world.lines.end(theirs, [], [1])
    with pytest.raises(BatchLost):
        await world.rows.change(theirs, {"total": 5})
    with pytest.raises(BatchLost):
        await world.rows.finish(theirs, {}, [])
    (again,) = await world.lines.claim(ours, 9)
    assert again.call_id != claimed.call_id


@pytest.mark.parametrize(
    ("kind", "answered", "becomes"),
    [
        ("settle", True, "done"),
        ("settle", False, "lost"),
        ("void", True, "run again"),
        ("void", False, "run again"),
        (None, True, "run again"),
        (None, False, "run again"),
    ],
)
async def test_the_ledger_says_what_became_of_a_line(
    kind: str | None,
    answered: bool,
    becomes: str,
    world: World,
) -> None:
    """Charged, it is done; not charged, it is run again as another call."""
    await world.journal(THEIRS, "open")
    await world.begin(1)
    (theirs,) = await world.rows.take(THEIRS, 9, {})
    theirs = await world.rows.change(
        theirs,
        {
            "state": "in_progress",
            "total": 1,
            "details": BatchDetails(times={"in_progress": 1}),
        },
    )
    await world.lines.fill(theirs, [Line(1, "line-1", 0, LINE_BYTES)], first=True)
    (line,) = await world.lines.claim(theirs, 9)
    if answered:
        await world.lines.keep_answer(theirs, line, b'{"from":"before"}')
    if kind is not None:
        async with world.database.write() as connection:
            await _post(connection, kind, line.call_id)
    await world.end_journal(THEIRS)
    worker = world.worker()
    worker.start()
    batch = await world.ended()
    await worker.close(1)
    output = await world.output(batch.output_file)
    errors = await world.output(batch.error_file)
    if becomes == "lost":
        assert errors["line-1"]["error"]["code"] == "result_lost"
        assert world.runner.calls == []
    elif becomes == "done":
        assert output["line-1"]["response"]["body"] == {"from": "before"}
        assert output["line-1"]["response"]["request_id"] == line.call_id
        assert world.runner.calls == []
    else:
        assert world.runner.calls == ["batch_1-1-2"]
        assert output["line-1"]["response"]["request_id"] == "batch_1-1-2"


async def _post(connection: Any, kind: str, call_id: str) -> None:
    from posthouse.storage.schema import accounts

    await connection.execute(
        insert(accounts),
        [{"id": "one", "kind": "available", "balance": 0, "created_ms": 1}],
    )
    await connection.execute(
        insert(transfers),
        [
            {
                "id": 1,
                "kind": kind,
                "reference": call_id,
                "account_id": "one",
                "held": 1,
                "created_ms": 1,
            }
        ],
    )


async def test_what_is_not_answered_in_time_is_told(world: World) -> None:
    """What was answered by then is given."""

    async def answer(call: LineCall, keep: KeepAnswer) -> LineReply:
        if call.call_id == "batch_1-5-1":
            world.now += 86_400
        return await world.runner.good(call, keep)

    world.runner.answer = answer
    await world.begin(200)
    worker = world.worker()
    worker.start()
    batch = await world.ended()
    await worker.close(1)
    assert batch.state is BatchState.EXPIRED
    output = await world.output(batch.output_file)
    errors = await world.output(batch.error_file)
    assert 5 <= len(output) == batch.completed < 200
    assert len(output) + len(errors) == 200
    assert {line["error"]["code"] for line in errors.values()} == {"batch_expired"}


async def test_a_line_without_room_waits(world: World) -> None:
    """However often that is, and all others with it; faults are tried thrice."""
    refused: dict[bytes, int] = {}

    async def answer(call: LineCall, keep: KeepAnswer) -> LineReply:
        tries = refused[call.body] = refused.get(call.body, 0) + 1
        if call.body == b'{"n":1}' and tries < 6:
            return LineReply(429, b"{}", 0.01, waits_for_room=True)
        if call.body == b'{"n":2}':
            return LineReply(502, b'{"error":{}}', 0.01)
        if call.body == b'{"n":3}' and tries < 3:
            return LineReply(502, b'{"error":{}}', 0.01)
        if call.body == b'{"n":4}':
            return LineReply(400, b'{"error":{}}')
        return await world.runner.good(call, keep)

    world.runner.answer = answer
    await world.begin(8)
    worker = world.worker()
    worker.start()
    batch = await world.ended()
    await worker.close(1)
    assert (batch.completed, batch.failed) == (6, 2)
    errors = await world.output(batch.error_file)
    told = {name: line["response"]["status_code"] for name, line in errors.items()}
    assert told == {"line-2": 502, "line-4": 400}
    assert (refused[b'{"n":1}'], refused[b'{"n":2}'], refused[b'{"n":3}']) == (6, 3, 3)
    assert refused[b'{"n":4}'] == 1
    assert len(set(world.runner.calls)) == len(world.runner.calls)


async def test_what_fails_after_it_was_charged_is_not_run_again(world: World) -> None:
    """The answer that was kept stands; what was not charged is run again."""
    large = b'{"text":"' + b"x" * LARGE + b'"}'

    async def answer(call: LineCall, keep: KeepAnswer) -> LineReply:
        if call.call_id.endswith("-1"):
            await keep(large)
            if call.body == b'{"n":1}':
                async with world.database.write() as connection:
                    await _post(connection, "settle", call.call_id)
            return LineReply(500, b'{"error":{}}', 0.01)
        return await world.runner.good(call, keep)

    world.runner.answer = answer
    await world.begin(2)
    worker = world.worker()
    worker.start()
    batch = await world.ended()
    await worker.close(1)
    output = await world.output(batch.output_file)
    told = {name: one["response"]["request_id"] for name, one in output.items()}
    assert told == {"line-1": "batch_1-1-1", "line-2": "batch_1-2-2"}
    # The two large answers are gone, also the one that was thrown away.
    assert await world.files.sweep() == 2


async def test_an_answer_that_is_damaged_is_told(world: World) -> None:
    """The batch ends all the same."""
    large = b'{"text":"' + b"x" * LARGE + b'"}'
    end = world.lines.end

    async def answer(call: LineCall, keep: KeepAnswer) -> LineReply:
        if call.body == b'{"n":2}':
            await keep(large)
            return LineReply(200, large)
        return await world.runner.good(call, keep)

    async def damaging(*arguments: Any) -> None:
        await end(*arguments)
        async with world.database.write() as connection:
            rows = await connection.execute(select(batch_lines.c.answer_blob))
            for blob in filter(None, rows.scalars()):
                await world.files.blobs.remove(blob)
            await connection.execute(
                update(batch_lines)
                .where(batch_lines.c.number == 1)
                .values(answer=b"\x01 nothing of the kind")
            )

    world.lines.end = damaging  # type: ignore[method-assign]  # for this test
    world.runner.answer = answer
    await world.begin(3)
    worker = world.worker()
    worker.start()
    batch = await world.ended()
    await worker.close(1)
    assert list(await world.output(batch.output_file)) == ["line-3"]
    errors = await world.output(batch.error_file)
    assert [one["error"]["code"] for one in errors.values()] == ["result_lost"] * 2


@pytest.mark.parametrize("when", ["before", "meanwhile"])
async def test_an_input_that_is_gone_ends_a_batch(when: str, world: World) -> None:
    """Before its lines were read it fails, afterwards those lines do that are left."""
    batch = await world.begin(30)

    async def answer(call: LineCall, keep: KeepAnswer) -> LineReply:
        await world.files.blobs.remove(batch.input_blob)
        return await world.runner.good(call, keep)

    world.runner.answer = answer
    if when == "before":
        await world.files.blobs.remove(batch.input_blob)
    worker = world.worker()
    worker.start()
    ended = await world.ended()
    await worker.close(1)
    if when == "before":
        assert ended.state is BatchState.FAILED
        assert [one.code for one in ended.details.errors] == ["input_missing"]
    else:
        assert ended.state is BatchState.COMPLETED
        assert ended.completed + ended.failed == 30
        assert ended.failed


async def test_a_batch_goes_on_after_a_database_that_was_away(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was under way is judged by the ledger, as after a crash."""
    failures = iter([True, False, True])
    end = world.lines.end

    async def failing(*arguments: Any) -> None:
        if next(failures, False):
            raise StorageUnavailable
        await end(*arguments)

    monkeypatch.setattr(world.lines, "end", failing)
    await world.begin(20)
    worker = world.worker()
    worker.start()
    batch = await world.ended()
    await worker.close(1)
    assert batch.completed == 20
    assert len(await world.output(batch.output_file)) == 20


async def test_no_account_has_all_of_a_process(world: World) -> None:
    """The newer batch of another is taken before the older ones of the first."""
    for number in range(MOST_OF_ACCOUNT + 3):
        await world.begin(1, f"batch_{number}")
        world.now += 1
    await world.begin(1, "batch_other", "two")
    taken = await world.rows.take(OURS, MOST_OF_ACCOUNT + 1, {})
    assert [batch.id for batch in taken] == [
        *(f"batch_{number}" for number in range(MOST_OF_ACCOUNT)),
        "batch_other",
    ]
    busy = {"one": MOST_OF_ACCOUNT, "two": 1}
    assert await world.rows.take(OURS, 9, busy) == []
    assert len(await world.rows.page("one", "openai", Page(99))) == MOST_OF_ACCOUNT + 3

"""The batches of all accounts, and the one who works on those of this process.

A process takes batches that nobody works on, in the name of its journal. When it
dies its journal ends, in the ledger, and somebody else takes them: see `ports`.
"""

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from functools import partial
from typing import Any

from msgspec import Struct, structs

from posthouse.errors import InvalidRequest, NotFound, RateLimited, StorageUnavailable
from posthouse.files.records import Page
from posthouse.observe.logs import logger
from posthouse.tasks.batch_input import Judge, LineTooLong, split_lines
from posthouse.tasks.batch_output import write_output
from posthouse.tasks.batch_parts import Parts
from posthouse.tasks.batch_run import BatchRun, Tools
from posthouse.tasks.ports import BatchLost, BatchRows, LineRunner, TooManyBatches
from posthouse.tasks.records import (
    Batch,
    BatchAPI,
    BatchDetails,
    BatchState,
    Line,
    LineError,
    time_of,
)

LOOK_SECONDS = 2.0
"""Between two looks for batches that nobody works on."""
LEAST_SECONDS = 0.05
"""Between two looks at those that rest."""
MOST_BATCHES = 16
"""That one process works on at a time."""
RETRY_SECONDS = 2.0
"""After which a batch that could not go on is tried again."""
_FILLED = 1000
"""Lines that are written down at a time."""

log = logger("posthouse.batches")


class Desk:
    """Takes batches of callers, and tells how they are."""

    def __init__(self, rows: BatchRows, runner: LineRunner) -> None:
        """Keep batches; somebody else works on them."""
        self._rows = rows
        self._runner = runner
        self.wake: Callable[[], None] = _wake_nobody
        """Told that there is something to do."""

    def takes(self, endpoint: str) -> bool:
        """Whether there are batches of calls to an address."""
        return self._runner.takes(endpoint)

    async def add(self, batch: Batch) -> None:
        """Take a new batch."""
        try:
            await self._rows.add(batch)
        except TooManyBatches:
            raise RateLimited(
                "You have as many batches under way as there may be; wait for one",
                retry_after=60,
            ) from None
        self.wake()

    async def add_counted(self, batch: Batch, total: int) -> Batch:
        """Take a new batch whose lines have been counted."""
        batch = structs.replace(batch, total=total)
        await self.add(batch)
        return batch

    async def find(self, batch_id: str, account_id: str) -> Batch | None:
        """Give one of an account's."""
        return await self._rows.find(batch_id, account_id)

    async def page(self, account_id: str, api: BatchAPI, page: Page) -> Sequence[Batch]:
        """Give a page of an account's, and one more if there is more."""
        return await self._rows.page(account_id, api.value, page)

    async def cancel(self, batch: Batch) -> Batch:
        """Have a batch end early; raises InvalidRequest if that is too late."""
        if batch.state is BatchState.CANCELLING:
            return batch
        cancelled = await self._rows.cancel(batch.id, int(time.time() * 1000))
        if cancelled is None:
            raise InvalidRequest(
                f"The batch cannot be cancelled: it is {batch.state.value}",
                code="batch_not_cancellable",
            )
        self.wake()
        return cancelled

    async def forget(self, batch: Batch) -> bool:
        """Delete a batch; False if it has not ended."""
        return await self._rows.forget(batch.id, batch.account_id)


def _wake_nobody() -> None:
    """Nobody of this process works on batches."""


class _Resting(Struct, frozen=True):
    """A batch of ours, until when nothing is to be done about it."""

    batch: Batch
    until: float
    """Monotonic seconds."""


class BatchWorker:
    """Works on batches; `start` and `close` it."""

    def __init__(self, tools: Tools, owner: str) -> None:
        """Work in the name of a journal, `owner`."""
        self._tools = tools
        self._owner = owner
        self._closing = asyncio.Event()
        self._woken = asyncio.Event()
        self._working: dict[str, asyncio.Task[None]] = {}
        self._accounts: dict[str, str] = {}
        """Of those that are worked on."""
        self._looking: asyncio.Task[None] | None = None
        self._parts: dict[str, Parts] = {}
        """Of those of which providers may have some."""
        self._resting: dict[str, _Resting] = {}
        """Those that nothing can be done about until providers have answered."""

    @property
    def working(self) -> int:
        """Batches that it works on."""
        return len(self._working)

    @property
    def resting(self) -> int:
        """Batches of ours that wait for what providers answer."""
        return len(self._resting)

    @property
    def calls(self) -> int:
        """Calls under way for them."""
        return self._tools.slots.taken

    def start(self) -> None:
        """Begin, in the running loop."""
        self._looking = asyncio.create_task(self._look_always())

    def wake(self) -> None:
        """There is a new batch, or one that has changed."""
        self._woken.set()

    async def close(self, seconds: float) -> None:
        """Let the calls under way end, for so long; batches stay where they are."""
        self._closing.set()
        if self._looking is not None:
            self._looking.cancel()
            with suppress(asyncio.CancelledError):
                await self._looking
        if self._working:
            _, late = await asyncio.wait(self._working.values(), timeout=seconds)
            for task in late:
                task.cancel()
            if late:
                await asyncio.wait(late)
        for parts in self._parts.values():
            await parts.close()

    async def _look_always(self) -> None:
        told = False
        while True:
            try:
                await self._look()
                told = False
            except StorageUnavailable:
                if not told:
                    log.warning("batches cannot be looked for: no database")
                told = True
            except Exception as error:
                log.exception("batches could not be looked for", exc_info=error)
            self._woken.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(self._pause()):
                    await self._woken.wait()

    def _pause(self) -> float:
        """For how long there is nothing to look for, unless somebody wakes us."""
        if not self._resting or len(self._working) >= MOST_BATCHES:
            return LOOK_SECONDS
        soonest = min(resting.until for resting in self._resting.values())
        return min(max(soonest - time.monotonic(), LEAST_SECONDS), LOOK_SECONDS)

    async def _look(self) -> None:
        for resting in await self._rested():
            if len(self._working) < MOST_BATCHES:
                del self._resting[resting.batch.id]
                self._begin(resting.batch, self._go_on(resting.batch))
        room = MOST_BATCHES - len(self._working)
        if room <= 0:
            return
        busy = Counter(self._accounts.values())
        for batch in await self._tools.queue.take(self._owner, room, busy):
            self._resting.pop(batch.id, None)
            self._begin(batch, self._work(batch))

    def _begin(self, batch: Batch, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._working[batch.id] = task
        self._accounts[batch.id] = batch.account_id
        task.add_done_callback(partial(self._left, batch.id))

    async def _rested(self) -> "list[_Resting]":
        """Give what has rested for long enough, and what is to end early."""
        if not self._resting:
            return []
        cancelled = await self._tools.queue.cancelled(self._owner)
        now = time.monotonic()
        return [
            resting
            for name, resting in self._resting.items()
            if resting.until <= now
            or (name in cancelled and not self._parts[name].told)
        ]

    def _left(self, batch_id: str, _task: asyncio.Task[None]) -> None:
        del self._working[batch_id]
        del self._accounts[batch_id]
        self._woken.set()

    async def _go_on(self, batch: Batch) -> None:
        """Work on a batch that has rested."""
        try:
            batch = await self._tools.queue.look(batch)
        except BatchLost:
            await self._drop(batch)
        except StorageUnavailable:
            self._rest(batch, RETRY_SECONDS)
        else:
            await self._work(batch)

    async def _work(self, batch: Batch) -> None:
        """Work on a batch until it ends, rests, is somebody else's, or we close."""
        seconds = None
        try:
            seconds = await self._worked(batch)
        finally:
            if seconds is None and not self._closing.is_set():
                await self._drop(batch)
        if seconds is not None:
            self._rest(batch, seconds)

    def _rest(self, batch: Batch, seconds: float) -> None:
        self._resting[batch.id] = _Resting(batch, time.monotonic() + seconds)

    async def _drop(self, batch: Batch) -> None:
        """Forget what is known of a batch's parts."""
        parts = self._parts.pop(batch.id, None)
        if parts is not None:
            await parts.close()

    async def _worked(self, batch: Batch) -> float | None:
        """Work on a batch; give for how long it rests now, None: it is not ours."""
        while not self._closing.is_set():
            try:
                return await self._process(batch)
            except BatchLost:
                log.warning("a batch is worked on elsewhere", batch=batch.id)
            except StorageUnavailable:
                log.warning("a batch waits for storage", batch=batch.id)
            except Exception as error:
                log.exception("a batch could not go on", batch=batch.id, exc_info=error)
            await asyncio.sleep(RETRY_SECONDS)
            try:
                # Of what was under way, the ledger shall know how it ended.
                await self._tools.settled()
                batch = await self._tools.queue.look(batch)
            except BatchLost:
                return None
            except StorageUnavailable:
                continue
        return None

    async def _process(self, batch: Batch) -> float | None:
        tools = self._tools
        cancelled_early = (
            batch.state is BatchState.CANCELLING
            and time_of(batch, BatchState.IN_PROGRESS) is None
        )
        if batch.state is BatchState.VALIDATING or cancelled_early:
            batch = await self._validate(batch)
            if batch.state is BatchState.FAILED:
                return None
        await tools.lines.recover(batch)
        ends_as = batch.details.ends_as
        if batch.state is BatchState.FINALIZING and ends_as:
            ending = BatchState(ends_as)
        else:
            parts = self._parts_of(batch)
            if parts is not None:
                await parts.work(batch)
            found = await BatchRun(batch, tools, closing=self._closing).run()
            if found is None:
                return None
            ending = found
            batch = await tools.queue.look(batch)
            seconds = None if parts is None else await parts.seconds(batch)
            if seconds is not None:
                return seconds
        await self._finish(await tools.queue.look(batch), ending)
        return None

    def _parts_of(self, batch: Batch) -> Parts | None:
        """Give what is known of a batch's parts; None: there cannot be any."""
        tools = self._tools
        if tools.supply is None:
            return None
        parts = self._parts.get(batch.id)
        if parts is None:
            parts = Parts(tools, tools.supply, closing=self._closing)
            self._parts[batch.id] = parts
        return parts

    # --- the beginning --------------------------------------------------------------

    async def _validate(self, batch: Batch) -> Batch:
        """Judge the input, and write its lines down if all is well with them."""
        tools = self._tools
        judge = Judge(batch, tools.runner)
        lines: list[Line] = []
        first = True
        try:
            pieces = tools.files.pieces(batch.input_blob)
            async for number, place, text in split_lines(pieces):
                line = await judge.line(number, place, text)
                if judge.given_up:
                    break
                if line is not None and not judge.errors:
                    lines.append(line)
                if len(lines) == _FILLED:
                    await tools.lines.fill(batch, lines, first=first)
                    lines, first = [], False
                if number % 64 == 0:
                    await asyncio.sleep(0)
        except LineTooLong:
            judge.errors.append(LineError("line_too_long", "A line is too long"))
        except NotFound as error:
            judge.errors.append(LineError("input_missing", error.message))
        if not judge.errors and not judge.count:
            judge.errors.append(LineError("empty_file", "There is not one line"))
        if judge.errors:
            return await self._refuse(batch, judge)
        await tools.lines.fill(batch, lines, first=first)
        details = self._at(batch, BatchState.IN_PROGRESS, model=judge.model)
        changes = {
            "state": BatchState.IN_PROGRESS.value,
            "details": details,
            "total": judge.count,
        }
        return await tools.queue.change(batch, changes)

    async def _refuse(self, batch: Batch, judge: Judge) -> Batch:
        """End a batch whose input is not right."""
        await self._tools.lines.fill(batch, [], first=True)
        details = self._at(batch, BatchState.FAILED, errors=tuple(judge.errors))
        changes = {
            "state": BatchState.FAILED.value,
            "details": details,
            "total": judge.count + len(judge.errors),
            "failed": len(judge.errors),
        }
        return await self._tools.queue.change(batch, changes)

    # --- the end --------------------------------------------------------------------

    async def _finish(self, batch: Batch, ending: BatchState) -> None:
        """Write what came of a batch, and end it."""
        tools = self._tools
        if batch.state is not BatchState.CANCELLING:
            details = self._at(batch, BatchState.FINALIZING, ends_as=ending.value)
            changes: dict[str, Any] = {
                "state": BatchState.FINALIZING.value,
                "details": details,
            }
            batch = await tools.queue.change(batch, changes)
        if batch.state is BatchState.CANCELLING:
            ending = BatchState.CANCELLED
        written = await write_output(batch, tools.lines, tools.files, ending)
        details = self._at(batch, ending, usage=written.usage)
        changes = {"state": ending.value, "details": details}
        files = [file for file in (written.output, written.errors) if file is not None]
        if batch.api is BatchAPI.ANTHROPIC:
            changes["output_blob"] = files[0].blob if files else None
            files = []
        else:
            changes["output_file"] = written.output and written.output.id
            changes["error_file"] = written.errors and written.errors.id
        await tools.queue.finish(batch, changes, files)

    def _at(self, batch: Batch, state: BatchState, **changes: Any) -> BatchDetails:
        """Give a batch's details with the time when a state begins."""
        times = {**batch.details.times, state.value: self._tools.files.now_ms()}
        return structs.replace(batch.details, times=times, **changes)

"""Running the lines of one batch, a few at a time.

Every line's call is a call like any other, with a hold of its own. Its answer is
kept before it is charged, so that what was charged can be given; and its id is kept
before it is made, so that after a crash the ledger says whether it was charged. A
line that was is done; one that was not is run again, as a new call.
"""

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

from msgspec import Struct

from posthouse.errors import NotFound
from posthouse.files.service import Files
from posthouse.tasks.batch_input import body_of
from posthouse.tasks.ports import (
    BatchQueue,
    KeepAnswer,
    LineRows,
    LineRunner,
    PartRows,
    Reserves,
    Suppliers,
)
from posthouse.tasks.records import (
    Answered,
    Batch,
    BatchState,
    Bought,
    Line,
    LineCall,
    LineReply,
)
from posthouse.wire.json import MalformedJSON

MOST_FAULTS = 3
"""Tries of a line that may fail for reasons that pass."""
LOOK_SECONDS = 1.0
"""Between two looks whether the batch shall go on."""
WRITE_SECONDS = 0.5
"""After which lines that are done are written down."""
LONGEST_PAUSE = 30.0
_WRITTEN = 64
_CLAIMED = 4
"""Lines that are taken at a time, for each that runs."""


class Slots:
    """Calls that a process makes for batches at a time, in the order of asking."""

    def __init__(self, most: int) -> None:
        self._free = asyncio.Semaphore(most)
        self.most = most
        self.taken = 0

    async def __aenter__(self) -> None:
        await self._free.acquire()
        self.taken += 1

    async def __aexit__(self, *_: object) -> None:
        self.taken -= 1
        self._free.release()


class Supply(Struct, frozen=True):
    """What providers' own batches are worked with."""

    rows: PartRows
    suppliers: Suppliers
    reserves: Reserves
    poll_seconds: float
    """After which a provider is first asked how far it is."""
    sending: asyncio.Semaphore
    """How many batches are put together at a time, which takes memory."""


class Source(Protocol):
    """Where a run takes its lines from, if not from those that are pending."""

    async def claim(self, most: int) -> Sequence[Line]:
        """Take lines to run; none are left if there are none."""

    def bought(self, line: Line) -> Bought:
        """Give what a provider has answered to one of them."""


class Tools(Struct, frozen=True):
    """What runs are made with."""

    queue: BatchQueue
    lines: LineRows
    files: Files
    runner: LineRunner
    slots: Slots
    """One for each call that this process makes for batches at a time."""
    settled: Callable[[], Awaitable[None]]
    """Returns when all that is settled now is in the ledger."""
    supply: Supply | None = None
    """None: no provider's batches are used."""


class BatchRun:
    """One batch's lines being run by this process."""

    def __init__(
        self,
        batch: Batch,
        tools: Tools,
        *,
        closing: asyncio.Event,
        source: Source | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Prepare; `closing` has it stop where it is.

        With a `source` its lines are run and no others, to the last of them: they
        are answered already.
        """
        self._batch = batch
        self._tools = tools
        self._closing = closing
        self._source = source
        self._clock = clock
        self.found_no_room = False
        """Some line was not run for want of room."""
        self._ready: deque[Line] = deque()
        self._running: set[asyncio.Task[None]] = set()
        self._done: list[Answered] = []
        self._again: list[int] = []
        self._faults: dict[int, int] = {}
        self._width = tools.slots.most
        """Lines that run at one time: half as many when there was no room."""
        self._went_well = 0
        self._resume_at = 0.0
        """When the next call may be made, after one that had no room."""
        self._looked = float("-inf")
        self._written = clock()
        self._more = True
        """There may be lines that nobody has taken."""

    async def run(self) -> BatchState | None:
        """Run all lines; give as what the batch ends, or None to leave it as it is.

        Raises BatchLost and StorageUnavailable, once no call is under way.
        """
        try:
            return await self._run()
        except asyncio.CancelledError:
            for task in self._running:
                task.cancel()
            raise
        finally:
            if self._running:
                await asyncio.wait(self._running)

    async def _run(self) -> BatchState | None:
        ending: BatchState | None = None
        while True:
            if ending is None and self._source is None:
                ending = await self._ending()
            if ending is not None or self._closing.is_set():
                self._again += [line.number for line in self._ready]
                self._ready.clear()
            else:
                await self._begin_lines()
            await self._write(whole=not self._running)
            if self._running:
                await self._wait()
            elif self._closing.is_set():
                return None
            elif ending is not None:
                return ending
            elif not self._ready and not self._more:
                return BatchState.COMPLETED
            else:
                await self._rest()

    async def _ending(self) -> BatchState | None:
        """Look whether the batch is to end before its lines do."""
        now = self._clock()
        if now - self._looked >= LOOK_SECONDS:
            self._looked = now
            self._batch = await self._tools.queue.look(self._batch)
        if self._batch.state is BatchState.CANCELLING:
            return BatchState.CANCELLED
        if self._batch.expires_ms <= self._tools.files.now_ms():
            return BatchState.EXPIRED
        return None

    async def _begin_lines(self) -> None:
        """Begin as many lines as may run, unless there was no room just now."""
        if self._clock() < self._resume_at:
            return
        if not self._ready and self._more and len(self._running) < self._width:
            await self._write(whole=True)
            # A line that ends meanwhile, and is to be run again, says so itself.
            self._more = False
            count = self._width * _CLAIMED
            self._ready.extend(await self._claim(count))
            self._more = self._more or bool(self._ready)
        while self._ready and len(self._running) < self._width:
            line = self._ready.popleft()
            task = asyncio.create_task(self._line(line))
            self._running.add(task)

    async def _claim(self, count: int) -> Sequence[Line]:
        if self._source is not None:
            return await self._source.claim(count)
        return await self._tools.lines.claim(self._batch, count)

    async def _wait(self) -> None:
        """Wait for a line, but not for so long that a look is missed."""
        done, self._running = await asyncio.wait(
            self._running, timeout=LOOK_SECONDS, return_when=asyncio.FIRST_COMPLETED
        )
        for task in done:
            # Raises what is no answer of a line's: it is not ours, or not kept.
            task.result()

    async def _rest(self) -> None:
        """Wait until there may be room again."""
        seconds = min(max(self._resume_at - self._clock(), 0.0), LOOK_SECONDS)
        await asyncio.sleep(seconds)

    # --- one line --------------------------------------------------------------------

    async def _line(self, line: Line) -> None:
        """Run one line, when it is its turn among those of all batches."""
        async with self._tools.slots:
            kept: list[bytes] = []

            async def keep(body: bytes) -> None:
                await self._tools.lines.keep_answer(self._batch, line, body)
                kept.append(body)

            reply = await self._call(line, keep)
        if kept and reply.status != 200 and await self._is_charged(line):
            # What went wrong did so after that: its answer is the one that was kept.
            reply = LineReply(200, kept[-1])
        if reply.retry_after is not None and self._may_try_again(line, reply):
            pause = min(max(reply.retry_after, 0.1), LONGEST_PAUSE)
            self._resume_at = max(self._resume_at, self._clock() + pause)
            self.found_no_room = self.found_no_room or reply.waits_for_room
            self._again.append(line.number)
            self._more = True
            self._width = max(1, self._width // 2)
            return
        self._widen()
        body = b"" if kept and kept[-1] == reply.body else reply.body
        self._done.append(
            Answered(line.number, line.custom_id, line.call_id, reply.status, body)
        )

    async def _is_charged(self, line: Line) -> bool:
        """Ask the ledger about a call of ours."""
        await self._tools.settled()
        return await self._tools.queue.charged(line.call_id)

    def _widen(self) -> None:
        """Let one more line run at a time, when as many as run now went well."""
        self._went_well += 1
        if self._went_well >= 2 * self._width:
            self._went_well = 0
            self._width = min(self._width + 1, self._tools.slots.most)

    async def _call(self, line: Line, keep: KeepAnswer) -> LineReply:
        try:
            call = await call_of(self._batch, line, self._tools.files)
        except (MalformedJSON, NotFound):
            # What was judged is not what is there now.
            return LineReply(
                500, b'{"error":{"message":"The input is not what it was."}}'
            )
        bought = None if self._source is None else self._source.bought(line)
        return await self._tools.runner.run(call, keep, bought)

    def _may_try_again(self, line: Line, reply: LineReply) -> bool:
        if reply.waits_for_room:
            return True
        faults = self._faults.get(line.number, 0) + 1
        self._faults[line.number] = faults
        return faults < MOST_FAULTS

    async def _write(self, *, whole: bool) -> None:
        """Write down what has become of lines, if that is much or long ago."""
        now = self._clock()
        count = len(self._done) + len(self._again)
        if not count:
            return
        if not whole and count < _WRITTEN and now - self._written < WRITE_SECONDS:
            return
        done, self._done = self._done, []
        again, self._again = self._again, []
        try:
            await self._tools.lines.end(self._batch, done, again)
        except BaseException:
            self._done += done
            self._again += again
            raise
        self._written = now
        self._more = self._more or bool(again)


async def call_of(batch: Batch, line: Line, files: Files) -> LineCall:
    """Read what a line asks.

    Raises MalformedJSON and NotFound where the input is not what it was.
    """
    text = await files.part(batch.input_blob, line.place, line.size)
    body = body_of(text)
    return LineCall(
        line.call_id, batch.key_id, batch.api, batch.endpoint, body, batch.id
    )

"""The parts of one batch that providers work on, as batches of their own.

Rules. A part is written down, with its lines, before its provider hears of it, and
the provider's batch carries the part's mark. So what was created and not written
down is found again, and nothing is created twice: a part of which nobody knows
whether the provider has it is looked for, and its lines go elsewhere only when it
is not there. An answer that a provider has given is a line's call like any other,
whose reply is there already: it has a call id before, its answer is kept before it
is charged, and after a crash the ledger says whether it was.

What a provider has not answered when its batch is over is run by us; so it is over
some time before ours is.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence

from msgspec import Struct, field, structs

from posthouse.billing.killpoints import reach
from posthouse.errors import NotFound
from posthouse.observe.logs import logger
from posthouse.tasks.batch_run import BatchRun, Supply, Tools, call_of
from posthouse.tasks.ports import (
    PartGone,
    Progress,
    SupplierRefused,
    SupplierUncertain,
)
from posthouse.tasks.records import (
    MOST_LINES,
    Batch,
    BatchState,
    Bought,
    Line,
    Part,
    PartState,
    time_of,
)
from posthouse.tasks.records import Place as Placed
from posthouse.wire.json import MalformedJSON

PART_BYTES = 8 * 1024 * 1024
"""Of a part, which is in memory while it is sent."""
PART_LINES = 10_000
MOST_BYTES = 16 * 1024 * 1024
"""Of all parts of a batch that are being put together."""
LINE_BYTES = 256
"""What stands around a line's request."""
RECALLED_MS = 60 * 60_000
"""Before the end of a batch's time its parts are cancelled, and what is left of them
is run by us."""
TOLD_MS = 30 * 60_000
"""For which a provider that was told to end may tell what it has done."""
FOUND_AFTER = 2
"""So many times the seconds between looks, until what was sent must have arrived."""
SLOWER, SLOWEST = 1.5, 20.0
"""By how much looks become rarer, and how rare, in times of the first pause."""
MOST_MISSED = 3
"""Looks at which a provider does not know its batch, until it is believed."""
_PAGE = 64
_CLAIMED_BYTES = 2 * 1024 * 1024
"""Of answers that are taken at a time."""

log = logger("posthouse.batches")
Clock = Callable[[], float]


class _Draft(Struct):
    """Lines that go to one place, on their way to become a part."""

    lines: dict[int, Placed] = field(default_factory=dict)
    size: int = 0
    reserve: int = 0

    def add(self, number: int, placed: Placed) -> None:
        self.lines[number] = placed
        self.size += len(placed.body) + LINE_BYTES
        self.reserve += placed.reserve


class _Looks(Struct):
    """When a part is looked at."""

    next_at: float
    """Monotonic seconds."""
    pause: float
    missed: int = 0


class Parts:
    """The parts of one batch, as long as this process works on it."""

    def __init__(
        self,
        tools: Tools,
        supply: Supply,
        *,
        closing: asyncio.Event,
        clock: Clock = time.monotonic,
    ) -> None:
        """Prepare; `closing` has it stop where it is."""
        self._tools = tools
        self._supply = supply
        self._closing = closing
        self._clock = clock
        self._without: set[str] = set()
        """Channels that have refused a part."""
        self._looks: dict[int, _Looks] = {}
        self._held: dict[int, Part] = {}
        """Parts for which money is set aside."""
        self.told = False
        """Providers were told that the batch shall end."""

    async def work(self, batch: Batch) -> None:
        """Look at the parts that are due, and place the lines that nobody has placed.

        Raises BatchLost and StorageUnavailable.
        """
        ending = self._is_ending(batch)
        parts = await self._supply.rows.all(batch)
        others = frozenset(one.remote_id for one in parts if one.remote_id)
        for part in parts:
            if part.state is PartState.OVER or self._closing.is_set():
                continue
            if self._is_due(part, ending=ending) or self._is_too_late(batch):
                await self._visit(batch, part, others, ending=ending)
        self.told = self.told or ending
        if not ending and self._supply.suppliers.known():
            number = max((part.number for part in parts), default=0)
            async with self._supply.sending:
                while not self._closing.is_set():
                    placing = _Placing(self, batch, number)
                    if not await placing.sweep():
                        break
                    number = placing.number

    async def seconds(self, batch: Batch) -> float | None:
        """Say when to `work` again; None: no provider works on anything."""
        parts = await self._supply.rows.all(batch)
        unfinished = [part for part in parts if part.state is not PartState.OVER]
        if not unfinished:
            return None
        if self._is_ending(batch) and not self.told:
            return 0.0
        soonest = min(self._look_of(part).next_at for part in unfinished)
        seconds = soonest - self._clock()
        if not self.told:
            left = batch.expires_ms - RECALLED_MS - self._now_ms()
            seconds = min(seconds, left / 1000)
        return max(0.0, seconds)

    async def close(self) -> None:
        """Give back what is set aside: who goes on sets it aside anew."""
        for part in list(self._held.values()):
            await self._free(part)

    def _is_ending(self, batch: Batch) -> bool:
        """Whether providers are to work on it no longer."""
        recalled = batch.expires_ms - RECALLED_MS <= self._now_ms()
        return batch.state is BatchState.CANCELLING or recalled

    def _now_ms(self) -> int:
        return self._tools.files.now_ms()

    # --- looks ------------------------------------------------------------------------

    def _look_of(self, part: Part) -> _Looks:
        looks = self._looks.get(part.number)
        if looks is None:
            # One that was there before us is looked at once, or when it has arrived.
            looks = _Looks(self._clock(), self._supply.poll_seconds)
            self._looks[part.number] = looks
            if part.state is PartState.INTENDED:
                looks.next_at += FOUND_AFTER * looks.pause
        return looks

    def _later(self, part: Part) -> None:
        """Look at a part again, and more rarely the longer it takes."""
        looks = self._look_of(part)
        looks.next_at = self._clock() + looks.pause
        most = SLOWEST * self._supply.poll_seconds
        looks.pause = min(looks.pause * SLOWER, most)

    def _is_due(self, part: Part, *, ending: bool) -> bool:
        """Whether something is to be done about a part now."""
        looks = self._look_of(part)
        if ending and not self.told:
            looks.pause = self._supply.poll_seconds
            return part.state is PartState.CREATED
        return looks.next_at <= self._clock()

    async def _visit(
        self, batch: Batch, part: Part, others: frozenset[str], *, ending: bool
    ) -> None:
        """Do what there is to do about a part now."""
        if self._is_too_late(batch):
            await self._over(batch, part, here=True)
            return
        if part.number not in self._held:
            await self._hold(batch, part)
        self._later(part)
        try:
            created = await self._found(batch, part, others)
            if created is None:
                return
            if ending:
                await self._supply.suppliers.cancel(created)
            progress = await self._supply.suppliers.look(created)
        except SupplierUncertain as error:
            log.warning("a provider's batch waits", part=part.mark, reason=str(error))
        except PartGone:
            await self._missed(batch, part)
        else:
            self._look_of(part).missed = 0
            if progress.ended:
                await self._take(batch, created, progress)
            if progress.reason:
                log.warning(
                    "a provider's batch has failed",
                    part=part.mark,
                    channel=part.channel,
                    reason=progress.reason,
                )

    async def _missed(self, batch: Batch, part: Part) -> None:
        """A provider does not know a part: if it says so again and again, it is so."""
        looks = self._look_of(part)
        looks.missed += 1
        if looks.missed >= MOST_MISSED:
            log.warning("a provider has lost a batch", part=part.mark)
            await self._over(batch, part, here=True)

    def _is_too_late(self, batch: Batch) -> bool:
        """Whether nobody waits any more for what a provider may say."""
        told = batch.expires_ms - RECALLED_MS
        if batch.state is BatchState.CANCELLING:
            told = min(told, time_of(batch, BatchState.CANCELLING) or told)
        return told + TOLD_MS <= self._now_ms()

    async def _found(
        self, batch: Batch, part: Part, others: frozenset[str]
    ) -> Part | None:
        """Give a part with the provider's name for it; None: the provider has it not.

        Raises SupplierUncertain.
        """
        if part.state is PartState.CREATED:
            return part
        remote_id = await self._supply.suppliers.find(part, others)
        if remote_id is None:
            await self._over(batch, part, here=False)
            return None
        await self._supply.rows.created(batch, part, remote_id)
        return structs.replace(part, state=PartState.CREATED, remote_id=remote_id)

    async def _take(self, batch: Batch, part: Part, progress: Progress) -> None:
        """Take the answers of a part that has ended; if not all can be, later again."""
        await self._free(part, used=True)
        reach("batch.before_results")
        source = _Results(batch, part, self._supply, progress)
        run = BatchRun(batch, self._tools, closing=self._closing, source=source)
        try:
            whole = await run.run() is not None
        finally:
            await source.close()
        if source.faults:
            log.warning(
                "a provider's batch has results of no line that waits for one",
                part=part.mark,
                count=source.faults,
            )
        if not whole or run.found_no_room or source.broken:
            return
        reach("batch.after_results")
        await self._over(batch, part, here=True)

    async def _over(self, batch: Batch, part: Part, *, here: bool) -> None:
        await self._supply.rows.over(batch, part, here=here)
        await self._free(part)

    # --- money ------------------------------------------------------------------------

    async def _hold(self, batch: Batch, part: Part) -> bool:
        if not await self._supply.reserves.open(batch, part):
            return False
        self._held[part.number] = part
        return True

    async def _free(self, part: Part, *, used: bool = False) -> None:
        if self._held.pop(part.number, None) is not None:
            await self._supply.reserves.free(part, used=used)

    # --- creating ---------------------------------------------------------------------

    async def send(self, batch: Batch, part: Part, lines: dict[int, Placed]) -> bool:
        """Give lines to a provider; False if it has refused them.

        Lines for which the account has no money are run by us, one by one.
        """
        rows = self._supply.rows
        if not await self._hold(batch, part):
            await rows.place(batch, list(lines), None)
            return True
        await rows.place(batch, list(lines), part)
        reach("batch.after_intention")
        try:
            remote_id = await self._supply.suppliers.create(part, lines)
        except SupplierRefused as error:
            log.warning(
                "a provider takes no batch", channel=part.channel, reason=str(error)
            )
            self._without.add(part.channel)
            await self._over(batch, part, here=False)
            return False
        except SupplierUncertain as error:
            log.warning(
                "nobody knows whether a provider has a batch",
                part=part.mark,
                reason=str(error),
            )
            self._look_of(part)
            return True
        reach("batch.after_creation")
        await rows.created(batch, part, remote_id)
        reach("batch.after_record")
        self._later(part)
        return True

    async def placed(self, batch: Batch, line: Line) -> Placed | None:
        """Say where a line goes; None: nowhere."""
        try:
            call = await call_of(batch, line, self._tools.files)
        except (MalformedJSON, NotFound):
            return None
        placed = await self._tools.runner.place(call, frozenset(self._without))
        if placed is not None and len(placed.body) + LINE_BYTES > PART_BYTES:
            return None
        return placed

    async def page(self, batch: Batch, after: int) -> Sequence[Line]:
        """Give lines that nobody has placed, none when the process closes."""
        if self._closing.is_set():
            return ()
        return await self._supply.rows.unplaced(batch, after, _PAGE)

    async def stay(self, batch: Batch, numbers: Sequence[int]) -> None:
        """Have lines run by us."""
        if numbers:
            await self._supply.rows.place(batch, numbers, None)

    def make(self, batch: Batch, number: int, draft: _Draft) -> Part:
        """Make a part of lines that go to one place."""
        first = next(iter(draft.lines.values()))
        return Part(
            batch.id,
            number,
            first.channel,
            first.credential,
            first.model,
            first.url,
            len(draft.lines),
            draft.reserve,
            self._now_ms(),
        )


class _Placing:
    """One sweep over the lines of a batch that nobody has placed."""

    def __init__(self, parts: Parts, batch: Batch, number: int) -> None:
        self._parts = parts
        self._batch = batch
        self.number = number
        """Of the last part there is."""
        self._drafts: dict[tuple[str, int, str, str], _Draft] = {}
        self._refused = False

    async def sweep(self) -> bool:
        """Place what can be; True if some of it must be placed anew."""
        after = 0
        while lines := await self._parts.page(self._batch, after):
            after = lines[-1].number
            stay = [line.number for line in lines if not await self._add(line)]
            await self._parts.stay(self._batch, stay)
        while self._drafts:
            await self._send(next(iter(self._drafts)))
        return self._refused

    async def _add(self, line: Line) -> bool:
        """Put a line to those that go the same way; False: it stays."""
        placed = await self._parts.placed(self._batch, line)
        if placed is None:
            return False
        key = (placed.channel, placed.credential, placed.model, placed.url)
        draft = self._drafts.get(key)
        if draft is not None and (
            draft.size + len(placed.body) + LINE_BYTES > PART_BYTES
            or len(draft.lines) == PART_LINES
        ):
            await self._send(key)
            draft = None
        if draft is None:
            draft = self._drafts[key] = _Draft()
        draft.add(line.number, placed)
        if sum(one.size for one in self._drafts.values()) > MOST_BYTES:
            await self._send(max(self._drafts, key=lambda one: self._drafts[one].size))
        return True

    async def _send(self, key: tuple[str, int, str, str]) -> None:
        draft = self._drafts.pop(key)
        self.number += 1
        part = self._parts.make(self._batch, self.number, draft)
        if not await self._parts.send(self._batch, part, draft.lines):
            self._refused = True


class _Results:
    """The answers of one part, as a run's source."""

    def __init__(
        self, batch: Batch, part: Part, supply: Supply, progress: Progress
    ) -> None:
        self._batch = batch
        self._part = part
        self._rows = supply.rows
        self._results: AsyncIterator[tuple[int, Bought | None]]
        self._results = supply.suppliers.results(part, progress)
        self._bought: dict[int, Bought] = {}
        self._seen = bytearray(1)
        """By line: whether there was an answer."""
        self.faults = 0
        """Results that are no line's, or not its first."""
        self.broken = False
        """Not all could be read."""

    async def claim(self, most: int) -> Sequence[Line]:
        """Take the next lines that there are answers to."""
        while True:
            found = await self._next(most)
            if not found:
                return ()
            numbers = list(found)
            lines = await self._rows.claim(self._batch, self._part, numbers)
            self._bought |= {line.number: found[line.number] for line in lines}
            if lines:
                return lines

    async def _next(self, most: int) -> dict[int, Bought]:
        found: dict[int, Bought] = {}
        size = 0
        try:
            while len(found) < most and size < _CLAIMED_BYTES:
                number, bought = await anext(self._results)
                if bought is None:
                    continue
                if not 0 < number <= MOST_LINES or self._was_seen(number):
                    self.faults += 1
                    continue
                found[number] = bought
                size += len(bought.body)
        except StopAsyncIteration:
            pass
        except (SupplierUncertain, PartGone) as error:
            self.broken = True
            log.warning(
                "a provider's results cannot be read",
                part=self._part.mark,
                reason=str(error),
            )
        return found

    def _was_seen(self, number: int) -> bool:
        """Whether a line had an answer before; notes that it has one now."""
        if number >= len(self._seen):
            self._seen.extend(bytes(number + 1 - len(self._seen)))
        seen = bool(self._seen[number])
        self._seen[number] = 1
        return seen

    def bought(self, line: Line) -> Bought:
        """Give the answer to a line that was claimed, once."""
        return self._bought.pop(line.number)

    async def close(self) -> None:
        """Read no more."""
        close = getattr(self._results, "aclose", None)
        if close is not None:
            await close()

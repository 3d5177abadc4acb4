"""The ledger's thread: the only place where a process waits for its database.

It serves draws and returns as they come and drains journals every tick. The
one process of the machine that holds `writer.lock` drains all journals and
recovers those whose owners die; the others drain nothing until the lock is
free. When the database fails, the journal keeps what is written; draws fail at
once, and after some failures in a row new holds are refused until it works.
"""

import asyncio
import queue
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

from posthouse.billing.drain import Follower
from posthouse.billing.journal import NASCENT, Journal
from posthouse.billing.journal_lock import WRITER_LOCK, FileLock, try_lock
from posthouse.billing.killpoints import reach
from posthouse.billing.ports import (
    ConnectLedger,
    Draw,
    DrawRequest,
    GiveBack,
    JournalMovedOn,
    LedgerStore,
    LedgerUnavailable,
)
from posthouse.billing.recovery import Recovery, recover_journal

TICK_SECONDS: Final = 0.25
"""Between drains; what a drain costs is shared by all calls that ended since."""
SCAN_SECONDS: Final = 1.0
RENEW_SECONDS: Final = 5.0
SILENT_SECONDS: Final = 60.0
"""After so long without a word another machine's process is taken for dead, by
those who have had the database all that time."""
SILENT_LOOKS: Final = 3
"""Looks in a row that find it silent, until it is. The database's clock may jump, and
then everybody is, until they are heard of again."""
RECALL_SECONDS: Final = 0.1
"""Between two looks at what other processes ask back."""
FAILURES: Final = 5
"""Failures in a row after which new holds are refused."""
CLOSE_SECONDS: Final = 5.0

DrawDone = Callable[[Draw | BaseException], None]
ReturnDone = Callable[[BaseException | None], None]
FlushDone = Callable[[], None]
RecallDone = Callable[[Sequence[str]], None]
Command = tuple[DrawRequest, DrawDone] | tuple[GiveBack, ReturnDone]


class LedgerThread:
    """Owns the connection to the ledger; implements `leases.Teller`."""

    def __init__(
        self,
        root: Path,
        journal: Journal,
        connect: ConnectLedger,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Prepare; `start` begins."""
        self.failing = False
        """Whether the ledger or the disk does not take what it is given."""
        self.backlog_failures = 0
        self.recovery = Recovery()
        """What was recovered from siblings that died."""
        self.open_holds = 0
        """Told by the owner at each tick of its own."""
        self._root = root
        self._journal = journal
        self._connect = connect
        self._clock = clock
        self._commands: queue.SimpleQueue[Command | FlushDone] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="ledger", daemon=True)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._recall: RecallDone = _nobody_told
        self._disown: Callable[[], None] = _nobody_cares
        self._ledger: LedgerStore | None = None
        self._writer: FileLock | None = None
        self._followers: dict[str, Follower] = {}
        self._scanned = -SCAN_SECONDS
        self._drained = 0
        self._wanting = False
        """Calls wait for money that other processes have."""
        self._flushes: list[FlushDone] = []
        self._closing = False
        self._disowned = False
        """Whether others have ended our journal: nothing more may be held in it."""
        self._renewed = -RENEW_SECONDS
        self._silent: dict[str, int] = {}
        """Journals that are, and how many looks have found them so."""
        self._sound_since = clock()
        """Since when the ledger has done all that was asked of it."""
        self._abandoned = False
        self._finished = False

    @property
    def drained(self) -> int:
        """Where in our own journal the ledger has come to; 0 before it has begun."""
        return self._drained

    def start(
        self,
        loop: asyncio.AbstractEventLoop,
        recall: RecallDone | None = None,
        disown: Callable[[], None] | None = None,
    ) -> None:
        """Begin; callbacks go to `loop`.

        Args:
            loop: the event loop.
            recall: is told the accounts of which what is free is asked back; each
                is answered by a GiveBack, or it is told again.
            disown: called when other machines have taken this one for dead.
        """
        self._loop = loop
        self._recall = recall or _nobody_told
        self._disown = disown or _nobody_cares
        self._thread.start()

    def draw(self, request: DrawRequest, done: DrawDone) -> None:
        """See Teller."""
        self._commands.put((request, done))

    def give_back(self, item: GiveBack, done: ReturnDone) -> None:
        """See Teller."""
        self._commands.put((item, done))

    def flush(self, done: FlushDone) -> None:
        """Call `done` when what the journal holds now was offered to the ledger.

        Segments for the open holds have been made by then, too.
        """
        self._commands.put(done)

    async def close(self) -> bool:
        """Drain, close the journal in the ledger and stop.

        False: the ledger did not take it all, the files stay for recovery.
        """
        self._commands.put(self._begin_closing)
        await asyncio.to_thread(self._thread.join)
        return self._finished

    def abandon(self) -> None:
        """Stop at once and leave everything as it is, as a crash would."""
        self._abandoned = True
        self._commands.put(self._begin_closing)
        self._thread.join()

    def _begin_closing(self) -> None:
        """Stands in the queue behind everything that was asked before."""
        self._closing = True

    def _run(self) -> None:
        try:
            self._work()
        finally:
            # Nobody serves draws any more; if this is a fault, say so at once.
            self.failing = True
            self._hang_up()

    def _work(self) -> None:
        next_tick = self._clock() + TICK_SECONDS
        next_look = self._clock() + RECALL_SECONDS
        while not (self._abandoned or self._closing):
            self._serve(max(0.001, min(next_tick, next_look) - self._clock()))
            if self._wanting:
                self._bury()
            if self._clock() >= next_look:
                self._look_for_recalls()
                next_look = self._clock() + RECALL_SECONDS
            flushes, self._flushes = self._flushes, []
            if flushes or self._clock() >= next_tick:
                self._guard(self._tick)
                next_tick = self._clock() + TICK_SECONDS
            if flushes:
                self._report(flushes)
        if not (self._abandoned or self._disowned):
            self._finish()

    def _hang_up(self) -> None:
        for follower in self._followers.values():
            follower.close()
        if self._ledger is not None:
            self._ledger.close()
        if self._writer is not None:
            self._writer.release()

    def _serve(self, timeout: float) -> None:
        """Serve the draws and returns that wait, or come before the timeout."""
        commands: list[Command] = []
        try:
            item = self._commands.get(timeout > 0, timeout or None)
            while True:
                if isinstance(item, tuple):
                    commands.append(item)
                elif item == self._begin_closing:
                    item()
                else:
                    self._flushes.append(item)
                item = self._commands.get_nowait()
        except queue.Empty:
            pass
        if commands and not self._abandoned:
            self._exchange(commands)

    def _open(self) -> LedgerStore:
        if self._ledger is None:
            self._ledger = self._connect()
        return self._ledger

    def _guard(self, work: Callable[[], None]) -> bool:
        """Do a piece of work; a failure is counted and the work tried again."""
        try:
            work()
        except (LedgerUnavailable, OSError):
            self.backlog_failures += 1
            self.failing = self._disowned or self.backlog_failures >= FAILURES
            self._sound_since = self._clock()
            return False
        self.backlog_failures = 0
        self.failing = self._disowned
        return True

    def _exchange(self, commands: list[Command]) -> None:
        """Serve draws and returns in one transaction and report to the loop."""
        returns = [item for item, _ in commands if isinstance(item, GiveBack)]
        requests = [item for item, _ in commands if isinstance(item, DrawRequest)]
        failure: BaseException | None = None
        draws: list[Draw] = []
        try:
            draws = self._open().exchange(self._journal.id, returns, requests)
        except LedgerUnavailable as error:
            failure = error
        served = iter(draws)
        self._wanting = self._wanting or any(draw.elsewhere for draw in draws)
        calls: list[Callable[[], None]] = []
        for item, done in commands:
            outcome = (
                next(served, failure) if isinstance(item, DrawRequest) else failure
            )
            calls.append(_bind(done, outcome))
        self._report(calls)

    def _report(self, calls: list[Callable[[], None]]) -> None:
        def deliver() -> None:
            for call in calls:
                call()

        loop = self._loop
        if loop is not None and not loop.is_closed():
            loop.call_soon_threadsafe(deliver)

    def _look_for_recalls(self) -> None:
        """Pass on what other processes ask back; the tick counts failures."""
        with suppress(LedgerUnavailable):
            accounts = self._open().recalled(self._journal.id)
            if accounts:
                self._report([lambda: self._recall(accounts)])

    def _tick(self) -> None:
        """Drain, make segments, remove drained ones, look after siblings."""
        own = self._journal
        with suppress(OSError):
            # A full disk shows in Journal.has_room, not as a failing ledger.
            own.prepare(self.open_holds)
        if self._disowned:
            return
        ledger = self._open()
        try:
            self._keep_alive(ledger)
            self._look_after(ledger)
        except JournalMovedOn:
            # We were away for so long that our leases were given back. What is
            # under way is posted late, by whoever recovers our files.
            self._disowned = self.failing = True
            self._report([self._disown])

    def _look_after(self, ledger: LedgerStore) -> None:
        """Drain our journal and our siblings', or let the one drain who does."""
        own = self._journal
        if self._writer is None:
            self._writer = try_lock(self._root / WRITER_LOCK)
        scanning = self._clock() >= self._scanned + SCAN_SECONDS
        if scanning:
            self._scanned = self._clock()
        if self._writer is not None:
            self._drain(ledger)
            if scanning:
                self._scan(ledger)
            self._drained = self._followers[own.id].position
        elif scanning:
            self._drained = ledger.register(own.id)
        own.reclaim(self._drained)

    def _keep_alive(self, ledger: LedgerStore) -> None:
        """Be heard of elsewhere; end the journals of machines that are not.

        Raises JournalMovedOn when that was done to ours.
        """
        now = self._clock()
        if now < self._renewed + RENEW_SECONDS:
            return
        self._renewed = now
        ledger.renew(self._journal.id)
        if now - self._sound_since < SILENT_SECONDS:
            self._silent.clear()
        else:
            before = self._silent
            found = ledger.silent(SILENT_SECONDS)
            self._silent = {name: before.get(name, 0) + 1 for name in found}
            for journal_id, looks in self._silent.items():
                if looks < SILENT_LOOKS:
                    continue
                with suppress(JournalMovedOn):
                    ledger.finish(journal_id, [], "recovered")
                    self.recovery.lost += 1

    def _drain(self, ledger: LedgerStore) -> None:
        """Post what is in the journals that we follow."""
        own = self._journal.id
        if own not in self._followers:
            self._follow(ledger, own)
        self._followers[own].complete_below = self._journal.number
        for journal_id, follower in list(self._followers.items()):
            try:
                while follower.drain(ledger, batches=1):
                    # Calls that wait for money do not wait for the backlog, nor
                    # does who would take us for dead.
                    self._serve(0)
                    self._keep_alive(ledger)
                    # What has come meanwhile waits for the next tick: a transaction
                    # of a few costs the same pages as one of hundreds.
                    if not follower.behind:
                        break
            except (JournalMovedOn, FileNotFoundError):
                # Its owner has drained or closed it: begin again, if at all.
                follower.close()
                del self._followers[journal_id]
        if own not in self._followers:
            self._follow(ledger, own)

    def _follow(self, ledger: LedgerStore, journal_id: str) -> None:
        drained_to = ledger.register(journal_id)
        self._followers[journal_id] = Follower(
            self._root / journal_id, drained_to, alive=True
        )

    def _scan(self, ledger: LedgerStore) -> None:
        """Follow new siblings; recover dead ones."""
        for directory in self._siblings():
            name = directory.name
            if not self._recover(directory, ledger) and name not in self._followers:
                try:
                    self._follow(ledger, name)
                except (JournalMovedOn, FileNotFoundError):
                    continue  # It is closing.

    def _bury(self) -> None:
        """Have the money of siblings that died return, for somebody waits for it.

        The dead are not asked for it in vain until the next scan finds them.
        """
        self._wanting = False
        with suppress(LedgerUnavailable, OSError):
            ledger = self._open()
            for directory in self._siblings():
                self._recover(directory, ledger)

    def _siblings(self) -> Iterator[Path]:
        """The journals of other processes on this machine, dead or alive."""
        for directory in self._root.iterdir():
            name = directory.name
            if name == self._journal.id or name.startswith(NASCENT):
                continue
            if directory.is_dir():
                yield directory

    def _recover(self, directory: Path, ledger: LedgerStore) -> bool:
        """Recover a sibling's journal if it died; tell whether it did."""
        if not recover_journal(directory, ledger, self.recovery):
            return False
        gone = self._followers.pop(directory.name, None)
        if gone is not None:
            gone.close()
        return True

    def _finish(self) -> None:
        """Close the journal in the ledger; give up after a while."""
        until = self._clock() + CLOSE_SECONDS
        while not self._guard(self._close_journal) and self._clock() < until:
            time.sleep(TICK_SECONDS)

    def _close_journal(self) -> None:
        ledger = self._open()
        own = self._journal
        follower = Follower(own.directory, ledger.register(own.id), alive=False)
        try:
            while follower.drain(ledger):
                pass
        except JournalMovedOn as error:
            raise LedgerUnavailable("another process drains this journal") from error
        finally:
            follower.close()
        reach("close.after_drain")
        if self.open_holds == 0:
            ledger.finish(own.id, [], "closed")
            self._finished = True
        reach("close.after_commit")


def _bind(
    done: Callable[..., None], outcome: Draw | BaseException | None
) -> Callable[[], None]:
    return lambda: done(outcome)


def _nobody_told(_accounts: Sequence[str]) -> None:
    """Who has no wallets keeps nothing free."""


def _nobody_cares() -> None:
    """Whoever asks whether new holds are taken learns of it."""

"""Holds: what a call may cost is set aside before it leaves, then settled once.

Rules. `open` is on disk before it returns, so a call that was dispatched is
always known after a crash. A hold ends in exactly one settlement or void, and
`settle` returns only when that is as durable as configured: whoever sends the
end of a reply after it never has to take money back. A settlement above the
hold takes what the wallet has; the ledger finds the rest. While the process's
lease covers a call, opening and settling touch neither database nor thread.
"""

import asyncio
import time
from collections.abc import Callable, Coroutine
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, Literal

import msgspec

from posthouse.billing.drain_thread import LedgerThread
from posthouse.billing.journal import Carried, Journal
from posthouse.billing.journal_sync import GroupSync
from posthouse.billing.killpoints import ARMED, reach
from posthouse.billing.leases import MAX_AMOUNT, LeasePolicy, Wallet, Wallets
from posthouse.billing.ports import ConnectLedger, LedgerUnavailable
from posthouse.billing.records import (
    ANSWERING,
    PROGRESS,
    SETTLEMENT,
    VOID_REASONS,
    Answering,
    Opened,
    Opening,
    Progress,
    Settlement,
)
from posthouse.billing.recovery import Recovery, recover
from posthouse.billing.segments import SEGMENT_SIZE
from posthouse.errors import InsufficientQuota, StorageUnavailable
from posthouse.model.call import CallRecord

TICK_SECONDS: Final = 0.1
SWEEP_TICKS: Final = 10
RESERVED_HOLDS: Final = 8
"""Room in the journal beyond the open holds' settlements."""
LAST_SHARE: Final = 16
"""A hold with less than this part of its first size left is used up."""
MAX_CHARGE: Final = 10**18
"""A billion US dollars: no single charge is larger."""


class HoldEnded(Exception):
    """The hold was settled or voided before."""


class Hold(msgspec.Struct, eq=False):
    """Money set aside for one call; made by HoldManager.open."""

    _manager: "HoldManager"
    _wallet: Wallet
    _opening: Opening
    amount: int
    """The hold with its extensions, nano-dollars."""
    bucket: dict[str, Carried]
    channel: str = ""
    ended: bool = False
    _delivered: int = 0
    _check_at: int = 0
    """What the content must cost for another look; 0 before the first."""

    @property
    def _step(self) -> int:
        """What the first hold sets aside for the answer."""
        return max(1, self._opening.amount - self._opening.prompt_charge)

    def state(self) -> Opened:
        """The hold as it stands now, for the journal."""
        return Opened(self._opening, self.amount, self.channel, self._delivered)

    def answering(self, channel: str) -> None:
        """Note that the first content byte goes to the client (streams)."""
        self.channel = channel
        with suppress(StorageUnavailable):
            # What is kept free for the settlement has room for this, too.
            self._manager.journal.append(
                ANSWERING, Answering(self._opening.call_id, channel)
            )
        reach("hold.after_answering_record")

    def covers(self, output_charge: int) -> bool:
        """Whether the first hold pays for an answer of this charge, nano-dollars."""
        # Prompt and whole were each rounded up.
        return output_charge <= self._step + 1

    async def progress(self, charge_so_far: int, *, covered: bool = False) -> bool:
        """Extend the hold in time.

        Args:
            charge_so_far: what the delivered content costs at most,
                nano-dollars, without the prompt.
            covered: the answer ends before the hold does, so how far it is
                gets written down and nothing is added.

        Returns whether the stream may go on: False when the hold is used up
        and nothing can be added. Below half of what remains it costs nothing.
        """
        if covered:
            charge_so_far = min(charge_so_far, self._step)
        if charge_so_far < (self._check_at or self._step // 2 or 1):
            return True
        return await self._extend(charge_so_far, covered=covered)

    async def void(self, record: CallRecord, reason: str) -> None:
        """End the hold without a charge; `reason` is one of VOID_REASONS."""
        if reason not in VOID_REASONS:
            raise ValueError(f"{reason!r} is no reason for a void")
        if record.price:
            record = msgspec.structs.replace(record, price=0)
        await self.settle(record, reason)

    async def settle(self, record: CallRecord, void_reason: str = "") -> None:
        """End the hold as `end` does; returns when that is as durable as configured.

        Raises StorageUnavailable also where its durability cannot be promised.
        """
        durable = self.end(record, void_reason)
        if durable is not None:
            await durable

    def end(
        self, record: CallRecord, void_reason: str = ""
    ) -> Coroutine[Any, Any, None] | None:
        """Charge `record.price`, exactly once, then give free what was not used.

        Gives what to await before anybody may be told; None where the settlement
        is as durable as configured already. Raises HoldEnded, ValueError for a
        price that cannot be, and StorageUnavailable: then the hold is still open.
        """
        opening = self._opening
        call_id = opening.call_id
        paid = record.price
        if self.ended:
            raise HoldEnded(call_id)
        if record.id != call_id or not 0 <= paid <= MAX_CHARGE:
            raise ValueError(f"{record.id} at {paid} is no charge for {call_id}")
        if ARMED:
            _reach_end(void_reason, "before")
        wallet = self._wallet
        amount = self.amount
        if paid > amount:
            paid = min(paid, amount + wallet.free)
        settlement = Settlement(
            call_id,
            opening.account_id,
            wallet.lease_id,
            amount,
            paid,
            void_reason,
            record,
        )
        manager = self._manager
        manager.journal.append(SETTLEMENT, settlement)
        self.ended = True
        del self.bucket[call_id]
        manager.open_holds -= 1
        wallet.open_holds -= 1
        wallet.free += amount - paid
        if wallet.strict or wallet.waiters:
            manager.wallets.changed(wallet)
        if ARMED:
            _reach_end(void_reason, "after")
        return None if manager.sync is None else manager.sync.wait()

    async def _extend(self, charge_so_far: int, *, covered: bool) -> bool:
        """Add to the hold what it lacks; write down how far the call is."""
        wallet = self._wallet
        rest = self.amount - self._opening.prompt_charge - charge_so_far
        wish = 0 if covered else min(self._step + max(0, -rest), MAX_AMOUNT)
        if wallet.free >= wish and not wallet.waiters:
            wallet.free -= wish
            granted = wish
        else:
            granted = await self._wait(wish) if wish else 0
        if self.ended:
            wallet.free += granted
            self._manager.wallets.changed(wallet)
            return False
        self.amount += granted
        self._delivered = charge_so_far
        record = Progress(self._opening.call_id, self.amount, charge_so_far)
        self._manager.note(record)
        reach("hold.after_progress_record")
        rest += granted
        self._check_at = charge_so_far + max(1, rest // 2)
        if covered:
            return True
        return rest > 0 and (granted > 0 or rest > self._step // LAST_SHARE)

    async def _wait(self, wish: int) -> int:
        try:
            return await self._manager.wallets.wait(self._wallet, wish, 1)
        except (InsufficientQuota, StorageUnavailable):
            return 0


def _reach_end(void_reason: str, when: str) -> None:
    """Be at the instants before and after the record of a hold's end."""
    if void_reason:
        reach(f"void.{when}_record")
    else:
        reach(f"settle.{when}_record")


class HoldManager:
    """All holds of this process, its journal, wallets and ledger's thread."""

    def __init__(
        self,
        journal: Journal,
        thread: LedgerThread,
        *,
        sync: GroupSync | None = None,
        policy: LeasePolicy | None = None,
        disowned: Callable[[], None] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Join the parts; use `start`.

        Args:
            journal: this process's own.
            thread: the ledger's thread, not started.
            sync: waits for durability against power loss; None does not.
            policy: how leases are drawn.
            disowned: called when other machines have taken this one for dead;
                holds are refused from then on, and only a new start helps.
            clock: monotonic seconds.
        """
        self.journal = journal
        self.sync = sync
        self.wallets = Wallets(thread, policy or LeasePolicy(), clock)
        self.open_holds = 0
        self.recovery = Recovery()
        """What the start found left by the dead."""
        self._thread = thread
        self._disowned = disowned
        self._ticks = 0
        self._timer: asyncio.TimerHandle | None = None
        self._closing = False

    @classmethod
    async def start(
        cls,
        root: Path,
        connect: ConnectLedger,
        *,
        durability: Literal["process", "power"] = "process",
        policy: LeasePolicy | None = None,
        disowned: Callable[[], None] | None = None,
        segment_size: int = SEGMENT_SIZE,
    ) -> "HoldManager":
        """Recover what the dead left, then open a journal of our own.

        Args:
            root: the directory of all journals of this machine.
            connect: opens the ledger; called in the thread that uses it.
            durability: what a settlement survives before `settle` returns.
            policy: how leases are drawn.
            disowned: see HoldManager.
            segment_size: bytes per file of the journal.

        Raises LedgerUnavailable and OSError: then nothing can be served.
        """
        durable = durability == "power"

        def prepare() -> tuple[Recovery, Journal]:
            ledger = connect()
            try:
                recovery = recover(root, ledger)
                journal = Journal(root, segment_size=segment_size, durable=durable)
                try:
                    ledger.register(journal.id)
                    reach("journal.registered")
                except LedgerUnavailable:
                    journal.close(remove=True)
                    raise
            finally:
                ledger.close()
            return recovery, journal

        recovery, journal = await asyncio.to_thread(prepare)
        thread = LedgerThread(root, journal, connect)
        sync = GroupSync(journal) if durable else None
        manager = cls(journal, thread, sync=sync, policy=policy, disowned=disowned)
        manager.recovery = recovery
        manager.run()
        return manager

    def run(self) -> None:
        """Start the thread and the tick in the running loop."""
        loop = asyncio.get_running_loop()
        self._thread.start(loop, self.wallets.recall, self._disowned)
        self._timer = loop.call_later(TICK_SECONDS, self._tick)

    @property
    def available(self) -> bool:
        """Whether new holds are taken (readiness)."""
        return not self._refusing and self.journal.has_room(
            self.open_holds + RESERVED_HOLDS
        )

    @property
    def backlog_segments(self) -> int:
        """By how many segments of the journal the ledger is behind."""
        return self.journal.number - max(1, self._thread.drained >> 32)

    @property
    def _refusing(self) -> bool:
        return self._closing or self._thread.failing or self.journal.failed

    def open_now(self, opening: Opening) -> Hold | None:
        """Set money aside for a call, and write that down, without waiting.

        None where this process's lease of the account does not cover the amount,
        or the journal has no room: nothing is changed then, and `open` waits.
        Raises InsufficientQuota and StorageUnavailable.
        """
        amount = opening.amount
        if amount < 0 or opening.prompt_charge < 0:
            raise ValueError("a hold is not negative")
        if self._closing or self._thread.failing or self.journal.failed:
            raise StorageUnavailable
        if amount > MAX_AMOUNT:
            raise InsufficientQuota
        wallets = self.wallets
        wallet = wallets.find(opening.account_id)
        if wallet is None or wallet.used_at != wallets.now:
            wallet = wallets.wallet(opening.account_id)
        if amount > wallet.free or wallet.waiters:
            return None
        hold = self._enter(wallet, opening)
        if hold is not None:
            wallet.open_holds += 1
            wallet.free = free = wallet.free - amount
            if free < wallet.low_water:
                wallets.top_up(wallet, amount)
        return hold

    async def open(self, opening: Opening) -> Hold:
        """Set money aside for a call and write that down, as `open_now` does.

        Waits for what lacks. Raises InsufficientQuota and StorageUnavailable.
        """
        hold = self.open_now(opening)
        if hold is not None:
            return hold
        amount = opening.amount
        wallet = self.wallets.wallet(opening.account_id)
        wallet.open_holds += 1
        if amount > wallet.free or wallet.waiters:
            await self._draw(wallet, amount)
        else:
            wallet.free -= amount
        try:
            while (hold := self._enter(wallet, opening)) is None:
                await self._make_room()
        except BaseException:
            wallet.open_holds -= 1
            wallet.free += amount
            self.wallets.changed(wallet)
            raise
        if wallet.free < wallet.low_water:
            self.wallets.top_up(wallet, amount)
        return hold

    def _enter(self, wallet: Wallet, opening: Opening) -> Hold | None:
        """Write down a hold for which there is money; None: the journal is full."""
        journal, amount = self.journal, opening.amount
        opened = Opened(opening, amount)
        if not journal.open(opened, self.open_holds + RESERVED_HOLDS):
            return None
        bucket = journal.bucket
        hold = bucket[opening.call_id] = Hold(self, wallet, opening, amount, bucket)
        self.open_holds += 1
        if ARMED:
            reach("hold.after_open_record")
        return hold

    async def _draw(self, wallet: Wallet, amount: int) -> None:
        """Take an amount that the wallet does not have, or others wait for too."""
        try:
            await self.wallets.wait(wallet, amount, amount)
        except BaseException:
            wallet.open_holds -= 1
            raise

    def note(self, record: Progress) -> None:
        """Write down how far a call is, for recovery, if there is room."""
        if self.journal.has_room(self.open_holds + RESERVED_HOLDS):
            self.journal.append(PROGRESS, record)

    async def drain(self) -> None:
        """Return when what is settled now is in the ledger, if it takes it."""
        if self._closing:
            return
        self._thread.open_holds = self.open_holds
        flushed: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def done() -> None:
            if not flushed.done():
                flushed.set_result(None)

        self._thread.flush(done)
        await flushed

    async def _make_room(self) -> None:
        """Wait for room in the journal; raise if that is not all that lacks."""
        if not self._refusing:
            await self.drain()
            if self.available:
                return
        raise StorageUnavailable

    async def close(self) -> bool:
        """Drain everything, return the leases, remove the journal.

        Returns False when holds are still open or the ledger does not take it
        all: then the journal stays and the next start recovers it.
        """
        self._closing = True
        if self._timer is not None:
            self._timer.cancel()
        if self.sync is not None:
            self.sync.close()
        self._thread.open_holds = self.open_holds
        finished = await self._thread.close()
        self.journal.close(remove=finished)
        return finished

    def _tick(self) -> None:
        """Keep the journal short and the wallets few."""
        self._thread.open_holds = self.open_holds
        self._ticks += 1
        if self._ticks % SWEEP_TICKS == 0:
            self.wallets.sweep()
        with suppress(StorageUnavailable):
            # When the disk is full, new holds are refused meanwhile.
            self.journal.carry()
        self.journal.release()
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(TICK_SECONDS, self._tick)

"""The real holds, journal, thread and ledger, driven step by step with a model."""

import asyncio
import shutil
from pathlib import Path

from tests.unit.billing.books import Books, faults, opening, record

from posthouse.billing.holds import Hold, HoldManager
from posthouse.billing.leases import LeasePolicy
from posthouse.billing.records import Opening
from posthouse.errors import InsufficientQuota

SMALL = 16 * 1024
POLICY = LeasePolicy(slice_holds=4, idle_seconds=0.0)


class Expected:
    """What the model knows of an open call."""

    def __init__(self, call: Opening) -> None:
        self.call = call
        self.answering = False
        self.delivered = 0

    def after_crash(self) -> tuple[str, str, int]:
        if self.call.priced_by_result:
            return ("void", "recovered", 0)
        if not self.answering:
            return ("void", "crash_unanswered", 0)
        return ("settle", "", self.call.prompt_charge + self.delivered)


class Simulation:
    """One process after another on one set of books."""

    def __init__(self, folder: Path, accounts: dict[str, tuple[int, int | None]]):
        self.books = Books(folder / "live")
        self.books.keep = True
        self.folder = folder
        self.accounts = accounts
        for name, (amount, line) in accounts.items():
            self.books.fund(name, amount, line)
        self.loop = asyncio.new_event_loop()
        self.holds: dict[str, Hold] = {}
        self.expected: dict[str, Expected] = {}
        self.ended: dict[str, tuple[str, int]] = {}
        self.account_of: dict[str, str] = {}
        self.calls = 0
        self.manager: HoldManager = self.run(
            self.books.start(policy=POLICY, segment_size=SMALL)
        )

    def run(self, work):
        return self.loop.run_until_complete(work)

    def open(self, account: str, amount: int, prompt: int, by_result: bool) -> None:
        self.calls += 1
        call = opening(
            account,
            amount,
            prompt=prompt,
            call_id=f"call_{self.calls:04}",
            priced_by_result=by_result,
        )
        funds, line = self.accounts[account]
        left = None if line is None else funds + line - self.spoken_for(account)
        try:
            hold = self.run(self.manager.open(call))
        except InsufficientQuota:
            assert left is not None, "an unlimited account was refused"
            assert left < amount, "refused while unspent money exists"
            return
        assert left is None or amount == 0 or left >= amount, "more than is paid for"
        self.holds[call.call_id] = hold
        self.expected[call.call_id] = Expected(call)
        self.account_of[call.call_id] = account

    def spoken_for(self, account: str) -> int:
        """What of an account's money is charged to it or held."""
        held = sum(
            hold.amount
            for call_id, hold in self.holds.items()
            if self.account_of[call_id] == account
        )
        return held + self.charged(account)

    def charged(self, account: str) -> int:
        """What calls took of an account's money; the house paid the rest."""
        total = sum(
            price
            for call_id, (_kind, price) in self.ended.items()
            if self.account_of[call_id] == account
        )
        if self.accounts[account][1] is None:
            return total
        return min(total, self.run(self._charged(account)))

    async def _charged(self, account: str) -> int:
        """What the books say, once the overruns are decided by the drain."""
        await self.manager.drain()
        balance = await self.books.balance(account)
        return self.accounts[account][0] - balance.shown - balance.held

    def answer(self, call_id: str) -> None:
        self.holds[call_id].answering("main")
        self.expected[call_id].answering = True

    def progress(self, call_id: str, charge: int) -> None:
        hold, expected = self.holds[call_id], self.expected[call_id]
        charge = max(charge, expected.delivered)
        before = hold.amount
        self.run(hold.progress(charge))
        if hold.amount != before or hold.state().delivered_charge != expected.delivered:
            expected.delivered = charge

    def settle(self, call_id: str, price: int) -> None:
        hold, expected = self.holds.pop(call_id), self.expected.pop(call_id)
        self.run(hold.settle(record(expected.call, price)))
        self.ended[call_id] = ("settle", price)

    def void(self, call_id: str) -> None:
        hold, expected = self.holds.pop(call_id), self.expected.pop(call_id)
        self.run(hold.void(record(expected.call, 0, "failed"), "failed"))
        self.ended[call_id] = ("void", 0)

    def drain(self) -> None:
        self.run(self.manager.drain())

    def return_idle(self) -> None:
        self.manager.wallets.sweep()

    def crash(self) -> None:
        """Go on from a copy of the files, as the kernel would have kept them."""
        live = self.books.folder
        manager = self.manager
        manager._timer.cancel()
        self.run(self.books.release())
        # The copy is taken between two transactions, while the thread stands.
        manager._thread.abandon()
        copy = self.folder / f"copy{self.calls}-{len(self.ended)}"
        shutil.copytree(live, copy)
        manager.journal.close()
        shutil.rmtree(live)
        copy.rename(live)
        for call_id, expected in self.expected.items():
            kind, _reason, price = expected.after_crash()
            self.ended[call_id] = (kind, price)
        self.holds.clear()
        self.expected.clear()
        self.manager = self.run(self.books.start(policy=POLICY, segment_size=SMALL))

    def restart(self) -> None:
        """Close in good order; holds that are open stop it from being complete."""
        closed = self.run(self.manager.close())
        assert closed == (not self.holds)
        for call_id, expected in self.expected.items():
            kind, _reason, price = expected.after_crash()
            self.ended[call_id] = (kind, price)
        self.holds.clear()
        self.expected.clear()
        self.manager = self.run(self.books.start(policy=POLICY, segment_size=SMALL))

    def check(self) -> None:
        """The books are sound and agree with the model."""
        report = self.run(self.books.audit(served=[*self.ended, *self.holds]))
        assert faults(report) == {}
        posted = {
            call_id: (kind, price)
            for call_id, (kind, _reason, price) in self.books.ends().items()
        }
        assert posted.items() <= self.ended.items()
        held = dict.fromkeys(self.accounts, 0)
        for call_id, hold in self.holds.items():
            held[self.account_of[call_id]] += hold.amount
        for name, balance in self.run(self.books.balances()).items():
            assert balance.held == held[name]
            line = balance.credit_line
            assert line is None or balance.available >= -line

    def finish(self) -> None:
        """Drained and closed, everything that ended is in the ledger."""
        try:
            for call_id in sorted(self.holds):
                self.void(call_id)
            assert self.run(self.manager.close())
            self.compare()
        finally:
            self.run(self.books.release())
            self.run(self.loop.shutdown_default_executor())
            self.loop.close()

    def compare(self) -> None:
        """What is posted is what ended, and each account paid just that."""
        posted = {
            call_id: (kind, price)
            for call_id, (kind, _reason, price) in self.books.ends().items()
        }
        assert posted == self.ended
        assert faults(self.run(self.books.audit())) == {}
        for name, (amount, _line) in self.accounts.items():
            rows = self.books.execute(
                "SELECT coalesce(sum(e.amount), 0) FROM entries e JOIN transfers t"
                " ON t.id = e.transfer_id WHERE t.account_id = ? AND t.kind = 'settle'"
                " AND e.account_id NOT IN ('revenue', 'overrun')",
                name,
            )
            assert self.books.available(name) == amount + rows[0][0]

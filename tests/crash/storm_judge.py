"""What must be true after a storm, of each call, of the ledger, of each account.

It is looked at when nothing is under way and no node runs.
"""

from collections import Counter

from msgspec import Struct, field
from tests.crash import traffic
from tests.crash.books import Books, View
from tests.crash.judge import Row, fault_of
from tests.crash.nodes import Node
from tests.crash.records import ProviderJournal, Told
from tests.crash.storm_report import Report

RPM = 60
POOR = 3
POOR_BALANCE = 6_000_000
RICH_BALANCE = 1_000 * 10**9
LIMITED = "poor-in-calls"
POOREST = [f"poor-{number}" for number in range(POOR)]
TENANTS = ["unlimited", "rich-0", "rich-1", LIMITED, *POOREST]
NO_MONEY, TOO_OFTEN = "insufficient_quota", "rate_limit_exceeded"
NO_STORAGE = "storage_unavailable"
REFUSALS = {
    LIMITED: frozenset({TOO_OFTEN}),
    # There is a moment, after a death, in which nobody knows whether they have any.
    **dict.fromkeys(POOREST, frozenset({NO_MONEY, NO_STORAGE})),
}
"""With which a tenant's calls may be refused at any time, before they are sent on."""
LONGEST_MS = 600_000


def key_of(name: str) -> str:
    """A key's text."""
    return f"sk-crash-{name}-0123456789abcdefghijklmnopqrstuvw"


def opening_of(name: str) -> int:
    """What a tenant begins with, nano-dollars."""
    if name == "unlimited":
        return 0
    return POOR_BALANCE if name in POOREST else RICH_BALANCE


class Allowances(Struct):
    """What is no fault, for what befell the nodes."""

    excused: set[str] = field(default_factory=set)
    """Calls that may have been told that there is no database."""
    gone: set[str] = field(default_factory=set)
    """Calls that a lost disk may have taken with it."""
    late: set[str] = field(default_factory=set)
    """Calls of a node that had been taken for dead: others may pay for them."""
    limits: int = 0
    """Times that a minute of the limits may have begun anew."""
    credited: Counter[str] = field(default_factory=Counter)
    """Nano-dollars, by tenant."""


class Judge:
    """Holds what clients, provider and ledger say against each other."""

    def __init__(
        self,
        report: Report,
        allowances: Allowances,
        books: Books,
        provider: ProviderJournal,
    ) -> None:
        """Take the witnesses; faults go to the report."""
        self._report = report
        self._allowances = allowances
        self._books = books
        self._provider = provider
        self._rows: dict[str, Row] = {}
        self._served: set[str] = set()

    def judge(self, nodes: list[Node], minutes: float) -> None:
        """Look at everything; the storm lasted for so many minutes."""
        report = self._report
        self._provider.read()
        view = self._books.look()
        for row in view.rows:
            if row.model in self._rows:
                report.fault(f"{row.model}: in the ledger twice")
            self._rows[row.model] = row
            report.rows[_label(row)] += 1
        accounts = self._books.accounts(TENANTS)
        calls = [told for node in nodes for told in node.told]
        for told in calls:
            self._judge_call(told, accounts)
        self._judge_ledger(view)
        self._judge_limit(calls, minutes)
        self._judge_balances(view, accounts)
        for check in self._books.audit(self._served).checks:
            if not check.passed:
                report.fault(f"{check.name}: {check.title}: {check.examples}")

    def _judge_call(self, told: Told, accounts: list[str]) -> None:
        row = self._rows.get(told.model)
        self._report.judged[f"{told.how} {told.code}".removesuffix(" -")] += 1
        served = self._provider.served.get(told.model)
        if row is None and told.model in self._allowances.gone:
            self._report.gone += 1
            return
        if served is not None and row is not None:
            self._served.add(row.id)
        wrong = "" if self._may_refuse(told, row) else fault_of(told, served, row)
        if row is not None and row.account_id != accounts[told.key]:
            wrong = f"charged to {row.account_id}"
        wrong = wrong or self._needless(told)
        if wrong:
            meanwhile = self._report.meanwhile(told)
            self._report.fault(
                f"{told.model}: {wrong}; {meanwhile} ({told}, {served}, {row})"
            )

    def _needless(self, told: Told) -> str:
        """What is wrong with a refusal that is no caller's fault."""
        if told.how != "refused" or told.status < 500:
            return ""
        if told.status == 503 and told.retry_after == "-":
            return "refused for now, and not told until when"
        may = told.model in self._allowances.excused
        may = may or told.code in REFUSALS.get(TENANTS[told.key], ())
        if traffic.kind_of(told.model).fault != "all" and not may:
            return "refused although nothing was away"
        return ""

    def _may_refuse(self, told: Told, row: Row | None) -> bool:
        """Whether a call was refused as it may be, before it was sent on."""
        if told.how != "refused" or row is not None:
            return False
        if told.model in self._provider.served:
            return False
        known = told.code in REFUSALS.get(TENANTS[told.key], ())
        return known or told.model in self._allowances.excused

    def _judge_ledger(self, view: View) -> None:
        """All that was served is there, and paid for by what had been set aside."""
        lost = self._provider.served.keys() - self._rows.keys() - self._allowances.gone
        for model in lost:
            self._report.fault(f"{model}: served by the provider, not in the ledger")
        late = {row.id for row in view.rows if row.model in self._allowances.late}
        for name in set(view.outside) - late:
            self._report.fault(f"{name}: within its hold, and not paid by its lease")

    def _judge_limit(self, calls: list[Told], minutes: float) -> None:
        """The key that may call so often a minute did not do so more often."""
        place = TENANTS.index(LIMITED)
        admitted = sum(
            told.key == place and told.model in self._provider.served for told in calls
        )
        most = RPM * (int(minutes) + 2 + self._allowances.limits)
        if not 0 < admitted <= most:
            self._report.fault(f"{admitted} calls of {RPM} a minute, {most} at most")

    def _judge_balances(self, view: View, accounts: list[str]) -> None:
        """Opening and credits less charges is what is left; and nobody owes."""
        for name, account in zip(TENANTS, accounts, strict=True):
            balance = view.balances[account]
            if balance.left != balance.credits - balance.charges:
                self._report.fault(f"{name}: {balance} does not add up")
            expected = self._allowances.credited[name] + opening_of(name)
            if balance.credits != expected:
                self._report.fault(f"{name}: {balance.credits}, not {expected}")
            if name != "unlimited" and balance.left < 0:
                self._report.fault(f"{name}: has {balance.left}")
        with self._books.snapshot() as ask:
            wrong = ask(
                "SELECT id FROM calls WHERE total_ms < 0 OR total_ms > ?"
                " OR first_token_ms < 0",
                LONGEST_MS,
            )
            kept = ask("SELECT id FROM accounts WHERE kind = 'lease' AND balance <> 0")
        if wrong:
            self._report.fault(f"by the clock of no node: {wrong[:5]}")
        if kept:
            self._report.fault(f"money is left in leases: {kept}")


def _label(row: Row) -> str:
    return (
        f"void {row.reason}"
        if row.kind == "void"
        else f"{row.outcome} by {row.usage_source}"
    )

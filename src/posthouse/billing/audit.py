"""The auditor: ten invariants of the money, checked on one snapshot.

This file says what is checked and what the result looks like; `storage` asks
the ledger. Open holds that only a journal knows are no faults, however many:
a living process will end them, or the next start will.
"""

from collections.abc import Iterable
from typing import Final

from msgspec import Struct

from posthouse.billing.journal_view import JournalView
from posthouse.model.call import Operation

TITLES: Final = {
    "I1": "every transfer's entries sum to zero",
    "I2": "every balance is the sum of its account's entries",
    "I3": "every hold ends in exactly one settlement or void",
    "I4": "no account is below its credit line, no lease below zero",
    "I5": "every charge is within its hold and the excess it states",
    "I6": "every call, credit and code is posted at most once",
    "I7": "every served call has one charge, every void a listed reason",
    "I8": "every account's credits less its charges are what remains",
    "I9": "every charge names its price version, usage and who counted",
    "I10": "no hold is older than its operation allows",
}
EXAMPLES: Final = 10
"""How many offending ids a check names."""
SESSION_LIMIT_MS: Final = 2 * 3_600_000
"""A realtime session lasts an hour at most."""
CHAT_LIMIT_MS: Final = 35 * 60 * 1000
TASK_LIMIT_MS: Final = 72 * 60 * 60 * 1000


class Check(Struct, frozen=True):
    """One invariant's result."""

    name: str
    title: str
    faults: int
    examples: list[str]
    """The first offending ids, with what is wrong with each."""

    @property
    def passed(self) -> bool:
        """Whether it holds."""
        return self.faults == 0


class AuditReport(Struct, frozen=True):
    """All invariants, and how much was looked at."""

    clean: bool
    checks: list[Check]
    counts: dict[str, int]
    """Rows by table, holds and settlements that only journals know, overruns."""


class Findings:
    """Collects faults by invariant."""

    def __init__(self) -> None:
        """Begin without any."""
        self._faults = dict.fromkeys(TITLES, 0)
        self._examples: dict[str, list[str]] = {name: [] for name in TITLES}

    def add(self, name: str, count: int, examples: Iterable[str]) -> None:
        """Add `count` faults of an invariant, some of them named."""
        self._faults[name] += count
        named = self._examples[name]
        named.extend(list(examples)[: EXAMPLES - len(named)])

    def report(self, counts: dict[str, int]) -> AuditReport:
        """Give the result."""
        checks = [
            Check(name, title, self._faults[name], self._examples[name])
            for name, title in TITLES.items()
        ]
        return AuditReport(all(check.passed for check in checks), checks, counts)


def check_ages(view: JournalView, now_ms: int, findings: Findings) -> None:
    """I10: find holds that are open for longer than their operation may take."""
    old = []
    for call_id, item in view.holds.items():
        opening = item.hold.opening
        limit = TASK_LIMIT_MS if opening.priced_by_result else CHAT_LIMIT_MS
        if opening.operation == Operation.REALTIME:
            limit = max(limit, SESSION_LIMIT_MS)
        age = now_ms - opening.created_ms
        if age > limit:
            old.append(f"{call_id}: open for {age // 60_000} minutes")
    findings.add("I10", len(old), old)


def check_ended_twice(
    view: JournalView, ended: Iterable[str], findings: Findings
) -> None:
    """I3: find holds that a journal has open and the ledger has ended."""
    both = [
        f"{call_id}: open in journal {view.holds[call_id].journal_id}"
        for call_id in ended
        if call_id in view.holds
    ]
    findings.add("I3", len(both), both)

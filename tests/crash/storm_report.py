"""What a storm came to: what befell the nodes, what their callers were told."""

import re
import time
from collections import Counter
from collections.abc import Iterator

from msgspec import Struct, field
from tests.crash.gateway import Ready
from tests.crash.records import Told

EXAMPLES = 3
"""Of each kind of fault."""


class Report(Struct):
    """What a storm came to."""

    done: Counter[str] = field(default_factory=Counter)
    """What befell the nodes, how often."""
    calls: int = 0
    judged: Counter[str] = field(default_factory=Counter)
    rows: Counter[str] = field(default_factory=Counter)
    lost: int = 0
    """Calls whose node was killed under them."""
    gone: int = 0
    """Calls that a lost disk has taken with it."""
    refused_ms: list[int] = field(default_factory=list)
    """How long those waited who were told that there is no database."""
    changes: list[float] = field(default_factory=list)
    """Seconds until a change of a key or the file held on every node."""
    starts: list[Ready] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    history: list[tuple[float, str]] = field(default_factory=list)
    """What befell them, and when."""

    def befalls(self, what: str) -> None:
        """Note what is about to befall the nodes."""
        self.done[what] += 1
        self.history.append((time.monotonic(), what))

    def fault(self, text: str) -> None:
        """Note what is wrong."""
        self.faults.append(text)

    def meanwhile(self, told: Told) -> str:
        """What befell the nodes just before a call, and while it was under way."""
        begun = [(at, what) for at, what in self.history if at < told.began + told.took]
        return ", then ".join(
            what
            for index, (at, what) in enumerate(begun)
            if at > told.began or index == len(begun) - 1
        )

    def lines(self) -> list[str]:
        """The report for people."""
        changes, refused = sorted(self.changes), sorted(self.refused_ms)
        found = [
            "done: " + _counted(self.done),
            f"calls {self.calls}, faults {len(self.faults)}",
            f"lost with their node {self.lost}, with its disk {self.gone}",
            "clients: " + _counted(self.judged),
            "ledger: " + _counted(self.rows),
        ]
        if changes:
            found.append(
                f"changes hold after {changes[len(changes) // 2]:.2f} s, "
                f"{changes[-1]:.2f} at most, of {len(changes)}"
            )
        if refused:
            found.append(
                f"no database: told after {refused[len(refused) // 2]} ms, "
                f"{refused[len(refused) * 99 // 100]} at p99, {refused[-1]} at most"
            )
        if self.starts:
            own = max(ready.own for ready in self.starts)
            wall = max(ready.seconds for ready in self.starts)
            found.append(
                f"starts: {own:.1f} s at most, {wall:.1f} on this busy machine"
            )
        return [*found, *(f"FAULT {fault}" for fault in self._examples())]

    def _examples(self) -> Iterator[str]:
        """Some of each kind of fault."""
        kinds: Counter[str] = Counter()
        for fault in self.faults:
            kind = re.sub(r"\w*\d\w*", "", fault.partition(";")[0])
            kinds[kind] += 1
            if kinds[kind] <= EXAMPLES:
                yield fault
        yield from (f"{count} times {kind}" for kind, count in kinds.items())


def _counted(counts: Counter[str]) -> str:
    return ", ".join(f"{name} {count}" for name, count in sorted(counts.items()))

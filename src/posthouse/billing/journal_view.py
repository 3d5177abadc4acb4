"""What the journals know and the ledger does not yet: a look from outside.

Any process may look, while their owners write. The ledger's positions must be
read before: then every call is in the ledger, in `pending` or in `holds`, and
possibly in two of them, but never missing from all. (A call that ended and was
drained in between is missing here and will be in a later ledger.)
"""

from collections import Counter
from collections.abc import Mapping
from pathlib import Path

from msgspec import Struct

from posthouse.billing.journal import NASCENT
from posthouse.billing.journal_lock import LOCK_NAME, is_held
from posthouse.billing.journal_replay import replay
from posthouse.billing.records import Opened, Settlement


class JournaledHold(Struct, frozen=True):
    """An open hold that a journal knows."""

    journal_id: str
    alive: bool
    """Whether the journal's owner runs; otherwise the next start ends it."""
    hold: Opened


class JournalView(Struct, frozen=True):
    """All journals together."""

    holds: dict[str, JournaledHold] = {}
    """By call id."""
    pending: dict[str, Settlement] = {}
    """Written by their process, not in the ledger yet; by call id."""

    def held(self) -> Counter[str]:
        """Nano-dollars in open holds by account."""
        total: Counter[str] = Counter()
        for item in self.holds.values():
            total[item.hold.opening.account_id] += item.hold.amount
        return total

    def charged(self) -> Counter[str]:
        """Nano-dollars that pending settlements charge, by account."""
        total: Counter[str] = Counter()
        for item in self.pending.values():
            if not item.void_reason:
                total[item.account_id] += item.record.price
        return total


def view_journals(root: Path, positions: Mapping[str, int]) -> JournalView:
    """Read the journals below `root`.

    Args:
        root: the directory of all journals of this machine.
        positions: up to where the ledger has each journal; those that are not
            named are finished.
    """
    holds: dict[str, JournaledHold] = {}
    pending: dict[str, Settlement] = {}
    for directory in sorted(root.iterdir()) if root.is_dir() else ():
        name = directory.name
        if name.startswith(NASCENT) or name not in positions:
            continue
        try:
            found = replay(directory, positions[name])
        except (FileNotFoundError, NotADirectoryError):
            continue  # It was closed, and so drained, while we looked.
        alive = is_held(directory / LOCK_NAME)
        for call_id, hold in found.open_holds.items():
            holds[call_id] = JournaledHold(name, alive, hold)
        for settlement in found.pending:
            pending[settlement.call_id] = settlement
    return JournalView(holds, pending)

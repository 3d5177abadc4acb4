"""After a crash: what the dead left in their journals goes into the ledger.

A journal whose lock is free has no owner. Its settlements that the ledger
lacks are posted; then, in one transaction, its open holds end (`records.
recover_hold`), its leases return and the journal is marked as recovered; then
its files go. Killed anywhere in between, the next run does the rest: posting is
by position and by call, the marking happens once, and files without an open
journal are only deleted.
"""

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from msgspec import Struct

from posthouse.billing.drain import Follower
from posthouse.billing.journal import NASCENT, remove_journal
from posthouse.billing.journal_lock import LOCK_NAME, try_lock
from posthouse.billing.journal_replay import replay
from posthouse.billing.killpoints import reach
from posthouse.billing.ports import JournalMovedOn, JournalStore
from posthouse.billing.records import Settlement, recover_hold


class Recovery(Struct):
    """What was found and done."""

    journals: int = 0
    posted: int = 0
    """Settlements that the dead had written and the ledger lacked."""
    charged: int = 0
    """Open holds that ended with a charge for what had been delivered."""
    voided: int = 0
    damaged: int = 0
    """Segments that broke off where more followed."""
    lost: int = 0
    """Journals that the ledger knows and whose files are gone."""
    late: int = 0
    """Ends of calls that were offered again: of journals that had been ended."""


def recover(root: Path, ledger: JournalStore) -> Recovery:
    """Recover every journal below `root` that nobody holds.

    Raises LedgerUnavailable; what was done stays done.
    """
    result = Recovery()
    if root.is_dir():
        for directory in sorted(root.iterdir()):
            if directory.is_dir():
                recover_journal(directory, ledger, result)
    for journal_id in ledger.unfinished():
        if not (root / journal_id).exists():
            # Nothing more can be known of it; its unspent money returns. A
            # sibling that was just closing has returned its own.
            with suppress(JournalMovedOn):
                ledger.finish(journal_id, [], "recovered")
                result.lost += 1
    return result


def recover_journal(directory: Path, ledger: JournalStore, result: Recovery) -> bool:
    """Recover one journal unless someone holds it; tell whether it was free."""
    lock = try_lock(directory / LOCK_NAME, create=False)
    if lock is None:
        # Empty, and so removed, where its owner died making it or removing it.
        with suppress(OSError):
            directory.rmdir()
            return True
        return False
    try:
        # One that was never whole was never used; one that has moved on was
        # ended before: by its owner, by a recovery whose last step was to remove
        # its files, or by another machine that took ours for dead.
        if not directory.name.startswith(NASCENT):
            try:
                _finish(directory, ledger, result)
            except JournalMovedOn:
                _post_late(directory, ledger, result)
        remove_journal(directory)
    finally:
        lock.release()
    return True


def _finish(directory: Path, ledger: JournalStore, result: Recovery) -> None:
    journal_id = directory.name
    position, damaged = _post_rest(directory, ledger, result)
    reach("recovery.after_replay")
    leases = ledger.lease_ids(journal_id)
    ends = [
        recover_hold(hold, leases.get(hold.opening.account_id, ""))
        for hold in replay(directory, position).open_holds.values()
    ]
    ledger.finish(journal_id, ends, "recovered")
    result.journals += 1
    result.damaged += damaged
    voided = sum(bool(end.void_reason) for end in ends)
    result.voided += voided
    result.charged += len(ends) - voided


def _post_rest(
    directory: Path, ledger: JournalStore, result: Recovery
) -> tuple[int, int]:
    """Post what the ledger lacks; give where that ended, and the damaged segments.

    Raises JournalMovedOn when the journal has been ended.
    """
    while True:
        # Raises, too, and only where it is over.
        position = ledger.register(directory.name)
        follower = Follower(directory, position, alive=False)
        try:
            while count := follower.drain(ledger):
                result.posted += count
        except JournalMovedOn:
            # Who drains for this machine has posted the same just now.
            continue
        finally:
            follower.close()
        return follower.position, follower.damaged


class _Late(Struct):
    """Takes the settlements of a journal that was ended without them."""

    ledger: JournalStore

    def post(
        self, _journal_id: str, settlements: Sequence[Settlement], _position: int
    ) -> None:
        """Post them as what they are."""
        self.ledger.post_late(settlements)


def _post_late(directory: Path, ledger: JournalStore, result: Recovery) -> None:
    """See to it that each call in the files has its one end in the ledger."""
    follower = Follower(directory, 0, alive=False)
    try:
        while count := follower.drain(_Late(ledger)):
            result.late += count
    finally:
        follower.close()
    holds = replay(directory, follower.position).open_holds.values()
    if holds:
        ledger.post_late([recover_hold(hold, "") for hold in holds])
        result.late += len(holds)

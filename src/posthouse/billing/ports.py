"""What billing asks of the ledger's store. `storage` implements it.

These ports are synchronous: one thread owns a connection and waits for it, so
that the event loop never does. Each method is one transaction, or none: when
it raises LedgerUnavailable nothing was changed and the call may be repeated.
"""

from collections.abc import Callable, Sequence
from typing import Protocol

from msgspec import Struct

from posthouse.billing.records import Settlement


class LedgerUnavailable(Exception):
    """The database is locked, full, unreachable or broken; nothing was changed."""


class JournalMovedOn(Exception):
    """The journal is closed or recovered, or is posted further than we think."""


class DrawRequest(Struct, frozen=True):
    """A wish for money from an account, for one journal's lease.

    `need` is what waiting calls lack and `unit` a usual hold. Beyond the need
    the store gives what keeps later calls from asking: up to `slice`, but at
    most a quarter of what is available. When that quarter is less than the
    need or a unit, the account is near its limit and only the need is given;
    where it has less than that, the calls that it can pay for, in their order,
    so that nothing is taken that serves none.
    """

    account_id: str
    need: int
    unit: int
    slice: int
    wishes: tuple[tuple[int, int], ...] = ()
    """What each waiting call wants, and the least that is of use to it."""


class Draw(Struct, frozen=True):
    """What a DrawRequest brought."""

    lease_id: str
    amount: int
    """May be less than was needed, down to 0, when no more is there."""
    strict: bool
    """The account is near its limit: give back what is not needed."""
    elsewhere: bool = False
    """Other journals hold money of this account; what is free was asked back."""
    unanswered: bool = False
    """Some of that was asked back before, and its journal has not answered since."""


class GiveBack(Struct, frozen=True):
    """Unspent money that returns from a lease to its account."""

    lease_id: str
    """Empty where nothing returns."""
    account_id: str
    amount: int
    answers: bool = False
    """It is the answer to a recall: the journal keeps nothing free any more."""


class LeaseStore(Protocol):
    """Moves money between accounts and a journal's leases."""

    def exchange(
        self,
        journal_id: str,
        returns: Sequence[GiveBack],
        requests: Sequence[DrawRequest],
    ) -> list[Draw]:
        """Take back the returns, then serve the requests; one Draw for each.

        A request that the account cannot serve recalls what other journals
        keep free of it.
        """

    def recalled(self, journal_id: str) -> list[str]:
        """The accounts of which the journal shall give back what is free."""


class PostStore(Protocol):
    """Takes settlements."""

    def post(
        self, journal_id: str, settlements: Sequence[Settlement], position: int
    ) -> None:
        """Post settlements and move the journal's position to `position`.

        A call that is posted already is left as it is. Raises JournalMovedOn.
        """


class JournalStore(PostStore, Protocol):
    """Keeps what of each journal is in the ledger."""

    def register(self, journal_id: str) -> int:
        """Make the journal known, if it is not; give the position drained to.

        Raises JournalMovedOn when it was closed or recovered before.
        """

    def finish(
        self, journal_id: str, settlements: Sequence[Settlement], state: str
    ) -> None:
        """Post the last settlements, return all leases, enter the state.

        `state` is `closed` or `recovered`. Raises JournalMovedOn.
        """

    def post_late(self, settlements: Sequence[Settlement]) -> None:
        """Post what a journal says that was ended without it; known calls stay.

        Its leases have returned: the accounts pay as far as they can, and what
        is missing is the house's.
        """

    def unfinished(self) -> list[str]:
        """The ids of this machine's journals that are neither closed nor recovered."""

    def lease_ids(self, journal_id: str) -> dict[str, str]:
        """The journal's leases, by the account that they draw on."""


class HeartbeatStore(Protocol):
    """Lets processes on several machines know which of them live."""

    def renew(self, journal_id: str) -> None:
        """Say that the journal's process lives, for processes elsewhere.

        Raises JournalMovedOn when they have taken it for dead.
        """

    def silent(self, seconds: float) -> list[str]:
        """The journals of other machines that have not been renewed for so long."""


class LedgerStore(LeaseStore, JournalStore, HeartbeatStore, Protocol):
    """An open connection to the ledger, for one thread."""

    def close(self) -> None:
        """Close it."""


ConnectLedger = Callable[[], LedgerStore]
"""Opens the ledger in the thread that calls it; raises LedgerUnavailable."""

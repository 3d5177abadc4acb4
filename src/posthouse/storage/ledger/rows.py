"""A batch of settlements as rows: who pays what, decided without the database.

Each settlement becomes one transfer, its entries (none when nothing is
charged) and one row of `calls`. A price is paid from the lease as far as the
settlement says and the lease holds, then from the account down to its credit
line, and what is still missing by the house's `overrun` account.
"""

import itertools
from collections.abc import Iterable, Iterator, Sequence

from msgspec.structs import astuple, replace
from typing_extensions import override

from posthouse.billing.records import Settlement
from posthouse.wire.json import encode

REVENUE = "revenue"
OVERRUN = "overrun"
FUNDING = "funding"
COST = "cost"
HOUSE_ACCOUNTS = (REVENUE, OVERRUN, FUNDING, COST)
SETTLE = "settle"
VOID = "void"
ABOVE_HOLD = "above_hold"

TRANSFER_COLUMNS = (
    "id",
    "kind",
    "reference",
    "account_id",
    "held",
    "excess",
    "reason",
    "price_version",
    "created_ms",
)
ENTRY_COLUMNS = ("transfer_id", "account_id", "amount")
CALL_COLUMNS = (
    "seq",
    "id",
    "created_ms",
    "key_id",
    "operation",
    "dialect",
    "streamed",
    "requested_model",
    "channel",
    "upstream_model",
    "usage",
    "usage_source",
    "cost",
    "list_price",
    "price",
    "price_version",
    "status",
    "outcome",
    "error_code",
    "first_token_ms",
    "total_ms",
    "attempts",
    "translation",
)
STREAMED = 5
USAGE = 9
ATTEMPTS = 20
"""Where the parts of a CallRecord stand that the database keeps otherwise."""
LEASE = "lease"

Value = str | int | None


class Funds:
    """What can be taken from the accounts of a batch, and what was taken."""

    def __init__(self, balances: dict[str, tuple[int, int | None]]) -> None:
        """Begin with (balance, credit line or None for unlimited) by account."""
        self._left = {
            account: None if line is None else balance + line
            for account, (balance, line) in balances.items()
        }
        self.taken: dict[str, int] = {}
        """Nano-dollars taken by account, only accounts that paid."""

    def cover(self, lease: str, amount: int) -> bool:
        """Take the whole amount from a lease, or nothing if it is not there."""
        left = self._left.get(lease)
        if left is None or left < amount:
            return False
        self._left[lease] = left - amount
        self.taken[lease] = self.taken.get(lease, 0) + amount
        return True

    def take(self, account: str, amount: int) -> int:
        """Take at most `amount`, as much as is there; give how much it was."""
        left = self._left.get(account, 0)
        if left is not None:
            amount = max(0, min(amount, left))
            self._left[account] = left - amount
        if amount:
            self.taken[account] = self.taken.get(account, 0) + amount
        return amount


class LeaseFunds(Funds):
    """Stands for leases that have what is asked of them; nobody has looked."""

    def __init__(self) -> None:
        """Begin with nothing taken."""
        super().__init__({})

    @override
    def cover(self, lease: str, amount: int) -> bool:
        self.taken[lease] = self.taken.get(lease, 0) + amount
        return True


class Rows:
    """The rows of a batch, flat: each list holds one value per column and row."""

    def __init__(self, numbers: int | Iterable[int]) -> None:
        """Number transfers from an id on, or with these ids."""
        self._ids: Iterator[int] = (
            itertools.count(numbers) if isinstance(numbers, int) else iter(numbers)
        )
        self.transfers: list[Value] = []
        self.entries: list[Value] = []
        self.calls: list[Value] = []

    def add(self, settlement: Settlement, funds: Funds) -> None:
        """Add one settlement."""
        call_id, account, lease, held, paid, reason, record = astuple(settlement)
        number = next(self._ids)
        kind, price, excess = SETTLE, record.price, 0
        if reason:
            kind, price = VOID, 0
        if price:
            if price == paid and funds.cover(lease, paid):
                self.entries += (number, lease, -paid, number, REVENUE, price)
            else:
                reason = self._charge(number, settlement, funds)
            if price > held:
                excess = price - held
                reason = reason or ABOVE_HOLD
        self.transfers += (
            *(number, kind, call_id, account, held, excess, reason),
            *(record.price_version, record.created_ms + record.total_ms),
        )
        row = list(astuple(record))
        # The driver is several times slower with a bool than with an int.
        row[STREAMED] = int(record.streamed)
        row[USAGE] = encode(record.usage).decode()
        row[ATTEMPTS] = encode(record.attempts).decode()
        self.calls += (number, *row)

    def clear(self) -> None:
        """Forget the rows, which have been written; go on numbering."""
        self.transfers = []
        self.entries = []
        self.calls = []

    def _charge(self, number: int, settlement: Settlement, funds: Funds) -> str:
        """Enter a price that the lease does not cover; give the reason."""
        price = settlement.record.price
        legs: dict[str, int] = {}
        missing = price
        for account, most in (
            (settlement.lease_id, settlement.paid),
            (settlement.account_id, price),
        ):
            part = funds.take(account, min(most, missing))
            if part:
                legs[account] = -part
                missing -= part
        if missing:
            legs[OVERRUN] = -missing
        legs[REVENUE] = price
        for account, amount in legs.items():
            self.entries += (number, account, amount)
        return OVERRUN if missing else ""


def are_covered(settlements: Sequence[Settlement]) -> bool:
    """Whether each price is to be paid by the lease alone."""
    return all(item.paid == item.record.price for item in settlements)


def touched_accounts(settlements: Sequence[Settlement]) -> list[str]:
    """Accounts whose balance a batch may change, in order of their ids."""
    names = {item.lease_id for item in settlements}
    names.update(item.account_id for item in settlements if item.record.price)
    return sorted(names - {""})


def without_lease(settlement: Settlement) -> Settlement:
    """The same, to be paid by the account: its lease is somebody else's now."""
    return replace(settlement, lease_id="", paid=0)


def in_chunks(values: list[Value], width: int, most: int) -> Iterator[list[Value]]:
    """Cut flat rows into groups of 2ⁿ rows, at most `most`, few sizes in all."""
    start, size = 0, most
    while start < len(values):
        while size > 1 and start + size * width > len(values):
            size //= 2
        yield values[start : start + size * width]
        start += size * width


def lease_name(account: str, number: int) -> str:
    """The id of an account's lease account; an account has few."""
    return f"{LEASE}:{number}:{account}"


def customer_of(account: str) -> str:
    """The account itself, or the one that a lease account was drawn on."""
    return account.split(":", 2)[2] if account.startswith(f"{LEASE}:") else account

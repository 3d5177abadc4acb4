"""How leases stand, and what an account gives for a request: no database.

Every ledger decides by these, whatever it keeps its rows in.
"""

from collections.abc import Sequence
from enum import IntEnum
from typing import Final

from posthouse.billing.killpoints import reach
from posthouse.billing.ports import DrawRequest, GiveBack

ENDED: Final = "others have ended the journal, and its leases have returned"
"""What is drawn for it nobody would return."""


class Keeps(IntEnum):
    """What a lease's owner keeps beyond its open holds."""

    FREE = 0
    """A slice for calls to come, perhaps."""
    ASKED = 1
    """The same, and another process needs it."""
    NOTHING = 2
    """All that is not held goes back at once."""


def what_is_drawn(
    request: DrawRequest, balance: int, credit_line: int | None
) -> tuple[int, bool]:
    """Give what a request brings, and whether the account is near its limit.

    Args:
        request: what is wished for.
        balance: of the account, nano-dollars.
        credit_line: how far below zero it may go; None is without a limit.
    """
    wish = max(request.need, request.slice)
    if credit_line is None:
        return wish, False
    left = max(0, balance + credit_line)
    amount = min(wish, left // 4)
    if amount >= max(request.need, request.unit, 1):
        return amount, False
    return what_serves(request, left), True


def reach_exchange(
    returns: Sequence[GiveBack], requests: Sequence[DrawRequest], when: str
) -> None:
    """Be at the instants before and after an exchange's commit."""
    if returns:
        reach(f"return.{when}_commit")
    if requests:
        reach(f"draw.{when}_commit")


def what_serves(request: DrawRequest, left: int) -> int:
    """Give how much of what is left serves the calls that wait, in their order.

    A call that cannot be paid for is passed over for those behind it. Nothing is
    taken that serves none: it might serve a call of another process.
    """
    if not request.wishes or request.need <= left:
        return min(request.need, left)
    # What the process has free already is part of the wishes, not of the need.
    own = max(0, sum(amount for amount, _ in request.wishes) - request.need)
    room = left + own
    for amount, least in request.wishes:
        if amount <= room:
            room -= amount
        elif least <= room:
            room = 0
    return max(0, min(left, left - room))

"""How leases stand, and what an account that is nearly empty gives: no database."""

from enum import IntEnum

from posthouse.billing.ports import DrawRequest


class Keeps(IntEnum):
    """What a lease's owner keeps beyond its open holds."""

    FREE = 0
    """A slice for calls to come, perhaps."""
    ASKED = 1
    """The same, and another process needs it."""
    NOTHING = 2
    """All that is not held goes back at once."""


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

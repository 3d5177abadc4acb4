"""What the journal says: the life of a hold, one record per event.

A hold's records are `Opened`, at most one `Answering`, any number of
`Progress`, and one `Settlement`, which either charges or voids. A settlement
carries the whole usage record of its call, so nothing else must reach the
database for a call to be known. `Opened` states everything that is known of a
hold when it is written, and may be written again: the last one counts.

Amounts are nano-dollars. The kinds are part of the file format.
"""

from typing import Final

from msgspec import Struct

from posthouse.model.call import CallRecord, Outcome
from posthouse.model.usage import UsageSource

OPENED: Final = 1
ANSWERING: Final = 2
PROGRESS: Final = 3
SETTLEMENT: Final = 4
SEALED: Final = 15
"""The segment ends here; the next one continues."""

CRASH_UNANSWERED: Final = "crash_unanswered"
RECOVERED: Final = "recovered"
VOID_REASONS: Final = frozenset(
    {
        CRASH_UNANSWERED,
        RECOVERED,
        "rejected",
        "failed",
        "upstream_fault",
        "zero_output",
        "abandoned_before_dispatch",
        "abandoned_unanswered",
        "internal_error",
    }
)
"""Why a hold may end without a charge; any other reason is a fault (I7)."""

CLIENT_CLOSED = 499
ANSWERED = 200


class Opening(Struct, frozen=True, array_like=True, gc=False):
    """What a hold is taken for."""

    call_id: str
    account_id: str
    """The available account that pays."""
    key_id: str
    operation: str
    model: str
    price_version: str
    created_ms: int
    """Unix time in milliseconds at which the call was accepted."""
    amount: int
    """The hold."""
    prompt_charge: int
    """What the prompt alone costs, once the model has begun to answer."""
    streamed: bool
    dialect: str
    priced_by_result: bool = False
    """Nothing is owed unless the result arrived (images, tasks …)."""


class Opened(Struct, frozen=True, array_like=True, gc=False):
    """A hold as it stands when the record is written."""

    opening: Opening
    amount: int
    """The hold with its extensions."""
    channel: str = ""
    """The channel that answers; empty before the first content byte."""
    delivered_charge: int = 0
    """What the delivered content costs so far, without the prompt."""


class Answering(Struct, frozen=True, array_like=True, gc=False):
    """The first content byte goes to the client."""

    call_id: str
    channel: str


class Progress(Struct, frozen=True, array_like=True, gc=False):
    """An extension of the hold was decided."""

    call_id: str
    amount: int
    delivered_charge: int


class Settlement(Struct, frozen=True, array_like=True, gc=False):
    """The one end of a hold: `record.price` is charged, or it is voided.

    `paid` is the part of the price that the lease covers; the ledger finds
    the rest in the account or, failing that, with the house.
    """

    call_id: str
    account_id: str
    lease_id: str
    """Empty when nothing was ever drawn for the account."""
    held: int
    paid: int
    void_reason: str
    """Empty: settled."""
    record: CallRecord


class SettlementHead(Struct, frozen=True, array_like=True, gc=False):
    """The beginning of a Settlement, for readers that only need to know whose."""

    call_id: str
    account_id: str
    lease_id: str
    held: int
    paid: int


Record = Opened | Answering | Progress | Settlement


def recover_hold(hold: Opened, lease_id: str) -> Settlement:
    """Decide how a hold ends whose process died (design: money, Recovery).

    Nothing answered: void. Priced by its result: void, the supplier's cost
    being unknown. Otherwise the prompt and what had been delivered at the last
    extension are charged.
    """
    opening = hold.opening
    reason, price = "", 0
    if opening.priced_by_result:
        reason = RECOVERED
    elif not hold.channel:
        reason = CRASH_UNANSWERED
    else:
        price = opening.prompt_charge + hold.delivered_charge
    record = CallRecord(
        id=opening.call_id,
        created_ms=opening.created_ms,
        key_id=opening.key_id,
        operation=opening.operation,
        dialect=opening.dialect,
        streamed=opening.streamed,
        requested_model=opening.model,
        channel=hold.channel,
        upstream_model="",
        usage={},
        usage_source=UsageSource.NONE if reason else UsageSource.RECOVERED,
        cost=None,
        list_price=price,
        price=price,
        price_version=opening.price_version,
        status=ANSWERED if hold.channel and opening.streamed else CLIENT_CLOSED,
        outcome=Outcome.RECOVERED,
        error_code=reason,
        first_token_ms=0,
        total_ms=0,
        attempts=[],
    )
    return Settlement(
        call_id=opening.call_id,
        account_id=opening.account_id,
        lease_id=lease_id,
        held=hold.amount,
        paid=min(price, hold.amount),
        void_reason=reason,
        record=record,
    )

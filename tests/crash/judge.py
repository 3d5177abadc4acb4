"""What must be true of one call, whatever happened to the gateway meanwhile.

Three witnesses are heard: the client (`Told`), the provider (`Served`) and the
ledger (`Row`). Each rule returns what is wrong, or nothing.
"""

from msgspec import Struct
from tests.crash.records import Served, Told
from tests.crash.traffic import kind_of, true_price

from posthouse.billing.records import VOID_REASONS

QUOTA = "insufficient_quota"


class Row(Struct, frozen=True):
    """A call's end, as the ledger has it."""

    seq: int
    id: str
    model: str
    account_id: str
    kind: str
    reason: str
    held: int
    excess: int
    price: int
    charged: int
    """What the entries say."""
    usage_source: str
    outcome: str


def fault_of(told: Told, served: Served | None, row: Row | None) -> str:
    """What is wrong with a call whose gateway is not the running one; or ""."""
    if told.how == "odd":
        return "its stream ended without its terminal event"
    if row is None:
        return _without_row(told, served)
    if told.id not in ("-", row.id):
        return f"the client knows it as {told.id}, the ledger as {row.id}"
    if row.charged != row.price:
        return f"its record says {row.price}, its entries {row.charged}"
    if row.kind == "void":
        return _void(told, row)
    return _charge(told, served, row) or _as_told(told, row)


def _without_row(told: Told, served: Served | None) -> str:
    if told.terminal:
        return "the client got its terminal event, and the ledger knows nothing"
    if served is not None:
        return f"the provider served it {served.attempts} times, the ledger has nothing"
    if told.how == "left" and told.received:
        return "the client was given something, and the ledger knows nothing"
    if told.how == "refused" and told.code != QUOTA:
        return f"refused with {told.status} {told.code}"
    return ""


def _void(told: Told, row: Row) -> str:
    if row.reason not in VOID_REASONS:
        return f"void for {row.reason}"
    if row.price:
        return f"void, and priced {row.price}"
    if told.terminal:
        return "the client got its terminal event, and nothing was charged"
    if told.status == 200 and told.received:
        return f"the client had content, and it is void for {row.reason}"
    if row.reason == "crash_unanswered" and told.how not in ("lost", "left"):
        return f"void as if unanswered, and the client was told {told.how}"
    return ""


def _charge(told: Told, served: Served | None, row: Row) -> str:
    """A charge by true usage must be its price; no other is above the hold."""
    if not 0 < row.price <= row.held + row.excess:
        return f"charged {row.price}, held {row.held} and {row.excess}"
    if row.usage_source != "provider" and not told.terminal:
        return ""
    if served is None or not served.terminal:
        return "charged for an answer that the provider did not finish"
    truth = true_price(kind_of(told.model), served.usage)
    if row.price != truth:
        return f"charged {row.price}, and its usage costs {truth}"
    return ""


def _as_told(told: Told, row: Row) -> str:
    """What the client saw and how the charge is labelled must agree."""
    if told.terminal and row.outcome != "served":
        return f"the client got its terminal event, and the ledger says {row.outcome}"
    if told.how == "refused":
        return f"the client was refused with {told.status}, and it was charged"
    if told.how == "broken" and kind_of(told.model).fault != "cut":
        return f"the client was told of {told.code} in its stream"
    if row.usage_source == "recovered" and told.how not in ("lost", "left"):
        return f"recovered, and the client was told {told.how}"
    return ""

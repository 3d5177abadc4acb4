"""Money that is set aside for what providers' batches work on.

It is the hold of a call that costs nothing: the part's own, which the operator's list
of calls has with its channel. When its answers are there it is given back, and each
line is charged for itself. Who dies loses it, and whoever goes on sets it aside anew.
"""

import secrets
import time
from collections.abc import Callable

from msgspec import Struct
from typing_extensions import override

from posthouse.billing.holds import Hold, HoldManager
from posthouse.billing.records import CLIENT_CLOSED, Opening
from posthouse.errors import InsufficientQuota
from posthouse.model.call import CallRecord, Outcome
from posthouse.model.usage import UsageSource
from posthouse.tasks.ports import Reserves
from posthouse.tasks.records import Batch, Part

OPERATION = "batch"
"""What the call of a part is, in its record."""


class _Reserve(Struct):
    hold: Hold
    opening: Opening
    part: Part


class HeldReserves(Reserves):
    """Holds of this process's journal."""

    def __init__(
        self, holds: HoldManager, wall_clock: Callable[[], float] = time.time
    ) -> None:
        """Take them of `holds`."""
        self._holds = holds
        self._clock = wall_clock
        self._open: dict[str, _Reserve] = {}

    @override
    async def open(self, batch: Batch, part: Part) -> bool:
        opening = Opening(
            f"{part.mark}-{secrets.token_hex(4)}",
            batch.account_id,
            batch.key_id,
            OPERATION,
            batch.details.model,
            "",
            self._now_ms(),
            part.reserve,
            0,
            streamed=False,
            dialect=batch.api.value,
            # It may last as long as what is paid by its result.
            priced_by_result=True,
        )
        try:
            hold = await self._holds.open(opening)
        except InsufficientQuota:
            return False
        self._open[part.mark] = _Reserve(hold, opening, part)
        return True

    @override
    async def free(self, part: Part, *, used: bool) -> None:
        reserve = self._open.pop(part.mark, None)
        if reserve is None:
            return
        record = _record(reserve, self._now_ms(), used=used)
        if used:
            await reserve.hold.settle(record)
        else:
            await reserve.hold.void(record, "abandoned_unanswered")

    def _now_ms(self) -> int:
        return int(self._clock() * 1000)


def _record(reserve: _Reserve, now_ms: int, *, used: bool) -> CallRecord:
    opening, part = reserve.opening, reserve.part
    return CallRecord(
        opening.call_id,
        opening.created_ms,
        opening.key_id,
        opening.operation,
        opening.dialect,
        streamed=False,
        requested_model=opening.model,
        channel=part.channel,
        upstream_model=part.model,
        usage={},
        usage_source=UsageSource.NONE,
        cost=0,
        list_price=0,
        price=0,
        price_version="",
        status=200 if used else CLIENT_CLOSED,
        outcome=Outcome.SERVED if used else Outcome.ABANDONED,
        error_code="",
        first_token_ms=0,
        total_ms=max(0, now_ms - opening.created_ms),
        attempts=[],
    )

"""Reads a journal from its beginning: which holds are open, what is not posted.

For the journals of the dead, whose files nobody changes any more, and for a
look at those of the living, whose old segments may vanish while we read: their
open holds then stand in a later segment.
"""

from collections.abc import Iterator
from pathlib import Path

import msgspec
from msgspec import Struct, structs

from posthouse.billing.records import (
    ANSWERING,
    OPENED,
    PROGRESS,
    SEALED,
    SETTLEMENT,
    Answering,
    Opened,
    Progress,
    Settlement,
)
from posthouse.billing.segments import (
    HEADER_SIZE,
    DamagedSegment,
    SegmentReader,
    position,
    scan,
    segment_numbers,
)

_decode_opened = msgspec.msgpack.Decoder(Opened).decode
_decode_answering = msgspec.msgpack.Decoder(Answering).decode
_decode_progress = msgspec.msgpack.Decoder(Progress).decode
_decode_settlement = msgspec.msgpack.Decoder(Settlement).decode


class Replay(Struct):
    """What a journal says."""

    open_holds: dict[str, Opened] = {}
    """By call id, as they stand."""
    pending: list[Settlement] = []
    """Settlements from the ledger's position on."""


def replay(directory: Path, drained_to: int) -> Replay:
    """Read all that there is of a journal."""
    result = Replay()
    holds = result.open_holds
    for kind, payload, place in records(directory):
        if kind == OPENED:
            opened = _decode_opened(payload)
            holds[opened.opening.call_id] = opened
        elif kind == ANSWERING:
            answering = _decode_answering(payload)
            _change(holds, answering.call_id, channel=answering.channel)
        elif kind == PROGRESS:
            progress = _decode_progress(payload)
            _change(
                holds,
                progress.call_id,
                amount=progress.amount,
                delivered_charge=progress.delivered_charge,
            )
        elif kind == SETTLEMENT:
            settlement = _decode_settlement(payload)
            holds.pop(settlement.call_id, None)
            if place > drained_to:
                result.pending.append(settlement)
    return result


def records(directory: Path) -> Iterator[tuple[int, bytes, int]]:
    """Give (kind, payload, position of its end) of each record, in order."""
    numbers = segment_numbers(directory)
    number = numbers[0] if numbers else 0
    last = numbers[-1] if numbers else -1
    while number <= last:
        yield from _segment_records(directory, number)
        number += 1
        if number > last:
            # The owner may have gone on to a segment made since.
            last = max(segment_numbers(directory), default=last)


def _segment_records(directory: Path, number: int) -> Iterator[tuple[int, bytes, int]]:
    try:
        reader = SegmentReader(directory, number)
    except (FileNotFoundError, DamagedSegment):
        return
    try:
        offset = HEADER_SIZE
        while data := reader.read(offset):
            end = 0
            for kind, payload, end in scan(data, number):
                if kind != SEALED:
                    yield kind, payload, position(number, offset + end)
            if end == 0:
                return
            offset += end
    finally:
        reader.close()


def _change(holds: dict[str, Opened], call_id: str, **changes: object) -> None:
    """Change a hold; one whose first record was torn away is not known."""
    hold = holds.get(call_id)
    if hold is not None:
        holds[call_id] = structs.replace(hold, **changes)

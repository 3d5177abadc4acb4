"""From journals into the ledger: reads settlements and posts them in batches.

Rules. A follower's position moves only after the ledger has taken what lies
before it, and the ledger keeps the position in the same transaction. Reading
never writes to the journal and never needs its owner's help, so one process
drains its own journal, those of its siblings, and those of the dead alike.
Batches are bounded: the thread shares the interpreter with the event loop.
"""

from pathlib import Path
from typing import Final

import msgspec

from posthouse.billing.ports import PostStore
from posthouse.billing.records import SEALED, SETTLEMENT, Settlement
from posthouse.billing.segments import (
    HEADER_SIZE,
    DamagedSegment,
    SegmentReader,
    has_records,
    position,
    scan,
    segment_numbers,
    split_position,
)

BATCH: Final = 2048
"""Settlements per transaction: an index page that many of them touch, and the
balance of an account that many belong to, are written once."""

_decode = msgspec.msgpack.Decoder(Settlement).decode


class Follower:
    """Drains one journal.

    `alive`: the owner may still write, so the first bytes that are no record
    are the end for now. In a dead journal they are a torn write, and a later
    segment, if there is one, continues after them.
    """

    def __init__(self, directory: Path, drained_to: int, *, alive: bool) -> None:
        """Begin at a position of the ledger's, or where the files begin."""
        self.directory = directory
        self.journal_id = directory.name
        self.complete_below = 0
        """Segments under this number are known to be written to their end."""
        self.damaged = 0
        """Segments that were left for the next one without a seal."""
        self.behind = False
        """Whether the last batch was a full one, and more may be there."""
        self._alive = alive
        self._reader: SegmentReader | None = None
        numbers = segment_numbers(directory)
        number, offset = split_position(drained_to)
        if numbers and number < numbers[0]:
            number, offset = numbers[0], HEADER_SIZE
        self._number, self._offset = number, offset

    @property
    def position(self) -> int:
        """Up to here everything is in the ledger."""
        return position(self._number, self._offset)

    def drain(self, ledger: PostStore, batches: int = 16) -> int:
        """Post what is there, at most so many batches; give how many records.

        Raises what the ledger raises; what was posted stays posted.
        """
        total = 0
        for _ in range(batches):
            settlements, number, offset = self._collect()
            if settlements:
                ledger.post(self.journal_id, settlements, position(number, offset))
                total += len(settlements)
            self._number, self._offset = number, offset
            self.behind = len(settlements) == BATCH
            if not self.behind:
                break
        return total

    def close(self) -> None:
        """Close the file that is being read."""
        if self._reader is not None:
            self._reader.close()
            self._reader = None

    def _collect(self) -> tuple[list[Settlement], int, int]:
        """Settlements from the present position on, and where they end."""
        found: list[Settlement] = []
        number, offset = self._number, self._offset
        reader = self._open(number)
        while len(found) < BATCH:
            data = reader.read(offset) if reader else b""
            advanced, sealed = self._take(data, number, found)
            offset += advanced
            if advanced and not sealed:
                continue
            if not sealed:
                if not self._continues(number):
                    break
                self.damaged += 1
            number, offset = number + 1, HEADER_SIZE
            reader = self._open(number)
        return found, number, offset

    def _take(
        self, data: bytes, number: int, found: list[Settlement]
    ) -> tuple[int, bool]:
        """Add settlements of `data`; give the bytes used and if it is sealed."""
        used = 0
        for kind, payload, end in scan(data, number):
            used = end
            if kind == SETTLEMENT:
                found.append(_decode(payload))
                if len(found) == BATCH:
                    break
            elif kind == SEALED:
                return used, True
        return used, False

    def _continues(self, number: int) -> bool:
        """Whether to go on although segment `number` has no seal here."""
        if self._alive:
            return number < self.complete_below
        return has_records(self.directory, number + 1)

    def _open(self, number: int) -> SegmentReader | None:
        if self._reader is None or self._reader.number != number:
            self.close()
            try:
                self._reader = SegmentReader(self.directory, number)
            except (FileNotFoundError, DamagedSegment):
                return None
        return self._reader

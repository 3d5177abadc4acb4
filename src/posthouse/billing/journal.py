"""The journal that one process writes: `root/<id>/`, locked for its lifetime.

Rules. The event loop's thread appends; the ledger's thread prepares segments
and removes drained ones. An append is a memory write: what it returns from
survives the death of the process (but not of the machine: see
`journal_sync`). Space for every open hold's settlement is kept free, so that a
full disk stops new holds and never a settlement. Segments that are drained go
away; holds that stay open longer than a few segments are written again into
the present one, so the journal's size is bounded by the open holds.
"""

import os
import threading
import uuid
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Final, Protocol

import msgspec

from posthouse.billing.journal_lock import LOCK_NAME, FileLock, try_lock
from posthouse.billing.killpoints import reach
from posthouse.billing.records import OPENED, Opened, Record
from posthouse.billing.segments import (
    HEADER_SIZE,
    SEAL_SIZE,
    SEGMENT_SIZE,
    Segment,
    position,
    segment_numbers,
    segment_path,
)
from posthouse.errors import StorageUnavailable

RESERVE: Final = 2048
"""Bytes kept free for each open hold: that it is answered, and its settlement."""
SPARE_HOLDS: Final = 64
KEPT_SEGMENTS: Final = 3
"""How many segments back an open hold's record may stand."""
CARRY_BATCH: Final = 200
NASCENT: Final = ".new-"
"""Begins the name of a journal's directory that is not whole yet."""

Sync = Callable[[int], None]


class Carried(Protocol):
    """An open hold, as the journal sees it."""

    bucket: "dict[str, Carried]"

    def state(self) -> Opened:
        """The hold as it stands now."""


class Journal:
    """An open journal. `bucket` takes each hold opened in the present segment."""

    def __init__(
        self,
        root: Path,
        *,
        identity: uuid.UUID | None = None,
        segment_size: int = SEGMENT_SIZE,
        durable: bool = False,
        fsync: Sync = os.fsync,
    ) -> None:
        """Create and lock the journal; raises OSError when there is no room.

        Args:
            root: the directory of all journals of this machine.
            identity: the journal's, unused before; random by default.
            segment_size: bytes per segment.
            durable: files and directories are synced as they are made.
            fsync: what syncs a descriptor.
        """
        identity = identity or uuid.uuid4()
        self.id = identity.hex
        self.directory = root / self.id
        self.durable = durable
        self.failed = False
        """Whether a sync has failed: what was written may be lost (G-D4)."""
        self.rotations = 0
        self._identity = identity.bytes
        self._segment_size = segment_size
        self._fsync = fsync
        self._making = threading.Lock()
        self._spares: deque[Segment] = deque()
        self._retired: list[Segment] = []
        self._lock, self._segment = self._create(root)
        self.bucket: dict[str, Carried] = {}
        self._buckets: dict[int, dict[str, Carried]] = {1: self.bucket}
        self.floor = 1
        """The oldest segment in which an open hold is recorded."""
        self._encode = msgspec.msgpack.Encoder().encode
        self.prepare(0)

    @property
    def position(self) -> int:
        """Where the next record will stand."""
        return position(self._segment.number, self._segment.offset)

    @property
    def number(self) -> int:
        """The number of the segment that is being written."""
        return self._segment.number

    def has_room(self, holds: int) -> bool:
        """Whether that many holds could still be settled, come what may."""
        segment = self._segment
        lacking = holds * RESERVE - (segment.limit - segment.offset)
        return lacking <= 0 or lacking <= len(self._spares) * (
            self._segment_size - HEADER_SIZE - SEAL_SIZE
        )

    def append(self, kind: int, record: Record) -> None:
        """Write a record; on return it survives the process.

        Raises StorageUnavailable when the disk is full beyond the reserve, and
        ValueError when the record is larger than a segment may hold.
        """
        payload = self._encode(record)
        if not self._segment.write(kind, payload):
            self._rotate(len(payload)).write(kind, payload)

    def open(self, hold: Opened, holds: int) -> bool:
        """Write that a hold is open; False: there is no room for so many holds.

        As `append` and `has_room`, at one moment.
        """
        if self._segment.write(OPENED, self._encode(hold), holds * RESERVE):
            return True
        if not self.has_room(holds):
            return False
        self.append(OPENED, hold)
        return True

    def release(self) -> None:
        """Keep no more of what was written in memory than the last of it."""
        self._segment.release()

    def carry(self) -> None:
        """Write old open holds again, a bounded number; lift the floor."""
        current = self._segment.number
        oldest = self.floor
        while oldest < current and not self._buckets.get(oldest):
            self._buckets.pop(oldest, None)
            oldest += 1
        self.floor = oldest
        if current - oldest < KEPT_SEGMENTS:
            return
        holds = list(self._buckets[oldest].items())[:CARRY_BATCH]
        for call_id, hold in holds:
            self.append(OPENED, hold.state())
            del hold.bucket[call_id]
            self.bucket[call_id] = hold
            hold.bucket = self.bucket
        reach("journal.after_carry")

    def prepare(self, holds: int) -> None:
        """Make enough spare segments to settle twice that many holds and a few.

        Called by the ledger's thread; raises OSError when the disk is full.
        """
        wanted = 1 + (2 * holds + SPARE_HOLDS) * RESERVE // self._segment_size
        while len(self._spares) < wanted:
            with self._making:
                self._spares.append(self._new_segment(self._next_number()))

    def reclaim(self, drained: int) -> int:
        """Remove the segments that are drained and that no open hold needs.

        Called by the ledger's thread. Returns how many segments are left.
        """
        numbers = segment_numbers(self.directory)
        floor = min(self.floor, drained >> 32, self._segment.number)
        doomed = [number for number in numbers if number < floor]
        if doomed:
            reach("journal.before_reclaim")
            if self.durable:
                # The carried records must outlast the ones they replace.
                self._fsync(self._segment.descriptor)
        for number in doomed:
            segment_path(self.directory, number).unlink()
        return len(numbers) - len(doomed)

    def unsynced(self) -> tuple[list[Segment], Segment]:
        """The segments left behind since the last call, and the present one.

        The caller owns the former: it syncs and closes them.
        """
        retired, self._retired = self._retired, []
        return retired, self._segment

    def close(self, *, remove: bool = False) -> None:
        """Close and unlock; the files stay for recovery unless removed.

        `remove` is for a journal that the ledger holds to its end.
        """
        for segment in (*self._retired, self._segment, *self._spares):
            segment.close()
        self._retired, self._spares = [], deque()
        if remove:
            remove_journal(self.directory)
        self._lock.release()

    def _create(self, root: Path) -> tuple[FileLock, Segment]:
        """Make the directory under its name only once it is locked and whole."""
        root.mkdir(mode=0o700, parents=True, exist_ok=True)
        nascent = root / f"{NASCENT}{self.id}"
        lock = None
        while lock is None:
            # Whoever recovers may take it for one that was left, till it is locked.
            nascent.mkdir(mode=0o700, exist_ok=True)
            reach("journal.mid_creation")
            lock = try_lock(nascent / LOCK_NAME)
        segment = self._new_segment(1, nascent)
        nascent.rename(self.directory)
        reach("journal.after_creation")
        if self.durable:
            self._sync_directory(root)
        return lock, segment

    def _next_number(self) -> int:
        last = self._spares[-1] if self._spares else self._segment
        return last.number + 1

    def _new_segment(self, number: int, directory: Path | None = None) -> Segment:
        directory = directory or self.directory
        segment = Segment(directory, number, self._identity, self._segment_size)
        if self.durable:
            self._fsync(segment.descriptor)
            self._sync_directory(directory)
        return segment

    def _sync_directory(self, directory: Path) -> None:
        descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            self._fsync(descriptor)
        finally:
            os.close(descriptor)

    def _rotate(self, size: int) -> Segment:
        """Continue in the next segment, made before or, failing that, now."""
        if size > self._segment_size // 4:
            raise ValueError(f"a journal record of {size} bytes is too large")
        reach("journal.before_rotation")
        with self._making:
            if not self._spares:
                try:
                    self._spares.append(self._new_segment(self._next_number()))
                except OSError as error:
                    raise StorageUnavailable from error
            old, self._segment = self._segment, self._spares.popleft()
        old.seal()
        reach("journal.after_seal")
        if self.durable:
            self._retired.append(old)
        else:
            old.close()
        self.rotations += 1
        self.bucket = self._buckets.setdefault(self._segment.number, {})
        reach("journal.after_rotation")
        return self._segment


def remove_journal(directory: Path) -> None:
    """Delete a journal's directory, its lock last; safe to repeat."""
    for number in segment_numbers(directory):
        segment_path(directory, number).unlink(missing_ok=True)
        reach("recovery.mid_removal")
    (directory / LOCK_NAME).unlink(missing_ok=True)
    reach("recovery.before_rmdir")
    directory.rmdir()

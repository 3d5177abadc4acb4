"""The journal's files: preallocated segments of checksummed records.

A segment is a header and then records, each `crc32, length, kind, payload`.
The checksum is seeded with the segment's number, the length and the kind, so
that neither a torn write nor bytes from another place pass for a record. The
rest of a segment is zeros. The record SEALED says that the next segment
continues; without it the journal ends at the first bytes that are no record.

Records are written through a memory map: no system call, and the kernel keeps
what was written when the process is killed. The space is allocated before, so
that a full disk is an error here and not a signal later. Pages that are full are
mapped no longer than until somebody says so: nothing reads them through the map.
"""

import mmap
import os
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Final
from zlib import crc32

from posthouse.billing.killpoints import ARMED, reach
from posthouse.billing.records import SEALED

SEGMENT_SIZE: Final = 8 * 1024 * 1024
RECORD_HEADER: Final = struct.Struct("<IIB")
RECORD_OVERHEAD: Final = RECORD_HEADER.size
SEAL_SIZE: Final = RECORD_OVERHEAD
SEGMENT_HEADER: Final = struct.Struct("<4sI16sII")
HEADER_SIZE: Final = SEGMENT_HEADER.size
MAGIC: Final = b"PHJ1"
SUFFIX: Final = ".segment"
OFFSET_BITS: Final = 32
RELEASED_FROM: Final = 256 * 1024
"""Bytes of full pages that are worth a system call."""
_IN_RECORD: Final = "journal.mid_record"


class DamagedSegment(Exception):
    """A file that should be a segment does not begin like one."""


def position(number: int, offset: int) -> int:
    """One number for a place in a journal, growing as it is written."""
    return number << OFFSET_BITS | offset


def split_position(place: int) -> tuple[int, int]:
    """Segment number and offset of a position."""
    return place >> OFFSET_BITS, place & (1 << OFFSET_BITS) - 1


def segment_path(directory: Path, number: int) -> Path:
    """Where a journal keeps its segment `number`."""
    return directory / f"{number:010d}{SUFFIX}"


def segment_numbers(directory: Path) -> list[int]:
    """The numbers of the segments that a journal has, ascending."""
    return sorted(
        int(entry.name.removesuffix(SUFFIX))
        for entry in directory.iterdir()
        if entry.name.endswith(SUFFIX)
    )


def record_seed(number: int) -> int:
    """What the checksums in segment `number` begin with."""
    return number * 2654435761 & 0xFFFFFFFF


_pack = RECORD_HEADER.pack


class Segment:
    """A segment open for writing. `offset` is where the next record goes."""

    __slots__ = (
        *("_map", "_released", "_seed"),
        *("descriptor", "limit", "number", "offset"),
    )

    def __init__(self, directory: Path, number: int, identity: bytes, size: int):
        """Create and allocate the file; raises OSError when there is no room.

        Args:
            directory: the journal's.
            number: the segment's, unused before.
            identity: the journal's 16 bytes.
            size: bytes to allocate.
        """
        self.number = number
        self.limit = size - SEAL_SIZE
        """Records end here at the latest; what follows is for the seal."""
        path = segment_path(directory, number)
        self._seed = record_seed(number)
        flags = os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC
        self.descriptor = os.open(path, flags, 0o600)
        try:
            os.posix_fallocate(self.descriptor, 0, size)
            self._map = mmap.mmap(self.descriptor, size)
        except BaseException:
            path.unlink()
            os.close(self.descriptor)
            raise
        reach("journal.mid_segment")
        head = SEGMENT_HEADER.pack(MAGIC, number, identity, size, 0)
        head = head[:-4] + crc32(head[:-4]).to_bytes(4, "little")
        self._map[:HEADER_SIZE] = head
        self.offset = HEADER_SIZE
        self._released = 0

    def write(self, kind: int, payload: bytes, reserve: int = 0) -> bool:
        """Append a record; False: it would not end `reserve` bytes before `limit`."""
        length = len(payload)
        start = self.offset
        end = start + RECORD_OVERHEAD + length
        if end + reserve > self.limit:
            return False
        crc = crc32(payload, self._seed ^ length ^ kind << 24)
        record = _pack(crc, length, kind) + payload
        if ARMED and ARMED == _IN_RECORD:
            middle = (start + end) // 2
            self._map[start:middle] = record[: middle - start]
            reach("journal.mid_record")
        self._map[start:end] = record
        self.offset = end
        return True

    def release(self) -> None:
        """Let go of the pages that are full: the kernel keeps what they say.

        They would count as this process's memory, up to the whole segment.
        """
        full = self.offset - self.offset % mmap.PAGESIZE
        if full - self._released >= RELEASED_FROM:
            length = full - self._released
            self._map.madvise(mmap.MADV_DONTNEED, self._released, length)
            self._released = full

    def seal(self) -> None:
        """Say that the next segment continues."""
        self.limit += SEAL_SIZE
        self.write(SEALED, b"")

    def close(self) -> None:
        """Unmap and close; the file stays."""
        self._map.close()
        os.close(self.descriptor)


def check_header(head: bytes, number: int, path: Path) -> None:
    """Raise DamagedSegment unless `head` begins segment `number`."""
    if len(head) == HEADER_SIZE and head[:4] == MAGIC:
        _magic, stated, _identity, _size, crc = SEGMENT_HEADER.unpack(head)
        if stated == number and crc == crc32(head[:-4]):
            return
    raise DamagedSegment(f"{path} is not segment {number} of a journal")


def scan(data: bytes, number: int) -> Iterator[tuple[int, bytes, int]]:
    """Give (kind, payload, end) of each whole record at the start of `data`.

    Stops at the first bytes that are no record: zeros, a torn record, or one
    that is cut off by the end of `data`. `end` is an index into `data`.
    """
    size = len(data)
    start = 0
    seed = record_seed(number)
    unpack = RECORD_HEADER.unpack_from
    while start + RECORD_OVERHEAD <= size:
        crc, length, kind = unpack(data, start)
        body = start + RECORD_OVERHEAD
        end = body + length
        if kind == 0 or end > size:
            return
        payload = data[body:end]
        if crc32(payload, seed ^ length ^ kind << 24) != crc:
            return
        yield kind, payload, end
        start = end


class SegmentReader:
    """Reads a segment, possibly while another process writes it."""

    CHUNK: Final = 64 * 1024
    """Between two reads the interpreter's lock is held, the loop's thread waits."""

    def __init__(self, directory: Path, number: int) -> None:
        """Open the file; raises FileNotFoundError or DamagedSegment."""
        self.number = number
        path = segment_path(directory, number)
        self._descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            check_header(os.pread(self._descriptor, HEADER_SIZE, 0), number, path)
        except DamagedSegment:
            os.close(self._descriptor)
            raise

    def read(self, offset: int) -> bytes:
        """Bytes from `offset`, at least the whole record that begins there.

        Empty when none begins there.
        """
        head = os.pread(self._descriptor, RECORD_HEADER.size, offset)
        if len(head) < RECORD_HEADER.size:
            return b""
        _crc, length, kind = RECORD_HEADER.unpack(head)
        if kind == 0 or length > SEGMENT_SIZE:
            return b""
        wanted = max(self.CHUNK, length + RECORD_HEADER.size)
        return os.pread(self._descriptor, wanted, offset)

    def close(self) -> None:
        """Close the file."""
        os.close(self._descriptor)


def has_records(directory: Path, number: int) -> bool:
    """Whether segment `number` exists and begins with a record."""
    try:
        reader = SegmentReader(directory, number)
    except (FileNotFoundError, DamagedSegment):
        return False
    try:
        return next(scan(reader.read(HEADER_SIZE), number), None) is not None
    finally:
        reader.close()

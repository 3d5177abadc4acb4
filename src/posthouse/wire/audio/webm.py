"""WebM and Matroska: the blocks of a whole file.

Sources: RFC 8794 (EBML) and RFC 9559 (Matroska). Rules: blocks count, by their
time and, for Opus, by their packets; what the head claims counts only where there
is none; recorders leave sizes unknown, so that what contains others is stepped
into and never skipped.
"""

import struct

from posthouse.wire.audio.ogg import opus_seconds

_ELEMENTS_LIMIT = 700_000
"""Of one file: four hours of speech in blocks of 20 ms."""
_THIN_ELEMENTS = 10_000
_LEAST_BYTES = 12
"""Of an element, its head included, once there are so many: sound has more."""
_OFTEN = 0xFFF
"""Between two looks at that there are so many elements."""

_SEGMENT = 0x18538067
_INFO = 0x1549A966
_TRACKS = 0x1654AE6B
_TRACK = 0xAE
_CLUSTER = 0x1F43B675
_GROUP = 0xA0
_CONTAINERS = frozenset({_SEGMENT, _INFO, _TRACKS, _TRACK, _CLUSTER, _GROUP})
_SCALE = 0x2AD7B1
_DURATION = 0x4489
_NUMBER = 0xD7
_CODEC = 0x86
_TIME = 0xE7
_SIMPLE_BLOCK = 0xA3
_BLOCK = 0xA1
_BLOCK_DURATION = 0x9B
_USUAL_SCALE = 1_000_000
"""Nanoseconds of a unit."""


class _Reader:
    """Reads one file."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.scale = _USUAL_SCALE
        self.claimed = 0.0
        self.time = 0
        """Of the cluster."""
        self.first: int | None = None
        self.last = 0
        """Of a block, its own duration included where it tells one."""
        self.block = 0
        self.track = 0
        self.opus: dict[int, float] = {}
        """Seconds of packets, by track."""

    def read(self) -> float | None:
        data, at, size = self.data, 0, len(self.data)
        for count in range(_ELEMENTS_LIMIT):
            if at + 2 > size:
                break
            if not count & _OFTEN and count - _THIN_ELEMENTS > at // _LEAST_BYTES:
                return None
            name: int | None = data[at]
            if data[at] & 0x80:
                at += 1
            else:
                name, at = _name(data, at)
            length, at = _size(data, at)
            if name == _SIMPLE_BLOCK and length is not None:
                self._take_block(at, min(length, size - at))
                at += length
                continue
            if name in _CONTAINERS:
                continue
            if name is None or length is None:
                break
            self._take(name, at, min(length, size - at))
            at += length
        else:
            return None
        unit = self.scale / 1e9
        timed = (self.last - (self.first or 0)) * unit
        found = max(timed, *self.opus.values(), 0.0)
        return found or self.claimed * unit or None

    def _take(self, name: int, at: int, length: int) -> None:
        """Read a leaf."""
        if name == _BLOCK:
            self._take_block(at, length)
        elif name == _TIME:
            self.time = self._number(at, length)
        elif name == _BLOCK_DURATION:
            self.last = max(self.last, self.block + self._number(at, length))
        elif name == _NUMBER:
            self.track = self._number(at, length)
        elif name == _CODEC:
            if self.data[at : at + length].startswith(b"A_OPUS"):
                self.opus[self.track] = 0.0
        elif name == _SCALE:
            self.scale = self._number(at, length) or _USUAL_SCALE
        elif name == _DURATION:
            self.claimed = self._real(at, length)

    def _take_block(self, at: int, length: int) -> None:
        data = self.data
        track, begin = _size(data, at)
        offset = int.from_bytes(data[begin : begin + 2], "big", signed=True)
        self.block = block = self.time + offset
        if self.first is None:
            self.first = block
        self.last = max(self.last, block)
        if track in self.opus and begin + 3 < at + length:
            self.opus[track] += self._packets(begin + 3, at + length)

    def _packets(self, at: int, end: int) -> float:
        """Give the seconds of a block's packets; of several, which are alike."""
        lacing = self.data[at - 1] & 0x06
        if not lacing:
            # What follows a packet of one byte is none of its own.
            alone = end - at == 1
            return opus_seconds(
                self.data[at:end] if alone else self.data, 0 if alone else at
            )
        count = self.data[at] + 1
        return count * opus_seconds(self.data[end - 1 : end], 0)

    def _number(self, at: int, length: int) -> int:
        return int.from_bytes(self.data[at : at + min(length, 8)], "big")

    def _real(self, at: int, length: int) -> float:
        if length not in (4, 8):
            return 0.0
        (value,) = struct.unpack_from(">f" if length == 4 else ">d", self.data, at)
        return float(value) if 0 < value < 1e18 else 0.0


def measure(data: bytes) -> float | None:
    """Measure a whole file; None where it tells no duration."""
    return _Reader(data).read()


def _name(data: bytes, at: int) -> tuple[int | None, int]:
    """Read an element's name, with its marker, and where it ends."""
    width = 9 - data[at].bit_length()
    if width > 4:
        return None, at + 1
    return int.from_bytes(data[at : at + width], "big"), at + width


def _size(data: bytes, at: int) -> tuple[int | None, int]:
    """Read a number without its marker, and where it ends; None is unknown."""
    if at >= len(data) or not data[at]:
        return None, at + 1
    first = data[at]
    if 0x80 <= first < 0xFF:
        return first & 0x7F, at + 1
    width = 9 - data[at].bit_length()
    whole = (1 << 7 * width) - 1
    value = int.from_bytes(data[at : at + width], "big") & whole
    return (None if value == whole else value), at + width

"""FLAC: the frames that are there, whatever the head says of the whole.

Source: RFC 9639, sections 8.2 (STREAMINFO) and 9.1 (frame header). Frames do not
tell their size, so they are looked for: what begins one has a checksum, and the
number that follows the last one's.
"""

import re

from typing_extensions import override

from posthouse.wire.audio.meter import MISSES_LIMIT, Meter

_MOST_FRAMES = 300_000
"""Of one sound: seven hours at 44.1 kHz in the usual blocks."""

_SYNC = re.compile(rb"\xff[\xf8\xf9]")
_HEAD = 16
"""Bytes of a frame's header at most, its checksum included."""
_RATES = {
    1: 88_200,
    2: 176_400,
    3: 192_000,
    4: 8_000,
    5: 16_000,
    6: 22_050,
    7: 24_000,
    8: 32_000,
    9: 44_100,
    10: 48_000,
    11: 96_000,
}


def _checksums() -> bytes:
    table = bytearray()
    for value in range(256):
        crc = value
        for _ in range(8):
            crc = (crc << 1) ^ 0x07 if crc & 0x80 else crc << 1
            crc &= 0xFF
        table.append(crc)
    return bytes(table)


_TABLE = _checksums()


def checksum(data: bytes) -> int:
    """Give the CRC-8 of a frame's header, which stands behind it."""
    crc = 0
    for byte in data:
        crc = _TABLE[crc ^ byte]
    return crc


class FLACMeter(Meter):
    """Finds frames and adds up their samples; see `Meter`."""

    def __init__(self, rate: int = 0) -> None:
        """Start before the first byte.

        With a `rate`, samples per second, the head has been read elsewhere.
        """
        self._rest = bytearray()
        self._skip = 0
        self._in_frames = bool(rate)
        self._rate = rate
        self._next: int | None = None
        """The number of the frame to come, or of its first sample."""
        self._seconds = 0.0
        self._misses = self._frames = 0

    @property
    def _lost(self) -> bool:
        return self._misses > MISSES_LIMIT or self._frames > _MOST_FRAMES

    @override
    def feed(self, data: bytes) -> None:
        if self._lost:
            return
        skipped = min(self._skip, len(data))
        self._skip -= skipped
        self._rest += data[skipped:] if skipped else data
        if not self._in_frames and not self._skip:
            self._read_metadata()
        if self._in_frames:
            self._find_frames()

    def _read_metadata(self) -> None:
        """Step over the blocks before the first frame."""
        rest = self._rest
        if rest.startswith(b"fLaC"):
            del rest[:4]
        while not self._skip and len(rest) >= 4:
            if rest[0] == 0xFF:
                self._in_frames = True
                return
            last, kind = rest[0] >> 7, rest[0] & 0x7F
            size = 4 + int.from_bytes(rest[1:4], "big")
            if kind == 0 and len(rest) < 18:
                return
            if kind == 0:
                self._rate = int.from_bytes(rest[14:17], "big") >> 4
            self._skip = max(size - len(rest), 0)
            del rest[:size]
            if last:
                self._in_frames = True
                return

    def _find_frames(self) -> None:
        if self._skip:
            return
        data = bytes(self._rest)
        at = 0
        while found := _SYNC.search(data, at):
            at = found.start()
            if len(data) - at < _HEAD:
                break
            self._take(data[at : at + _HEAD])
            at += 1
            if self._lost:
                break
        else:
            at = max(at, len(data) - 1)
        self._rest = bytearray(data[at:])

    def _take(self, head: bytes) -> None:
        """Count a frame if this is the header of the one to come."""
        read = self._awaited(head)
        if read is None:
            self._misses += 1
            return
        number, samples, rate, by_samples = read
        self._next = number + (samples if by_samples else 1)
        self._seconds += samples / rate
        self._frames += 1

    def _awaited(self, head: bytes) -> tuple[int, int, int, bool] | None:
        """Read a header; None unless it is the one of the frame to come."""
        read = read_header(head)
        if read is None:
            return None
        number, samples, rate, by_samples = read
        rate = rate or self._rate
        if not rate or (self._next is not None and number != self._next):
            return None
        return number, samples, rate, by_samples

    @override
    def seconds(self) -> float | None:
        if self._lost:
            return None
        total = self._seconds
        # A last frame of few bytes is shorter than a header may be.
        rest = bytes(self._rest)
        if self._in_frames and _SYNC.match(rest) and len(rest) < _HEAD:
            last = self._awaited(rest.ljust(_HEAD, b"\0"))
            total += last[1] / last[2] if last else 0.0
        return total or None


def read_header(head: bytes) -> tuple[int, int, int, bool] | None:
    """Read a frame's header, given as 16 bytes from its first on.

    Returns:
        The frame's number or that of its first sample, its samples, samples per
        second (0: as STREAMINFO has it), and whether the number is a sample's;
        None where this is no header.
    """
    size_code, rate_code = head[2] >> 4, head[2] & 15
    if size_code == 0 or rate_code == 15 or head[3] >> 4 > 10 or head[3] & 1:
        return None
    number, at = _coded_number(head)
    if number < 0:
        return None
    if size_code in (6, 7):
        width = size_code - 5
        samples = int.from_bytes(head[at : at + width], "big") + 1
        at += width
    else:
        samples = _samples(size_code)
    rate = _RATES.get(rate_code, 0)
    if rate_code >= 12:
        width = 1 if rate_code == 12 else 2
        rate = int.from_bytes(head[at : at + width], "big")
        rate *= {12: 1000, 13: 1, 14: 10}[rate_code]
        at += width
    if at >= _HEAD or checksum(head[:at]) != head[at]:
        return None
    return number, samples, rate, bool(head[1] & 1)


def _samples(code: int) -> int:
    if code == 1:
        return 192
    return 576 << (code - 2) if code <= 5 else 256 << (code - 8)


def _coded_number(head: bytes) -> tuple[int, int]:
    """Read the number, coded as UTF-8 codes characters, and where it ends.

    -1 where there is none.
    """
    first = head[4]
    if first < 0x80:
        return first, 5
    length = 8 - (first ^ 0xFF).bit_length()
    if not 2 <= length <= 7:
        return -1, 5
    number = first & (0x7F >> length)
    for byte in head[5 : 4 + length]:
        if byte & 0xC0 != 0x80:
            return -1, 5
        number = number << 6 | (byte & 0x3F)
    return number, 4 + length

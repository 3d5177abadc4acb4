"""WAV: what of its samples is there, at the rate that its head tells.

Source: Microsoft's RIFF and `WAVEFORMATEX`. A length of 0 or 2^32-1 is what
streams say that do not know theirs: then all that follows is sound.
"""

from typing_extensions import override

from posthouse.wire.audio.meter import Meter

_KNOWN = frozenset({1, 3, 6, 7, 0xFFFE})
"""Formats whose every sample has its own bits."""
_UNKNOWN_SIZES = (0, 2**32 - 1)
_HEADS_LIMIT = 1 << 20
"""Bytes that may stand before the samples."""
_MOST_CHUNKS = 1_000
"""That may."""


class WAVMeter(Meter):
    """Reads the chunks up to the samples, then counts bytes; see `Meter`."""

    def __init__(self) -> None:
        """Start before the first byte."""
        self._rest = bytearray()
        self._bytes_per_second = 0
        self._left: int | None = None
        """Bytes of samples still to come; None before their chunk has begun."""
        self._size = 0
        self._heads = self._chunks = 0
        self._started = False

    @override
    def feed(self, data: bytes) -> None:
        if self._left is not None:
            self._count(len(data))
            return
        self._heads += len(data)
        self._rest += data
        self._read_chunks()
        if self._left is None and self._heads > _HEADS_LIMIT:
            self._left = 0
            self._rest.clear()

    def _count(self, size: int) -> None:
        taken = min(size, self._left or 0)
        self._left = (self._left or 0) - taken
        self._size += taken

    def _read_chunks(self) -> None:
        rest = self._rest
        if not self._started:
            if len(rest) < 12:
                return
            del rest[:12]
            self._started = True
        while len(rest) >= 8 and self._chunks < _MOST_CHUNKS:
            self._chunks += 1
            name, size = bytes(rest[:4]), int.from_bytes(rest[4:8], "little")
            if name == b"data":
                self._left = 2**63 if size in _UNKNOWN_SIZES else size
                self._count(len(rest) - 8)
                rest.clear()
                return
            if len(rest) < 8 + size + size % 2:
                self._chunks -= 1
                return
            if name == b"fmt " and size >= 16:
                self._bytes_per_second = _bytes_per_second(bytes(rest[8:24]))
            del rest[: 8 + size + size % 2]

    @override
    def seconds(self) -> float | None:
        if not self._bytes_per_second or self._left is None:
            return None
        return self._size / self._bytes_per_second


def _bytes_per_second(head: bytes) -> int:
    """Work it out of the samples where they have a size, else believe it."""
    kind, channels = head[0] | head[1] << 8, head[2] | head[3] << 8
    rate, told = (int.from_bytes(head[at : at + 4], "little") for at in (4, 8))
    bits = head[14] | head[15] << 8
    if kind in _KNOWN:
        return channels * rate * (-(-bits // 8))
    return told

"""What every meter does, and the walk over frames that follow each other.

Rules: seconds come from the frames, not from what a header claims of the whole;
a meter is fed as bytes arrive and keeps a frame's head of them, or an Ogg page;
work is linear in the bytes, and what is no frame is only looked through so far:
then the meter is lost, and says so by None.
"""

from typing import Protocol

from typing_extensions import override

JUNK_LIMIT = 64 * 1024
"""Bytes beside frames that are skipped, and as many again as the frames have."""
MISSES_LIMIT = 50_000
"""Places that looked like a frame and were none."""
FRAMES_LIMIT = 700_000
"""Frames of one sound, and whatever else is skipped whole: 25 MB of MP3 have so many
at 12 kbit/s."""


class Meter(Protocol):
    """Measures one sound from its first byte on."""

    def feed(self, data: bytes) -> None:
        """Take the next bytes."""

    def seconds(self) -> float | None:
        """Say how long what has come lasts; None where that cannot be told."""


class FrameMeter(Meter):
    """Walks over frames whose heads tell their sizes; see `Meter`."""

    HEAD = 0
    """Bytes that a head has at most."""
    SYNC = b""
    """What a frame begins with."""

    def __init__(self) -> None:
        """Start before the first byte."""
        self._rest = bytearray()
        self._wanted = self.HEAD
        """Bytes without which there is nothing to read."""
        self._skip = 0
        self._counted = 0
        """Bytes of frames."""
        self._junk = self._misses = self._frames = self._read = 0
        self._lost = False
        self._seconds = 0.0

    def read(self, data: bytes, at: int) -> tuple[int, float] | None:
        """Read the frame at a place of `data`, of which HEAD bytes are there.

        Gives its size in bytes and its seconds; no seconds for what is only
        skipped, NEEDS_ALL for a frame that must be there to its last byte, None
        where there is no frame.
        """
        raise NotImplementedError

    @override
    def feed(self, data: bytes) -> None:
        if self._lost:
            return
        if self._skip:
            if self._skip >= len(data):
                self._skip -= len(data)
                return
            data = data[self._skip :]
            self._skip = 0
        if self._rest or len(data) < self._wanted:
            self._rest += data
            if len(self._rest) < self._wanted:
                return
            data = bytes(self._rest)
            self._rest.clear()
        self._walk(data)

    def _walk(self, data: bytes) -> None:
        """Read frame by frame, and keep what may begin another one."""
        at, size, head = 0, len(data), self.HEAD
        self._wanted = head
        while size - at >= head and not self._lost:
            found = self.read(data, at)
            if found is None:
                at = self._next_place(data, at)
                continue
            length, seconds = found
            if seconds == NEEDS_ALL:
                self._wanted = length
                break
            if seconds:
                self._frames += 1
                self._seconds += seconds
            self._read += 1
            self._lost = self._lost or self._read > FRAMES_LIMIT
            self._counted += length
            at += length
        self._skip = max(at - size, 0)
        self._rest += data[at:]

    def _next_place(self, data: bytes, at: int) -> int:
        """Find where a frame may begin after a place where there is none."""
        place = data.find(self.SYNC, at + 1)
        if place < 0:
            place = max(at + 1, len(data) - len(self.SYNC) + 1)
        self._misses += 1
        self._junk += place - at
        self._lost = (
            self._junk > JUNK_LIMIT + self._counted or self._misses > MISSES_LIMIT
        )
        return place

    @override
    def seconds(self) -> float | None:
        return self._seconds if self._frames and not self._lost else None


NEEDS_ALL = -1.0
"""In place of seconds: the frame is read once it is there to its last byte."""


class PCMMeter(Meter):
    """Measures samples without any head: 16 bits, one channel."""

    def __init__(self, rate: int) -> None:
        """Start before the first byte; `rate` is samples per second."""
        self._rate = rate
        self._size = 0

    @override
    def feed(self, data: bytes) -> None:
        self._size += len(data)

    @override
    def seconds(self) -> float | None:
        return self._size / (2 * self._rate)

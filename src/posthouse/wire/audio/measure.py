"""How long a sound lasts: finds out what it is, and lets that format's meter read it.

A length is what the frames of the sound add up to. Measuring a file of 25 MB takes
a second or two at worst, so it belongs in a thread.
"""

from collections.abc import Callable
from math import ceil

from typing_extensions import override

from posthouse.wire.audio import mp4, webm
from posthouse.wire.audio.flac import FLACMeter
from posthouse.wire.audio.meter import Meter, PCMMeter
from posthouse.wire.audio.mpeg import MPEGMeter, tag_size
from posthouse.wire.audio.ogg import OggMeter
from posthouse.wire.audio.wav import WAVMeter

SNIFFED = 12
"""Bytes that a sound is recognised by."""
LEAST_BYTES = 25
"""Of a second of any sound: Opus has 34 for silence, FLAC 55."""
USUAL_LEAST_BYTES = 1500
"""Of a second of recorded speech (12 kbit/s, as mobile phones had it)."""
_PIECE = 1 << 20
_ROUNDED_OFF = 0.0005
"""Seconds that frames may be beyond a whole one by their sums alone."""
_MP4 = frozenset(
    {b"ftyp", b"moov", b"moof", b"mdat", b"free", b"skip", b"wide", b"styp"}
)
_MAGIC = (
    (b"fLaC", b"flac"),
    (b"OggS", b"ogg"),
    (b"\x1a\x45\xdf\xa3", b"webm"),
    (b"ID3", b"mpeg"),
)
_WHOLE: dict[bytes, Callable[[bytes], float | None]] = {
    b"mp4": mp4.measure,
    b"webm": webm.measure,
}
_METERS: dict[bytes, Callable[[], Meter]] = {
    b"wav": WAVMeter,
    b"flac": FLACMeter,
    b"ogg": OggMeter,
    b"mpeg": MPEGMeter,
}


def recognise(head: bytes) -> bytes:
    """Name the format by its first bytes; b"" is none that is known here."""
    if head.startswith((b"RIFF", b"RF64")) and head[8:12] == b"WAVE":
        return b"wav"
    if head[4:8] in _MP4:
        return b"mp4"
    for begins, kind in _MAGIC:
        if head.startswith(begins):
            return kind
    return b"mpeg" if len(head) > 1 and head[0] == 0xFF and head[1] >= 224 else b""


def measure(data: bytes) -> float | None:
    """Measure a whole sound in seconds; None where that cannot be told."""
    kind = recognise(data)
    if kind in _WHOLE:
        return _WHOLE[kind](data)
    start = 0
    if data.startswith(b"ID3"):
        start = tag_size(data, 0)
        kind = recognise(data[start : start + SNIFFED]) or kind
    # What begins with none of these may still be MP3 after some bytes of waste.
    meter = _METERS.get(kind, MPEGMeter)()
    for at in range(start, len(data), _PIECE):
        meter.feed(data[at : at + _PIECE])
    return meter.seconds()


class SpeechMeter(Meter):
    """Measures speech as it arrives, whatever format it turns out to have."""

    def __init__(self, rate: int = 0) -> None:
        """Start before the first byte.

        Args:
            rate: samples per second, where it is samples without any head; 0: it
                begins as its format has it.
        """
        self._meter: Meter | None = PCMMeter(rate) if rate else None
        self._head = b""
        self._size = 0

    @override
    def feed(self, data: bytes) -> None:
        self._size += len(data)
        if self._meter is not None:
            self._meter.feed(data)
        elif len(self._head) < SNIFFED:
            self._head += data
            self._begin()

    def _begin(self) -> None:
        """Choose the meter, once it can be told which."""
        if len(self._head) < SNIFFED:
            return
        kind = recognise(self._head)
        if kind not in _WHOLE:
            self._meter = _METERS.get(kind, MPEGMeter)()
            self._meter.feed(self._head)

    def whole_seconds(self) -> int:
        """Give the seconds so far, rounded up; by their bytes if need be."""
        if not self._size:
            return 0
        seconds = self.seconds()
        if seconds is None or not is_possible(seconds, self._size):
            return seconds_by_size(self._size)
        return whole_seconds(seconds)

    @override
    def seconds(self) -> float | None:
        return None if self._meter is None else self._meter.seconds()


def whole_seconds(seconds: float) -> int:
    """Round up to whole seconds, as they are billed; at least one."""
    return max(ceil(seconds - _ROUNDED_OFF), 1)


def is_possible(seconds: float, size: int) -> bool:
    """Whether so many bytes can hold so many seconds of sound."""
    return 0 <= seconds <= size / LEAST_BYTES + 1


def seconds_by_size(size: int) -> int:
    """Give the seconds of a sound that cannot be measured, erring upwards."""
    return max(-(-size // USUAL_LEAST_BYTES), 1)

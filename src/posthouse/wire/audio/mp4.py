"""MP4 and M4A: the samples that the tables of a whole file list.

Source: ISO/IEC 14496-12 (boxes, `stts`, `stsz`, `trun`) and 14496-14 (`mp4a`).
Rules: a sound track's duration is what its samples add up to, also where they
stand in fragments; what a header claims of the whole counts only where no sample
is listed; without a sound track the longest one counts.
"""

import struct
from collections.abc import Iterator

from msgspec import Struct

_BOXES_LIMIT = 100_000
_DEEPEST = 8
"""Boxes within each other below a track's media."""
_USUAL_RATE = 48_000
"""Where it stands in a codec's own settings alone."""
_FRAMES = {
    b"mp4a": 1024,
    b"alac": 4096,
    b"fLaC": 4096,
    b"Opus": 960,
    b".mp3": 1152,
    b"ac-3": 1536,
    b"ec-3": 1536,
}
"""By codec, how many samples its usual frame has."""
_TOLERANCE = 2.5
"""Times that a table may be below what usual frames of their number last: those of
AAC's low-delay profiles are half as long."""

Box = tuple[bytes, int, int]
"""Its type, and where its content begins and ends."""


class _Track(Struct):
    """What is known of one track."""

    sound: bool = False
    scale: int = 0
    """Units in a second."""
    claimed: int = 0
    listed: int = 0
    """Units that its samples add up to."""
    samples: int = 0
    rate: int = 0
    """Samples per second."""
    frame: int = 0
    """Samples of a usual frame of its codec; 0 is not known."""
    default: int = 0
    """Units of a fragment's sample that says nothing of its own."""

    def seconds(self) -> float:
        """How long it lasts."""
        if not self.scale:
            return 0.0
        told = (self.listed or self.claimed) / self.scale
        if self.frame:
            frames = self.samples * self.frame / self.rate
            return frames if frames > _TOLERANCE * told else told
        return told


class _Reader:
    """Reads one file."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.tracks: dict[int, _Track] = {}
        self.whole = 0.0
        """What the header claims of the whole."""
        self.boxes = 0

    def walk(self, start: int, end: int) -> Iterator[Box]:
        """Go over the boxes between two places."""
        data = self.data
        while end - start >= 8 and self.boxes < _BOXES_LIMIT:
            self.boxes += 1
            size, kind, head = _u32(data, start), data[start + 4 : start + 8], 8
            if size == 1:
                size, head = int.from_bytes(data[start + 8 : start + 16], "big"), 16
            if size == 0:
                size = end - start
            if size < head:
                return
            yield kind, start + head, min(start + size, end)
            start += size

    def read(self) -> float | None:
        for kind, start, end in self.walk(0, len(self.data)):
            if kind == b"moov":
                self._movie(start, end)
            elif kind == b"moof":
                self._fragment(start, end)
        tracks = self.tracks.values()
        heard = [track.seconds() for track in tracks if track.sound]
        found = max(heard or [track.seconds() for track in tracks], default=0.0)
        return found or self.whole or None

    def _movie(self, start: int, end: int) -> None:
        for kind, begin, stop in self.walk(start, end):
            if kind == b"mvhd":
                scale, claimed = _duration(self.data, begin)
                self.whole = claimed / scale if scale else 0.0
            elif kind == b"trak":
                self._track(begin, stop)
            elif kind == b"mvex":
                self._defaults(begin, stop)

    def _defaults(self, start: int, end: int) -> None:
        for kind, begin, _ in self.walk(start, end):
            track = self.tracks.get(_u32(self.data, begin + 4))
            if kind == b"trex" and track is not None:
                track.default = _u32(self.data, begin + 12)

    def _track(self, start: int, end: int) -> None:
        track, number = _Track(), 0
        for kind, begin, stop in self.walk(start, end):
            if kind == b"tkhd":
                wide = self.data[begin : begin + 1] == b"\1"
                number = _u32(self.data, begin + (20 if wide else 12))
            elif kind == b"mdia":
                self._media(track, begin, stop)
        self.tracks[number] = track

    def _media(self, track: _Track, start: int, end: int, depth: int = 0) -> None:
        for kind, begin, stop in self.walk(start, end):
            if kind == b"mdhd":
                track.scale, track.claimed = _duration(self.data, begin)
            elif kind == b"hdlr":
                track.sound = self.data[begin + 8 : begin + 12] == b"soun"
            elif kind in (b"minf", b"stbl") and depth < _DEEPEST:
                self._media(track, begin, stop, depth + 1)
            elif kind == b"stts":
                track.listed = _table_sum(self.data, begin, stop)
            elif kind in (b"stsz", b"stz2"):
                track.samples = _u32(self.data, begin + 8)
            elif kind == b"stsd":
                track.frame = _FRAMES.get(self.data[begin + 12 : begin + 16], 0)
                track.rate = _u32(self.data, begin + 40) >> 16 or _USUAL_RATE

    def _fragment(self, start: int, end: int) -> None:
        for kind, begin, stop in self.walk(start, end):
            if kind == b"traf":
                self._run(begin, stop)

    def _run(self, start: int, end: int) -> None:
        track, default = _Track(), 0
        for kind, begin, stop in self.walk(start, end):
            if kind == b"tfhd":
                track = self.tracks.get(_u32(self.data, begin + 4), track)
                default = _fragment_default(self.data, begin) or track.default
            elif kind == b"trun":
                count, total = _run_sum(self.data, begin, stop, default=default)
                track.samples += count
                track.listed += total


def measure(data: bytes) -> float | None:
    """Measure a whole file; None where it tells no duration."""
    return _Reader(data).read()


def _u32(data: bytes, at: int) -> int:
    """Read a number; what is beyond the end is 0."""
    return int.from_bytes(data[at : at + 4].ljust(4, b"\0"), "big")


def _duration(data: bytes, at: int) -> tuple[int, int]:
    """Read the scale and the duration of `mvhd` and `mdhd`."""
    if data[at : at + 1] == b"\1":
        claimed = int.from_bytes(data[at + 24 : at + 32], "big")
        return _u32(data, at + 20), 0 if claimed == 2**64 - 1 else claimed
    claimed = _u32(data, at + 16)
    return _u32(data, at + 12), 0 if claimed == 2**32 - 1 else claimed


def _table_sum(data: bytes, at: int, end: int) -> int:
    """Add up `stts`: pairs of a number of samples and their units."""
    pairs = min(_u32(data, at + 4), max(end - at - 8, 0) // 8)
    table = memoryview(data)[at + 8 : at + 8 + 8 * pairs]
    return sum(count * units for count, units in struct.iter_unpack(">II", table))


def _fragment_default(data: bytes, at: int) -> int:
    """Read the default duration of `tfhd`; 0 where it has none."""
    flags = _u32(data, at) & 0xFFFFFF
    if not flags & 0x08:
        return 0
    return _u32(data, at + 8 + (8 if flags & 0x01 else 0) + (4 if flags & 0x02 else 0))


def _run_sum(data: bytes, at: int, end: int, *, default: int) -> tuple[int, int]:
    """Count the samples of `trun`, and add up their units."""
    flags, count = _u32(data, at) & 0xFFFFFF, _u32(data, at + 4)
    begin = at + 8 + (4 if flags & 0x001 else 0) + (4 if flags & 0x004 else 0)
    width = 4 * (flags >> 8 & 15).bit_count()
    if not flags & 0x100:
        # Without a duration of its own a sample may take no byte at all.
        count = min(count, (end - begin) // width if width else len(data))
        return count, count * default
    count = min(count, max(end - begin, 0) // width)
    table = memoryview(data)[begin : begin + count * width]
    return count, sum(row[0] for row in struct.iter_unpack(f">I{width - 4}x", table))

"""Ogg pages: what is in them by its packets, and by its pages' positions.

Sources: RFC 3533 (Ogg), RFC 7845 and RFC 6716 section 3.1 (Opus), and the Vorbis I
specification, section 4.2.2; RFC 9639 section 10.1 (FLAC), and Speex's header in its
manual, section 8. Rules: a page is read whole (at most 65,307 bytes); its checksum is
not judged, for a player may not either; positions may claim anything, so a stream is
as long as its packets are, but for what is cut off at its end; streams that
follow each other add up; of those side by side the longest counts.
"""

from msgspec import Struct
from typing_extensions import override

from posthouse.wire.audio.flac import FLACMeter
from posthouse.wire.audio.meter import NEEDS_ALL, FrameMeter
from posthouse.wire.audio.vorbis import VorbisBlocks

_HEAD = 27
_OPUS_RATE = 48_000
_NO_POSITION = 2**64 - 1
_MOST_STREAMS = 1_000
"""That follow each other, or stand side by side."""
_MOST_SETUPS = 10
"""Streams whose setup is read, which takes a millisecond or, at worst, fifty."""
_MOST_PACKETS = 3_000_000
"""Of one sound: twice what 25 MB of the thinnest speech have."""
_LONGEST_SPEEX = 10.0
"""Seconds of one packet that anybody would write."""
_TRIMMED = 0.25
"""Seconds that a stream's last position may cut off its last packets."""


class _Logical(Struct):
    """One logical stream."""

    codec: str
    rate: int
    """Positions in a second; 0 is not known."""
    skipped: int = 0
    """Samples at the beginning that are not heard."""
    headers: int = 0
    """Packets to come that are not sound."""
    packets: float = 0.0
    """Seconds of its packets."""
    packet: float = 0.0
    """Seconds of one packet, at least; 0: each says so itself."""
    frames: FLACMeter | None = None
    """Finds the frames of FLAC."""
    blocks: VorbisBlocks | None = None
    """Adds up the packets of Vorbis."""
    sounds: bool = False
    """They have begun."""
    position: int = 0
    open_packet: bool = False
    """The last page ended within a packet."""

    def seconds(self) -> float:
        """How long it lasts."""
        if not self.rate:
            return 0.0
        position = max(self.position - self.skipped, 0) / self.rate
        if self.frames is not None:
            return self.frames.seconds() or position
        if self.blocks is not None:
            heard = self.blocks.samples / self.rate
            if self.blocks.modes is None:
                return max(position, heard)
        elif self.codec == "opus":
            heard = max(self.packets - self.skipped / self.rate, 0.0)
        else:
            return max(position, self.packets)
        return position if heard - _TRIMMED <= position < heard else heard


class OggMeter(FrameMeter):
    """Walks over pages; see `FrameMeter`."""

    HEAD = _HEAD
    SYNC = b"OggS"

    def __init__(self) -> None:
        """Start before the first byte."""
        super().__init__()
        self._streams: dict[bytes, _Logical] = {}
        self._begun = self._packets = 0
        self._before = 0.0
        """Seconds of the streams that have ended."""

    @override
    def read(self, data: bytes, at: int) -> tuple[int, float] | None:
        if not data.startswith(b"OggS\0", at):
            return None
        segments = data[at + 26]
        body = at + _HEAD + segments
        if body > len(data):
            return _HEAD + segments, NEEDS_ALL
        lacing = data[at + _HEAD : body]
        size = _HEAD + segments + sum(lacing)
        if at + size > len(data):
            return size, NEEDS_ALL
        self._page(data[at:body], lacing, data[body : at + size])
        return size, 0.0

    def _page(self, head: bytes, lacing: bytes, body: bytes) -> None:
        """Take a whole page along."""
        serial = head[14:18]
        if head[5] & 2:
            self._begin(serial, body)
        stream = self._streams.get(serial)
        if stream is None:
            return
        position = int.from_bytes(head[6:14], "little")
        if position != _NO_POSITION and position < 2**63:
            stream.position = max(stream.position, position)
        if stream.frames is not None:
            # Before the first packet that is a frame there are but heads.
            if not stream.sounds and not head[5] & 1:
                stream.sounds = body.startswith(b"\xff")
            if stream.sounds:
                stream.frames.feed(body)
        elif stream.codec:
            self._packets += len(lacing)
            self._lost = self._lost or self._packets > _MOST_PACKETS
            goes_on = bool(head[5] & 1)
            if stream.blocks is not None:
                stream.blocks.page(lacing, body, goes_on=goes_on)
            else:
                _take_packets(stream, lacing, body, goes_on=goes_on)

    def _begin(self, serial: bytes, body: bytes) -> None:
        """Begin a logical stream; if others have sounded, after them."""
        self._begun += 1
        self._lost = self._lost or self._begun > _MOST_STREAMS
        if any(stream.seconds() for stream in self._streams.values()):
            self._before += self._longest()
            self._streams.clear()
        if len(self._streams) < 16:
            self._streams[serial] = _identify(body, reads=self._begun <= _MOST_SETUPS)

    def _longest(self) -> float:
        return max((one.seconds() for one in self._streams.values()), default=0.0)

    @override
    def seconds(self) -> float | None:
        total = self._before + self._longest()
        return total if total and not self._lost else None


def _identify(body: bytes, *, reads: bool) -> _Logical:
    """Say what a stream is from its first packet.

    `reads` says whether there is time for what it tells of its packets.
    """
    if body.startswith(b"OpusHead") and len(body) >= 19:
        skipped = int.from_bytes(body[10:12], "little")
        return _Logical("opus", _OPUS_RATE, skipped, headers=2)
    if body.startswith(b"\x01vorbis") and len(body) >= 30:
        rate = int.from_bytes(body[12:16], "little")
        return _Logical("vorbis", rate, blocks=VorbisBlocks(body, reads=reads))
    if body.startswith(b"Speex   ") and len(body) >= 68:
        rate = int.from_bytes(body[36:40], "little")
        samples = 160 << min(int.from_bytes(body[40:44], "little"), 2)
        count = max(int.from_bytes(body[64:68], "little"), 1)
        length = min(samples * count / rate, _LONGEST_SPEEX) if rate else 0.0
        return _Logical("speex", rate, headers=2, packet=length)
    if body.startswith(b"\x7fFLAC") and len(body) >= 31:
        rate = int.from_bytes(body[27:30], "big") >> 4
        return _Logical("flac", rate, frames=FLACMeter(rate))
    return _Logical("", 0)


def _take_packets(
    stream: _Logical, lacing: bytes, body: bytes, *, goes_on: bool
) -> None:
    """Add up the packets that begin in a page."""
    at = begin = 0
    begins = not (goes_on and stream.open_packet)
    for size in lacing:
        at += size
        if size == 255:
            continue
        if begins:
            if stream.headers:
                stream.headers -= 1
            else:
                stream.packets += stream.packet or opus_seconds(body, begin)
        begin, begins = at, True
    # A packet that goes on in the next page is counted where it begins.
    stream.open_packet = lacing[-1:] == b"\xff"
    if stream.open_packet and begins:
        if stream.headers:
            stream.headers -= 1
        else:
            stream.packets += stream.packet or opus_seconds(body, begin)


_SILK = (0.01, 0.02, 0.04, 0.06)
_HYBRID = (0.01, 0.02)
_CELT = (0.0025, 0.005, 0.01, 0.02)
_FRAME_SECONDS = _SILK * 3 + _HYBRID * 2 + _CELT * 4
_LONGEST_PACKET = 0.12


def opus_seconds(data: bytes, at: int) -> float:
    """Say how long the Opus packet lasts that begins at a place of `data`."""
    if at >= len(data):
        return 0.0
    kind = data[at]
    count = 1 if not kind & 3 else 2
    if kind & 3 == 3:
        count = data[at + 1] & 0x3F if at + 1 < len(data) else 0
    return min(count * _FRAME_SECONDS[kind >> 3], _LONGEST_PACKET)

"""MPEG audio: MP3 and its older layers, and AAC in ADTS frames.

Sources: ISO/IEC 11172-3 and 13818-3 (frame header), 13818-7 (ADTS), and the
informal standard of ID3v2.4 (tag header).
"""

import re

from typing_extensions import override

from posthouse.wire.audio.meter import NEEDS_ALL, FrameMeter

_KBPS_1 = {
    1: (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    2: (32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    3: tuple(range(32, 449, 32)),
}
_KBPS_2_LONG = (32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256)
_KBPS_2_SHORT = (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160)
_KBPS_2 = {1: _KBPS_2_SHORT, 2: _KBPS_2_SHORT, 3: _KBPS_2_LONG}
_RATES = {3: (44_100, 48_000, 32_000), 2: (22_050, 24_000, 16_000), 0: ()}
_RATES[0] = (11_025, 12_000, 8_000)
_AAC_RATES = (
    96_000,
    88_200,
    64_000,
    48_000,
    44_100,
    32_000,
    24_000,
    22_050,
    16_000,
    12_000,
    11_025,
    8_000,
    7_350,
)


def _frame(second: int, third: int) -> tuple[int, float] | None:
    """Work out what the second and third byte of a header say."""
    version, layer = second >> 3 & 3, second >> 1 & 3
    index, rate_index, padding = third >> 4, third >> 2 & 3, third >> 1 & 1
    # Version 1 is reserved; a frame of free bit rate does not tell its size.
    if version == 1 or layer == 0 or not 0 < index < 15 or rate_index == 3:
        return None
    first = version == 3
    kbps = (_KBPS_1 if first else _KBPS_2)[layer][index - 1]
    rate = _RATES[version][rate_index]
    samples = {3: 384, 2: 1152, 1: 1152 if first else 576}[layer]
    if layer == 3:
        size = (12_000 * kbps // rate + padding) * 4
    else:
        size = samples // 8 * 1000 * kbps // rate + padding
    return size, samples / rate


_FRAMES = {
    bytes((second, third)): found
    for second in range(0xE0, 0x100)
    for third in range(0x100)
    if (found := _frame(second, third)) is not None
}
"""By the second and third byte of a header: size and seconds."""


class MPEGMeter(FrameMeter):
    """Walks over frames of MP3 or AAC; see `FrameMeter`.

    Two bytes may look like a frame anywhere: one that does not follow another is
    believed only if one follows it.
    """

    HEAD = 10
    SYNC = b"\xff"

    def __init__(self) -> None:
        """Start before the first byte."""
        super().__init__()
        self._in_step = False

    @override
    def read(self, data: bytes, at: int) -> tuple[int, float] | None:
        found = _read(data, at)
        if found is None:
            self._in_step = False
            if not self._frames and data.startswith(b"ID3", at):
                return tag_size(data, at), 0.0
            return None
        return found if self._in_step else self._first(data, at, found)

    def _first(
        self, data: bytes, at: int, found: tuple[int, float]
    ) -> tuple[int, float] | None:
        """Judge a frame that does not follow another."""
        size, _ = found
        if at + size + self.HEAD > len(data):
            return size + self.HEAD, NEEDS_ALL
        if _read(data, at + size) is None:
            return None
        self._in_step = True
        if not self._frames and _INFORMS.search(data, at + 4, at + 40):
            return size, 0.0
        return found


_INFORMS = re.compile(rb"Xing|Info")
"""In a first frame of MP3 that tells of the others and is no sound."""


def _read(data: bytes, at: int) -> tuple[int, float] | None:
    """Read a frame's header: its size and seconds."""
    if data[at] != 0xFF:
        return None
    return _FRAMES.get(data[at + 1 : at + 3]) or _adts(data, at)


def tag_size(data: bytes, at: int) -> int:
    """Give the bytes of an ID3v2 tag, its ten bytes of header included."""
    size = 0
    for byte in data[at + 6 : at + 10]:
        size = size << 7 | (byte & 0x7F)
    footer = 10 if int.from_bytes(data[at + 5 : at + 6], "big") & 0x10 else 0
    return size + 10 + footer


def _adts(data: bytes, at: int) -> tuple[int, float] | None:
    """Read an ADTS header, in which the layer is 0."""
    if data[at + 1] & 0xF6 != 0xF0:
        return None
    rate_index = data[at + 2] >> 2 & 15
    size = (data[at + 3] & 3) << 11 | data[at + 4] << 3 | data[at + 5] >> 5
    if rate_index >= len(_AAC_RATES) or size < 7:
        return None
    blocks = (data[at + 6] & 3) + 1
    return size, 1024 * blocks / _AAC_RATES[rate_index]

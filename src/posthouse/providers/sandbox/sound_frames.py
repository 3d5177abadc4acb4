"""Silence in compressed formats, as frames that any player opens.

Sources: ISO/IEC 11172-3 (MP3), 14496-3 and 13818-7 (AAC in ADTS), RFC 9639 (FLAC),
RFC 3533, 6716 and 7845 (Opus in Ogg). One frame stands for all that follow it, so
that a minute costs no more than a second.
"""

from functools import cache

MP3_FRAME = b"\xff\xfb\x90\x64" + bytes(413)
"""26 ms: MPEG-1 layer III, 128 kbit/s, 44.1 kHz."""
MP3_SECONDS = 1152 / 44_100

AAC_SECONDS = 1024 / 24_000
FLAC_RATE = 24_000
FLAC_BLOCK = 4_096
OPUS_RATE = 48_000
OPUS_PACKET = b"\xf8\xff\xfe"
"""20 ms: full band, one channel."""
OPUS_SAMPLES = 960
OPUS_SKIPPED = 312
OPUS_PACKETS = 50
"""Of one page: a second."""
SERIAL = b"post"


def frames(seconds: float, one: float) -> int:
    """Tell how many frames of so many seconds come nearest to a length."""
    return max(round(seconds / one), 1)


def mp3(seconds: float) -> bytes:
    """Give so much silence as MP3."""
    return MP3_FRAME * frames(seconds, MP3_SECONDS)


def aac(seconds: float) -> bytes:
    """Give so much silence as AAC-LC, 24 kHz, one channel."""
    # One element of one channel without any band, then the end of the block.
    block = b"\0\0\0\7"
    size = 7 + len(block)
    # MPEG-4 without a checksum, LC, 24 kHz, one channel, a full buffer.
    head = b"\xff\xf1" + (6 << 34 | 1 << 30 | size << 13 | 0x1FFC).to_bytes(5, "big")
    return (head + block) * frames(seconds, AAC_SECONDS)


# --- FLAC -------------------------------------------------------------------------


def flac(seconds: float) -> bytes:
    """Give so much silence as FLAC, 24 kHz, one channel, 16 bits."""
    total = max(round(seconds * FLAC_RATE), 1)
    layout = FLAC_RATE << 44 | 0 << 41 | 15 << 36 | total
    block = FLAC_BLOCK.to_bytes(2, "big")
    information = block + block + bytes(6) + layout.to_bytes(8, "big") + bytes(16)
    pieces = [b"fLaC\x80" + len(information).to_bytes(3, "big") + information]
    for number, begin in enumerate(range(0, total, FLAC_BLOCK)):
        pieces.append(_flac_frame(number, min(total - begin, FLAC_BLOCK)))
    return b"".join(pieces)


@cache
def _flac_frame(number: int, samples: int) -> bytes:
    """Write a frame in which every sample is 0."""
    # A fixed size of block, told in 16 bits; 24 kHz, one channel, 16 bits.
    head = b"\xff\xf8\x77\x08" + chr(number).encode() + (samples - 1).to_bytes(2, "big")
    frame = head + _crc(head, 0x07, 8).to_bytes(1, "big") + b"\0\0\0"
    return frame + _crc(frame, 0x8005, 16).to_bytes(2, "big")


def _crc(data: bytes, polynomial: int, bits: int) -> int:
    """Give a checksum that begins at 0 and takes the highest bit first."""
    top, mask, value = 1 << (bits - 1), (1 << bits) - 1, 0
    for byte in data:
        value ^= byte << (bits - 8)
        for _ in range(8):
            value = (value << 1 ^ polynomial if value & top else value << 1) & mask
    return value


# --- Opus in Ogg -------------------------------------------------------------------


def opus(seconds: float) -> bytes:
    """Give so much silence as Opus in Ogg, one channel."""
    head = b"OpusHead\1\1" + OPUS_SKIPPED.to_bytes(2, "little")
    head += OPUS_RATE.to_bytes(4, "little") + b"\0\0\0"
    vendor = b"posthouse sandbox"
    tags = b"OpusTags" + len(vendor).to_bytes(4, "little") + vendor + bytes(4)
    pages = [_page((head,), 0, 0, kind=2), _page((tags,), 1, 0)]
    heard = round(seconds * OPUS_RATE) + OPUS_SKIPPED
    left = -(-heard // OPUS_SAMPLES)
    position = 0
    while left:
        count = min(left, OPUS_PACKETS)
        left -= count
        position = min(position + count * OPUS_SAMPLES, heard)
        packets = (OPUS_PACKET,) * count
        pages.append(_page(packets, len(pages), position, kind=0 if left else 4))
    return b"".join(pages)


def _page(
    packets: tuple[bytes, ...], number: int, position: int, *, kind: int = 0
) -> bytes:
    """Write a page of short packets; `kind` has the flags of its header."""
    head = b"OggS\0" + bytes((kind,)) + position.to_bytes(8, "little") + SERIAL
    head += number.to_bytes(4, "little")
    rest = bytes((len(packets), *map(len, packets))) + b"".join(packets)
    checksum = _ogg_checksum(head + bytes(4) + rest)
    return head + checksum.to_bytes(4, "little") + rest


@cache
def _ogg_table() -> tuple[int, ...]:
    table = []
    for index in range(256):
        value = index << 24
        for _ in range(8):
            value = value << 1 ^ 0x04C11DB7 if value & 0x80000000 else value << 1
            value &= 0xFFFFFFFF
        table.append(value)
    return tuple(table)


def _ogg_checksum(data: bytes) -> int:
    table, value = _ogg_table(), 0
    for byte in data:
        value = (value << 8 & 0xFFFFFFFF) ^ table[value >> 24 ^ byte]
    return value

"""PNG files made of nothing: stripes in four colours that a name decides.

Source: the PNG specification (W3C, third edition), colour type 3 with two bits for a
pixel, so that the largest picture is still made in a moment.
"""

import struct
import zlib

SIGNATURE = b"\x89PNG\r\n\x1a\n"
STRIPE = 16
"""Rows of one stripe."""
_FEW_ROWS = 4
_LEVEL = 1


def png(width: int, height: int, digest: str) -> bytes:
    """Make a picture.

    Args:
        width: in pixels.
        height: in pixels.
        digest: hexadecimal digits that choose the colours, 24 at least.
    """
    head = struct.pack(">IIBBBBB", width, height, 2, 3, 0, 0, 0)
    palette = bytes.fromhex(digest[:24])
    row_bytes = -(-width // 4)
    rows = [b"\0" + bytes([0x55 * shade]) * row_bytes for shade in range(_FEW_ROWS)]
    first = int(digest[0], 16)
    data = b"".join(
        rows[(first + place // STRIPE) % _FEW_ROWS] for place in range(height)
    )
    return (
        SIGNATURE
        + _chunk(b"IHDR", head)
        + _chunk(b"PLTE", palette)
        + _chunk(b"IDAT", zlib.compress(data, _LEVEL))
        + _chunk(b"IEND", b"")
    )


def _chunk(kind: bytes, data: bytes) -> bytes:
    checksum = struct.pack(">I", zlib.crc32(kind + data))
    return struct.pack(">I", len(data)) + kind + data + checksum

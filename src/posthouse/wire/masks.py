"""Masks: the part of a picture that may change, told as other makers have it.

One kind is transparent where the picture changes; the other is of two greys and has
no transparency. What is halfway transparent counts as transparent: there is no third
grey. Pillow is imported only when a mask has to be turned.
"""

import struct
from io import BytesIO

from posthouse.wire.pictures import picture_type

BLACK, WHITE = 0, 255
MOST_PIXELS = 4096 * 4096
"""Of a mask; it takes four bytes each while it is turned."""
_HALF = 128
_SIZE = struct.Struct(">II")
_SIZE_AT = 16
"""In a PNG file, behind its signature and the head of its first chunk."""


class MaskUnreadable(ValueError):
    """A file is no mask that can be read; the message says why."""


def opaque_mask(data: bytes, changes: int) -> bytes:
    """Write a transparent mask as one of two greys, in the same size.

    Args:
        data: a PNG file with transparency.
        changes: the grey of what may change, BLACK or WHITE.

    Returns:
        A PNG file of greys, or `data` where nothing in it is transparent.

    Raises:
        MaskUnreadable: it is broken, or too large.
    """
    from PIL import Image  # noqa: PLC0415 - see above

    if picture_type(data) != "image/png" or len(data) < _SIZE_AT + _SIZE.size:
        raise MaskUnreadable("it is no PNG file")
    width, height = _SIZE.unpack_from(data, _SIZE_AT)
    if width * height > MOST_PIXELS:
        raise MaskUnreadable(f"it has more than {MOST_PIXELS} pixels")
    try:
        with Image.open(BytesIO(data), formats=("PNG",)) as mask:
            alpha = mask.convert("RGBA").getchannel("A")
    except (OSError, SyntaxError, ValueError, KeyError, IndexError, struct.error):
        raise MaskUnreadable("it is no whole PNG file") from None
    if not any(alpha.histogram()[:_HALF]):
        return data
    stays = WHITE - changes
    greys = [changes] * _HALF + [stays] * (WHITE + 1 - _HALF)
    written = BytesIO()
    alpha.point(greys).save(written, "PNG")
    return written.getvalue()

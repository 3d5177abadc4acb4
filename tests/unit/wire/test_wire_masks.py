"""Masks turned: transparent ones become black and white, or white and black."""

import io
import zlib

import pytest
from PIL import Image

from posthouse.wire.masks import BLACK, MOST_PIXELS, WHITE, MaskUnreadable, opaque_mask

MODES = ("RGBA", "LA", "P")


def written(image: Image.Image, **options: int) -> bytes:
    held = io.BytesIO()
    image.save(held, "PNG", **options)
    return held.getvalue()


def mask(mode: str) -> bytes:
    """A mask that is transparent at (1, 0) of two pixels."""
    if mode == "P":
        image = Image.new("P", (2, 1), 1)
        image.putpixel((1, 0), 0)
        return written(image, transparency=0)
    image = Image.new("RGBA", (2, 1), (200, 10, 10, 255))
    image.putpixel((1, 0), (255, 255, 255, 0))
    return written(image.convert(mode))


def test_what_is_transparent_has_the_grey_of_what_changes() -> None:
    for mode in MODES:
        for changes in (BLACK, WHITE):
            turned = Image.open(io.BytesIO(opaque_mask(mask(mode), changes)))
            assert (turned.mode, turned.size) == ("L", (2, 1))
            assert turned.getpixel((1, 0)) == changes
            assert turned.getpixel((0, 0)) == WHITE - changes


def test_there_is_no_third_grey() -> None:
    """What is less than half opaque changes."""
    image = Image.new("RGBA", (256, 1))
    for opacity in range(256):
        image.putpixel((opacity, 0), (0, 0, 0, opacity))
    turned = Image.open(io.BytesIO(opaque_mask(written(image), WHITE)))
    assert turned.tobytes() == b"\xff" * 128 + b"\x00" * 128


def test_a_mask_without_a_transparent_part_stays() -> None:
    """Its maker's own kind of mask, saved with an alpha channel that says nothing."""
    image = Image.new("RGBA", (2, 1), (0, 0, 0, 255))
    data = written(image)
    assert opaque_mask(data, WHITE) == data


def test_what_is_broken_or_too_large_is_refused() -> None:
    """Before anything is made of it."""
    whole = mask("RGBA")
    head = (
        (2 * MOST_PIXELS).to_bytes(4, "big")
        + (1).to_bytes(4, "big")
        + b"\x08\x06\0\0\0"
    )
    check = zlib.crc32(b"IHDR" + head).to_bytes(4, "big")
    large = whole[:16] + head + check + whole[33:]
    broken = (whole[:cut] for cut in range(whole.index(b"IDAT") + 8))
    for data in (b"", b"GIF89a", large, *broken):
        with pytest.raises(MaskUnreadable):
            opaque_mask(data, BLACK)

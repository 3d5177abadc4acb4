"""What bytes are, whatever they are called."""

import io

from PIL import Image
from tests.support.cases import each

from posthouse.wire.pictures import has_transparency, picture_type


def made(form: str, mode: str = "RGB") -> bytes:
    held = io.BytesIO()
    Image.new(mode, (4, 4)).save(held, form)
    return held.getvalue()


@each(
    ("form", "kind"),
    [
        ("PNG", "image/png"),
        ("JPEG", "image/jpeg"),
        ("WEBP", "image/webp"),
        ("GIF", "image/gif"),
        ("BMP", "image/bmp"),
        ("TIFF", "image/tiff"),
        ("AVIF", "image/avif"),
    ],
)
def test_what_pillow_writes_is_known(form: str, kind: str) -> None:
    assert picture_type(made(form)) == kind


@each(
    "text",
    [
        b"<svg xmlns='http://www.w3.org/2000/svg'/>",
        b"\xef\xbb\xbf<?xml version='1.0'?><svg/>",
        b"<!-- drawn --> <SVG/>",
    ],
)
def test_drawings_are_known(text: bytes) -> None:
    assert picture_type(text) == "image/svg+xml"


@each(
    "data", [b"", b"<html><svg/></html>", b"<?xml?><a/>", b"RIFF0000WAVE", b"%PDF-1.7"]
)
def test_what_is_no_picture_is_none(data: bytes) -> None:
    assert picture_type(data) is None


def test_an_alpha_channel_is_seen() -> None:
    assert has_transparency(made("PNG", "RGBA"))
    assert has_transparency(made("PNG", "LA"))
    held = io.BytesIO()
    Image.new("P", (8, 8)).save(held, "PNG", transparency=0)
    assert has_transparency(held.getvalue())
    assert not has_transparency(made("PNG", "P"))
    assert not has_transparency(held.getvalue()[:33] + bytes(1024))
    assert not has_transparency(made("PNG", "L"))
    assert not has_transparency(made("JPEG"))
    assert not has_transparency(b"\x89PNG\r\n\x1a\n")

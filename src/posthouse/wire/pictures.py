"""What kind of picture some bytes are, by their first ones and by nothing else.

What a server or a caller calls them may be wrong, or a lie.
"""

_MAGIC = (
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"GIF87a", "image/gif"),
    (b"GIF89a", "image/gif"),
    (b"BM", "image/bmp"),
    (b"II*\0", "image/tiff"),
    (b"MM\0*", "image/tiff"),
)
_BRANDS = {b"avif": "image/avif", b"avis": "image/avif", b"heic": "image/heic"}
SVG = "image/svg+xml"
_LOOKED_AT = 1024
EXTENSIONS = {
    "image/png": "png",
    "image/jpeg": "jpg",
    "image/gif": "gif",
    "image/webp": "webp",
    "image/bmp": "bmp",
    "image/tiff": "tiff",
    "image/avif": "avif",
    "image/heic": "heic",
    SVG: "svg",
}
"""By type: what a file's name ends with."""


def picture_type(data: bytes) -> str | None:
    """Name the type of a picture; None if it is none that is known."""
    for magic, kind in _MAGIC:
        if data.startswith(magic):
            return kind
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "image/webp"
    if data[4:8] == b"ftyp":
        return _BRANDS.get(data[8:12])
    return SVG if _is_svg(data[:_LOOKED_AT]) else None


def _is_svg(beginning: bytes) -> bool:
    text = beginning.removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    xml = text.startswith((b"<?xml", b"<!--", b"<!doctype svg"))
    return text.startswith(b"<svg") or (xml and b"<svg" in text)


_WITH_ALPHA = (4, 6)
_COLOUR_TYPE = 25
_FIRST_CHUNK = 33
"""Behind the signature and the header of a PNG file."""
_MOST_CHUNKS = 64
"""That are looked at."""


def has_transparency(data: bytes) -> bool:
    """Whether a picture is a PNG file with an alpha channel or colours with alpha."""
    if picture_type(data) != "image/png" or len(data) <= _COLOUR_TYPE:
        return False
    if data[_COLOUR_TYPE] in _WITH_ALPHA:
        return True
    place = _FIRST_CHUNK
    for _ in range(_MOST_CHUNKS):
        name = data[place + 4 : place + 8]
        if name in (b"tRNS", b"IDAT", b""):
            return name == b"tRNS"
        place += 12 + int.from_bytes(data[place : place + 4], "big")
    return False

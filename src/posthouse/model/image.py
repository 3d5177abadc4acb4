"""Pictures asked for and made: the neutral form of the image dialects.

Rules. A picture that was made stays as it came, a URL or base64 to the letter: who
wants the other form is served when the reply is delivered. What stands beside and has
no counterpart in another dialect is in `extras`, by the caller's names, for dialects
that have a member of the very name.
"""

from typing import Any

from msgspec import Raw, Struct

from posthouse.model.call import Operation


class Picture(Struct, frozen=True, omit_defaults=True):
    """A picture that the caller gives: its bytes, or where it is."""

    data: bytes | None = None
    """The file itself."""
    url: str | None = None
    """An address, or a `data:` URL."""
    file_id: str | None = None
    """A file that the provider keeps."""
    media_type: str | None = None
    filename: str | None = None


class ImageRequest(Struct, frozen=True, omit_defaults=True, kw_only=True):
    """What a caller asks."""

    dialect: str
    """What it was read from."""
    operation: Operation
    """IMAGE, IMAGE_EDIT or IMAGE_VARIATION."""
    prompt: str = ""
    images: tuple[Picture, ...] = ()
    mask: Picture | None = None
    """Where the first picture may change: where this one is transparent."""
    count: int = 1
    size: str | None = None
    """`1024x1536` in pixels, `auto`, or a word of the caller's dialect."""
    quality: str | None = None
    style: str | None = None
    background: str | None = None
    output_format: str | None = None
    """`png`, `jpeg` or `webp`."""
    compression: int | None = None
    """Of 100, for formats that have it."""
    wants_base64: bool | None = None
    """What the pictures shall be given as; False is a URL, None is not said."""
    user: str | None = None
    """The end user."""
    extras: dict[str, Any] = {}
    """What else the caller said, by name."""

    @property
    def pixels(self) -> tuple[int, int] | None:
        """Width and height, if the size says them."""
        return pixels_of(self.size)


class MadePicture(Struct, frozen=True, omit_defaults=True, kw_only=True):
    """A picture that a model made."""

    url: str | None = None
    base64: Raw | None = None
    """The bytes in base64, as a JSON string."""
    prompt: str | None = None
    """What the model made of the prompt."""


class ImageReply(Struct, frozen=True, omit_defaults=True, kw_only=True):
    """What a model answered."""

    pictures: tuple[MadePicture, ...]
    created: int | None = None
    """Unix seconds."""
    usage: Raw | None = None
    """Tokens, as OpenAI's image replies tell them."""
    extras: dict[str, Any] = {}
    """What an OpenAI reply says of its pictures, by name: `size`, `quality` …"""


def pixels_of(size: str | None) -> tuple[int, int] | None:
    """Read `1024x1536` as width and height; None for anything else."""
    width, _, height = (size or "").lower().replace("*", "x").partition("x")
    short = 0 < len(width) <= 5 and 0 < len(height) <= 5
    if not (short and width.isdecimal() and height.isdecimal()):
        return None
    found = int(width), int(height)
    return found if all(found) else None

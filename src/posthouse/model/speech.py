"""Speech asked for and made: the neutral form of the dialects of speech.

What stands beside and has no counterpart in another dialect is in `extras`, by the
caller's names, for dialects that have a member of the very name.
"""

from typing import Any

from msgspec import Struct

from posthouse.model.usage import ReportedUsage

KIND = "speech"
"""What codecs of speech are called."""


class SpeechRequest(Struct, frozen=True, omit_defaults=True, kw_only=True):
    """What a caller asks."""

    text: str
    voice: str | None = None
    """Its name or id at the provider."""
    sound: str = "mp3"
    """`mp3`, `opus`, `aac`, `flac`, `wav` or `pcm` (24 kHz, 16 bits, one channel)."""
    speed: float | None = None
    """1 is usual."""
    instructions: str | None = None
    """How it is to be said."""
    extras: dict[str, Any] = {}
    """What else the caller said, by name."""


class SpeechReply(Struct, frozen=True, kw_only=True):
    """What a model has said."""

    sound: bytes
    content_type: bytes
    usage: ReportedUsage | None = None

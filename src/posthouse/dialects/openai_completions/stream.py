"""A completion stream's chunks: the text stands in the choice itself."""

from typing import Any

from msgspec import Struct

from posthouse.wire import json


class _Choice(Struct, gc=False):
    text: Any = None
    index: Any = 0
    finish_reason: Any = None
    usage: Any = None

    def read(self) -> tuple[str, bool]:
        """Give the text that it carries, and whether it is any of the answer."""
        text = self.text
        return (text, True) if text and isinstance(text, str) else ("", False)


class Chunk(Struct, gc=False):
    """One frame of the stream, as far as it is acted on."""

    choices: list[_Choice] | None = None
    usage: Any = None
    error: Any = None
    service_tier: Any = None


CHUNK = json.decoder(Chunk)

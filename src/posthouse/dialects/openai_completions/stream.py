"""A completion stream's chunks: the text stands in the choice itself."""

from msgspec import UNSET, Raw, Struct, UnsetType

from posthouse.dialects.openai.replies import UsageObject
from posthouse.dialects.openai.stream import ChoiceReading
from posthouse.wire import json


class _Choice(Struct):
    text: str | None = None
    index: int = 0
    finish_reason: str | None = None

    def read(self) -> ChoiceReading:
        """Tell what the choice carries."""
        text = self.text or ""
        return ChoiceReading(text, bool(text))


class Chunk(Struct):
    """One frame of the stream, as far as it is acted on."""

    choices: list[_Choice] = []
    usage: UsageObject | None = None
    error: Raw | UnsetType = UNSET
    service_tier: Raw | UnsetType = UNSET


CHUNK = json.decoder(Chunk)

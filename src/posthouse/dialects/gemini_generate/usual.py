"""The frame that nearly all of a stream consists of: one more piece of text.

It is read by types, which costs a third of reading it leniently. A frame with
anything else in it is none, and is read as `decoder` reads all others.
"""

from msgspec import Raw, Struct, field

from posthouse.model.chat import Extras
from posthouse.model.usage import ReportedUsage
from posthouse.wire import json

_ABSENT = Raw()


class _Part(Struct, forbid_unknown_fields=True, gc=False):
    text: str


class _Content(Struct, forbid_unknown_fields=True, gc=False):
    parts: tuple[_Part]
    role: str = ""


class _Candidate(Struct, forbid_unknown_fields=True, gc=False):
    content: _Content
    index: int = 0


class _Usage(Struct, forbid_unknown_fields=True, gc=False, rename="camel"):
    prompt_token_count: int
    candidates_token_count: int = 0
    total_token_count: int = 0
    thoughts_token_count: int | None = None
    cached_content_token_count: int | None = None
    prompt_tokens_details: Raw = _ABSENT


class _Frame(Struct, forbid_unknown_fields=True, gc=False):
    candidates: tuple[_Candidate]
    usage: _Usage = field(name="usageMetadata")
    model: str = field(default="", name="modelVersion")
    id: str = field(default="", name="responseId")


_frame = json.decoder(_Frame)


class Piece(Struct, frozen=True, gc=False):
    """What such a frame has said."""

    choice: int
    text: str
    usage: ReportedUsage


class UsualFrames:
    """Reads such frames of one stream, of which one was read leniently before."""

    __slots__ = ("_details", "_usage", "extras")

    def __init__(self) -> None:
        """Begin before the first frame."""
        self._details: Raw | None = None
        """Of the prompt by modality, which is the same on every frame."""
        self._usage = ReportedUsage()
        self.extras: Extras = {}

    def learn(self, data: bytes, usage: ReportedUsage | None, extras: Extras) -> None:
        """Keep what a frame's usage was read as, if it was a usual one."""
        try:
            frame: _Frame = _frame.decode(data)
        except json.DECODE_ERRORS:
            return
        if usage is not None:
            self._details = frame.usage.prompt_tokens_details
            self._usage = usage
            self.extras = extras

    def read(self, data: bytes) -> Piece | None:
        """Read a frame; None if it is not a usual one."""
        if self._details is None:
            return None
        try:
            frame: _Frame = _frame.decode(data)
        except json.DECODE_ERRORS:
            return None
        counts = frame.usage
        if counts.prompt_tokens_details != self._details:
            return None
        candidate = frame.candidates[0]
        thoughts = counts.thoughts_token_count
        known = self._usage
        if not (counts.candidates_token_count or thoughts):
            return None
        return Piece(
            candidate.index,
            candidate.content.parts[0].text,
            ReportedUsage(
                counts.prompt_token_count,
                counts.candidates_token_count + (thoughts or 0),
                counts.cached_content_token_count,
                None,
                None,
                known.audio_input,
                known.image_input,
                thoughts,
            ),
        )

"""A stream whose client and provider both speak this dialect.

Frames pass untouched, but for the model's name. From the finish reason on the
newest one is held back, for it may be the last.
"""

from typing import ClassVar

from typing_extensions import override

from posthouse.dialects.base import TappedFrame
from posthouse.dialects.gemini_generate.decoder import GeminiDecoder
from posthouse.dialects.gemini_generate.write_reply import content_of
from posthouse.dialects.google.errors import error_frame
from posthouse.dialects.google.framing import event
from posthouse.dialects.neutral.passing import PassingTap
from posthouse.dialects.openai.errors import error_code
from posthouse.errors import PosthouseError
from posthouse.wire import json
from posthouse.wire.json import MalformedJSON

MOST_CUT_OFF = 128
"""Choices that are told of an end before their end."""

_NAMES = ("modelVersion", "model_version")
_HELD_BACK = TappedFrame(b"")


class GeminiTap(PassingTap):
    """Reads one stream along."""

    __slots__ = ("_choices", "_public_model", "_reading")

    ends_by_closing: ClassVar[bool] = True

    def __init__(self, choices: int, public_model: str | None) -> None:
        """Start before the first frame.

        Args:
            choices: how many answers were asked for.
            public_model: replaces the model's name where it is not None.
        """
        reading = GeminiDecoder(passing=True)
        super().__init__(reading, choices)
        self._reading = reading
        self._choices = choices
        self._public_model = public_model

    @override
    def feed(self, raw: bytes, data: bytes) -> TappedFrame:
        tapped = super().feed(raw, data)
        if self.finished or not self._reading.finished(self._choices):
            return tapped
        self.finished = True
        self._held = tapped
        return _HELD_BACK

    @override
    def renamed(self, raw: bytes, data: bytes) -> bytes:
        if self._public_model is None or not data:
            return raw
        renamed = with_public_model(data, self._public_model)
        return raw if renamed == data else event(renamed)

    @override
    def error_frame(self, error: PosthouseError) -> bytes:
        return error_frame(error)

    @override
    def cut_off_frames(self, error: PosthouseError) -> tuple[bytes, bytes]:
        frame = {
            "candidates": [
                {
                    "content": content_of([]),
                    "finishReason": "MAX_TOKENS",
                    "finishMessage": error.message,
                    "index": choice,
                }
                for choice in range(min(self._choices, MOST_CUT_OFF))
            ],
            "posthouse": {"code": error_code(error), "message": error.message},
        }
        return b"", event(json.encode(frame))


def with_public_model(body: bytes, model: str) -> bytes:
    """Replace the model's name in a reply or a frame that carries one."""
    try:
        envelope = json.decode_envelope(body)
    except MalformedJSON:
        return _renamed_leniently(body, model)
    names = [name for name in _NAMES if name in envelope]
    if not names:
        return body
    for name in names:
        envelope[name] = json.raw(model)
    return json.encode(envelope)


def _renamed_leniently(body: bytes, model: str) -> bytes:
    """Do the same for what only the lenient parser reads."""
    try:
        value = json.decode_leniently(body)
    except MalformedJSON:
        return body
    if not isinstance(value, dict):
        return body
    changed = {name: model for name in _NAMES if name in value}
    return json.encode_leniently({**value, **changed}) if changed else body

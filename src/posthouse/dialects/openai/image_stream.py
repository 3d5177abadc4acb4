"""A stream of pictures, read along event by event.

Source: OpenAI's API description, `ImageGenStreamEvent` and `ImageEditStreamEvent`
(openapi, 2026-08), and Volcengine Ark's, whose events bring one picture each and end
with one that brings the usage. Events pass untouched. The stream ends with the event
that completes the last picture, or with `[DONE]`.
"""

from typing import Any

from typing_extensions import override

from posthouse.dialects.base import ParsedRequest, TappedFrame
from posthouse.dialects.openai.event_tap import EventTap, StreamEvent
from posthouse.dialects.openai.image_reply import image_usage, told_tier
from posthouse.dialects.openai.image_request import PARTIAL_TOKENS
from posthouse.dialects.openai.replies import with_model
from posthouse.model.usage import ReportedUsage
from posthouse.wire import json
from posthouse.wire.sse import FrameTooLarge, SSEDecoder, event_name, with_data

LARGEST_EVENT = 48 * 1024 * 1024
"""Bytes: the largest pictures have 20 MB and more, as base64 a third more again."""
_BYTES_PER_TOKEN = 3
"""What holds take output tokens for, in bytes of text."""
_PARTIAL = "partial_image"
_SUCCEEDED = "partial_succeeded"
_COMPLETED = "completed"


_PARTIAL_FAILED = "partial_failed"


class _Event(StreamEvent, gc=False):
    size: Any = None
    quality: Any = None
    model: Any = None


class ImageFrames(SSEDecoder):
    """Cuts a stream whose events may be large."""

    __slots__ = ()

    @override
    def _check_size(self) -> None:
        if len(self._rest) > LARGEST_EVENT:
            raise FrameTooLarge


class ImageStreamTap(EventTap[_Event]):
    """Reads one stream along."""

    decoder = json.decoder(_Event)
    __slots__ = (
        "_completed",
        "_grouped",
        "_made",
        "_partial",
        "_public_model",
        "_request",
        "_told",
        "finished",
        "output_bytes",
        "service_tier",
        "usage",
    )

    def __init__(self, request: ParsedRequest, public_model: str | None) -> None:
        """Start before the first event.

        Args:
            request: the call that the stream answers.
            public_model: replaces the model's name where it is not None.
        """
        self.usage: ReportedUsage | None = None
        self.service_tier: str | None = request.service_tier
        self.finished = False
        self.output_bytes = 0
        """What partial pictures cost, as bytes of text would cost it."""
        self._request = request
        self._public_model = public_model
        self._completed = 0
        """Pictures that are whole."""
        self._grouped = False
        """The last event brings no picture, but tells that all have come."""
        self._made = 0
        self._told: Any = None
        self._partial = 0

    @override
    def is_error(self, event: _Event, raw: bytes) -> bool:
        return bool(event.error) and _stage(event, raw) != _PARTIAL_FAILED

    @override
    def take(self, event: _Event, raw: bytes, data: bytes) -> TappedFrame:
        stage = _stage(event, raw)
        if self._public_model is not None and event.model is not None:
            raw = with_data(raw, with_model(data, self._public_model))
        return self._judge(stage, event, raw)

    def _judge(self, stage: str, event: _Event, raw: bytes) -> TappedFrame:
        if stage == _PARTIAL:
            self._tell_partial()
            return TappedFrame(raw, content=True)
        if stage == _SUCCEEDED:
            self._grouped = True
            self._made += 1
            self.service_tier = told_tier(self._request, event.size, event.quality)
            self.usage = image_usage(self._told, self._made)
            return TappedFrame(raw, content=True)
        if stage != _COMPLETED:
            return TappedFrame(raw)
        if not self._grouped:
            self._made += 1
            self.service_tier = told_tier(self._request, event.size, event.quality)
        self._completed += 1
        self._told = event.usage or self._told
        self.usage = image_usage(self._told, max(self._made, 1))
        self.finished = self._grouped or self._completed >= self._request.choices
        return TappedFrame(raw, content=True, terminal=self.finished)

    def _tell_partial(self) -> None:
        """Count what a partial picture has cost, should nothing follow it."""
        self._partial += 1
        self.output_bytes += PARTIAL_TOKENS * _BYTES_PER_TOKEN
        if self._told is None:
            tokens = PARTIAL_TOKENS * self._partial
            counted = {"image": self._made}
            self.usage = ReportedUsage(
                output=tokens, image_output=tokens, counted=counted
            )

    @override
    def output_text(self) -> str:
        return ""

    @override
    def compact(self) -> None:
        """Nothing is kept."""

    @override
    def close(self) -> TappedFrame | None:
        # Fewer pictures than were asked for are what there is.
        return TappedFrame(b"", terminal=True) if self._completed else None


def _stage(event: _Event, raw: bytes) -> str:
    """How far an event says that a picture is."""
    kind = str(event.type or event_name(raw).decode(errors="replace"))
    return kind.rpartition(".")[2]

"""A stream of the text of speech, read along event by event.

Source: OpenAI's API description, `CreateTranscriptionResponseStreamEvent` (openapi,
2026-08). Events pass untouched. The stream ends with `transcript.text.done`, which has
the whole text and the usage, or with `[DONE]`.
"""

from typing import Any

from typing_extensions import override

from posthouse.dialects.base import ParsedRequest, TappedFrame
from posthouse.dialects.neutral.kept_text import KeepsText
from posthouse.dialects.openai.event_tap import EventTap, StreamEvent
from posthouse.dialects.openai.transcript_reply import transcript_usage
from posthouse.model.usage import ReportedUsage
from posthouse.wire import json


class _Event(StreamEvent, gc=False):
    delta: Any = None
    text: Any = None


class TranscriptStreamTap(EventTap[_Event], KeepsText):
    """Reads one stream along."""

    decoder = json.decoder(_Event)
    __slots__ = ("_request", "finished", "service_tier", "usage")

    def __init__(self, request: ParsedRequest) -> None:
        """Start before the first event of what answers `request`."""
        super().__init__()
        self.usage: ReportedUsage | None = transcript_usage(request)
        self.service_tier: str | None = None
        self.finished = False
        self._request = request

    @override
    def take(self, event: _Event, raw: bytes, data: bytes) -> TappedFrame:
        if event.type == "transcript.text.done":
            return self._finish(raw, event)
        said = event.delta if event.type == "transcript.text.delta" else event.text
        if not isinstance(said, str):
            return TappedFrame(raw)
        self._add(said)
        return TappedFrame(raw, content=True)

    def _finish(self, raw: bytes, event: _Event) -> TappedFrame:
        if not self.output_bytes and isinstance(event.text, str):
            self._add(event.text)
        self.usage = transcript_usage(self._request, event.usage)
        self.finished = True
        return TappedFrame(raw, content=True, terminal=True)

    def _add(self, said: str) -> None:
        self._texts.append(said)
        self.output_bytes += len(said.encode(errors="replace"))

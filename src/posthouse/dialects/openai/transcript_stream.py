"""A stream of the text of speech, read along event by event.

Source: OpenAI's API description, `CreateTranscriptionResponseStreamEvent` (openapi,
2026-08). Events pass untouched. The stream ends with `transcript.text.done`, which has
the whole text and the usage, or with `[DONE]`.
"""

from typing import Any

from msgspec import Struct
from typing_extensions import override

from posthouse.dialects.base import ParsedRequest, TappedFrame
from posthouse.dialects.neutral.kept_text import KeepsText
from posthouse.dialects.openai.errors import error_frame, fault_in
from posthouse.dialects.openai.transcript_reply import transcript_usage
from posthouse.errors import PosthouseError, UpstreamBadResponse
from posthouse.model.usage import ReportedUsage
from posthouse.wire import json
from posthouse.wire.json import MalformedJSON
from posthouse.wire.sse import event_name


class _Event(Struct, gc=False):
    type: Any = None
    delta: Any = None
    text: Any = None
    usage: Any = None
    error: Any = None


_event = json.decoder(_Event)


class TranscriptStreamTap(KeepsText):
    """Reads one stream along."""

    __slots__ = ("_request", "finished", "service_tier", "usage")

    def __init__(self, request: ParsedRequest) -> None:
        """Start before the first event of what answers `request`."""
        super().__init__()
        self.usage: ReportedUsage | None = transcript_usage(request)
        self.service_tier: str | None = None
        self.finished = False
        self._request = request

    @override
    def feed(self, raw: bytes, data: bytes) -> TappedFrame:
        if not data:
            return TappedFrame(raw)
        if data.startswith(b"[DONE]"):
            return TappedFrame(raw, terminal=True)
        try:
            event: _Event = json.decode_with(_event, data)
        except MalformedJSON:
            raise UpstreamBadResponse from None
        if event.error or event.type == "error":
            self._refuse(raw, data)
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

    def _refuse(self, raw: bytes, data: bytes) -> None:
        """Raise UpstreamFault for an event that tells of an error."""
        value = json.decode_leniently(data)
        told = event_name(raw) == b"error" or value.get("type") == "error"
        fault = fault_in(value, told=told)
        if fault is not None:
            raise fault

    @override
    def close(self) -> TappedFrame | None:
        return None

    @override
    def error_frame(self, error: PosthouseError) -> bytes:
        return error_frame(error)

    @override
    def cut_off_frames(self, error: PosthouseError) -> tuple[bytes, bytes]:
        return error_frame(error), b""

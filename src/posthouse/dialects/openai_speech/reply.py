"""Speech, read along: how long it lasts, what it has cost.

Source: OpenAI's API description, `CreateSpeechRequest` and
`CreateSpeechResponseStreamEvent` (openapi, 2026-08). Rules: sound passes as it comes,
and what passes is measured for prices by the token; what is no sound is an error,
whatever its status says; nothing at all is one, too.
"""

import base64
from binascii import Error as BadBase64
from typing import Any

from typing_extensions import override

from posthouse.dialects.base import (
    Answer,
    Headers,
    ParsedReply,
    ParsedRequest,
    TappedFrame,
)
from posthouse.dialects.neutral.raw_stream import RawTap
from posthouse.dialects.openai.errors import fault_in
from posthouse.dialects.openai.event_tap import EventTap, StreamEvent
from posthouse.dialects.openai_speech.request import (
    PCM_RATE,
    TOKENS_PER_SECOND,
    response_format,
    wants_events,
)
from posthouse.errors import UpstreamBadResponse, UpstreamFault
from posthouse.model.usage import ReportedUsage
from posthouse.wire import json
from posthouse.wire.audio.measure import SpeechMeter
from posthouse.wire.json import MalformedJSON

CONTENT_TYPES = {
    "mp3": b"audio/mpeg",
    "opus": b"audio/opus",
    "aac": b"audio/aac",
    "flac": b"audio/flac",
    "wav": b"audio/wav",
    "pcm": b"audio/pcm",
}
EVENT_STREAM = b"text/event-stream"
HELD_BACK = 64
"""Bytes of the end that wait for the settlement: no sound is whole without them."""
PIECE = 32 * 1024
"""Bytes of sound in one event, where whole sound is cut into events."""
_BYTES_PER_TOKEN = 3
"""What holds take output tokens for, in bytes of text."""
_LEAST_TEXT = 4
"""Bytes of text for a token of a prompt that nobody has counted."""
_ERROR = (b'{"', b"{\n", b"<!doc", b"<html")
"""What error pages and objects begin with, and no sound that has a head."""


def usage_of(seconds: int) -> ReportedUsage:
    """What so much sound has cost, where nobody tells it."""
    tokens = TOKENS_PER_SECOND * seconds
    return ReportedUsage(output=tokens, audio_output=tokens, estimated=True)


def meter_for(request: ParsedRequest) -> SpeechMeter:
    """Make what measures the sound that was asked for."""
    return SpeechMeter(PCM_RATE if response_format(request) == "pcm" else 0)


def content_type_of(request: ParsedRequest, told: bytes) -> bytes:
    """Say what the sound is: as the provider says, else as it was asked for."""
    if told.startswith(b"audio/"):
        return told
    return CONTENT_TYPES.get(response_format(request), b"application/octet-stream")


def is_sound(kind: bytes) -> bool:
    """Whether a reply of this type may be sound."""
    name = kind.partition(b";")[0].strip().lower()
    return not name.startswith((b"text/", b"application/json", b"application/problem"))


class SoundTap(RawTap):
    """Reads sound along; see `RawTap`."""

    def __init__(self, request: ParsedRequest, content_type: bytes) -> None:
        """Begin sound of this type."""
        super().__init__(content_type)
        self._request = request
        self._meter = meter_for(request)
        self._seconds = 0
        self._begun = False

    @override
    def produced(self, data: bytes) -> None:
        if not self._begun:
            self._begun = True
            _refuse_error(self._request, data)
        self._meter.feed(data)
        seconds = self._meter.whole_seconds()
        if seconds != self._seconds:
            self._seconds = seconds
            self.usage = usage_of(seconds)
            self.output_bytes = TOKENS_PER_SECOND * seconds * _BYTES_PER_TOKEN

    @override
    def feed(self, raw: bytes, data: bytes) -> TappedFrame:
        self.produced(data)
        sound = self._held + raw
        self._held = sound[-HELD_BACK:]
        before = sound[:-HELD_BACK]
        return TappedFrame(before, content=bool(before))


def _refuse_error(request: ParsedRequest, data: bytes) -> None:
    """Raise UpstreamFault if what should be sound begins like an error.

    Bare samples may begin with any byte: there it must be one to the end.
    """
    if not data[:5].lower().startswith(_ERROR):
        return
    if response_format(request) != "pcm" or data.rstrip().endswith((b"}", b">")):
        raise fault_of(data)


def fault_of(body: bytes) -> UpstreamFault:
    """What is wrong with a reply that is no sound."""
    try:
        return fault_in(json.decode_leniently(body)) or UpstreamBadResponse()
    except MalformedJSON:
        return UpstreamBadResponse()


# --- events -----------------------------------------------------------------------


class _Event(StreamEvent, gc=False):
    audio: Any = None


class SoundEventTap(EventTap[_Event]):
    """Reads a stream of events along, which have the sound in base64."""

    decoder = json.decoder(_Event)

    def __init__(self, request: ParsedRequest) -> None:
        """Start before the first event of what answers `request`."""
        self.usage: ReportedUsage | None = None
        self.service_tier: str | None = None
        self.finished = False
        self.output_bytes = 0
        """What the sound costs, as bytes of text would cost it."""
        self.each: tuple[ReportedUsage | None, ...] = ()
        self.stream_headers: Headers | None = None
        self._meter = meter_for(request)

    @override
    def take(self, event: _Event, raw: bytes, data: bytes) -> TappedFrame:
        if event.type == "speech.audio.done":
            told = told_usage(event.usage)
            self.usage = told or usage_of(self._meter.whole_seconds())
            self.finished = True
            return TappedFrame(raw, terminal=True)
        if not isinstance(event.audio, str):
            return TappedFrame(raw)
        self._hear(event.audio)
        return TappedFrame(raw, content=True)

    def _hear(self, audio: str) -> None:
        try:
            self._meter.feed(base64.b64decode(audio))
        except (BadBase64, ValueError):
            raise UpstreamBadResponse from None
        seconds = self._meter.whole_seconds()
        self.usage = usage_of(seconds)
        self.output_bytes = TOKENS_PER_SECOND * seconds * _BYTES_PER_TOKEN

    @override
    def output_text(self) -> str:
        return ""

    @override
    def compact(self) -> None:
        """Nothing is kept."""


def told_usage(usage: Any) -> ReportedUsage | None:
    """Read the usage of the last event; None where it tells none.

    All that a voice makes is sound.
    """
    if not isinstance(usage, dict):
        return None
    sent, made = (usage.get(name) for name in ("input_tokens", "output_tokens"))
    if type(sent) is not int or type(made) is not int:
        return None
    return ReportedUsage(input=sent, output=made, audio_output=made)


# --- whole sound ------------------------------------------------------------------


def parse_answer(request: ParsedRequest, answer: Answer) -> ParsedReply:
    """Read sound that came in one piece; raises UpstreamFault."""
    kind = answer.header(b"content-type") or b""
    body = answer.body
    if not body or not is_sound(kind):
        raise fault_of(body)
    _refuse_error(request, body)
    meter = meter_for(request)
    meter.feed(body)
    usage = usage_of(meter.whole_seconds())
    content_type = content_type_of(request, kind)
    if wants_events(request):
        body, content_type = _as_events(request, body, usage), EVENT_STREAM
    return ParsedReply(
        body=body,
        usage=usage,
        service_tier=None,
        output_text=str,
        content_type=content_type,
    )


def _as_events(request: ParsedRequest, sound: bytes, usage: ReportedUsage) -> bytes:
    """Write sound as the events of a stream, for a provider that has none."""
    text, made = request.prompt.text_bytes // _LEAST_TEXT, usage.output or 0
    events: list[dict[str, Any]] = [
        {
            "type": "speech.audio.delta",
            "audio": base64.b64encode(sound[at : at + PIECE]).decode(),
        }
        for at in range(0, len(sound), PIECE)
    ]
    told = {"input_tokens": text, "output_tokens": made, "total_tokens": text + made}
    events.append({"type": "speech.audio.done", "usage": told})
    return b"".join(b"data: " + json.encode(one) + b"\n\n" for one in events)

"""MiniMax's speech: POST /t2a_v2, asked in by nobody.

Source: https://platform.minimax.io/docs/api-reference/speech-t2a-http (2026-11): sound
comes in JSON, in hexadecimal digits, and the characters that are billed beside it; a
Chinese one counts for two. Errors come with status 200, as the row declares them.
"""

from functools import partial
from typing import Any

from msgspec import Struct
from typing_extensions import override

from posthouse.dialects.base import Edits, ParsedReply, ParsedRequest
from posthouse.dialects.neutral.codec import Losses
from posthouse.dialects.neutral.plain import PlainCodec, Written
from posthouse.dialects.openai import splice
from posthouse.dialects.openai.corrected import CorrectedDialect
from posthouse.dialects.openai.errors import fault_in, parse_error
from posthouse.dialects.openai.upstream_only import UpstreamOnly, refuse_asking
from posthouse.errors import UpstreamBadResponse
from posthouse.model.speech import KIND, SpeechReply, SpeechRequest
from posthouse.model.usage import ReportedUsage, Unit
from posthouse.wire import json
from posthouse.wire.json import MalformedJSON
from posthouse.wire.multipart import Payload

SLOWEST, FASTEST = 0.5, 2.0
PCM_RATE = 24_000
_TYPES = {
    "mp3": b"audio/mpeg",
    "wav": b"audio/wav",
    "flac": b"audio/flac",
    "pcm": b"audio/pcm",
}
_PASSED = ("language_boost", "pronunciation_dict", "voice_modify", "aigc_watermark")
"""Members of its own that a caller may say."""


class _Data(Struct):
    audio: str = ""


class _Told(Struct):
    usage_characters: Any = None


class _Reply(Struct):
    data: _Data | None = None
    extra_info: _Told | None = None


_reply = json.decoder(_Reply)


class MiniMaxSpeech(UpstreamOnly):
    """The dialect's object; see `Dialect` for what each method promises."""

    @override
    def render_request(self, request: ParsedRequest, edits: Edits) -> bytes:
        return splice.render_request(request, edits)

    @override
    def parse_reply(
        self, request: ParsedRequest, body: bytes, public_model: str | None
    ) -> ParsedReply:
        found = _read(body)
        count = None if found.extra_info is None else found.extra_info.usage_characters
        counted = {Unit.CHARACTER.value: count} if type(count) is int else {}
        return ParsedReply(body, ReportedUsage(counted=counted), None, str)


def _read(body: bytes) -> _Reply:
    """Read a reply that has sound; raises UpstreamFault."""
    try:
        found: _Reply = json.decode_with(_reply, body)
    except MalformedJSON:
        found = _Reply()
    if found.data is None or not found.data.audio:
        try:
            raise fault_in(json.decode_leniently(body)) or UpstreamBadResponse
        except MalformedJSON:
            raise UpstreamBadResponse from None
    return found


class MiniMaxSpeechCodec(PlainCodec[SpeechRequest, SpeechReply]):
    """See `PlainCodec` for what each method promises."""

    kind = KIND

    @override
    def read_request(self, request: ParsedRequest) -> SpeechRequest:
        refuse_asking()

    @override
    def write_request(
        self, asked: SpeechRequest, model: str, losses: Losses
    ) -> Written:
        if asked.sound not in _TYPES:
            losses.refuse("response_format", "This model gives MP3, WAV, FLAC and PCM.")
        voice: dict[str, Any] = {"voice_id": asked.voice or ""}
        if asked.speed is not None:
            voice["speed"] = min(max(asked.speed, SLOWEST), FASTEST)
            if voice["speed"] != asked.speed:
                losses.change("speed")
        sound: dict[str, Any] = {"format": asked.sound, "channel": 1}
        if asked.sound == "pcm":
            sound["sample_rate"] = PCM_RATE
        extras = dict(asked.extras)
        for name, setting in (("voice_setting", voice), ("audio_setting", sound)):
            more = extras.pop(name, None)
            if isinstance(more, dict):
                setting.update({**more, **setting})
        if asked.instructions is not None:
            losses.drop("instructions")
        passed = {name: extras.pop(name) for name in _PASSED if name in extras}
        for name in extras:
            losses.drop(name)
        members = {
            "model": model,
            "text": asked.text,
            "stream": False,
            "output_format": "hex",
            "voice_setting": voice,
            "audio_setting": sound,
        }
        return Written({**members, **passed})

    @override
    def read_reply(self, reply: ParsedReply, asked: SpeechRequest) -> SpeechReply:
        data = _read(reply.body).data
        try:
            sound = bytes.fromhex(data.audio if data is not None else "")
        except ValueError:
            raise UpstreamBadResponse from None
        return SpeechReply(
            sound=sound, content_type=_TYPES[asked.sound], usage=reply.usage
        )

    @override
    def write_reply(
        self, answered: SpeechReply, request: ParsedRequest, model: str
    ) -> Payload:
        refuse_asking()


DIALECT = MiniMaxSpeech("minimax_speech", parse_error)
PLAIN_CODEC = MiniMaxSpeechCodec()
corrected = partial(CorrectedDialect, DIALECT)

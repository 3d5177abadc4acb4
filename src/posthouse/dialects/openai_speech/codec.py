"""OpenAI's speech into the neutral form and out."""

from typing import Any

from msgspec import Raw
from typing_extensions import override

from posthouse.dialects.base import Answer, ParsedReply, ParsedRequest
from posthouse.dialects.neutral.codec import Losses
from posthouse.dialects.neutral.plain import PlainCodec, Written
from posthouse.dialects.openai.envelope import judged, optional_text
from posthouse.dialects.openai_speech.reply import parse_answer
from posthouse.dialects.openai_speech.request import response_format
from posthouse.errors import InvalidRequest
from posthouse.model.speech import KIND, SpeechReply, SpeechRequest
from posthouse.wire import json
from posthouse.wire.multipart import Payload

_KNOWN = frozenset(
    {
        *("input", "instructions", "model", "response_format", "speed"),
        *("stream_format", "voice"),
    }
)
_NULL = Raw(b"null")
_any = json.decoder(Any)
_number = json.decoder(float | None)


class OpenAISpeechCodec(PlainCodec[SpeechRequest, SpeechReply]):
    """See `PlainCodec` for what each method promises."""

    kind = KIND

    @override
    def read_request(self, request: ParsedRequest) -> SpeechRequest:
        envelope = request.envelope
        speed = envelope.get("speed")
        return SpeechRequest(
            text=optional_text(envelope, "input") or "",
            voice=_voice(envelope.get("voice")),
            sound=response_format(request),
            speed=None if speed is None else judged(speed, "speed", _number),
            instructions=optional_text(envelope, "instructions"),
            extras={
                name: json.decode_with(_any, value)
                for name, value in envelope.items()
                if name not in _KNOWN and value != _NULL
            },
        )

    @override
    def write_request(
        self, asked: SpeechRequest, model: str, losses: Losses
    ) -> Written:
        members: dict[str, Any] = {
            "model": model,
            "input": asked.text,
            "voice": asked.voice,
            "response_format": asked.sound,
            "speed": asked.speed,
            "instructions": asked.instructions,
        }
        for name in asked.extras:
            losses.drop(name)
        return Written({name: one for name, one in members.items() if one is not None})

    @override
    def read_reply(self, reply: ParsedReply, asked: SpeechRequest) -> SpeechReply:
        return SpeechReply(
            sound=reply.body, content_type=reply.content_type, usage=reply.usage
        )

    @override
    def write_reply(
        self, answered: SpeechReply, request: ParsedRequest, model: str
    ) -> Payload:
        told = Answer(((b"content-type", answered.content_type),), answered.sound)
        written = parse_answer(request, told)
        return Payload(written.content_type, written.body)


def _voice(value: Raw | None) -> str | None:
    """Read a voice's name or id; raises InvalidRequest."""
    found = None if value is None else json.decode_with(_any, value)
    if isinstance(found, dict):
        found = found.get("id")
    if found is None or isinstance(found, str):
        return found
    raise InvalidRequest(
        "'voice' must be a text, or an object with an id",
        param="voice",
        code="invalid_type",
    )

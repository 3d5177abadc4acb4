"""A request for speech, judged.

What a call costs is decided by its text: by the character, or by the tokens of the
text and of the sound. How long the sound will be nobody knows before; holds take it
for as long as slow speech in any language is.
"""

from msgspec import Raw

from posthouse.dialects.base import Edits, ParsedRequest, PromptSize
from posthouse.dialects.openai import splice
from posthouse.dialects.openai.envelope import (
    beginning,
    judged,
    model_name,
    named_models,
    optional_text,
    parse_envelope,
)
from posthouse.dialects.openai.kinds import check_kinds, kinds
from posthouse.errors import InvalidRequest
from posthouse.model.call import Operation
from posthouse.model.usage import Unit
from posthouse.wire import json
from posthouse.wire.json import Envelope
from posthouse.wire.multipart import JSON, Payload

TOKENS_PER_SECOND = 20
"""Of sound that a model makes: one in 50 ms, as OpenAI documents it at
https://developers.openai.com/api/docs/guides/realtime-costs (2026-11-21)."""
TOKENS_PER_BYTE = 2
"""Of sound, for each byte of the text: English has 16 letters in a second, Chinese
four characters of three bytes."""
SLOWEST = 0.25
PCM_RATE = 24_000
"""Samples per second of speech that has no head; 16 bits, one channel."""
DEFAULT_FORMAT = "mp3"
SSE = "sse"
_KINDS = kinds(
    voice="string or object",
    instructions="string",
    response_format="string",
    speed="number",
    stream_format="string",
)
_number = json.decoder(float | None)


def parse_request(body: bytes) -> ParsedRequest:
    """Read a request for speech; raises InvalidRequest."""
    envelope = parse_envelope(body)
    check_kinds(envelope, _KINDS)
    text = optional_text(envelope, "input")
    if not text:
        raise InvalidRequest(
            "Missing required parameter: 'input'",
            param="input",
            code="missing_required_parameter",
        )
    size = len(text.encode(errors="replace"))
    guided = len((optional_text(envelope, "instructions") or "").encode())
    return ParsedRequest(
        operation=Operation.SPEECH,
        envelope=envelope,
        model=model_name(envelope),
        # It is spoken while it is made, whatever the caller says of streams.
        stream=True,
        prompt=PromptSize(text_bytes=size + guided),
        affinity=beginning(envelope["input"]),
        output_limit=int(TOKENS_PER_BYTE * size / _speed(envelope)) + TOKENS_PER_SECOND,
        include_usage=True,
        other_models=named_models(envelope),
        counted={Unit.CHARACTER.value: len(text)},
    )


def _speed(envelope: Envelope) -> float:
    """Read how fast is spoken, as far as it slows down."""
    value: Raw | None = envelope.get("speed")
    speed: float | None = None if value is None else judged(value, "speed", _number)
    return 1.0 if speed is None else min(max(speed, SLOWEST), 1.0)


def render_body(request: ParsedRequest, edits: Edits) -> Payload:
    """Write the request for an upstream, changing only what must change."""
    return Payload(JSON, splice.render_request(request, edits))


def prompt_text(request: ParsedRequest) -> str:
    """What is to be said, and how."""
    texts = (
        optional_text(request.envelope, name) for name in ("instructions", "input")
    )
    return "\n".join(text for text in texts if text)


def response_format(request: ParsedRequest) -> str:
    """Read the format that the sound shall have."""
    return optional_text(request.envelope, "response_format") or DEFAULT_FORMAT


def wants_events(request: ParsedRequest) -> bool:
    """Whether the sound is to come as events of a stream, not as it is."""
    return optional_text(request.envelope, "stream_format") == SSE

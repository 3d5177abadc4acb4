"""Speech: sound in every format, as long as its text is.

Two models, as OpenAI has two kinds: `sandbox-speech` is priced by the character,
`sandbox-speech-tokens` by tokens; both give events if they are asked to. WAV and PCM
have a tone, compressed formats silence.
"""

import base64
from collections.abc import Callable
from typing import Any

from posthouse.providers.sandbox import checks, sound, sound_frames, tokens
from posthouse.providers.sandbox.checks import Body
from posthouse.providers.sandbox.directives import Directives, from_prompt
from posthouse.providers.sandbox.identity import Identity
from posthouse.providers.sandbox.refusal import RequestRefused
from posthouse.providers.sandbox.reply import EVENT_STREAM, Header, Reply
from posthouse.wire import json

LONGEST = 4_096
"""Characters of a text, and of instructions."""
SECONDS_PER_CHARACTER = 0.01
SHORTEST = 0.1
SLOWEST, FASTEST = 0.25, 4.0
TOKENS_PER_SECOND = 20
PARTS = 16
"""Pieces that sound arrives in."""

Maker = Callable[[float], bytes]

FORMATS: dict[str, tuple[Header, Maker]] = {
    "mp3": ((b"content-type", b"audio/mpeg"), sound_frames.mp3),
    "opus": ((b"content-type", b"audio/opus"), sound_frames.opus),
    "aac": ((b"content-type", b"audio/aac"), sound_frames.aac),
    "flac": ((b"content-type", b"audio/flac"), sound_frames.flac),
    "wav": ((b"content-type", b"audio/wav"), lambda s: sound.wav(sound.tone(s))),
    "pcm": ((b"content-type", b"audio/pcm"), sound.tone),
}


def speak(body: Body, directives: Directives, _: Identity) -> Reply:
    """Answer a request for speech; raises RequestRefused."""
    checks.model(body)
    text = _text(body, "input")
    if not text:
        raise checks.missing("input")
    instructions = _text(body, "instructions")
    _check_voice(body)
    form = checks.option(body, "response_format", tuple(FORMATS)) or "mp3"
    shape = checks.option(body, "stream_format", ("audio", "sse")) or "audio"
    speed = checks.number(body, "speed", SLOWEST, FASTEST) or 1.0
    if "content-filter" in directives.behaviours:
        raise RequestRefused(
            "The sandbox was asked to find the text unsafe.",
            code="content_policy_violation",
        )
    said = len(from_prompt(text, Directives())[1])
    if directives.length is not None:
        said = min(directives.length * tokens.TOKEN_CHARACTERS, LONGEST)
    seconds = max(said * SECONDS_PER_CHARACTER / speed, SHORTEST)
    header, make = FORMATS[form]
    pieces = _cut(make(seconds))
    if shape == "audio":
        return Reply(200, (header,), pieces, streamed=True)
    usage = _usage(tokens.count(text) + tokens.count(instructions), seconds)
    return _events(pieces, {} if directives.usage == "no-usage" else {"usage": usage})


def _text(body: Body, name: str) -> str:
    text = checks.string(body, name) or ""
    if len(text) > LONGEST:
        raise RequestRefused(
            f"'{name}' may have at most {LONGEST} characters.",
            code="string_above_max_length",
            param=name,
        )
    return text


def _check_voice(body: Body) -> None:
    voice = body.get("voice")
    if voice is None:
        raise checks.missing("voice")
    if isinstance(voice, dict):
        voice = voice.get("id")
    if not isinstance(voice, str) or not voice:
        raise checks.wrong_type("voice", "a string or an object with an id", voice)


def _cut(data: bytes) -> tuple[bytes, ...]:
    """Cut sound into pieces."""
    size = max(-(-len(data) // PARTS), 1)
    return tuple(data[at : at + size] for at in range(0, len(data), size))


def _usage(sent: int, seconds: float) -> dict[str, int]:
    made = -(-round(seconds * TOKENS_PER_SECOND * 1000) // 1000)
    return {
        "input_tokens": sent,
        "output_tokens": made,
        "total_tokens": sent + made,
    }


def _events(pieces: tuple[bytes, ...], told: dict[str, Any]) -> Reply:
    events: list[dict[str, Any]] = [
        {"type": "speech.audio.delta", "audio": base64.b64encode(piece).decode()}
        for piece in pieces
    ]
    events.append({"type": "speech.audio.done", **told})
    parts = tuple(
        b"event: %b\ndata: %b\n\n" % (one["type"].encode(), json.encode(one))
        for one in events
    )
    headers = (EVENT_STREAM, (b"cache-control", b"no-cache"))
    return Reply(200, headers, parts, streamed=True)

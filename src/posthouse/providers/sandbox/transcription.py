"""The text of speech: what is heard depends on how long the sound lasts.

Two models, as OpenAI has two kinds: `sandbox-transcription` is priced by the second,
`sandbox-transcription-tokens` by tokens. Both know every form of reply, and stream.
"""

from typing import Any

from msgspec import Struct

from posthouse.model.call import Operation
from posthouse.providers.sandbox import checks, tokens
from posthouse.providers.sandbox.checks import Body
from posthouse.providers.sandbox.directives import Directives
from posthouse.providers.sandbox.identity import Identity
from posthouse.providers.sandbox.refusal import RequestRefused
from posthouse.providers.sandbox.reply import EVENT_STREAM, Header, Reply, json_reply
from posthouse.providers.sandbox.subtitles import srt, vtt
from posthouse.wire import json
from posthouse.wire.audio.measure import is_possible, measure, whole_seconds
from posthouse.wire.multipart import Part

BY_TOKENS = "sandbox-transcription-tokens"
FORMATS = ("json", "text", "srt", "verbose_json", "vtt", "diarized_json")
LARGEST = 25 * 1024 * 1024
EXACT = 1024 * 1024
"""Bytes of a sound that are measured, of a longer one: the sandbox shares its process
with everybody's calls."""
SEGMENT = 5.0
"""Seconds of sound in which one sentence is heard."""
MOST_SEGMENTS = 200
TOKENS_PER_SECOND = 10
PLAIN: Header = (b"content-type", b"text/plain; charset=utf-8")

Segment = tuple[float, float, str]


class Heard(Struct, frozen=True):
    """What the sandbox has heard."""

    seconds: float
    segments: tuple[Segment, ...]
    usage: dict[str, Any]

    @property
    def text(self) -> str:
        """All of it."""
        return " ".join(text for _, _, text in self.segments)


def transcribe(body: Body, directives: Directives, _: Identity) -> Reply:
    """Answer a request for the text of speech; raises RequestRefused."""
    return _answer(body, directives, Operation.TRANSCRIPTION)


def translate(body: Body, directives: Directives, _: Identity) -> Reply:
    """Answer a request for the same in English; raises RequestRefused."""
    return _answer(body, directives, Operation.AUDIO_TRANSLATION)


def _answer(body: Body, directives: Directives, operation: Operation) -> Reply:
    model = checks.model(body)
    known = FORMATS if operation is Operation.TRANSCRIPTION else FORMATS[:-1]
    form = checks.option(body, "response_format", known) or "json"
    stream = bool(checks.boolean(body, "stream"))
    seconds = _seconds(_file(body))
    segments = _segments(seconds, directives, operation)
    if "silence" in (checks.string(body, "prompt") or ""):
        segments = ()
    by_tokens = model.partition(":")[0] == BY_TOKENS
    heard = Heard(seconds, segments, _usage(body, seconds, segments, by_tokens))
    told = {} if directives.usage == "no-usage" else {"usage": heard.usage}
    if stream and operation is Operation.TRANSCRIPTION:
        return _streamed(heard, form, told)
    if form in ("json", "verbose_json", "diarized_json"):
        return json_reply(_document(heard, form, operation, body) | told)
    written = {"text": _plain, "srt": srt, "vtt": vtt}[form](heard.segments)
    return Reply(200, (PLAIN,), (written.encode(),))


def _plain(segments: tuple[Segment, ...]) -> str:
    return " ".join(text for _, _, text in segments) + "\n"


def _file(body: Body) -> bytes:
    files = body.get("file")
    if not isinstance(files, list) or not isinstance(files[0], Part):
        raise checks.missing("file")
    data: bytes = files[0].value
    if len(data) > LARGEST:
        raise RequestRefused(
            f"A sound may have at most {LARGEST} bytes.", status=413, param="file"
        )
    return data


def _seconds(data: bytes) -> float:
    seconds = measure(data[:EXACT])
    if seconds is not None and len(data) > EXACT:
        seconds *= len(data) / EXACT
    if seconds is None or not is_possible(seconds, len(data)):
        raise RequestRefused(
            "Audio file might be corrupted or unsupported.",
            code="invalid_value",
            param="file",
        )
    return seconds


def _segments(
    seconds: float, directives: Directives, operation: Operation
) -> tuple[Segment, ...]:
    """Say one sentence for every few seconds."""
    verb = "hears" if operation is Operation.TRANSCRIPTION else "understands"
    count = min(max(round(seconds / SEGMENT), 1), MOST_SEGMENTS)
    texts = [f"The sandbox {verb} {whole_seconds(seconds)} seconds of sound."]
    texts += [f"This is part {number} of {count}." for number in range(2, count + 1)]
    if directives.length is not None:
        texts[0] = tokens.cut("sound " * directives.length, directives.length)
    each = seconds / count
    return tuple(
        (round(at * each, 2), round((at + 1) * each, 2), text)
        for at, text in enumerate(texts)
    )


def _usage(
    body: Body, seconds: float, segments: tuple[Segment, ...], by_tokens: bool
) -> dict[str, Any]:
    if not by_tokens:
        return {"type": "duration", "seconds": whole_seconds(seconds)}
    text = tokens.count(checks.string(body, "prompt") or "")
    heard = -(-round(seconds * TOKENS_PER_SECOND * 1000) // 1000)
    made = tokens.count(_plain(segments))
    return {
        "type": "tokens",
        "input_tokens": text + heard,
        "input_token_details": {"text_tokens": text, "audio_tokens": heard},
        "output_tokens": made,
        "total_tokens": text + heard + made,
    }


def _document(
    heard: Heard, form: str, operation: Operation, body: Body
) -> dict[str, Any]:
    if form == "json":
        return {"text": heard.text}
    translated = operation is Operation.AUDIO_TRANSLATION
    document: dict[str, Any] = {
        "task": "translate" if translated else "transcribe",
        "duration": round(heard.seconds, 2),
        "text": heard.text,
    }
    if form == "diarized_json":
        return document | {"segments": _diarized(heard)}
    document["language"] = "english"
    document["segments"] = [
        {
            "id": number,
            "seek": 0,
            "start": start,
            "end": end,
            "text": " " + text,
            "tokens": list(range(tokens.count(text))),
            "temperature": 0.0,
            "avg_logprob": -0.1,
            "compression_ratio": 1.0,
            "no_speech_prob": 0.01,
        }
        for number, (start, end, text) in enumerate(heard.segments)
    ]
    if body.get("timestamp_granularities[]") == "word":
        document["words"] = [one for part in heard.segments for one in _words(part)]
    return document


def _words(segment: Segment) -> list[dict[str, Any]]:
    start, end, text = segment
    words = text.split()
    each = (end - start) / max(len(words), 1)
    return [
        {
            "word": word,
            "start": round(start + number * each, 2),
            "end": round(start + (number + 1) * each, 2),
        }
        for number, word in enumerate(words)
    ]


def _diarized(heard: Heard) -> list[dict[str, Any]]:
    return [
        {
            "type": "transcript.text.segment",
            "id": f"seg_{number:03}",
            "speaker": "AB"[number % 2],
            "start": start,
            "end": end,
            "text": text,
        }
        for number, (start, end, text) in enumerate(heard.segments)
    ]


def _streamed(heard: Heard, form: str, told: dict[str, Any]) -> Reply:
    events: list[dict[str, Any]] = []
    if form == "diarized_json":
        events += _diarized(heard)
    else:
        events += (
            {"type": "transcript.text.delta", "delta": piece}
            for piece in tokens.split(heard.text)
        )
    if told and heard.usage["type"] == "duration":
        # Streams know tokens alone.
        told = {}
    events.append({"type": "transcript.text.done", "text": heard.text, **told})
    parts = tuple(
        b"event: %b\ndata: %b\n\n" % (one["type"].encode(), json.encode(one))
        for one in events
    )
    headers = (EVENT_STREAM, (b"cache-control", b"no-cache"))
    return Reply(200, headers, parts, streamed=True)

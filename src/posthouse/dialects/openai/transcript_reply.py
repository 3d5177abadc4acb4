"""Replies with the text of speech, read along: what was said, what it has cost.

Source: OpenAI's API description, schemas `CreateTranscriptionResponseJson`,
`…VerboseJson`, `…DiarizedJson`, `CreateTranslationResponse…` and `TranscriptTextUsage…`
(openapi, 2026-08). Rules: a reply in the form that was asked for passes untouched; one
in JSON from a provider that has no other is written as it was asked for; an answer in
one piece becomes the events of a stream for who has asked for a stream.
"""

from math import isfinite
from typing import Any

from msgspec import Struct, structs

from posthouse.dialects.base import Answer, ParsedReply, ParsedRequest
from posthouse.dialects.openai.envelope import optional_text
from posthouse.dialects.openai.errors import fault_in
from posthouse.dialects.openai.replies import reported_usage
from posthouse.dialects.openai.subtitles import Segment, as_srt, as_text, as_vtt
from posthouse.dialects.openai.transcript_request import (
    TOKENS_PER_SECOND,
    response_format,
)
from posthouse.errors import UpstreamBadResponse, UpstreamFault
from posthouse.model.call import Operation
from posthouse.model.usage import ReportedUsage, Unit
from posthouse.wire import json
from posthouse.wire.audio.measure import whole_seconds
from posthouse.wire.json import MalformedJSON
from posthouse.wire.multipart import JSON

EVENT_STREAM = b"text/event-stream; charset=utf-8"
PLAIN = b"text/plain; charset=utf-8"
TEXTS = {"text": PLAIN, "srt": PLAIN, "vtt": b"text/vtt; charset=utf-8"}
"""Forms that are no JSON, and what they are sent as."""
_JSON_FORMS = frozenset({"json", "verbose_json", "diarized_json"})
LONGEST_SOUND = 10**7
"""Seconds; more is no length of anything."""
_SECOND = Unit.SECOND.value


class _Head(Struct, gc=False):
    text: Any = None
    duration: Any = None
    segments: Any = None
    usage: Any = None
    error: Any = None


_head = json.decoder(_Head)


class Transcript(Struct, frozen=True):
    """What a reply in JSON says."""

    text: str
    segments: tuple[Segment, ...]
    usage: ReportedUsage
    body: bytes
    """The JSON itself."""


def read_transcript(request: ParsedRequest, body: bytes) -> Transcript:
    """Read a reply in any form of JSON; raises UpstreamFault."""
    try:
        json.check_utf8(body)
        head: _Head = json.decode_with(_head, body)
    except MalformedJSON:
        raise UpstreamBadResponse from None
    segments = _segments(head.segments)
    text = head.text
    if not isinstance(text, str):
        if head.error or not segments:
            raise _fault(body)
        text = " ".join(one.text.strip() for one in segments)
    usage = transcript_usage(request, head.usage, head.duration)
    return Transcript(text, segments, usage, body)


def _fault(body: bytes) -> UpstreamFault:
    """What is wrong with a reply without a text."""
    try:
        return fault_in(json.decode_leniently(body)) or UpstreamBadResponse()
    except MalformedJSON:
        return UpstreamBadResponse()


def _segments(value: Any) -> tuple[Segment, ...]:
    if not isinstance(value, list):
        return ()
    found = []
    for one in value:
        if not isinstance(one, dict) or not isinstance(one.get("text"), str):
            continue
        start, end = _seconds(one.get("start")), _seconds(one.get("end"))
        if start is not None and end is not None:
            found.append(Segment(start, end, one["text"]))
    return tuple(found)


def _seconds(value: Any) -> float | None:
    """Read a number of seconds; some write it as a text."""
    try:
        seconds = float(value) if not isinstance(value, bool) else -1.0
    except (TypeError, ValueError, OverflowError):
        return None
    return seconds if isfinite(seconds) and 0 <= seconds <= LONGEST_SOUND else None


# --- usage ------------------------------------------------------------------------


def transcript_usage(
    request: ParsedRequest, usage: Any = None, duration: Any = None
) -> ReportedUsage:
    """Read what a reply says of its usage.

    Where it tells no tokens they are what the sound comes to by `TOKENS_PER_SECOND`,
    for prices that are by the token.

    Args:
        request: what was asked.
        usage: the member of that name.
        duration: the member of that name: how long the sound is.
    """
    told = usage if isinstance(usage, dict) else {}
    # Mistral has both, under names of its own.
    seconds = _seconds(told.get("seconds", told.get("prompt_audio_seconds", duration)))
    counted = {} if seconds is None else {_SECOND: whole_seconds(seconds)}
    if "prompt_tokens" in told:
        return structs.replace(reported_usage(told) or ReportedUsage(), counted=counted)
    if "input_tokens" in told or "output_tokens" in told:
        details = told.get("input_token_details") or told.get("input_tokens_details")
        heard = details.get("audio_tokens") if isinstance(details, dict) else None
        return ReportedUsage(
            input=_whole(told.get("input_tokens")),
            output=_whole(told.get("output_tokens")),
            audio_input=_whole(heard),
            counted=counted,
            odd=any(
                told.get(name) is not None and _whole(told[name]) is None
                for name in ("input_tokens", "output_tokens")
            ),
        )
    lasts = counted.get(_SECOND, 0) or request.counted[_SECOND]
    heard = TOKENS_PER_SECOND * lasts
    return ReportedUsage(
        input=heard + request.prompt.text_bytes // 4,
        audio_input=heard,
        counted=counted,
        estimated=True,
    )


def _whole(value: Any) -> int | None:
    return value if type(value) is int else None


# --- the reply for the client ------------------------------------------------------


def parse_reply(request: ParsedRequest, answer: Answer) -> ParsedReply:
    """Read a whole reply; raises UpstreamFault."""
    form = response_format(request.envelope)
    kind = answer.header(b"content-type") or b""
    body = answer.body
    if _is_json(form, kind, body):
        transcript = read_transcript(request, body)
        if form in TEXTS:
            body = _written(transcript, request, form)
        usage, text = transcript.usage, transcript.text
    else:
        transcript = None
        usage, text = transcript_usage(request), _text_of(kind, body)
    content_type = TEXTS.get(form, PLAIN if transcript is None else JSON)
    if request.stream:
        body = as_stream(request, transcript, text)
        content_type = EVENT_STREAM
    return ParsedReply(
        body=body,
        usage=usage,
        service_tier=None,
        output_text=lambda: text,
        content_type=content_type,
    )


def _is_json(form: str, kind: bytes, body: bytes) -> bool:
    """Whether a reply is JSON, as all are but those that were asked as text."""
    if form in _JSON_FORMS:
        return True
    told = not kind or kind.lower().startswith(JSON)
    return told and body.lstrip()[:1] == b"{"


def _text_of(kind: bytes, body: bytes) -> str:
    """Read a reply that is no JSON; raises UpstreamFault."""
    if not body or kind.lower().startswith(b"text/html"):
        raise UpstreamBadResponse
    if body.lstrip().startswith(b'{"error"'):
        raise _fault(body)
    try:
        return body.decode()
    except UnicodeDecodeError:
        raise UpstreamBadResponse from None


def _written(transcript: Transcript, request: ParsedRequest, form: str) -> bytes:
    """Write a transcript in a form that is no JSON."""
    if form == "text":
        return as_text(transcript.text)
    lasts = transcript.usage.counted.get(_SECOND) or request.counted[_SECOND]
    segments = transcript.segments or (Segment(0.0, lasts, transcript.text),)
    return as_srt(segments) if form == "srt" else as_vtt(segments)


def as_verbose(transcript: Transcript, request: ParsedRequest) -> bytes:
    """Write a transcript without segments as if it had one for the whole sound."""
    translated = request.operation is Operation.AUDIO_TRANSLATION
    lasts = float(request.counted[_SECOND])
    segment = {"id": 0, "start": 0.0, "end": lasts, "text": transcript.text}
    verbose = {
        "task": "translate" if translated else "transcribe",
        "language": optional_text(request.envelope, "language") or "",
        "duration": lasts,
        "segments": [{**segment, **_UNTOLD}],
    }
    return json.encode({**verbose, **json.decode_envelope(transcript.body)})


_UNTOLD = {
    "seek": 0,
    "tokens": [],
    "temperature": 0.0,
    "avg_logprob": 0.0,
    "compression_ratio": 0.0,
    "no_speech_prob": 0.0,
}
"""What clients of segments read unasked."""


def as_stream(
    request: ParsedRequest, transcript: Transcript | None, text: str
) -> bytes:
    """Write a whole reply as the events of a stream."""
    done: dict[str, Any] = {"type": "transcript.text.done", "text": text}
    events: list[dict[str, Any]] = []
    if transcript is not None:
        told = json.decode(transcript.body, dict[str, Any])
        if response_format(request.envelope) == "diarized_json":
            events += (
                {**one, "type": "transcript.text.segment"}
                for one in told.get("segments", ())
                if isinstance(one, dict)
            )
        done |= {name: told[name] for name in ("logprobs", "usage") if told.get(name)}
        if not isinstance(done.get("usage"), dict) or "seconds" in done["usage"]:
            # Its clients know of tokens alone there.
            done.pop("usage", None)
    if text and not events:
        events.append({"type": "transcript.text.delta", "delta": text})
    return b"".join(event(one) for one in (*events, done))


def event(value: dict[str, Any]) -> bytes:
    """Write an event as OpenAI writes those of transcripts."""
    return b"data: " + json.encode(value) + b"\n\n"

"""Transcripts in OpenAI's dialects: forms judged, replies read along."""

import io
import json
import wave
from typing import Any

import pytest
from openai.types.audio import TranscriptionVerbose
from tests.support.cases import each

from posthouse.dialects import (
    openai_audio_translation,
    openai_transcription,
)
from posthouse.dialects.base import Answer, MediaDialect, ParsedRequest, make_edits
from posthouse.errors import (
    InvalidRequest,
    UpstreamBadResponse,
    UpstreamFault,
    UpstreamRejected,
)
from posthouse.model.catalog import Quirks, Replies
from posthouse.model.usage import ReportedUsage
from posthouse.wire.multipart import Form, Part, read_form, render_form

TRANSCRIPTION = openai_transcription.DIALECT
EDITS = make_edits("upstream-name", Quirks())


def wav(seconds: float) -> bytes:
    """So much silence."""
    target = io.BytesIO()
    with wave.open(target, "wb") as file:
        file.setparams((1, 2, 8_000, 0, "NONE", ""))
        file.writeframes(bytes(int(16_000 * seconds)))
    return target.getvalue()


def headers(kind: str) -> list[tuple[bytes, bytes]]:
    return [(b"content-type", kind.encode())]


def event(value: Any) -> bytes:
    return b"data: " + json.dumps(value).encode() + b"\n\n"


# --- requests for transcripts ---------------------------------------------------------


def form_of(*parts: Part) -> tuple[bytes, bytes]:
    payload = render_form(Form(parts), b"boundary")
    return payload.content_type, payload.data


def sound_part(data: bytes, name: str = "file") -> Part:
    return Part(name, data, "talk.wav", b"audio/wav")


def heard(
    data: bytes, dialect: MediaDialect = TRANSCRIPTION, **fields: str
) -> ParsedRequest:
    named = {"model": "whisper-1", **fields}
    parts = [Part(name, value.encode()) for name, value in named.items()]
    return dialect.parse_form(*form_of(*parts, sound_part(data)))


def test_a_transcript_is_counted_by_the_seconds_of_its_sound() -> None:
    request = heard(wav(61.2), prompt="Horses")
    assert request.counted == {"second": 62}
    assert not request.counts_roughly
    assert request.prompt.audio_seconds == 62
    assert request.output_limit == 62 * 8 + 64
    assert not request.stream


def test_sound_that_cannot_be_measured_is_estimated_by_its_size() -> None:
    request = heard(b"#!AMR\n" + bytes(4_000))
    assert request.counted == {"second": 3}
    assert request.counts_roughly


@pytest.mark.parametrize("flag", ["true", "True"])
def test_a_stream_is_asked_for_by_a_word(flag) -> None:
    assert heard(wav(1), stream=flag).stream


def test_a_form_goes_on_part_by_part_but_for_the_model() -> None:
    parts = (
        Part("model", b"whisper-1"),
        Part("timestamp_granularities[]", b"word"),
        Part("timestamp_granularities[]", b"segment"),
        sound_part(wav(0.5)),
        Part("x_new", "é".encode()),
        Part("x_file", b"\0\1", "x.bin", b"application/x"),
    )
    request = TRANSCRIPTION.parse_form(*form_of(*parts))
    written = TRANSCRIPTION.render_body(request, EDITS)
    again = read_form(written.content_type, written.data)
    assert again.parts == (Part("model", b"upstream-name"), *parts[1:])


@each(
    ("parts", "param"),
    [
        ([Part("model", b"m")], "file"),
        ([Part("model", b"m"), Part("file", b"text")], "file"),
        ([Part("model", b"m"), sound_part(b"")], "file"),
        ([Part("model", b"m"), sound_part(b"a"), sound_part(b"b")], "file"),
        ([sound_part(b"a")], "model"),
        ([Part("model", b"m"), Part("model", b"n"), sound_part(b"a")], "model"),
        ([Part("model", b"m"), sound_part(b"a"), sound_part(b"n", "model")], "model"),
        ([Part("model", b"m"), sound_part(b"a"), sound_part(b"n", "Model")], "model"),
        ([Part("model", b"m"), Part("URL", b"https://x"), sound_part(b"a")], "url"),
        ([Part("model", b"m"), Part("file_url", b"x"), sound_part(b"a")], "file_url"),
        ([Part("model", b"m"), Part("stream", b"yes"), sound_part(b"a")], "stream"),
    ],
)
def test_wrong_forms_are_refused(parts, param) -> None:
    with pytest.raises(InvalidRequest) as caught:
        TRANSCRIPTION.parse_form(*form_of(*parts))
    assert caught.value.param == param


def test_json_in_place_of_a_form_is_refused() -> None:
    with pytest.raises(InvalidRequest):
        TRANSCRIPTION.parse_request(b"{}")


def test_sound_that_claims_a_thousand_years_is_refused() -> None:
    claim = b"\0\0\0\x10ftypM4A " + bytes(4) + b"\0\0\0\x74moov\0\0\0\x6cmvhd"
    claim += bytes(12) + (1).to_bytes(4, "big") + (2**31).to_bytes(4, "big")
    with pytest.raises(InvalidRequest) as caught:
        heard(claim + bytes(80))
    assert caught.value.exact_code == "invalid_audio"


# --- transcripts ----------------------------------------------------------------------

VERBOSE = {
    "task": "transcribe",
    "language": "english",
    "duration": "4.8",
    "text": "Fresh <horses> stand ready.",
    "segments": [
        {"id": 0, "start": 0.0, "end": 2.5, "text": " Fresh <horses>"},
        {"id": 1, "start": 2.5, "end": 4.8, "text": "stand --> ready.\n\n"},
    ],
    "x_new": 1.5,
}
TOKENS = {
    "type": "tokens",
    "input_tokens": 58,
    "input_token_details": {"text_tokens": 8, "audio_tokens": 50},
    "output_tokens": 9,
    "total_tokens": 67,
}


def answered(
    request: ParsedRequest,
    body: Any,
    kind: str = "application/json",
    dialect: MediaDialect = TRANSCRIPTION,
):
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return dialect.parse_answer(request, Answer(headers(kind), data), None)


def test_a_transcript_passes_untouched() -> None:
    body = b'{"text": "Hello", "x": 1.10 }'
    reply = answered(heard(wav(5)), body)
    assert reply.body == body
    assert reply.output_text() == "Hello"
    assert reply.usage == ReportedUsage(input=50, audio_input=50, estimated=True)


def test_tokens_are_read() -> None:
    reply = answered(heard(wav(5)), {"text": "Hello", "usage": TOKENS})
    assert reply.usage == ReportedUsage(input=58, output=9, audio_input=50)


@each(
    ("told", "seconds"),
    [
        ({"usage": {"type": "duration", "seconds": 6}}, 6),
        ({"duration": 4.2}, 5),
        ({"duration": "4.2"}, 5),
    ],
)
def test_durations_are_read_however_they_are_told(told, seconds) -> None:
    reply = answered(heard(wav(5)), {"text": "Hello", **told})
    assert reply.usage is not None
    assert reply.usage.counted == {"second": seconds}


@each("absurd", [-1, "soon", 1e300, None, True, [1]])
def test_absurd_durations_are_not_read(absurd) -> None:
    reply = answered(heard(wav(5)), {"text": "Hello", "duration": absurd})
    assert reply.usage is not None
    assert reply.usage.counted == {}


@each("form", ["text", "srt", "vtt"])
def test_texts_pass_untouched(form) -> None:
    body = b"1\n00:00:00,000 --> 00:00:01,000\nHello\n\n"
    reply = answered(heard(wav(5), response_format=form), body, "text/plain")
    assert reply.body == body
    assert reply.content_type.startswith(b"text/")
    assert reply.output_text() == body.decode()


def test_forms_that_nobody_knows_yet_pass_as_they_come() -> None:
    request = heard(wav(5), response_format="lrc")
    reply = answered(request, b"[00:00.00]Hello", "text/x-lrc")
    assert (reply.body, reply.content_type[:10]) == (b"[00:00.00]Hello", b"text/plain")
    body = b'{"lines": [], "text": "Hello"}'
    assert answered(request, body).content_type == b"application/json"


def test_json_is_written_as_the_text_that_was_asked_for() -> None:
    assert answered(heard(wav(5), response_format="text"), VERBOSE).body == (
        b"Fresh <horses> stand ready.\n"
    )
    assert answered(heard(wav(5), response_format="srt"), VERBOSE).body == (
        b"1\n00:00:00,000 --> 00:00:02,500\nFresh <horses>\n\n"
        b"2\n00:00:02,500 --> 00:00:04,800\nstand -> ready.\n\n"
    )
    assert answered(heard(wav(5), response_format="vtt"), VERBOSE).body == (
        b"WEBVTT\n\n00:00:00.000 --> 00:00:02.500\nFresh &lt;horses>\n\n"
        b"00:00:02.500 --> 00:00:04.800\nstand -> ready.\n\n"
    )


def test_a_text_without_segments_is_one_cue() -> None:
    reply = answered(heard(wav(3_725.5), response_format="srt"), {"text": "Long."})
    assert reply.body == b"1\n00:00:00,000 --> 01:02:06,000\nLong.\n\n"


@each(
    ("body", "kind", "fault"),
    [
        (b"", "text/plain", UpstreamBadResponse),
        (b"<html>", "text/html", UpstreamBadResponse),
        (b"\xff\xfe", "text/plain", UpstreamBadResponse),
        (b'{"error":{"message":"m","code":400}}', "text/plain", UpstreamRejected),
        (b'{"error":{"message":"m","code":400}}', "application/json", UpstreamRejected),
        (b'{"other": 1}', "application/json", UpstreamBadResponse),
    ],
)
def test_what_is_no_transcript_is_a_fault(body, kind, fault) -> None:
    with pytest.raises(fault):
        answered(heard(wav(5), response_format="text"), body, kind)


@each("body", [b"", b"[]", b"{", b'{"text": 3}', b'"text"'])
def test_what_is_no_json_is_a_fault(body) -> None:
    with pytest.raises(UpstreamFault):
        answered(heard(wav(5)), body)


def test_a_whole_reply_becomes_a_stream_for_who_wants_one() -> None:
    reply = answered(heard(wav(5), stream="true"), {"text": "Hello", "usage": TOKENS})
    events = [json.loads(line[6:]) for line in reply.body.split(b"\n\n") if line]
    assert events == [
        {"type": "transcript.text.delta", "delta": "Hello"},
        {"type": "transcript.text.done", "text": "Hello", "usage": TOKENS},
    ]
    assert reply.content_type.startswith(b"text/event-stream")


def test_a_stream_is_read_along() -> None:
    request = heard(wav(5), stream="true")
    tap = TRANSCRIPTION.tap_answer(request, headers("text/event-stream"), None)
    assert tap is not None
    stream = [
        event({"type": "transcript.text.delta", "delta": "Hel"}),
        event({"type": "transcript.text.delta", "delta": "lo"}),
        event({"type": "transcript.new", "x": 1}),
        event({"type": "transcript.text.done", "text": "Hello", "usage": TOKENS}),
    ]
    sent = [tap.feed(raw, raw[6:-2]) for raw in stream]
    assert [frame.raw for frame in sent] == stream
    assert sent[-1].terminal
    assert tap.output_text() == "Hello"
    assert tap.usage == ReportedUsage(input=58, output=9, audio_input=50)


# --- providers with fewer forms -----------------------------------------------------


def corrected(*formats: str, dialect: Any = openai_transcription) -> MediaDialect:
    made: MediaDialect = dialect.corrected(
        Replies(formats=formats), None, model="m", clock=lambda: 0.0
    )
    return made


@each(
    ("known", "asked", "sent"),
    [
        (("json", "verbose_json"), "srt", b"verbose_json"),
        (("json",), "vtt", b"json"),
        (("json", "text"), "text", b"text"),
        (("json",), "verbose_json", b"json"),
    ],
)
def test_a_form_that_the_provider_lacks_is_asked_as_another(known, asked, sent) -> None:
    written = corrected(*known).render_body(
        heard(wav(5), response_format=asked), make_edits("m", Quirks())
    )
    part = read_form(written.content_type, written.data).first("response_format")
    assert part is not None
    assert part.value == sent


@pytest.mark.parametrize("dialect", [openai_transcription, openai_audio_translation])
def test_times_are_made_up_of_the_whole_where_there_are_none(dialect) -> None:
    request = heard(wav(4.2), dialect.DIALECT, response_format="verbose_json")
    made = corrected("json", dialect=dialect)
    reply = answered(request, {"text": "Hello", "x": 1}, dialect=made)
    found = json.loads(reply.body)
    assert found["x"] == 1
    assert found["task"] in ("transcribe", "translate")
    verbose = TranscriptionVerbose.model_validate({"language": "en", **found})
    assert verbose.segments is not None
    assert verbose.segments[0].end == 5.0

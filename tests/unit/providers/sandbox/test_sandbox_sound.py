"""The sandbox's sound: what any player opens, and what is heard in it."""

import base64
import io
import wave
from typing import Any

import pytest
from openai.types.audio import (
    TranscriptionDiarized,
    TranscriptionStreamEvent,
    TranscriptionVerbose,
)
from pydantic import TypeAdapter
from tests.support.cases import each
from tests.support.sandbox import Played, ask, take_apart
from tests.support.sounds import decoded_seconds

from posthouse.model.exchange import Timeouts, UpstreamRequest
from posthouse.providers.sandbox import play
from posthouse.wire.audio.measure import measure
from posthouse.wire.multipart import Form, Part, render_form

FORMATS = ("mp3", "opus", "aac", "flac", "wav", "pcm")


def spoken(**body: Any) -> Played:
    asked = {"model": "sandbox-speech", "voice": "alloy", "input": "Hello " * 50}
    return ask("/audio/speech", **{**asked, **body})


def sent(path: str, *parts: Part) -> Played:
    payload = render_form(Form(parts))
    headers = ((b"content-type", payload.content_type),)
    asked = UpstreamRequest(
        "POST", "sandbox://local", f"/v1{path}", headers, payload.data, Timeouts()
    )
    return take_apart(play(asked))


def heard(data: bytes, path: str = "/audio/transcriptions", **fields: str) -> Played:
    model = {"model": "sandbox-transcription", **fields}
    parts = [Part(name, value.encode()) for name, value in model.items()]
    return sent(path, Part("file", data, "a.wav", b"audio/wav"), *parts)


def a_sound(characters: int = 720) -> bytes:
    """Of a hundredth of a second for each character."""
    return spoken(input="a" * characters, response_format="wav").body


@each("form", FORMATS[:-1])
@each("speed", [0.5, 1.0, 4.0])
def test_speech_is_opened_by_a_demuxer_and_as_long_as_its_text(form, speed) -> None:
    played = spoken(response_format=form, speed=speed)
    assert decoded_seconds(played.body) == pytest.approx(3.0 / speed, abs=0.05)
    assert measure(played.body) == pytest.approx(3.0 / speed, abs=0.05)


def test_samples_without_a_head_are_those_of_the_wav_file() -> None:
    with wave.open(io.BytesIO(spoken(response_format="wav").body)) as file:
        assert (file.getframerate(), file.getnchannels()) == (24_000, 1)
        samples = file.readframes(file.getnframes())
    assert spoken(response_format="pcm").body == samples


def test_speech_is_the_same_each_time() -> None:
    assert spoken().body == spoken().body


def test_speech_in_events_is_the_same_sound_and_tells_its_usage() -> None:
    events = spoken(stream_format="sse").events
    pieces = [base64.b64decode(one["audio"]) for one in events[:-1]]
    assert b"".join(pieces) == spoken().body
    assert events[-1] == {
        "type": "speech.audio.done",
        "usage": {"input_tokens": 75, "output_tokens": 60, "total_tokens": 135},
    }


@each(
    "wrong",
    [
        {"input": ""},
        {"input": "a" * 4_097},
        {"voice": None},
        {"voice": {"name": "x"}},
        {"response_format": "ogg"},
        {"speed": 5},
        {"stream_format": "both"},
    ],
)
def test_speech_refuses_what_the_original_refuses(wrong) -> None:
    assert spoken(**wrong).status == 400


def test_what_is_heard_tells_how_long_the_sound_is() -> None:
    document = heard(a_sound()).document
    assert document["text"].startswith("The sandbox hears 8 seconds of sound.")
    assert document["usage"] == {"type": "duration", "seconds": 8}


def test_a_translation_says_that_it_is_one() -> None:
    played = heard(a_sound(), "/audio/translations", response_format="verbose_json")
    assert played.document["task"] == "translate"


def test_tokens_are_told_by_the_model_that_is_priced_by_them() -> None:
    usage = heard(a_sound(), model="sandbox-transcription-tokens").document["usage"]
    assert usage["input_token_details"] == {"text_tokens": 0, "audio_tokens": 72}


def test_the_long_forms_are_as_the_client_reads_them() -> None:
    found = heard(
        a_sound(),
        response_format="verbose_json",
        **{"timestamp_granularities[]": "word"},
    )
    verbose = TranscriptionVerbose.model_validate(found.document, strict=True)
    assert verbose.segments is not None
    assert verbose.segments[-1].end == pytest.approx(7.2)
    assert verbose.words is not None
    diarized = heard(a_sound(), response_format="diarized_json").document
    assert TranscriptionDiarized.model_validate(diarized).segments[0].speaker == "A"


@each("form", ["text", "srt", "vtt"])
def test_texts_are_no_json(form) -> None:
    played = heard(a_sound(), response_format=form)
    assert played.headers["content-type"].startswith("text/plain")
    assert b"The sandbox hears 8 seconds" in played.body


@pytest.mark.parametrize("form", ["json", "diarized_json"])
def test_a_stream_is_what_the_client_reads(form) -> None:
    events = heard(a_sound(), stream="true", response_format=form).events
    read = [TypeAdapter(TranscriptionStreamEvent).validate_python(e) for e in events]
    assert read[-1].type == "transcript.text.done"
    assert read[-1].text == heard(a_sound()).document["text"]


@each("data", [b"not a sound", b"RIFF0000WAVE", bytes(4_096)])
def test_what_is_no_sound_is_refused(data) -> None:
    assert heard(data).status == 400


def test_a_form_without_a_file_is_refused() -> None:
    parts = [Part("model", b"sandbox-transcription")]
    assert sent("/audio/transcriptions", *parts).status == 400


@each("fault", ["truncate", "error-in-stream", "reset-mid-stream"])
def test_faults_break_sound_off(fault) -> None:
    whole, broken = spoken().body, spoken(model=f"sandbox-speech:{fault}")
    assert 0 < len(broken.body) < len(whole)
    assert whole.startswith(broken.body)


def test_no_sound_at_all_can_be_asked_for() -> None:
    played = spoken(model="sandbox-speech:empty")
    assert (played.status, played.body) == (200, b"")
    assert played.headers["content-type"] == "audio/mpeg"

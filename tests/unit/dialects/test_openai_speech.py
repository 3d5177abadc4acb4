"""Speech in OpenAI's dialect: requests judged, sound read along."""

import base64
import io
import json
import wave
from typing import Any

import pytest
from tests.support.cases import each

from posthouse.dialects import (
    openai_speech,
)
from posthouse.dialects.base import Answer, MediaDialect, ParsedRequest, make_edits
from posthouse.errors import (
    InvalidRequest,
    UpstreamBadResponse,
    UpstreamOverloaded,
    UpstreamRejected,
)
from posthouse.model.catalog import ErrorCodes, Quirks
from posthouse.model.usage import ReportedUsage

SPEECH = openai_speech.DIALECT
EDITS = make_edits("upstream-name", Quirks())


def wav(seconds: float) -> bytes:
    """So much silence."""
    target = io.BytesIO()
    with wave.open(target, "wb") as file:
        file.setparams((1, 2, 8_000, 0, "NONE", ""))
        file.writeframes(bytes(int(16_000 * seconds)))
    return target.getvalue()


# --- requests for speech ------------------------------------------------------------


def spoken(**body: Any) -> ParsedRequest:
    asked = {"model": "tts-1", "voice": "alloy", "input": "Hello", **body}
    return SPEECH.parse_request(json.dumps(asked).encode())


def test_speech_is_counted_by_characters_and_streams_unasked() -> None:
    request = spoken(input="Grüße, 驿站")
    assert request.counted == {"character": 9}
    assert request.stream
    assert request.prompt.text_bytes == len("Grüße, 驿站".encode())


def test_slow_speech_may_be_four_times_as_long() -> None:
    usual, slow = spoken(input="a" * 100), spoken(input="a" * 100, speed=0.1)
    assert (usual.output_limit, slow.output_limit) == (220, 820)
    assert spoken(input="a" * 100, speed=4).output_limit == 220


def test_a_request_for_speech_goes_on_as_it_came_but_for_the_model() -> None:
    body = b'{"model":"tts-1","input":"Hi","voice":{"id":"v"},"new":[1e400,"\\u00e9"]}'
    request = SPEECH.parse_request(body)
    assert SPEECH.render_body(request, EDITS).data == body.replace(
        b"tts-1", b"upstream-name"
    )


@each(
    ("wrong", "param"),
    [
        ({"input": ""}, "input"),
        ({"input": None}, "input"),
        ({"input": ["a"]}, "input"),
        ({"voice": 3}, "voice"),
        ({"speed": "fast"}, "speed"),
        ({"model": None}, "model"),
        ({"Input": "more"}, "Input"),
    ],
)
def test_wrong_requests_for_speech_are_refused(wrong, param) -> None:
    with pytest.raises(InvalidRequest) as caught:
        spoken(**wrong)
    assert caught.value.param == param


# --- speech ---------------------------------------------------------------------------


def headers(kind: str) -> list[tuple[bytes, bytes]]:
    return [(b"content-type", kind.encode())]


def relayed(request: ParsedRequest, pieces: list[bytes], kind: str = "audio/wav"):
    """Pass sound; give what the client has, piece by piece, and the tap."""
    tap = SPEECH.tap_answer(request, headers(kind), None)
    assert tap is not None
    frames = SPEECH.frames_of(request)
    sent = []
    for piece in pieces:
        for raw, data in frames.feed(piece):
            sent.append(tap.feed(raw, data))
    for raw, data in frames.close():
        sent.append(tap.feed(raw, data))
    if not (sent and sent[-1].terminal):
        last = tap.close()
        if last is not None:
            sent.append(last)
    return sent, tap


@each("size", [1, 40, 64, 65, 1_000, 100_000])
def test_sound_passes_as_it_comes_and_its_end_is_held_back(size) -> None:
    sound = wav(2.5)
    pieces = [sound[at : at + size] for at in range(0, len(sound), size)]
    sent, tap = relayed(spoken(response_format="wav"), pieces)
    assert b"".join(frame.raw for frame in sent) == sound
    assert [frame.terminal for frame in sent].count(True) == 1
    assert sent[-1].terminal
    assert len(sent[-1].raw) == 64
    assert tap.finished
    assert tap.usage == ReportedUsage(output=60, audio_output=60, estimated=True)
    assert tap.output_bytes == 180


def test_sound_of_a_few_bytes_is_held_back_whole() -> None:
    sent, _ = relayed(spoken(), [b"tiny"], "audio/mpeg")
    assert [(frame.raw, frame.terminal) for frame in sent if frame.raw] == [
        (b"tiny", True)
    ]


def test_no_sound_has_no_end() -> None:
    sent, tap = relayed(spoken(), [])
    assert sent == []
    assert not tap.finished


def test_samples_are_measured_by_the_format_that_was_asked_for() -> None:
    _, tap = relayed(spoken(response_format="pcm"), [bytes(48_000)], "audio/pcm")
    assert tap.usage is not None
    assert tap.usage.output == 20


@each(
    ("told", "form", "shown"),
    [
        ("audio/mpeg; rate=1", "mp3", b"audio/mpeg; rate=1"),
        ("application/octet-stream", "opus", b"audio/opus"),
        ("", "flac", b"audio/flac"),
        ("binary/octet-stream", "new", b"application/octet-stream"),
    ],
)
def test_sound_is_called_what_the_provider_calls_it(told, form, shown) -> None:
    request = spoken(response_format=form)
    tap = SPEECH.tap_answer(request, headers(told) if told else [], None)
    assert tap is not None
    assert tap.stream_headers == ((b"content-type", shown),)


@each("kind", ["application/json", "text/html; charset=utf-8", "text/event-stream"])
def test_what_is_no_sound_is_read_whole(kind) -> None:
    assert SPEECH.tap_answer(spoken(), headers(kind), None) is None


@each(
    ("body", "fault"),
    [
        (b'{"error":{"message":"no voice","code":400}}', UpstreamRejected),
        (b'{"error":{"message":"down","type":"server_error"}}', UpstreamOverloaded),
        (b"<!DOCTYPE html>", UpstreamBadResponse),
        (b"<html>", UpstreamBadResponse),
    ],
)
def test_an_error_in_place_of_sound_is_one(body, fault) -> None:
    with pytest.raises(fault):
        relayed(spoken(), [body], "audio/mpeg")
    with pytest.raises(fault):
        SPEECH.parse_answer(spoken(), Answer(headers("application/json"), body), None)


@pytest.mark.parametrize("kind", ["audio/mpeg", ""])
def test_an_empty_answer_is_a_bad_one(kind) -> None:
    with pytest.raises(UpstreamBadResponse):
        SPEECH.parse_answer(spoken(), Answer(headers(kind), b""), None)


def test_bare_samples_may_begin_like_an_error() -> None:
    samples = b'{"' + bytes(4_000)
    sent, _ = relayed(spoken(response_format="pcm"), [samples], "audio/pcm")
    assert b"".join(frame.raw for frame in sent) == samples
    error = b'{"error":{"message":"no voice","code":400}}'
    with pytest.raises(UpstreamRejected):
        relayed(spoken(response_format="pcm"), [error], "audio/pcm")


def test_whole_sound_is_measured() -> None:
    reply = SPEECH.parse_answer(
        spoken(response_format="wav"), Answer(headers("audio/x-wav"), wav(1.2)), None
    )
    assert reply.content_type == b"audio/x-wav"
    assert reply.usage is not None
    assert reply.usage.output == 40


# --- speech in events -----------------------------------------------------------------


def event(value: Any) -> bytes:
    return b"data: " + json.dumps(value).encode() + b"\n\n"


def delta(sound: bytes) -> bytes:
    audio = base64.b64encode(sound).decode()
    return event({"type": "speech.audio.delta", "audio": audio})


def test_events_pass_and_tell_their_usage() -> None:
    usage = {"input_tokens": 5, "output_tokens": 31, "total_tokens": 36}
    stream = [delta(wav(1)), event({"type": "speech.audio.done", "usage": usage})]
    sent, tap = relayed(spoken(stream_format="sse"), stream, "text/event-stream")
    assert [frame.raw for frame in sent] == stream
    assert sent[-1].terminal
    assert tap.usage == ReportedUsage(input=5, output=31, audio_output=31)


def test_events_without_usage_are_measured() -> None:
    stream = [delta(wav(1)), event({"type": "speech.audio.done"})]
    _, tap = relayed(spoken(stream_format="sse"), stream, "text/event-stream")
    assert tap.usage is not None
    assert (tap.usage.output, tap.usage.estimated) == (20, True)


@each(
    ("data", "fault"),
    [
        (event({"type": "error", "message": "gone"}), UpstreamOverloaded),
        (event({"error": {"message": "gone", "code": 400}}), UpstreamRejected),
        (b"data: {\n\n", UpstreamBadResponse),
        (event({"type": "speech.audio.delta", "audio": "a"}), UpstreamBadResponse),
    ],
)
def test_wrong_events_are_faults(data, fault) -> None:
    with pytest.raises(fault):
        relayed(spoken(stream_format="sse"), [data], "text/event-stream")


def test_sound_becomes_events_for_who_wants_them() -> None:
    request = spoken(stream_format="sse")
    assert SPEECH.tap_answer(request, headers("audio/wav"), None) is None
    sound = wav(10)
    reply = SPEECH.parse_answer(request, Answer(headers("audio/wav"), sound), None)
    events = [json.loads(line[6:]) for line in reply.body.split(b"\n\n") if line]
    heard = b"".join(base64.b64decode(one["audio"]) for one in events[:-1])
    assert heard == sound
    assert events[-1]["usage"]["output_tokens"] == 200


def test_a_providers_own_errors_are_its_rows() -> None:
    codes = ErrorCodes(code="code", message="message", success=("0",))
    made: MediaDialect = openai_speech.corrected(
        None, codes, model="m", clock=lambda: 0.0
    )
    with pytest.raises(UpstreamOverloaded):
        made.parse_answer(
            spoken(), Answer(headers("application/json"), b'{"code":77}'), None
        )

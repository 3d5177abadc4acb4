"""Speech and transcripts through the official SDK: every format, whole and streamed."""

import base64
import io
import json
import urllib.error
import urllib.request
import wave

import openai
import pytest
from tests.acceptance.configuration import KEYS
from tests.support import sounds
from tests.support.posthouse import Posthouse

from posthouse.wire.audio.measure import measure

TEXT = "The posthouse had fresh horses for every rider. " * 4
FORMATS = ("mp3", "opus", "aac", "flac", "wav")


@pytest.fixture(scope="module")
def sound() -> bytes:
    """Twelve seconds and a half of a tone."""
    return sounds.make("mp3", 12.5)


@pytest.mark.parametrize("form", FORMATS)
def test_speech_in_every_format(client: openai.OpenAI, form) -> None:
    reply = client.audio.speech.create(
        model="sandbox-speech", voice="alloy", input=TEXT, response_format=form
    )
    assert reply.response.headers["content-type"].startswith("audio/")
    data = reply.read()
    assert sounds.decoded_seconds(data) == pytest.approx(len(TEXT) / 100, abs=0.05)


def test_speech_as_bare_samples(client: openai.OpenAI) -> None:
    reply = client.audio.speech.create(
        model="sandbox-speech", voice="alloy", input=TEXT, response_format="pcm"
    )
    assert len(reply.read()) == 2 * 24_000 * len(TEXT) // 100


def test_speech_as_it_is_made(client: openai.OpenAI) -> None:
    """The first of it arrives long before the last is made."""
    with client.audio.speech.with_streaming_response.create(
        model="sandbox-speech",
        voice="coral",
        input="sandbox:pace-20ms " + TEXT,
        response_format="wav",
    ) as reply:
        pieces = list(reply.iter_bytes())
    assert len(pieces) > 3
    with wave.open(io.BytesIO(b"".join(pieces))) as file:
        assert file.getnframes() > 24_000


def test_speech_in_events(client: openai.OpenAI) -> None:
    with client.audio.speech.with_streaming_response.create(
        model="sandbox-speech-tokens",
        voice={"id": "voice_1"},
        input=TEXT,
        instructions="Speak like a courier.",
        response_format="flac",
        stream_format="sse",
    ) as reply:
        assert reply.headers["content-type"].startswith("text/event-stream")
        lines = [line[6:] for line in reply.iter_lines() if line.startswith("data: ")]
    events = [json.loads(line) for line in lines]
    data = b"".join(base64.b64decode(event["audio"]) for event in events[:-1])
    assert measure(data) == pytest.approx(len(TEXT) / 100)
    assert events[-1]["type"] == "speech.audio.done"
    assert events[-1]["usage"]["output_tokens"] == 39


def test_a_transcript_with_its_usage(client: openai.OpenAI, sound: bytes) -> None:
    reply = client.audio.transcriptions.create(
        model="sandbox-transcription", file=("talk.mp3", sound)
    )
    assert reply.text.startswith("The sandbox hears 13 seconds of sound.")
    assert reply.usage is not None
    assert (reply.usage.type, reply.usage.seconds) == ("duration", 13)


def test_a_transcript_by_tokens(client: openai.OpenAI, sound: bytes) -> None:
    reply = client.audio.transcriptions.create(
        model="sandbox-transcription-tokens",
        file=("talk.mp3", sound, "audio/mpeg"),
        prompt="Horses",
        language="en",
        temperature=0.2,
        include=["logprobs"],
    )
    assert reply.usage is not None
    assert reply.usage.type == "tokens"
    assert reply.usage.input_tokens > 120


@pytest.mark.parametrize("form", ["text", "srt", "vtt"])
def test_a_transcript_as_text(client: openai.OpenAI, sound: bytes, form) -> None:
    reply = client.audio.transcriptions.create(
        model="sandbox-transcription", file=("talk.mp3", sound), response_format=form
    )
    assert "The sandbox hears 13 seconds of sound." in reply
    assert ("-->" in reply) is (form != "text")


def test_a_transcript_with_times(client: openai.OpenAI, sound: bytes) -> None:
    reply = client.audio.transcriptions.create(
        model="sandbox-transcription",
        file=("talk.mp3", sound),
        response_format="verbose_json",
        timestamp_granularities=["word"],
    )
    assert reply.duration == pytest.approx(12.5, abs=0.1)
    assert reply.segments is not None
    assert reply.words is not None
    assert reply.words[0].word == "The"


def test_a_transcript_with_speakers(client: openai.OpenAI, sound: bytes) -> None:
    reply = client.audio.transcriptions.create(
        model="sandbox-transcription-tokens",
        file=("talk.mp3", sound),
        response_format="diarized_json",
        chunking_strategy="auto",
        known_speaker_names=["courier"],
    )
    assert [one.speaker for one in reply.segments] == ["A", "B", "A"]


@pytest.mark.parametrize(
    "model", ["sandbox-transcription", "sandbox-transcription-tokens"]
)
def test_a_transcript_as_it_is_made(client: openai.OpenAI, sound: bytes, model) -> None:
    events = list(
        client.audio.transcriptions.create(
            model=model, file=("talk.mp3", sound), stream=True
        )
    )
    said = "".join(one.delta for one in events if one.type == "transcript.text.delta")
    last = events[-1]
    assert last.type == "transcript.text.done"
    assert last.text == said
    assert (last.usage is not None) is model.endswith("tokens")


@pytest.mark.filterwarnings("ignore:deprecated:DeprecationWarning")
@pytest.mark.parametrize("form", ["json", "text", "srt", "verbose_json", "vtt"])
def test_a_translation(client: openai.OpenAI, sound: bytes, form) -> None:
    reply = client.audio.translations.create(
        model="sandbox-transcription", file=("talk.mp3", sound), response_format=form
    )
    said = reply if isinstance(reply, str) else reply.text
    assert "The sandbox understands 13 seconds of sound." in said


@pytest.mark.parametrize("name", ["wav", "flac", "m4a", "mp4-fragments", "webm-live"])
def test_sounds_of_every_kind_are_taken(client: openai.OpenAI, name) -> None:
    ending = name.partition("-")[0]
    reply = client.audio.transcriptions.create(
        model="sandbox-transcription",
        file=(f"talk.{ending}", sounds.make(name, 3.2)),
    )
    assert reply.text.startswith("The sandbox hears 4 seconds")


async def test_the_asynchronous_client(async_client: openai.AsyncOpenAI) -> None:
    spoken = await async_client.audio.speech.create(
        model="sandbox-speech", voice="alloy", input=TEXT, response_format="wav"
    )
    heard = await async_client.audio.transcriptions.create(
        model="sandbox-transcription", file=("talk.wav", await spoken.aread())
    )
    assert heard.text.startswith("The sandbox hears 2 seconds")


def test_azures_client_names_the_model_in_the_path(
    posthouse, sound: bytes, relayed: openai.OpenAI
) -> None:
    with openai.AzureOpenAI(
        azure_endpoint=posthouse.url,
        api_key=relayed.api_key,
        api_version="2025-04-01-preview",
        max_retries=0,
    ) as client:
        heard = client.audio.transcriptions.create(
            model="sandbox-transcription", file=("talk.mp3", sound)
        )
        spoken = client.audio.speech.create(
            model="sandbox-speech", voice="alloy", input="Hello"
        )
    assert heard.text.startswith("The sandbox hears 13 seconds")
    assert measure(spoken.read()) == pytest.approx(0.1, abs=0.03)


# --- what is refused, and what breaks ------------------------------------------------


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"", "invalid_value"),
        # An MP4 that claims thirty years in a hundred bytes.
        (
            b"\0\0\0\x10ftypM4A \0\0\0\0\0\0\0\x74moov\0\0\0\x6cmvhd"
            + bytes(12)
            + (1).to_bytes(4, "big")
            + (10**9).to_bytes(4, "big")
            + bytes(80),
            "invalid_audio",
        ),
    ],
)
def test_sound_that_cannot_be_is_refused(relayed: openai.OpenAI, data, code) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        relayed.audio.transcriptions.create(
            model="sandbox-transcription", file=("talk.m4a", data)
        )
    assert (caught.value.code, caught.value.param) == (code, "file")


def test_a_sound_elsewhere_is_refused(relayed: openai.OpenAI, sound: bytes) -> None:
    """What the provider fetched could not be measured."""
    with pytest.raises(openai.BadRequestError) as caught:
        relayed.audio.transcriptions.create(
            model="sandbox-transcription",
            file=("talk.mp3", sound),
            extra_body={"url": "https://example.com/ten-hours.mp3"},
        )
    assert caught.value.param == "url"


@pytest.mark.parametrize("body", [b"{}", b"--x--", b""])
def test_what_is_no_form_is_refused(posthouse: Posthouse, body) -> None:
    asked = urllib.request.Request(
        f"{posthouse.url}/v1/audio/transcriptions",
        body,
        {
            "authorization": f"Bearer {KEYS['app']}",
            "content-type": "multipart/form-data; boundary=x",
        },
    )
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(asked, timeout=20)
    assert caught.value.code == 400
    caught.value.close()


@pytest.mark.parametrize("fault", ["truncate", "reset-mid-stream"])
def test_broken_speech_is_seen_to_be_broken(relayed: openai.OpenAI, fault) -> None:
    """The connection is aborted: nobody takes half of it for the whole."""
    with (
        relayed.audio.speech.with_streaming_response.create(
            model="sandbox-speech", voice="alloy", input=f"sandbox:{fault} {TEXT}"
        ) as reply,
        pytest.raises(Exception, match=r"peer closed|incomplete"),
    ):
        list(reply.iter_bytes())


def test_no_sound_at_all_is_an_error(relayed: openai.OpenAI) -> None:
    with pytest.raises(openai.InternalServerError) as caught:
        relayed.audio.speech.create(
            model="sandbox-speech:empty", voice="alloy", input=TEXT
        )
    assert caught.value.status_code == 502


def test_an_operation_that_a_model_has_not(relayed: openai.OpenAI) -> None:
    with pytest.raises(openai.APIStatusError) as caught:
        relayed.audio.speech.create(model="sandbox", voice="alloy", input=TEXT)
    assert caught.value.status_code in (400, 404)

"""Chats with models that do not chat: official SDKs, each kind of model, each way."""

import base64
import io
import json
import re
import wave
from collections.abc import Callable, Iterator
from typing import Any

import anthropic
import openai
import pytest
from google import genai
from google.genai import types
from PIL import Image
from tests.conftest import StartPosthouse
from tests.support.posthouse import Posthouse

KEY = "sk-errands-0123456789abcdefghijklmnopqrstuvwxyzABCD"
OTHER = "sk-errands-narrow-0123456789abcdefghijklmnopqrstuv"
CONFIGURATION = f"""
[[channels]]
name = "sandbox"
provider = "sandbox"

[[keys]]
name = "app"
key = "{KEY}"
balance_usd = "50"

[[keys]]
name = "narrow"
key = "{OTHER}"
models = ["sandbox"]
"""
RANKED = "what is red\nthe blue sea\nthe red fox is red"
LINK = re.compile(r"!\[image\]\((\S+)\)")

Ask = Callable[[str, str], str]


@pytest.fixture(scope="module")
def posthouse(start_posthouse: StartPosthouse) -> Posthouse:
    return start_posthouse(CONFIGURATION)


@pytest.fixture(scope="module")
def sdk(posthouse: Posthouse) -> Iterator[openai.OpenAI]:
    url = posthouse.url + "/v1"
    with openai.OpenAI(base_url=url, api_key=KEY, max_retries=0) as sdk:
        yield sdk


def of_openais(posthouse: Posthouse, *, stream: bool) -> Ask:
    sdk = openai.OpenAI(base_url=posthouse.url + "/v1", api_key=KEY, max_retries=0)

    def ask(model: str, text: str) -> str:
        messages: Any = [{"role": "user", "content": text}]
        chat = sdk.chat.completions
        if not stream:
            reply = chat.create(model=model, messages=messages)
            assert reply.choices[0].finish_reason == "stop"
            return reply.choices[0].message.content or ""
        with chat.create(model=model, messages=messages, stream=True) as chunks:
            return "".join(c.choices[0].delta.content or "" for c in chunks)

    return ask


def of_anthropics(posthouse: Posthouse, *, stream: bool) -> Ask:
    sdk = anthropic.Anthropic(base_url=posthouse.url, api_key=KEY, max_retries=0)

    def ask(model: str, text: str) -> str:
        asked: Any = {
            "model": model,
            "max_tokens": 100,
            "messages": [{"role": "user", "content": text}],
        }
        if stream:
            with sdk.messages.stream(**asked) as events:
                return events.get_final_text()
        reply = sdk.messages.create(**asked)
        assert reply.stop_reason == "end_turn"
        return "".join(part.text for part in reply.content if part.type == "text")

    return ask


def of_googles(posthouse: Posthouse, *, stream: bool) -> Ask:
    options = types.HttpOptions(base_url=posthouse.url)
    sdk = genai.Client(api_key=KEY, http_options=options)

    def ask(model: str, text: str) -> str:
        if stream:
            chunks = sdk.models.generate_content_stream(model=model, contents=text)
            return "".join(chunk.text or "" for chunk in chunks)
        return sdk.models.generate_content(model=model, contents=text).text or ""

    return ask


def of_responses(posthouse: Posthouse, *, stream: bool) -> Ask:
    sdk = openai.OpenAI(base_url=posthouse.url + "/v1", api_key=KEY, max_retries=0)

    def ask(model: str, text: str) -> str:
        if not stream:
            return sdk.responses.create(model=model, input=text).output_text
        with sdk.responses.stream(model=model, input=text) as events:
            return events.get_final_response().output_text

    return ask


CLIENTS = [of_openais, of_anthropics, of_googles, of_responses]


@pytest.fixture(
    scope="module",
    params=[(client, stream) for client in CLIENTS for stream in (False, True)],
    ids=lambda one: f"{one[0].__name__}-{'streamed' if one[1] else 'whole'}",
)
def ask(posthouse: Posthouse, request: pytest.FixtureRequest) -> Ask:
    """Ask a model by one of the SDKs; gives the answer's text."""
    client, stream = request.param
    made: Ask = client(posthouse, stream=stream)
    return made


def test_a_text_is_what_the_model_makes_of_it(ask: Ask) -> None:
    """Vectors, judgements and rankings are told in words."""
    vector = json.loads(ask("sandbox-embedding", "a fox"))
    assert all(isinstance(number, float) for number in vector)
    (judged,) = json.loads(ask("sandbox-moderation", "a fox"))
    assert judged["flagged"] is False
    ranked = ask("sandbox-rerank", RANKED).splitlines()
    assert [line[:15] for line in ranked] == ["1. the red fox ", "2. the blue sea"]


def test_a_picture_is_a_link_that_leads_to_it(ask: Ask) -> None:
    found = LINK.search(ask("sandbox-image", "a fox"))
    assert found is not None
    assert opened(found[1]) == "PNG"


def opened(link: str) -> str | None:
    """Open the picture that a link leads to."""
    import httpx2

    if link.startswith("data:"):
        data = base64.b64decode(link.partition(",")[2])
    else:
        data = httpx2.get(link).content
    return Image.open(io.BytesIO(data)).format


def test_it_is_charged_as_by_its_own_route(
    posthouse: Posthouse, sdk: openai.OpenAI
) -> None:
    """Two pictures of a chat cost what two pictures cost."""
    chat = sdk.chat.completions.with_raw_response.create(
        model="sandbox-image", messages=[{"role": "user", "content": "a fox"}], n=2
    )
    own = sdk.images.with_raw_response.generate(
        model="sandbox-image", prompt="a fox", n=2
    )
    first = posthouse.call(chat.headers["x-request-id"])
    second = posthouse.call(own.headers["x-request-id"])
    for name in ("operation", "price", "usage", "dialect", "outcome"):
        assert first[name] == second[name]
    assert first["price"] == 80_000_000
    assert chat.headers["x-posthouse-translation"] == "openai_images"


def test_what_the_model_is_not_told_is_told_to_the_caller(sdk: openai.OpenAI) -> None:
    reply = sdk.chat.completions.with_raw_response.create(
        model="sandbox-image",
        messages=[
            {"role": "system", "content": "Paint badly."},
            {"role": "user", "content": "a fox"},
        ],
        temperature=0.5,
    )
    told = reply.headers["x-posthouse-translation"].split()
    assert told == ["openai_images", "-messages", "-temperature"]


def test_a_picture_is_worked_on(sdk: openai.OpenAI) -> None:
    held = io.BytesIO()
    Image.new("RGB", (16, 16), "red").save(held, "PNG")
    url = "data:image/png;base64," + base64.b64encode(held.getvalue()).decode()
    reply = sdk.chat.completions.with_raw_response.create(
        model="sandbox-image",
        messages=[
            {
                "role": "user",
                "content": [
                    {"type": "text", "text": "more red"},
                    {"type": "image_url", "image_url": {"url": url}},
                ],
            }
        ],
    )
    assert reply.headers["x-posthouse-translation"] == "openai_image_edits"
    found = LINK.search(reply.parse().choices[0].message.content or "")
    assert found is not None
    assert opened(found[1]) == "PNG"


def test_googles_clients_get_the_picture_itself(posthouse: Posthouse) -> None:
    options = types.HttpOptions(base_url=posthouse.url)
    sdk = genai.Client(api_key=KEY, http_options=options)
    reply = sdk.models.generate_content(
        model="sandbox-image",
        contents="a fox",
        config=types.GenerateContentConfig(response_modalities=["TEXT", "IMAGE"]),
    )
    shown = [part.inline_data for part in reply.parts or [] if part.inline_data]
    assert [one.mime_type for one in shown] == ["image/png"]
    assert Image.open(io.BytesIO(shown[0].data or b"")).format == "PNG"


def test_speech_is_heard(posthouse: Posthouse, sdk: openai.OpenAI) -> None:
    reply = sdk.chat.completions.create(
        model="sandbox-speech",
        messages=[{"role": "user", "content": "Good morning"}],
        modalities=["text", "audio"],
        audio={"voice": "alloy", "format": "wav"},
    )
    audio = reply.choices[0].message.audio
    assert audio is not None
    assert audio.transcript == "Good morning"
    data = base64.b64decode(audio.data)
    with wave.open(io.BytesIO(data)) as sound:
        assert sound.getnframes() > 0
    heard = sdk.chat.completions.create(
        model="sandbox-transcription",
        messages=[
            {
                "role": "user",
                "content": [
                    {
                        "type": "input_audio",
                        "input_audio": {"data": audio.data, "format": "wav"},
                    }
                ],
            }
        ],
    )
    assert heard.choices[0].message.content


def test_speech_without_a_place_for_sound_is_a_link(sdk: openai.OpenAI) -> None:
    reply = sdk.chat.completions.create(
        model="sandbox-speech", messages=[{"role": "user", "content": "Good morning"}]
    )
    assert (reply.choices[0].message.content or "").startswith("[audio](")


def test_a_text_is_translated(sdk: openai.OpenAI) -> None:
    reply = sdk.chat.completions.with_raw_response.create(
        model="sandbox-translation",
        messages=[
            {"role": "system", "content": "FR"},
            {"role": "user", "content": "Good morning"},
        ],
    )
    assert reply.parse().choices[0].message.content == "[FR] Good morning"
    assert reply.headers["x-posthouse-translation"] == "deepl_translate"


@pytest.mark.parametrize(
    ("model", "content"),
    [
        ("sandbox-image", ""),
        ("sandbox-rerank", "a query alone"),
        ("sandbox-translation", "into what language?"),
        ("sandbox-transcription", "there is no sound"),
        ("sandbox-speech", [{"type": "image_url", "image_url": {"url": "data:,"}}]),
    ],
)
def test_what_is_missing_is_said(
    posthouse: Posthouse, sdk: openai.OpenAI, model: str, content: Any
) -> None:
    """And costs nothing, for nothing has been asked of anybody."""
    with pytest.raises(openai.BadRequestError) as caught:
        sdk.chat.completions.create(
            model=model, messages=[{"role": "user", "content": content}]
        )
    assert caught.value.param is not None
    assert caught.value.response.headers["x-request-id"] not in {
        record["id"] for record in posthouse.ask("calls", "--limit", "1000")
    }


def test_a_key_that_may_not_use_the_model_learns_nothing(posthouse: Posthouse) -> None:
    sdk = openai.OpenAI(base_url=posthouse.url + "/v1", api_key=OTHER, max_retries=0)
    with pytest.raises(openai.NotFoundError):
        sdk.chat.completions.create(
            model="sandbox-image", messages=[{"role": "user", "content": "a fox"}]
        )


@pytest.mark.parametrize("stream", [False, True])
def test_a_failing_provider_is_told_as_of_a_chat(
    sdk: openai.OpenAI,
    stream: bool,
) -> None:
    with pytest.raises(openai.InternalServerError):
        sdk.chat.completions.create(
            model="sandbox-image:error-500",
            messages=[{"role": "user", "content": "a fox"}],
            stream=stream,
        )

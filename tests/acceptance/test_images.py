"""OpenAI's SDK makes pictures: whole and streamed, of words and of pictures."""

import base64
import http.client
import io
import json
import time
from collections.abc import Iterator
from email.message import Message
from typing import Any

import openai
import pytest
from PIL import Image
from tests.conftest import StartPosthouse
from tests.support.posthouse import Posthouse

KEY = "sk-pictures-0123456789abcdefghijklmnopqrstuvwxyzABC"
CONFIGURATION = """
[[channels]]
name = "sandbox"
provider = "sandbox"
models = ["sandbox", "sandbox-image", "sandbox-image-tokens"]

[[keys]]
name = "app"
key = "{key}"
balance_usd = "50"

[[keys]]
name = "trial"
key = "{trial}"
sandbox = true
"""
TRIAL = "sk-test-pictures-0123456789abcdefghijklmnopqrstuvw"
BY_PIECE, BY_TOKENS = "sandbox-image", "sandbox-image-tokens"


@pytest.fixture(scope="module")
def posthouse(start_posthouse: StartPosthouse) -> Posthouse:
    return start_posthouse(CONFIGURATION.format(key=KEY, trial=TRIAL))


@pytest.fixture(scope="module")
def sdk(posthouse: Posthouse) -> Iterator[openai.OpenAI]:
    url = posthouse.url + "/v1"
    with openai.OpenAI(base_url=url, api_key=KEY, max_retries=0) as sdk:
        yield sdk


@pytest.fixture(scope="module")
def picture() -> tuple[str, bytes]:
    held = io.BytesIO()
    Image.new("RGBA", (40, 40), (200, 90, 20, 255)).save(held, "PNG")
    return "fox.png", held.getvalue()


def opened(data: bytes) -> tuple[str | None, tuple[int, int]]:
    image = Image.open(io.BytesIO(data))
    image.load()
    return image.format, image.size


def of_base64(text: str | None) -> tuple[str | None, tuple[int, int]]:
    return opened(base64.b64decode(text or ""))


def at(url: str) -> tuple[int, Message, bytes]:
    """What a URL leads to, asked without any key."""
    host, _, path = url.removeprefix("http://").partition("/")
    connection = http.client.HTTPConnection(host, timeout=10)
    try:
        connection.request("GET", f"/{path}")
        answer = connection.getresponse()
        return answer.status, answer.headers, answer.read()
    finally:
        connection.close()


def test_who_pays_nothing_has_a_record_of_what_others_pay_for(
    posthouse: Posthouse,
) -> None:
    """A sandbox key's pictures are counted as the sandbox prices them."""
    url = posthouse.url + "/v1"
    with openai.OpenAI(base_url=url, api_key=TRIAL, max_retries=0) as sdk:
        for model, told in (
            (BY_PIECE, {"image": 2}),
            (BY_TOKENS, {"input": 2, "image": 2, "image_output": 544}),
        ):
            reply = sdk.images.with_raw_response.generate(
                model=model, prompt="a fox", n=2, quality="low"
            )
            record = posthouse.call(reply.headers["x-request-id"])
            assert (record["usage"], record["price"]) == (told, 0), model


def test_a_picture_is_made_and_charged_by_the_piece(
    posthouse: Posthouse, sdk: openai.OpenAI
) -> None:
    reply = sdk.images.with_raw_response.generate(
        model=BY_PIECE, prompt="a fox", n=2, response_format="b64_json"
    )
    made = reply.parse().data or []
    assert [of_base64(one.b64_json) for one in made] == [("PNG", (1024, 1024))] * 2
    record = posthouse.call(reply.headers["x-request-id"])
    assert record["operation"] == "image"
    assert record["usage"] == {"image": 2}
    assert record["price_usd"] == "0.08"


@pytest.mark.parametrize(
    ("asked", "price"),
    [
        ("standard/1024x1024", "0.04"),
        ("standard/1792x1024", "0.08"),
        ("hd/1024x1024", "0.08"),
        ("hd/1024x1792", "0.12"),
    ],
)
def test_size_and_quality_decide_the_price(
    posthouse: Posthouse, sdk: openai.OpenAI, asked: str, price: str
) -> None:
    quality: Any
    size: Any
    quality, size = asked.split("/")
    reply = sdk.images.with_raw_response.generate(
        model=BY_PIECE, prompt="a fox", quality=quality, size=size
    )
    assert posthouse.call(reply.headers["x-request-id"])["price_usd"] == price


def test_a_url_is_ours_and_needs_no_key(sdk: openai.OpenAI) -> None:
    reply = sdk.images.generate(
        model=BY_PIECE, prompt="a fox", size="256x256", response_format="url"
    )
    assert reply.data is not None
    status, headers, data = at(reply.data[0].url or "")
    assert (status, opened(data)) == (200, ("PNG", (256, 256)))
    assert headers["content-type"] == "image/png"
    assert headers["x-content-type-options"] == "nosniff"
    assert "sandbox" in headers["content-security-policy"]
    assert at((reply.data[0].url or "")[:-1] + "!")[0] == 404


def test_tokens_are_charged_as_the_reply_tells_them(
    posthouse: Posthouse, sdk: openai.OpenAI
) -> None:
    reply = sdk.images.with_raw_response.generate(
        model=BY_TOKENS, prompt="a red fox", quality="low"
    )
    usage = reply.parse().usage
    assert usage is not None
    record = posthouse.call(reply.headers["x-request-id"])
    assert record["usage"] == {
        "input": usage.input_tokens,
        "image_output": usage.output_tokens,
        "image": 1,
    }
    # Three tokens of text at 5 USD and 272 of a picture at 30 USD per million.
    assert record["price_usd"] == "0.008175"


def test_partial_pictures_come_before_the_whole_one(
    posthouse: Posthouse, sdk: openai.OpenAI
) -> None:
    raw = sdk.images.with_raw_response.generate(
        model=BY_TOKENS,
        prompt="a fox",
        size="1024x1024",
        quality="low",
        stream=True,
        partial_images=2,
    )
    events = list(raw.parse())
    kinds = [event.type for event in events]
    assert kinds == [
        "image_generation.partial_image",
        "image_generation.partial_image",
        "image_generation.completed",
    ]
    assert all(of_base64(e.b64_json) == ("PNG", (1024, 1024)) for e in events)
    record = posthouse.call(raw.headers["x-request-id"])
    assert record["streamed"] is True
    assert record["usage"] == {"input": 2, "image_output": 472, "image": 1}


def test_an_edit_takes_several_pictures_and_a_mask(
    posthouse: Posthouse, sdk: openai.OpenAI, picture: tuple[str, bytes]
) -> None:
    reply = sdk.images.with_raw_response.edit(
        model=BY_TOKENS,
        image=[picture, picture],
        mask=picture,
        prompt="add a hat",
        quality="low",
    )
    made = reply.parse()
    assert made.data is not None
    assert of_base64(made.data[0].b64_json) == ("PNG", (1024, 1024))
    record = posthouse.call(reply.headers["x-request-id"])
    assert (record["operation"], record["usage"]["image_input"]) == ("image_edit", 170)


def test_an_edit_may_name_files_of_ours(
    posthouse: Posthouse, sdk: openai.OpenAI, picture: tuple[str, bytes]
) -> None:
    kept = sdk.files.create(file=picture, purpose="vision")
    body = {
        "model": BY_TOKENS,
        "prompt": "add a hat",
        "images": [{"file_id": kept.id}],
        "mask": {"file_id": kept.id},
    }
    reply = sdk.post("/images/edits", cast_to=object, body=body)
    assert isinstance(reply, dict)
    assert of_base64(reply["data"][0]["b64_json"]) == ("PNG", (1024, 1024))
    body["images"] = [{"file_id": "file-nobodys"}]
    with pytest.raises(openai.BadRequestError) as caught:
        sdk.post("/images/edits", cast_to=object, body=body)
    assert caught.value.code == "file_not_found"


def test_an_edit_is_streamed(sdk: openai.OpenAI, picture: tuple[str, bytes]) -> None:
    stream = sdk.images.edit(
        model=BY_TOKENS,
        image=picture,
        prompt="add a hat",
        stream=True,
        partial_images=1,
    )
    kinds = [event.type for event in stream]
    assert kinds == ["image_edit.partial_image", "image_edit.completed"]


def test_a_variation_is_made(
    posthouse: Posthouse, sdk: openai.OpenAI, picture: tuple[str, bytes]
) -> None:
    # The SDK says that OpenAI will not have them for ever.
    with pytest.deprecated_call():
        reply = sdk.images.with_raw_response.create_variation(
            model=BY_PIECE,
            image=picture,
            n=2,
            size="256x256",
            response_format="b64_json",
        )
    made = reply.parse().data or []
    assert [of_base64(one.b64_json) for one in made] == [("PNG", (256, 256))] * 2
    record = posthouse.call(reply.headers["x-request-id"])
    assert record["operation"] == "image_variation"
    assert record["usage"] == {"image": 2}


def test_azures_sdk_names_the_model_in_the_path(
    posthouse: Posthouse, picture: tuple[str, bytes]
) -> None:
    with openai.AzureOpenAI(
        azure_endpoint=posthouse.url, api_key=KEY, api_version="2025-04-01-preview"
    ) as sdk:
        made = sdk.images.generate(model=BY_TOKENS, prompt="a fox")
        assert made.data is not None
        changed = sdk.images.edit(model=BY_TOKENS, image=picture, prompt="a hat")
        assert changed.data is not None


def test_a_refusal_of_the_provider_reaches_the_caller(sdk: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        sdk.images.generate(model=BY_PIECE, prompt="sandbox:content-filter a fox")
    assert caught.value.code == "content_policy_violation"


def test_a_chat_model_makes_no_pictures(sdk: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError):
        sdk.images.generate(model="sandbox", prompt="a fox")


def test_a_batch_makes_pictures(posthouse: Posthouse, sdk: openai.OpenAI) -> None:
    body = {"model": BY_PIECE, "prompt": "a fox", "response_format": "b64_json"}
    line = {
        "custom_id": "one",
        "method": "POST",
        "url": "/v1/images/generations",
        "body": {**body, "size": "64x64"},
    }
    data = json.dumps(line).encode()
    file = sdk.files.create(file=("lines.jsonl", data), purpose="batch")
    batch = sdk.batches.create(
        input_file_id=file.id,
        endpoint="/v1/images/generations",
        completion_window="24h",
    )
    end = time.monotonic() + 30
    while batch.status != "completed" and time.monotonic() < end:
        time.sleep(0.2)
        batch = sdk.batches.retrieve(batch.id)
    assert batch.status == "completed", batch.errors
    answer = json.loads(sdk.files.content(batch.output_file_id or "").content)
    made = answer["response"]["body"]["data"][0]
    assert of_base64(made["b64_json"]) == ("PNG", (64, 64))

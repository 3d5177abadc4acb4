"""The sandbox's pictures: real files of the size asked for, on every route."""

import base64
import io
from typing import Any

from openai.types import ImagesResponse
from PIL import Image
from tests.support.cases import each
from tests.support.sandbox import Played, ask, request, take_apart

from posthouse.model.exchange import Timeouts, UpstreamRequest
from posthouse.providers.sandbox import play
from posthouse.wire.multipart import Form, Part, render_form

BY_TOKENS = "sandbox-image-tokens"


def generation(**body: Any) -> Played:
    return ask(
        "/images/generations",
        **{"model": "sandbox-image", "prompt": "a fox", "size": "64x48", **body},
    )


def sent(path: str, *parts: Part) -> Played:
    payload = render_form(Form(parts))
    headers = ((b"content-type", payload.content_type),)
    asked = UpstreamRequest(
        "POST", "sandbox://local", f"/v1{path}", headers, payload.data, Timeouts()
    )
    return take_apart(play(asked))


def text(name: str, value: str) -> Part:
    return Part(name, value.encode())


def opened(data: str) -> "Image.Image":
    image = Image.open(io.BytesIO(base64.b64decode(data)))
    image.load()
    return image


def a_picture() -> bytes:
    return base64.b64decode(
        generation(response_format="b64_json").document["data"][0]["b64_json"]
    )


def file(name: str = "image", data: bytes | None = None) -> Part:
    return Part(name, a_picture() if data is None else data, "a.png", b"image/png")


@each("size", ["16x16", "64x48", "1024x1024", "1536x1024"])
def test_a_picture_is_a_png_of_the_size_asked_for(size: str) -> None:
    played = generation(size=size, response_format="b64_json")
    picture = opened(played.document["data"][0]["b64_json"])
    assert (f"{picture.width}x{picture.height}", picture.format) == (size, "PNG")


def test_the_reply_is_what_the_sdk_declares() -> None:
    played = generation(model=BY_TOKENS, n=2, quality="low")
    reply = ImagesResponse.model_validate_json(played.body, strict=True)
    assert reply.data is not None
    assert reply.usage is not None
    assert len(reply.data) == 2
    assert reply.usage.total_tokens == (
        reply.usage.input_tokens + reply.usage.output_tokens
    )


def test_pictures_of_one_reply_differ_and_those_of_equal_requests_do_not() -> None:
    once = generation(n=2, response_format="b64_json").document["data"]
    again = generation(n=2, response_format="b64_json").document["data"]
    assert once == again
    assert once[0]["b64_json"] != once[1]["b64_json"]


def test_a_url_is_given_unless_base64_is_asked_for() -> None:
    url = generation().document["data"][0]["url"]
    head, _, data = url.partition(",")
    assert head == "data:image/png;base64"
    assert opened(data).size == (64, 48)


def test_a_stream_has_partial_pictures_and_whole_ones() -> None:
    played = generation(model=BY_TOKENS, stream=True, partial_images=2)
    kinds = [event["type"] for event in played.events]
    assert kinds == ["image_generation.partial_image"] * 2 + [
        "image_generation.completed"
    ]
    assert [event.get("partial_image_index") for event in played.events] == [0, 1, None]
    assert played.events[-1]["usage"]["output_tokens"] > 200
    assert all(opened(event["b64_json"]).size == (64, 48) for event in played.events)


def test_an_edit_takes_a_form_with_several_pictures_and_a_mask() -> None:
    played = sent(
        "/images/edits",
        text("model", BY_TOKENS),
        text("prompt", "add a hat"),
        text("n", "2"),
        text("size", "32x32"),
        file("image[]"),
        file("image[]"),
        file("mask"),
    )
    assert len(played.document["data"]) == 2
    assert played.document["usage"]["input_tokens_details"]["image_tokens"] == 170


def test_a_variation_takes_a_form_without_a_prompt() -> None:
    played = sent("/images/variations", text("model", "sandbox-image"), file("image"))
    assert "revised_prompt" not in played.document["data"][0]


@each(
    ("body", "param"),
    [
        ({"prompt": None}, "prompt"),
        ({"model": None}, "model"),
        ({"size": "1x1"}, "size"),
        ({"size": "huge"}, "size"),
        ({"size": "3840x3840", "n": 2}, "size"),
        ({"n": 11}, "n"),
        ({"output_format": "webp"}, "output_format"),
        ({"model": BY_TOKENS, "response_format": "url"}, "response_format"),
    ],
)
def test_what_cannot_be_made_is_refused(body: dict[str, Any], param: str) -> None:
    played = generation(**body)
    assert (played.status, played.document["error"]["param"]) == (400, param)


def test_an_unsafe_prompt_is_refused_on_demand() -> None:
    played = generation(prompt="sandbox:content-filter a fox")
    assert played.document["error"]["code"] == "content_policy_violation"


def test_what_is_no_picture_is_refused() -> None:
    played = sent(
        "/images/variations",
        text("model", "sandbox-image"),
        file(data=b"<html>"),
    )
    assert played.document["error"]["code"] == "invalid_image_file"


def test_a_form_that_is_cut_off_is_refused() -> None:
    payload = render_form(Form((text("model", "sandbox-image"), file())))
    headers = ((b"content-type", payload.content_type),)
    broken = payload.data[:-20]
    asked = UpstreamRequest("POST", "", "/v1/images/edits", headers, broken, Timeouts())
    assert take_apart(play(asked)).status == 400


def test_a_fault_is_played_as_everywhere() -> None:
    assert generation(prompt="sandbox:error-503 a fox").status == 503
    played = take_apart(
        play(request("/images/generations", {"model": "sandbox-image:html"}))
    )
    assert played.headers["content-type"] == "text/html"

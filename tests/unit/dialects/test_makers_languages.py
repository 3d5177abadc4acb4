"""Makers' own languages: what their requests are judged to be, and their traps."""

import base64
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.cases import each

from posthouse.dialects.base import Answer, ParsedRequest, make_edits, write_body
from posthouse.dialects.openai.vendor_images import VendorImages
from posthouse.errors import (
    InvalidRequest,
    NotFound,
    UpstreamBadResponse,
    UpstreamFault,
    UpstreamRejected,
)
from posthouse.model.call import Operation
from posthouse.model.catalog import Quirks
from posthouse.relay.prepare import find_dialect
from posthouse.wire.multipart import Form, Part, read_form, render_form

JSON = b"application/json"
PNG = b"\x89PNG\r\n\x1a\n"
TEXT = base64.b64encode(PNG).decode()


def dialect(name: str) -> VendorImages:
    found = find_dialect(name)
    assert isinstance(found, VendorImages)
    return found


IDEOGRAM = dialect("ideogram_images")
RECRAFT = dialect("recraft_images")
STABILITY = dialect("stability_images")
GEMINI = dialect("gemini_image")
QWEN = dialect("qwen_image")
NATIVE = (IDEOGRAM, RECRAFT, STABILITY)


def text(name: str, value: str) -> Part:
    return Part(name, value.encode())


def file(name: str) -> Part:
    return Part(name, PNG, "a.png", b"image/png")


def asked(
    of: VendorImages, path: str, body: Any, *, raw: bool = False
) -> ParsedRequest:
    if isinstance(body, tuple):
        payload = render_form(Form(body))
        return of.parse_native(path, payload.content_type, payload.data, raw=raw)
    return of.parse_native(path, JSON, json.dumps(body).encode(), raw=raw)


def read(of: VendorImages, request: ParsedRequest, body: Any) -> Any:
    return of.parse_answer(request, Answer((), json.dumps(body).encode()), None)


# --- Ideogram ---------------------------------------------------------------------


@each(
    "case",
    [
        ("/generate", {"image_request": {"prompt": "p"}}, "V_2", None, "image"),
        (
            "/generate",
            {"image_request": {"prompt": "p", "model": "V_1"}},
            "V_1",
            None,
            "image",
        ),
        (
            "/edit",
            (file("image_file"), text("model", "V_2A")),
            "V_2A",
            None,
            "image_edit",
        ),
        (
            "/remix",
            (file("image_file"), text("image_request", '{"model":"V_1"}')),
            "V_1",
            None,
            "image_edit",
        ),
        ("/upscale", (file("image_file"),), "ideogram-upscale", None, "image_edit"),
        ("/describe", (file("image_file"),), "ideogram-describe", None, "image_edit"),
        (
            "/v1/ideogram-v3/generate",
            {"prompt": "p", "rendering_speed": "TURBO"},
            "V_3",
            "TURBO",
            "image",
        ),
        (
            "/v1/ideogram-v3/generate-transparent",
            (text("prompt", "p"),),
            "V_3",
            "DEFAULT/transparent",
            "image",
        ),
        (
            "/v1/ideogram-v3/edit",
            (file("image"), file("character_reference_images")),
            "V_3",
            "DEFAULT/character",
            "image_edit",
        ),
        ("/v1/ideogram-v4/generate", {"prompt": "p"}, "V_4", "DEFAULT", "image"),
    ],
)
def test_ideograms_path_or_body_names_the_model(case: Any) -> None:
    path, body, model, tier, operation = case
    request = asked(IDEOGRAM, path, body)
    assert (request.model, request.service_tier) == (model, tier)
    assert request.operation == operation
    assert IDEOGRAM.target_of(request) == path


def test_ideograms_count_is_judged_wherever_it_stands() -> None:
    body = {"image_request": {"prompt": "p", "num_images": 8}}
    assert asked(IDEOGRAM, "/generate", body).counted == {"image": 8}
    wrapped = text("image_request", '{"num_images":3}')
    assert asked(IDEOGRAM, "/remix", (file("image_file"), wrapped)).choices == 3
    for bad in (0, 9, -1, 1.5, "2", [1]):
        body["image_request"]["num_images"] = bad
        with pytest.raises(InvalidRequest):
            asked(IDEOGRAM, "/generate", body)


@each("wrapped", ["x", 5, [], '{"a":', '"[]"'])
def test_ideograms_wrapping_must_hold_an_object(wrapped: Any) -> None:
    with pytest.raises(InvalidRequest):
        asked(IDEOGRAM, "/generate", {"image_request": wrapped})


def test_ideograms_model_is_renamed_where_it_stands() -> None:
    edits = make_edits("V_2_TURBO", Quirks())
    body = {"image_request": {"prompt": "p", "model": "V_2", "seed": 1}, "kept": 1.5}
    sent = write_body(IDEOGRAM, asked(IDEOGRAM, "/generate", body), edits)
    body["image_request"] = {"prompt": "p", "model": "V_2_TURBO", "seed": 1}
    assert json.loads(sent.data) == body
    form = (file("image_file"), text("model", "V_2"), text("new", "1.10"))
    sent = write_body(IDEOGRAM, asked(IDEOGRAM, "/edit", form), edits)
    found = read_form(sent.content_type, sent.data).parts
    assert found == (form[0], text("model", "V_2_TURBO"), form[2])


def test_ideograms_unsafe_pictures_are_no_error_and_not_counted() -> None:
    request = asked(IDEOGRAM, "/generate", {"image_request": {"prompt": "p"}})
    reply = read(IDEOGRAM, request, {"data": [{"url": None, "is_image_safe": False}]})
    assert reply.usage.counted == {"image": 0}


# --- Recraft ----------------------------------------------------------------------


@each(
    "case",
    [
        ("generations", {}, None, "image"),
        ("generations", {"style": "vector_illustration"}, "vector", "image"),
        ("generations", {"style": "icon"}, "vector", "image"),
        ("generations", {"model": "recraftv3_vector"}, "vector", "image"),
        ("imageToImage", {"style": "realistic_image"}, None, "image_edit"),
        ("vectorize", {}, "vectorize", "image_edit"),
        ("creativeUpscale", {"n": "5"}, "creativeUpscale", "image_edit"),
    ],
)
def test_recrafts_price_is_of_what_is_done(case: Any) -> None:
    path, members, tier, operation = case
    parts = tuple(text(name, value) for name, value in members.items())
    body = (*parts, file("image")) if path != "generations" else members
    request = asked(RECRAFT, f"/v1/images/{path}", body)
    assert (request.service_tier, request.operation) == (tier, operation)
    assert request.model.startswith("recraftv3")
    assert request.counted == {"image": 1}


def test_recrafts_model_is_named_only_where_it_was() -> None:
    edits = make_edits("recraftv2", Quirks())
    request = asked(RECRAFT, "/v1/images/vectorize", (file("file"),))
    sent = write_body(RECRAFT, request, edits)
    assert read_form(sent.content_type, sent.data).parts == (file("file"),)
    request = asked(RECRAFT, "/v1/images/generations", {"model": "m", "prompt": "p"})
    sent = write_body(RECRAFT, request, edits)
    assert json.loads(sent.data) == {"model": "recraftv2", "prompt": "p"}


# --- Stability --------------------------------------------------------------------


@each(
    "case",
    [
        ("generate/core", (text("prompt", "p"),), "stable-image-core", "image"),
        ("generate/ultra", (text("prompt", "p"),), "stable-image-ultra", "image"),
        ("generate/sd3", (text("prompt", "p"),), "sd3.5-large", "image"),
        (
            "generate/sd3",
            (text("model", "sd3.5-medium"), text("mode", "image-to-image")),
            "sd3.5-medium",
            "image_edit",
        ),
        ("edit/erase", (file("image"),), "stable-image-erase", "image_edit"),
        (
            "control/sketch",
            (file("image"),),
            "stable-image-control-sketch",
            "image_edit",
        ),
        ("upscale/fast", (file("image"),), "stable-image-upscale-fast", "image_edit"),
    ],
)
def test_stabilitys_path_names_the_model(case: Any) -> None:
    path, body, model, operation = case
    request = asked(STABILITY, f"/v2beta/stable-image/{path}", body)
    assert (request.model, request.operation) == (model, operation)


def test_stabilitys_engines_have_samples() -> None:
    body = {"text_prompts": [{"text": "a"}, {"text": "b"}], "samples": 4}
    path = "/v1/generation/stable-diffusion-xl-1024-v1-0/text-to-image"
    request = asked(STABILITY, path, body)
    assert request.model == "stable-diffusion-xl-1024-v1-0"
    assert request.counted == {"image": 4}
    assert STABILITY.prompt_text(request) == "a\nb"


def test_a_blurred_picture_is_given_to_who_speaks_stabilitys_language() -> None:
    path, body = "/v2beta/stable-image/generate/core", (text("prompt", "p"),)
    blurred = {"image": TEXT, "finish_reason": "CONTENT_FILTERED", "seed": 7}
    reply = read(STABILITY, asked(STABILITY, path, body, raw=True), blurred)
    assert (reply.body, reply.content_type) == (PNG, b"image/png")
    assert dict(reply.headers) == {b"finish-reason": b"CONTENT_FILTERED", b"seed": b"7"}
    reply = read(STABILITY, asked(STABILITY, path, body), blurred)
    assert json.loads(reply.body) == blurred
    assert reply.usage.counted == {"image": 1}


def test_a_refusal_of_the_content_is_no_trouble_with_our_key() -> None:
    body = b'{"id":"1","name":"content_moderation","errors":["flagged"]}'
    fault = STABILITY.parse_error(403, body)
    assert isinstance(fault, UpstreamRejected)
    body = b'{"id":"1","name":"permission_denied","errors":["no"]}'
    assert not isinstance(STABILITY.parse_error(403, body), UpstreamRejected)


# --- Gemini and Qwen ----------------------------------------------------------------


@each(
    "reply",
    [
        {"promptFeedback": {"blockReason": "SAFETY"}},
        {"candidates": [{"finishReason": "IMAGE_SAFETY"}]},
        {"candidates": [{"finishReason": "NO_IMAGE"}]},
        {"candidates": [{"content": {"parts": [{"text": "no"}]}}]},
        {
            "candidates": [
                {
                    "content": {
                        "parts": [{"thought": True, "inlineData": {"data": TEXT}}]
                    }
                }
            ]
        },
    ],
)
def test_gemini_may_answer_without_a_picture(reply: Any) -> None:
    """A draft among the thoughts is none."""
    nothing: Any = None
    with pytest.raises(UpstreamRejected):
        read(GEMINI, nothing, reply)


def test_geminis_thoughts_are_paid_as_what_they_are() -> None:
    nothing: Any = None
    metadata = {
        "promptTokenCount": 6,
        "candidatesTokenCount": 1300,
        "thoughtsTokenCount": 200,
        "candidatesTokensDetails": [
            {"modality": "IMAGE", "tokenCount": 1290},
            {"modality": "TEXT", "tokenCount": 10},
        ],
    }
    parts = [{"inlineData": {"mimeType": "image/png", "data": TEXT}}]
    reply = {"candidates": [{"content": {"parts": parts}}], "usageMetadata": metadata}
    usage = read(GEMINI, nothing, reply).usage
    assert (usage.output, usage.reasoning, usage.image_output) == (1500, 200, 1290)


def test_qwens_pictures_are_judged_and_counted() -> None:
    content = [{"image": "https://files.example/1.png"}, {"text": "a hat"}]
    body = {
        "model": "qwen-image-edit",
        "input": {"messages": [{"role": "user", "content": content}]},
        "parameters": {"n": 2},
    }
    request = QWEN.parse_request(json.dumps(body).encode())
    assert request.operation is Operation.IMAGE_EDIT
    assert (request.counted, request.prompt.images) == ({"image": 2}, 1)
    for parameters in ({"n": 7}, {"n": "x"}, [], {"N": 2}):
        bad = {**body, "parameters": parameters}
        with pytest.raises(InvalidRequest):
            QWEN.parse_request(json.dumps(bad).encode())


# --- all --------------------------------------------------------------------------


@each("of", NATIVE, ids=lambda of: of.name)
def test_other_paths_lead_nowhere(of: VendorImages) -> None:
    for path in (
        "/",
        "/v1/users/me",
        "/v1/images/../users",
        "/v2beta/stable-image/upscale/strange",
        "/v2beta/results/1",
        "/v1/generation//text-to-image",
        "/v1/generation/../x/text-to-image",
        "/v1/ideogram-v3/",
        "/v1/ideogram-v3/../manage",
    ):
        with pytest.raises(NotFound):
            asked(of, path, {})


@pytest.mark.parametrize("of", [*NATIVE, GEMINI, QWEN], ids=lambda of: of.name)
@given(body=st.binary(max_size=200))
def test_no_reply_does_harm(of: VendorImages, body: bytes) -> None:
    request = asked(RECRAFT, "/v1/images/generations", {"prompt": "p"})
    with pytest.raises(UpstreamFault):
        of.parse_answer(request, Answer((), body), None)


@each("of", [*NATIVE, GEMINI, QWEN], ids=lambda of: of.name)
@each("body", [{}, [], {"data": []}, {"error": "no"}, {"image": 5}])
def test_a_reply_without_pictures_is_a_failure(of: VendorImages, body: Any) -> None:
    request = asked(RECRAFT, "/v1/images/generations", {"prompt": "p"})
    if of is IDEOGRAM and body == {"data": []}:
        assert read(of, request, body).usage.counted == {"image": 0}
        return
    with pytest.raises((UpstreamBadResponse, UpstreamFault)):
        read(of, request, body)


@each("of", NATIVE, ids=lambda of: of.name)
def test_what_is_asked_at_no_path_is_refused(of: VendorImages) -> None:
    with pytest.raises(InvalidRequest):
        of.parse_request(b"{}")

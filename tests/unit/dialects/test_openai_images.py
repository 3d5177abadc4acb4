"""OpenAI's pictures: what is judged of a request, and read of a reply and a stream."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.cases import each

from posthouse.dialects.base import Answer, MediaDialect, make_edits, write_body
from posthouse.errors import (
    InvalidRequest,
    UpstreamBadResponse,
    UpstreamFault,
    UpstreamRejected,
)
from posthouse.model.call import Operation
from posthouse.model.catalog import Quirks
from posthouse.model.usage import ReportedUsage
from posthouse.relay.prepare import find_dialect
from posthouse.wire.multipart import Form, Part, read_form, render_form
from posthouse.wire.sse import FrameTooLarge

NOTHING_ELSE = make_edits("other", Quirks())


def dialect(name: str) -> MediaDialect:
    found = find_dialect(name)
    assert isinstance(found, MediaDialect)
    return found


GENERATIONS = dialect("openai_images")
EDITS = dialect("openai_image_edits")
VARIATIONS = dialect("openai_image_variations")


def generation(**members: Any) -> Any:
    body = {"model": "m", "prompt": "a fox", **members}
    return GENERATIONS.parse_request(json.dumps(body).encode())


def text(name: str, value: str) -> Part:
    return Part(name, value.encode())


def file(name: str = "image", data: bytes = b"\x89PNG\r\n--b\r\n") -> Part:
    return Part(name, data, "a.png", b"image/png")


def sent(to: MediaDialect, *parts: Part) -> Any:
    payload = render_form(Form(parts))
    return to.parse_form(payload.content_type, payload.data)


USUAL = (text("model", "m"), text("prompt", "a hat"), file())

# --- requests ---------------------------------------------------------------------


def test_what_a_call_costs_is_judged() -> None:
    request = generation(n=3, size="1024x1792", quality="hd")
    assert request.operation is Operation.IMAGE
    assert (request.choices, request.counted) == (3, {"image": 3})
    assert request.service_tier == "hd/1024x1792"
    assert generation().service_tier == "standard/1024x1024"
    assert generation(size="auto", quality="auto").service_tier == (
        generation().service_tier
    )


@each(
    ("members", "least"),
    [
        ({"quality": "low", "size": "1024x1024"}, 272),
        ({"quality": "low", "size": "1536x1024"}, 408),
        ({"quality": "medium", "size": "1024x1024"}, 1056),
        ({"quality": "high", "size": "1024x1536"}, 6240),
        ({}, 6240),
        ({"quality": "high", "size": "2048x2048"}, 16640),
        ({"quality": "low", "partial_images": 3, "stream": True}, 708),
    ],
)
def test_no_picture_takes_more_tokens_than_are_held_for(
    members: Any, least: int
) -> None:
    limit = generation(**members).output_limit
    assert least <= limit <= least + 2500


def test_no_size_makes_a_hold_without_bounds() -> None:
    assert generation(size="99999x99999", quality="high").output_limit < 40_000
    assert generation(size="x" * 32).output_limit < 10_000


@each(
    ("members", "param"),
    [
        ({"prompt": None}, "prompt"),
        ({"prompt": ""}, "prompt"),
        ({"prompt": 5}, "prompt"),
        ({"prompt": "x" * 32_001}, "prompt"),
        ({"model": None}, "model"),
        ({"n": 0}, "n"),
        ({"n": 11}, "n"),
        ({"n": -1}, "n"),
        ({"n": 1.5}, "n"),
        ({"n": "2"}, "n"),
        ({"n": 2**64}, "n"),
        ({"size": 5}, "size"),
        ({"size": "a\nb"}, "size"),
        ({"size": "9" * 40}, "size"),
        ({"quality": []}, "quality"),
        ({"stream": "yes"}, "stream"),
        ({"partial_images": 4}, "partial_images"),
        ({"partial_images": -1}, "partial_images"),
        ({"response_format": "png"}, "response_format"),
        ({"output_compression": "1"}, "output_compression"),
        ({"N": 10}, "N"),
        ({"Size": "1024x1792"}, "Size"),
        ({"Quality": "hd"}, "Quality"),
    ],
)
def test_what_money_needs_is_checked(members: Any, param: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        generation(**members)
    assert caught.value.param == param


def test_an_edit_is_a_form_or_json() -> None:
    request = sent(EDITS, *USUAL, file("image"), file("mask"), text("n", "2"))
    assert request.operation is Operation.IMAGE_EDIT
    assert (request.prompt.images, request.choices) == (3, 2)
    body = {
        "model": "m",
        "prompt": "a hat",
        "images": [{"image_url": "https://files.example/1"}, {"file_id": "f"}],
    }
    request = EDITS.parse_request(json.dumps(body).encode())
    assert request.prompt.images == 2


@each(
    ("parts", "param"),
    [
        ((text("model", "m"), text("prompt", "x")), "image"),
        ((text("model", "m"), file()), "prompt"),
        ((text("prompt", "x"), file()), "model"),
        ((*USUAL, *(file("image[]") for _ in range(16))), "image"),
        ((*USUAL, text("n", "99")), "n"),
        ((*USUAL, text("n", "two")), "n"),
        ((*USUAL, text("n", "02")), "n"),
        ((*USUAL, text("model", "other")), "model"),
        ((*USUAL, text("Model", "other")), "Model"),
        ((*USUAL, Part("prompt2", b"\xff")), "prompt2"),
    ],
)
def test_a_form_is_judged_as_json_is(parts: Any, param: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        sent(EDITS, *parts)
    assert caught.value.param == param


def test_sixteen_pictures_are_taken() -> None:
    parts = [text("model", "m"), text("prompt", "x")]
    request = sent(EDITS, *parts, *(file("image[]") for _ in range(16)))
    assert request.prompt.images == 16


def test_a_variation_is_of_one_picture() -> None:
    assert sent(VARIATIONS, text("model", "m"), file()).prompt.images == 1
    with pytest.raises(InvalidRequest):
        sent(VARIATIONS, text("model", "m"), file(), file())
    with pytest.raises(InvalidRequest):
        VARIATIONS.parse_request(b'{"model":"m"}')


def test_generations_take_no_form() -> None:
    with pytest.raises(Exception, match="not supported"):
        sent(GENERATIONS, *USUAL)


def test_a_form_goes_on_with_its_parts_to_the_byte() -> None:
    unknown = Part("new[]", b"\x00\xff", "x", b"application/x-new")
    parts = (*USUAL, text("new", " 1.10"), unknown, file("mask", b"--\r\n"))
    request = sent(EDITS, *parts)
    same = write_body(EDITS, request, make_edits("m", Quirks()))
    assert read_form(same.content_type, same.data).parts == parts
    renamed = write_body(EDITS, request, NOTHING_ELSE)
    found = read_form(renamed.content_type, renamed.data).parts
    assert found == (text("model", "other"), *parts[1:])


def test_a_channels_edits_reach_a_form() -> None:
    request = sent(EDITS, *USUAL, text("user", "u"), text("size", "auto"))
    edits = make_edits(
        "m", Quirks(rename={"user": "user_id"}), {"quality": "low"}, ("size",)
    )
    body = write_body(EDITS, request, edits)
    found = {
        part.name: part.value for part in read_form(body.content_type, body.data).parts
    }
    assert found.keys() == {"model", "prompt", "image", "user_id", "quality"}
    assert (found["user_id"], found["quality"]) == (b"u", b"low")


@each("model", ["gpt-image-1", "chatgpt-image-latest", "gpt-image-2"])
def test_models_that_refuse_to_be_told_the_form_are_not_told(model: str) -> None:
    edits = make_edits(model, Quirks())
    body = write_body(GENERATIONS, generation(response_format="url"), edits)
    assert "response_format" not in json.loads(body.data)
    request = sent(EDITS, *USUAL, text("response_format", "url"))
    assert request.wants_base64 is False
    form = write_body(EDITS, request, edits)
    assert b"response_format" not in form.data


@given(st.binary(max_size=400), st.binary(max_size=60))
def test_no_form_does_harm(body: bytes, boundary: bytes) -> None:
    kind = b"multipart/form-data; boundary=" + boundary
    for one in (EDITS, VARIATIONS):
        with pytest.raises(InvalidRequest):
            one.parse_form(kind, body)


def test_a_form_cut_off_anywhere_is_refused() -> None:
    payload = render_form(Form(USUAL))
    for at in range(len(payload.data) - 3):
        with pytest.raises(InvalidRequest):
            EDITS.parse_form(payload.content_type, payload.data[:at])


@pytest.mark.parametrize(
    "kind", [b"multipart/form-data; boundary=other", b"multipart/form-data; boundary="]
)
def test_a_form_of_another_boundary_is_refused(kind: bytes) -> None:
    with pytest.raises(InvalidRequest):
        EDITS.parse_form(kind, render_form(Form(USUAL)).data)


# --- replies ----------------------------------------------------------------------


def read(body: Any, request: Any = None, model: str | None = None) -> Any:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return GENERATIONS.parse_answer(request or generation(), Answer((), data), model)


def test_a_reply_passes_and_is_counted() -> None:
    body = b'{"created":1,"data":[{"url":"u"},{"b64_json":"QQ=="}],"new":1.10}'
    found = read(body)
    assert found.body == body
    assert found.usage == ReportedUsage(counted={"image": 2})
    assert found.service_tier == "standard/1024x1024"


def test_a_reply_tells_what_was_really_made() -> None:
    body = {"data": [{"url": "u"}], "size": "1792x1024", "quality": "hd"}
    assert read(body).service_tier == "hd/1792x1024"


def test_tokens_are_read_by_what_they_are_of() -> None:
    usage = {
        "input_tokens": 50,
        "output_tokens": 300,
        "total_tokens": 350,
        "input_tokens_details": {"text_tokens": 10, "image_tokens": 40},
    }
    assert read({"data": [{"url": "u"}], "usage": usage}).usage == ReportedUsage(
        input=50, output=300, image_input=40, image_output=300, counted={"image": 1}
    )
    usage["output_tokens_details"] = {"image_tokens": 272, "text_tokens": 28}
    assert read({"data": [{"url": "u"}], "usage": usage}).usage.image_output == 272


@each(
    "body",
    [
        *(b"", b"<html>", b"[]", b"{}", b'{"data":{}}', b'{"data":[]}'),
        *(b'{"data":[{}]}', b'{"data":[1]}', b'{"data":"x"}'),
        b'{"data":[{"url":null,"b64_json":""}]}',
    ],
)
def test_a_reply_without_a_picture_is_none(body: bytes) -> None:
    with pytest.raises(UpstreamBadResponse):
        read(body)


def test_pictures_that_all_failed_are_an_error() -> None:
    error = {"code": "OutputImageSensitiveContentDetected", "message": "unsafe"}
    with pytest.raises(UpstreamRejected):
        read({"data": [{"error": error}]})
    found = read({"data": [{"error": error}, {"url": "u"}]})
    assert found.usage.counted == {"image": 1}


def test_an_error_of_status_200_is_told() -> None:
    with pytest.raises(UpstreamFault):
        read({"error": {"message": "no", "code": "server_error"}})


# --- streams ----------------------------------------------------------------------


def event(kind: str, **members: Any) -> bytes:
    data = json.dumps({"type": kind, "b64_json": "QQ==", **members})
    return f"event: {kind}\ndata: {data}\n\n".encode()


PARTIAL = event("image_generation.partial_image", partial_image_index=0)
USAGE = {"input_tokens": 5, "output_tokens": 300, "total_tokens": 305}
COMPLETED = event("image_generation.completed", usage=USAGE, size="1024x1024")


def tapped(stream: bytes, **members: Any) -> Any:
    tap = GENERATIONS.tap_answer(generation(stream=True, **members), (), None)
    assert tap is not None
    frames = GENERATIONS.frames_of(generation())
    found = [tap.feed(*frame) for frame in frames.feed(stream)]
    found += [tap.feed(*frame) for frame in frames.close()]
    return tap, found


def test_the_last_picture_ends_a_stream() -> None:
    tap, found = tapped(PARTIAL + COMPLETED)
    assert [frame.terminal for frame in found] == [False, True]
    assert b"".join(frame.raw for frame in found) == PARTIAL + COMPLETED
    assert tap.usage.counted == {"image": 1}
    assert tap.usage.output == 300


def test_every_picture_is_waited_for() -> None:
    tap, found = tapped(COMPLETED + COMPLETED, n=2)
    assert [frame.terminal for frame in found] == [False, True]
    assert tap.usage.counted == {"image": 2}


def test_a_partial_picture_counts_as_what_it_costs() -> None:
    tap, _ = tapped(PARTIAL * 3)
    assert tap.output_bytes == 3 * 100 * 3
    assert tap.close() is None
    assert tap.usage == ReportedUsage(
        output=300, image_output=300, counted={"image": 0}
    )


def test_an_error_event_is_an_error() -> None:
    error = b'event: error\ndata: {"type":"error","error":{"message":"no"}}\n\n'
    with pytest.raises(UpstreamFault):
        tapped(PARTIAL + error)
    with pytest.raises(UpstreamBadResponse):
        tapped(b"data: {no json\n\n")


def test_a_provider_without_streams_is_read_whole() -> None:
    request = generation(stream=True)
    headers = ((b"content-type", b"application/json; charset=utf-8"),)
    assert GENERATIONS.tap_answer(request, headers, None) is None
    found = read({"created": 7, "data": [{"b64_json": "QQ=="}]}, request)
    assert found.content_type.startswith(b"text/event-stream")
    tap, frames = tapped(found.body)
    assert [frame.terminal for frame in frames] == [True]
    assert tap.finished


def test_an_event_may_be_large_but_not_without_bounds() -> None:
    frames = GENERATIONS.frames_of(generation())
    large = b"data: " + b"x" * (20 * 1024 * 1024)
    assert frames.feed(large) == []
    with pytest.raises(FrameTooLarge):
        frames.feed(b"x" * (30 * 1024 * 1024))


def test_fewer_pictures_than_asked_for_are_what_there_is() -> None:
    tap, _ = tapped(COMPLETED, n=2)
    last = tap.close()
    assert last is not None
    assert (last.raw, last.terminal) == (b"", True)
    assert tap.usage.counted == {"image": 1}


def test_pictures_beside_a_prompt_are_counted() -> None:
    assert generation(image="https://files.example/1.png").prompt.images == 1
    assert generation(image=["a", "b"]).prompt.images == 2
    for odd in (5, [5], {"url": "x"}, ["x"] * 17):
        with pytest.raises(InvalidRequest):
            generation(image=odd)

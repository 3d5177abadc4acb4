"""Forms on their way: texts judged, edits made, files untouched; sound as it comes."""

import pytest

from posthouse.dialects.base import TappedFrame, make_edits
from posthouse.dialects.neutral.forms import LONGEST_TEXT, edited, form_of, texts_of
from posthouse.dialects.neutral.raw_stream import RawFrames, RawTap
from posthouse.errors import InvalidRequest
from posthouse.model.catalog import Quirks
from posthouse.wire import json
from posthouse.wire.multipart import Form, Part

FILE = Part("image[]", b"\x00", "a.png", b"image/png")
FORM = Form((Part("model", b"m"), FILE, Part("n", b"2"), Part("x", b"kept")))


def test_texts_are_strings_and_lists() -> None:
    form = Form((*FORM.parts, Part("a[]", b"1"), Part("b", b"1"), Part("b", b"2")))
    assert {name: json.decode(v, object) for name, v in texts_of(form).items()} == {
        "model": "m",
        "n": "2",
        "x": "kept",
        "a": ["1"],
        "b": ["1", "2"],
    }


@pytest.mark.parametrize("value", [b"\xff", b"x" * (LONGEST_TEXT + 1)])
def test_a_text_that_is_none_is_refused(value: bytes) -> None:
    with pytest.raises(InvalidRequest) as caught:
        texts_of(Form((Part("prompt", value),)))
    assert caught.value.param == "prompt"


def test_bytes_that_are_no_form_are_refused() -> None:
    with pytest.raises(InvalidRequest):
        form_of(b"multipart/form-data; boundary=b", b"--b\r\n")


def test_edits_change_what_they_name_and_nothing_else() -> None:
    quirks = Quirks(
        rename={"image": "picture"}, drop=("n",), default={"size": json.raw("1x1")}
    )
    made = edited(FORM, make_edits("up", quirks, {"user": {"id": 1}}, ("seed",)))
    assert made.parts == (
        Part("model", b"up"),
        Part("picture[]", b"\x00", "a.png", b"image/png"),
        Part("x", b"kept"),
        Part("size", b"1x1"),
        Part("user", b'{"id":1}'),
    )


def test_the_last_piece_of_a_sound_is_held_back() -> None:
    frames, tap = RawFrames(), RawTap(b"audio/mpeg")
    given = [
        tap.feed(raw, data)
        for piece in (b"a", b"", b"b", b"c")
        for raw, data in frames.feed(piece)
    ]
    assert given == [
        TappedFrame(b""),
        TappedFrame(b"a", content=True),
        TappedFrame(b"b", content=True),
    ]
    assert frames.close() == []
    assert tap.close() == TappedFrame(b"c", content=True, terminal=True)
    assert (tap.output_bytes, tap.finished) == (3, True)
    assert tap.stream_headers == ((b"content-type", b"audio/mpeg"),)


def test_no_sound_is_no_answer() -> None:
    assert RawTap(b"audio/mpeg").close() is None

"""Forms: read and written to the byte, refused in bounded time when they are none."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.cases import each

from posthouse.wire.multipart import (
    LONGEST_HEAD,
    MOST_PARTS,
    Form,
    MalformedForm,
    Part,
    is_form,
    read_form,
    render_form,
)

NAMES = st.text(
    st.characters(codec="utf-8", exclude_characters='"\r\n\\;\0'), min_size=1
).filter(lambda name: name == name.strip())
PARTS = st.builds(
    Part,
    NAMES,
    st.binary(max_size=200),
    st.none() | NAMES,
    st.sampled_from([None, b"image/png", b"text/plain; charset=utf-8"]),
)
TYPE = b"multipart/form-data; boundary=b"
WHOLE = (
    b'--b\r\nContent-Disposition: form-data; name="model"\r\n\r\nm\r\n'
    b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.png"\r\n'
    b"Content-Type: image/png\r\n\r\n\x89PNG\r\n--bb\r\n\r\n--b--\r\n"
)


def test_a_clients_form_is_read() -> None:
    assert read_form(TYPE, WHOLE) == Form(
        (
            Part("model", b"m"),
            Part("file", b"\x89PNG\r\n--bb\r\n", "a.png", b"image/png"),
        )
    )


@given(st.lists(PARTS, max_size=5))
def test_what_is_written_is_read_again(parts: list[Part]) -> None:
    form = Form(tuple(parts))
    payload = render_form(form)
    if parts:
        assert read_form(payload.content_type, payload.data) == form


def test_the_same_form_is_the_same_body() -> None:
    """A request that is tried again is the one that was tried before."""
    form = Form((Part("a", b"1"),))
    assert render_form(form) == render_form(form)


def test_a_boundary_that_a_file_holds_is_not_taken() -> None:
    first = render_form(Form((Part("a", b"1"),)))
    mark = first.content_type.partition(b"boundary=")[2]
    form = Form((Part("a", b"\r\n--" + mark + b"--\r\n"),))
    again = render_form(form)
    assert read_form(again.content_type, again.data) == form


def test_a_name_cannot_end_its_header() -> None:
    """Else a file's name could be a header, or a part, of its own."""
    form = Form((Part('a"; x="', b"1", 'f"\r\nX-Evil: 1\r\n\r\n'),))
    payload = render_form(form)
    (part,) = read_form(payload.content_type, payload.data).parts
    assert part.value == b"1"
    assert b"\r\nX-Evil" not in payload.data


@each("control", [b"\n", b"\0"])
@each(
    "head",
    [
        b'Content-Disposition: form-data; name="a%b"',
        b'Content-Disposition: form-data; name="a"; filename="f%bX: y"',
        b'Content-Disposition: form-data; name="a"\r\nContent-Type: audio/wav%bX: y',
        b'Content-Disposition: form-data; name="a"\r\nX: %b',
    ],
)
def test_a_head_cannot_bring_a_line_of_its_own(head: bytes, control: bytes) -> None:
    """What ends lines by a line feed alone would read it as a header, or a part."""
    body = b"--b\r\n" + head % control + b"\r\n\r\n1\r\n--b--\r\n"
    with pytest.raises(MalformedForm):
        read_form(TYPE, body)


def test_a_form_that_is_cut_off_is_refused() -> None:
    for end in range(len(WHOLE) - 4):
        with pytest.raises(MalformedForm):
            read_form(TYPE, WHOLE[:end])


@each(
    ("kind", "body"),
    [
        (b"multipart/form-data", WHOLE),
        (b"multipart/mixed; boundary=b", WHOLE),
        (b"application/json", b"{}"),
        (b"multipart/form-data; boundary=" + b"b" * 300, WHOLE),
        (b"multipart/form-data; boundary=other", WHOLE),
        (TYPE, b"--b\r\nContent-Disposition: attachment\r\n\r\n1\r\n--b--\r\n"),
        (TYPE, b"--b\r\n\r\n1\r\n--b--\r\n"),
        (TYPE, b"--b\r\nX: " + b"x" * LONGEST_HEAD + b"\r\n\r\n1\r\n--b--\r\n"),
        (
            TYPE,
            b'--b\r\nContent-Disposition: form-data; name="a"\r\n\r\n1\r\n'
            * (MOST_PARTS + 1)
            + b"--b--\r\n",
        ),
    ],
)
def test_what_is_no_form_is_refused(kind: bytes, body: bytes) -> None:
    with pytest.raises(MalformedForm):
        read_form(kind, body)


@given(st.binary(max_size=300), st.integers(0, len(WHOLE)), st.integers(0, 20))
def test_damage_is_read_or_refused(noise: bytes, start: int, length: int) -> None:
    body = WHOLE[:start] + noise + WHOLE[start + length :]
    try:
        form = read_form(TYPE, body)
    except MalformedForm:
        return
    assert sum(len(part.value) for part in form.parts) <= len(body)


def test_fields_are_found_and_put() -> None:
    form = Form((Part("a", b"1"), Part("b", b"2"), Part("a", b"3")))
    assert form.first("a") == Part("a", b"1")
    assert form.first("c") is None
    assert [part.value for part in form.all("a", "b")] == [b"1", b"2", b"3"]
    assert form.with_text("c", "ü").first("c") == Part("c", "ü".encode())
    assert [part.value for part in form.with_text("a", "x").all("a")] == [b"x", b"x"]
    assert form.without("a").parts == (Part("b", b"2"),)
    with pytest.raises(MalformedForm):
        _ = Part("a", b"\xff").text


@each(
    ("kind", "expected"),
    [
        (TYPE, True),
        (b" Multipart/Form-Data; boundary=x", True),
        (b"application/json", False),
        (None, False),
    ],
)
def test_a_forms_type(kind: bytes | None, expected: bool) -> None:
    assert is_form(kind) is expected

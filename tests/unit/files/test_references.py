"""Files that a body names: all are found, and nothing else is touched."""

from base64 import b64encode
from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st
from tests.support.cases import each

from posthouse.files.records import StoredFile, clean_name
from posthouse.files.references import Content, media_type_of, names_in, with_contents

PDF = Content("a.pdf", "application/pdf", b"%PDF")
PNG = Content("a.png", "image/png", b"\x89PNG")
TEXT = Content("a.txt", "text/plain", "grün".encode())
FOUND = {"file-pdf": PDF, "file-png": PNG, "file-txt": TEXT}


def uri(content: Content) -> str:
    return f"data:{content.media_type};base64,{b64encode(content.data).decode()}"


def filled(dialect: str, body: dict[str, Any]) -> Any:
    return msgspec.json.decode(with_contents(dialect, msgspec.json.encode(body), FOUND))


@each(
    ("part", "expected"),
    [
        (
            {"type": "file", "file": {"file_id": "file-pdf"}},
            {"type": "file", "file": {"filename": "a.pdf", "file_data": uri(PDF)}},
        ),
        (
            {"type": "file", "file": {"file_id": "file-pdf", "filename": "b.pdf"}},
            {"type": "file", "file": {"filename": "b.pdf", "file_data": uri(PDF)}},
        ),
        (
            {"type": "file", "file": {"file_id": "file-png"}},
            {"type": "image_url", "image_url": {"url": uri(PNG)}},
        ),
        (
            {"type": "file", "file": {"file_id": "file-none"}},
            {"type": "file", "file": {"file_id": "file-none"}},
        ),
        ({"type": "text", "text": '"file_id"'}, {"type": "text", "text": '"file_id"'}),
    ],
)
def test_in_chats(part: dict[str, Any], expected: dict[str, Any]) -> None:
    """A picture becomes one, whatever it was called."""
    body = {"model": "m", "messages": [{"role": "user", "content": [part]}]}
    assert filled("openai_chat", body)["messages"][0]["content"] == [expected]


def test_in_responses() -> None:
    """In messages and in what tools brought."""
    file = {"type": "input_file", "file_id": "file-pdf"}
    image = {"type": "input_image", "file_id": "file-png", "detail": "high"}
    body = {
        "input": [
            {"role": "user", "content": [file, image]},
            {"type": "function_call_output", "call_id": "c", "output": [image]},
        ]
    }
    assert names_in("openai_responses", msgspec.json.encode(body)) == {
        "file-pdf",
        "file-png",
    }
    items = filled("openai_responses", body)["input"]
    picture = {"type": "input_image", "detail": "high", "image_url": uri(PNG)}
    assert items[0]["content"] == [
        {"type": "input_file", "filename": "a.pdf", "file_data": uri(PDF)},
        picture,
    ]
    assert items[1]["output"] == [picture]


def test_in_messages() -> None:
    """A text stays one; what a tool brought counts as well."""

    def block(kind: str, name: str) -> dict[str, Any]:
        return {"type": kind, "source": {"type": "file", "file_id": name}, "title": "t"}

    body = {
        "messages": [
            {"role": "user", "content": [block("document", "file-txt")]},
            {
                "role": "user",
                "content": [
                    {"type": "tool_result", "content": [block("image", "file-png")]}
                ],
            },
        ]
    }
    messages = filled("anthropic_messages", body)["messages"]
    assert messages[0]["content"] == [
        {
            "type": "document",
            "title": "t",
            "source": {"type": "text", "media_type": "text/plain", "data": "grün"},
        }
    ]
    (picture,) = messages[1]["content"][0]["content"]
    assert picture["source"] == {
        "type": "base64",
        "media_type": "image/png",
        "data": b64encode(PNG.data).decode(),
    }


def test_what_a_tool_is_given_is_no_reference() -> None:
    """However much it looks like one."""
    given_ = {"type": "document", "source": {"type": "file", "file_id": "file-pdf"}}
    body = {
        "messages": [
            {
                "role": "assistant",
                "content": [{"type": "tool_use", "name": "t", "input": given_}],
            }
        ],
        "metadata": given_,
    }
    assert names_in("anthropic_messages", msgspec.json.encode(body)) == set()
    assert filled("anthropic_messages", body) == body


def test_everything_else_stays_to_the_byte() -> None:
    """Numbers that no float holds, escapes and white space within."""
    kept = rb'{"role":"user","content":[{"type":"text","text":"\u00e9 1.10"} ,1e400]}'
    part = rb'{"type":"file","file":{"file_id":"file-pdf"}}'
    body = (
        rb'{"model":"m","big":18446744073709551616,"messages":['
        + kept
        + rb',{"role":"user","content":['
        + part
        + rb"]}]}"
    )
    changed = with_contents("openai_chat", body, FOUND)
    assert kept in changed
    assert b'"big":18446744073709551616' in changed
    assert b"file_id" not in changed


_json = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=9),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["type", "content", "source", "file", "file_id", "output"])
            | st.text(max_size=5),
            inner,
            max_size=4,
        )
    ),
    max_leaves=20,
)


@given(
    _json, st.sampled_from(["openai_chat", "openai_responses", "anthropic_messages"])
)
def test_whatever_is_there_is_read(value: Any, dialect: str) -> None:
    """Without a file in it, it stays as it is."""
    for member in ("messages", "input"):
        body = {member: value, "file_id": "x"}
        encoded = msgspec.json.encode(body)
        assert with_contents(dialect, encoded, {}) == encoded
        names_in(dialect, encoded)


@each(
    ("media_type", "filename", "expected"),
    [
        ("application/pdf", "a.txt", "application/pdf"),
        ("text/plain; charset=utf-8", "a", "text/plain"),
        ("application/octet-stream", "a.png", "image/png"),
        ("", "a.pdf", "application/pdf"),
        ("", "a", "application/octet-stream"),
    ],
)
def test_what_a_file_is(media_type: str, filename: str, expected: str) -> None:
    """What was said, else what its name says."""
    file = StoredFile("file-1", "one", filename, "user_data", media_type, 1, "b", 1)
    assert media_type_of(file) == expected


@given(st.text())
def test_a_name_is_no_path(name: str) -> None:
    """Nor does it break a line."""
    cleaned = clean_name(name)
    assert cleaned
    assert len(cleaned) <= 255
    assert not set(cleaned) & set("/\\\r\n\0")

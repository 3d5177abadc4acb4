"""Files that a call names: found in its body, and replaced by what is in them.

Pure. Only values that hold a reference are decoded; everything else stays to the
byte. References count where a dialect has its content, and nowhere else: what a
model wrote, or a tool was given, may look like one.
"""

from base64 import b64encode
from collections.abc import Callable, Mapping
from mimetypes import guess_type
from typing import Any

from msgspec import Raw, Struct

from posthouse.files.records import StoredFile
from posthouse.wire import json

MARK = b'"file_id"'
"""Without these bytes a body names no file."""
_BYTES = "application/octet-stream"
_CONTENT = frozenset({"content", "output"})
"""Members of a message or part that hold further parts."""


class Content(Struct, frozen=True):
    """What is in a file."""

    filename: str
    media_type: str
    data: bytes


Visit = Callable[[dict[str, Any]], dict[str, Any] | None]
"""Takes a part that names a file; gives another in its place, or None."""


def media_type_of(file: StoredFile) -> str:
    """Give a file's type; where nobody has said, its name does."""
    told = file.media_type.partition(";")[0].strip().lower()
    if told and told != _BYTES:
        return told
    return guess_type(file.filename, strict=False)[0] or _BYTES


def names_in(dialect: str, body: bytes) -> set[str]:
    """Give the ids of the files that a body names; it is valid JSON."""
    found: set[str] = set()

    def note(part: dict[str, Any]) -> None:
        name = _READERS[dialect](part)
        if name is not None:
            found.add(name)

    _walked(dialect, body, note)
    return found


def with_contents(dialect: str, body: bytes, found: Mapping[str, Content]) -> bytes:
    """Put files in the places of their ids; ids that are not known stay."""

    def fill(part: dict[str, Any]) -> dict[str, Any] | None:
        name = _READERS[dialect](part)
        content = None if name is None else found.get(name)
        return None if content is None else _WRITERS[dialect](part, content)

    return _walked(dialect, body, fill)


def _walked(dialect: str, body: bytes, visit: Visit | Callable[..., None]) -> bytes:
    envelope = json.decode_envelope(body)
    for member in _PLACES[dialect]:
        if member in envelope:
            envelope[member] = _walk(envelope[member], visit)
    return json.encode(envelope)


def _walk(value: Raw, visit: Visit | Callable[..., None]) -> Raw:
    """Visit the parts within a value."""
    text = bytes(value)
    if MARK not in text:
        return value
    if text[:1] == b"[":
        items = json.decode(value, list[Raw])
        return json.raw([_walk(item, visit) for item in items])
    if text[:1] != b"{":
        return value
    members = json.decode(value, dict[str, Raw])
    for name in _CONTENT & members.keys():
        members[name] = _walk(members[name], visit)
    replaced = visit(members)
    return json.raw(members if replaced is None else replaced)


def _text(members: Mapping[str, Any], name: str) -> str | None:
    """Read a member that may be a text."""
    value = members.get(name)
    if value is None or not json.opens_with(value, b'"'):
        return None
    return json.decode(value, str)


def _members(members: Mapping[str, Any], name: str) -> dict[str, Raw]:
    """Read a member that may be an object."""
    value = members.get(name)
    if value is None or not json.opens_with(value, b"{"):
        return {}
    return json.decode(value, dict[str, Raw])


def _data_uri(content: Content) -> str:
    return f"data:{content.media_type};base64,{b64encode(content.data).decode()}"


# --- OpenAI's chats -----------------------------------------------------------------


def _chat_name(part: Mapping[str, Any]) -> str | None:
    if _text(part, "type") != "file":
        return None
    return _text(_members(part, "file"), "file_id")


def _chat_part(part: dict[str, Any], content: Content) -> dict[str, Any]:
    if content.media_type.startswith("image/"):
        return {"type": "image_url", "image_url": {"url": _data_uri(content)}}
    inner: dict[str, Any] = _members(part, "file")
    inner.pop("file_id", None)
    inner.setdefault("filename", content.filename)
    return {**part, "file": {**inner, "file_data": _data_uri(content)}}


# --- OpenAI's responses ---------------------------------------------------------------


def _response_name(part: Mapping[str, Any]) -> str | None:
    if _text(part, "type") not in ("input_file", "input_image"):
        return None
    return _text(part, "file_id")


def _response_part(part: dict[str, Any], content: Content) -> dict[str, Any]:
    rest = {name: value for name, value in part.items() if name != "file_id"}
    if _text(part, "type") == "input_image":
        return {**rest, "image_url": _data_uri(content)}
    rest.setdefault("filename", content.filename)
    return {**rest, "file_data": _data_uri(content)}


# --- Anthropic's messages -------------------------------------------------------------


def _block_name(part: Mapping[str, Any]) -> str | None:
    if _text(part, "type") not in ("document", "image"):
        return None
    source = _members(part, "source")
    return _text(source, "file_id") if _text(source, "type") == "file" else None


def _block(part: dict[str, Any], content: Content) -> dict[str, Any]:
    source = {
        "type": "base64",
        "media_type": content.media_type,
        "data": b64encode(content.data).decode(),
    }
    if content.media_type.startswith("text/"):
        text = content.data.decode(errors="replace")
        source = {"type": "text", "media_type": "text/plain", "data": text}
    return {**part, "source": source}


# --- OpenAI's pictures ----------------------------------------------------------------


def _picture_name(source: Mapping[str, Any]) -> str | None:
    return _text(source, "file_id")


def _picture(_: dict[str, Any], content: Content) -> dict[str, Any]:
    return {"image_url": _data_uri(content)}


_PLACES = {
    "openai_chat": ("messages",),
    "openai_image_edits": ("images", "mask"),
    "openai_responses": ("input",),
    "anthropic_messages": ("messages",),
}
"""Where each dialect has its content; others name no files."""
_READERS = {
    "openai_chat": _chat_name,
    "openai_image_edits": _picture_name,
    "openai_responses": _response_name,
    "anthropic_messages": _block_name,
}
_WRITERS = {
    "openai_chat": _chat_part,
    "openai_image_edits": _picture,
    "openai_responses": _response_part,
    "anthropic_messages": _block,
}
DIALECTS = frozenset(_PLACES)
"""Those whose calls can name files."""

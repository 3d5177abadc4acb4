"""Things that chats, responses and messages name, and whether one leaves any behind.

Most calls name none and are told so by a look at the top level's names. Files in
parts of a prompt are known as media; what tools work on stands in `tools`.
"""

from typing import Any

from msgspec import Raw

from posthouse.dialects.base import ParsedRequest
from posthouse.dialects.resources.names import Named, is_reference, read_body
from posthouse.wire import json
from posthouse.wire.json import Envelope

_ESCAPE = b"\\u00"
_LETTERS = (b"\\u004", b"\\u005", b"\\u006", b"\\u007")
"""Begin a letter of a name that is not written as it is."""
_TOP = frozenset({"cachedContent", "cached_content", "container", "conversation"})
_IN_TOOLS = (b"vector_store_ids", b"container", b"skill", b"file_id")
_IN_INPUT = (b"item_reference", b"image_generation_call", b"container_id")
_IN_PROMPTS = (b"file_id", b"fileUri", b"file_uri")
_CHAT = "openai_chat"
"""Its tools are functions, and work nowhere but at the caller's."""
_TRUE = Raw(b"true")
_PROMPTS = ("messages", "input", "contents")
_NAMES = frozenset(
    {
        "cached_content",
        "cachedcontent",
        "container",
        "container_id",
        "conversation",
        "file_id",
        "file_ids",
        "id",
        "skill_id",
        "vector_store_ids",
    }
)
"""Names of members that hold ids of things, in lower case."""
_WORKS = (b"code_interpreter", b"code_execution", b"shell", b"image_generation")
"""Tools that make files where they work."""


def may_name_things(request: ParsedRequest, dialect: str) -> bool:
    """Whether a call may name anything; cheap for those that cannot."""
    envelope = request.envelope
    if not _TOP.isdisjoint(envelope):
        return True
    tools = None if dialect == _CHAT else envelope.get("tools")
    if tools is not None and _holds(tools, _IN_TOOLS):
        return True
    prompt = envelope.get("prompt")
    if prompt is not None and json.opens_with(prompt, b"{"):
        return True
    if "input" in envelope and _refers(envelope["input"]):
        return True
    return request.prompt.has_media and any(
        _holds(envelope[name], _IN_PROMPTS) for name in _PROMPTS if name in envelope
    )


def read_things(envelope: Envelope) -> Named:
    """Tell what a call names; raises InvalidRequest."""
    named = Named(counts=_NAMES.__contains__)
    read_body(b"application/json", json.encode(envelope), named, stored=False)
    named.models.clear()
    named.texts = {text for text in named.texts if "://" not in text}
    return named


def may_leave_things(request: ParsedRequest, dialect: str) -> bool:
    """Whether what answers a call may tell of things that can be asked for later."""
    envelope = request.envelope
    if dialect == _CHAT:
        return envelope.get("store") == _TRUE
    if "container" in envelope or "conversation" in envelope:
        return True
    tools = envelope.get("tools")
    return tools is not None and _holds(tools, _WORKS)


def _refers(items: Raw) -> bool:
    """Whether one of several items may stand for another that a provider keeps."""
    if _holds(items, _IN_INPUT):
        return True
    if b'"id"' not in bytes(items) or not json.opens_with(items, b"["):
        return False
    return any(
        is_reference(json.decode(item, dict[str, Any]))
        for item in json.decode(items, list[Raw])
        if json.opens_with(item, b"{")
    )


def _holds(value: Raw, marks: tuple[bytes, ...]) -> bool:
    """Whether one of the marks stands in a text, or may, in other letters."""
    text = bytes(value)
    if any(mark in text for mark in marks):
        return True
    return _ESCAPE in text and any(letter in text for letter in _LETTERS)

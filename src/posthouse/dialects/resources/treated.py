"""Things that chats, responses and messages name, and whether one leaves any behind.

Most calls name none and are told so by a look at the top level's names. Files in
parts of a prompt are known as media; what tools work on stands in `tools`.
"""

import re
from collections.abc import Callable
from typing import Any

from msgspec import Raw

from posthouse.dialects.base import ParsedRequest
from posthouse.dialects.resources.names import (
    Named,
    is_id_name,
    is_reference,
    last_word,
    note_form,
    read_body,
)
from posthouse.dialects.resources.words import listed
from posthouse.wire import json
from posthouse.wire.json import Envelope

_ESCAPE = b"\\u00"
_LETTERS = (b"\\u004", b"\\u005", b"\\u006", b"\\u007")
"""Begin a letter of a name that is not written as it is."""
_TOP = frozenset({"cachedcontent", "cached_content", "container", "conversation"})
"""Members that name a thing, in lower case."""
_PLAIN = listed(
    """
    background cache_control contents context_management dimensions documents
    encoding_format enable_search enable_thinking fallbacks
    frequency_penalty functions function_call generationConfig include
    input_fidelity input_type instructions logit_bias logprobs max_completion_tokens
    max_output_tokens max_tokens max_tool_calls mcp_servers messages metadata min_p
    mode modalities model models moderation n output_compression output_config
    output_format parallel_tool_calls partial_images prediction presence_penalty
    previous_response_id prompt_cache_key prompt_cache_options
    prompt_cache_retention quality query reasoning reasoning_effort
    repetition_penalty response_format safetySettings safety_identifier seed
    service_tier size speed stop stop_sequences store stream stream_format
    stream_options style suffix system systemInstruction system_instruction task
    temperature text thinking toolConfig tool_choice top_k top_logprobs top_n top_p
    truncation user verbosity web_search_options
    """
)
"""Members that name nothing, or whose things are known otherwise."""
_PLAIN_IN_CHATS = _PLAIN | {"tools"}
_STOCK_VOICE = re.compile(rb'"[A-Za-z .-]{0,64}"|null')
"""The name of a voice that everybody has; nothing that could be an id."""
_IN_TOOLS = (b"vector_store_ids", b"container", b"skill", b"file_id")
_IN_INPUT = (
    b"item_reference",
    b"image_generation_call",
    b"container_id",
    b"file_search_call",
)
_IN_PROMPTS = (b"file_id", b"fileUri", b"file_uri", b'"audio"')
_IN_AUDIO = (b'"id"', b"voice_")
_IN_OTHERS = (b"_id", b'"id"', b"container", b"conversation")
_SETTINGS = ("session", "response")
"""Members of realtime events that say how a session, or an answer, shall be."""
_IDS = frozenset({"file_id", "id"})
_IN_SETTINGS = (b'"prompt"', b'"voice"', b"_id")
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
    plain = _PLAIN_IN_CHATS if dialect == _CHAT else _PLAIN
    has_media = request.prompt.has_media
    if not has_media and envelope.keys() <= plain:
        return False
    if any(
        _may_name(name, value) for name, value in envelope.items() if name not in plain
    ):
        return True
    return has_media and any(
        _holds(envelope[name], _IN_PROMPTS) for name in _PROMPTS if name in envelope
    )


def _may_name(name: str, value: Raw) -> bool:
    """Whether a member that is not plain may name anything."""
    word = last_word(name)
    if word in _LOOKS:
        return _LOOKS[word](value)
    if word in _TOP or is_id_name(word):
        return True
    nested = json.opens_with(value, b"{") or json.opens_with(value, b"[")
    return nested and _holds(Raw(bytes(value).lower()), _IN_OTHERS)


def read_things(request: ParsedRequest) -> Named:
    """Tell what a call names; raises InvalidRequest."""
    named = Named(counts=_NAMES.__contains__)
    if request.form is not None:
        note_form(request.form, named)
    else:
        body = json.encode(request.envelope)
        read_body(b"application/json", body, named, stored=False)
    named.models.clear()
    named.texts = {text for text in named.texts if "://" not in text}
    return named


def read_session(members: Envelope) -> Named | None:
    """Tell what an event of a realtime session names; None: nothing."""
    told = {name: members[name] for name in _SETTINGS if name in members}
    if not any(
        _holds(Raw(bytes(value).lower()), _IN_SETTINGS) for value in told.values()
    ):
        return None
    # Its items are the session's own.
    told = {name: _without_items(value) for name, value in told.items()}
    named = Named(counts=_IDS.__contains__)
    read_body(b"application/json", json.encode(told), named, stored=False)
    return named if named.ids or named.texts else None


def _without_items(settings: Raw) -> Raw:
    if not json.opens_with(settings, b"{"):
        return settings
    members = json.decode(settings, dict[str, Raw])
    return json.raw({n: v for n, v in members.items() if n.casefold() != "input"})


def may_leave_things(request: ParsedRequest, dialect: str) -> bool:
    """Whether what answers a call may tell of things that can be asked for later."""
    envelope = request.envelope
    if dialect == _CHAT:
        return envelope.get("store") == _TRUE or "audio" in envelope
    if "container" in envelope or "conversation" in envelope:
        return True
    tools = envelope.get("tools")
    return tools is not None and _holds(tools, _WORKS)


def is_stored(request: ParsedRequest) -> bool:
    """Whether a chat's answer can be asked for by its id."""
    return request.envelope.get("store") == _TRUE


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


_LOOKS: dict[str, Callable[[Raw], bool]] = {
    "audio": lambda value: _holds(value, _IN_AUDIO),
    "input": _refers,
    "prompt": lambda value: json.opens_with(value, b"{"),
    "tools": lambda value: _holds(value, _IN_TOOLS),
    "voice": lambda value: _STOCK_VOICE.fullmatch(value) is None,
}
"""By member: whether what it holds may name anything."""

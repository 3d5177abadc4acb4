"""The types of members that are carried on unread.

What a member means is for the provider to judge; that it is a text, a number
or a list is told from its first byte, so that what no provider takes costs
nobody anything. Unknown members may be anything. Identifiers must not hold
what breaks the lines of a log or a header: providers put them there.

Source: OpenAI's published API description (openapi, 2026-08).
"""

from collections.abc import Mapping
from typing import Any

from msgspec import Raw

from posthouse.errors import InvalidRequest
from posthouse.wire import json
from posthouse.wire.json import Envelope

_FIRST_BYTES = {
    "boolean": b"tf",
    "number": b"-0123456789",
    "string": b'"',
    "array": b"[",
    "object": b"{",
}
_NULL = b"n"

Kinds = Mapping[str, tuple[frozenset[int], str]]
"""By member: the bytes that its value may begin with, and what that is called."""


def kinds(**members: str) -> Kinds:
    """Say which members are of which type; alternatives are parted by `or`."""
    found = {}
    for name, words in members.items():
        first = b"".join(_FIRST_BYTES[word] for word in words.split(" or "))
        found[name] = (frozenset(first + _NULL), words)
    return found


COMMON = kinds(
    temperature="number",
    top_p="number",
    stop="string or array",
    presence_penalty="number",
    frequency_penalty="number",
    logit_bias="object",
    seed="number",
    user="string",
)
CHAT = {
    **COMMON,
    **kinds(
        logprobs="boolean",
        top_logprobs="number",
        response_format="object",
        tool_choice="string or object",
        parallel_tool_calls="boolean",
        functions="array",
        function_call="string or object",
        reasoning_effort="string",
        verbosity="string",
        modalities="array",
        audio="object",
        prediction="object",
        store="boolean",
        metadata="object",
        safety_identifier="string",
        prompt_cache_key="string",
        prompt_cache_retention="string",
        prompt_cache_options="object",
        web_search_options="object",
    ),
}
RESPONSES = kinds(
    background="boolean",
    conversation="string or object",
    include="array",
    instructions="string",
    max_tool_calls="number",
    metadata="object",
    moderation="object",
    parallel_tool_calls="boolean",
    previous_response_id="string",
    prompt="object",
    prompt_cache_key="string",
    prompt_cache_options="object",
    prompt_cache_retention="string",
    reasoning="object",
    safety_identifier="string",
    store="boolean",
    stream_options="object",
    temperature="number",
    text="object",
    tool_choice="string or object",
    top_logprobs="number",
    top_p="number",
    truncation="string",
    user="string",
)
COMPLETION = {**COMMON, **kinds(echo="boolean", logprobs="number")}
EMBEDDING = kinds(dimensions="number", user="string")

_IDENTIFIERS = frozenset({"user", "safety_identifier", "prompt_cache_key", "metadata"})


def check_kinds(envelope: Envelope, expected: Kinds) -> None:
    """Refuse known members of another type; raises InvalidRequest."""
    for name, value in envelope.items():
        kind = expected.get(name)
        if kind is None:
            continue
        first, words = kind
        if memoryview(value)[0] not in first:
            raise InvalidRequest(
                f"Invalid value for '{name}': expected {words}",
                param=name,
                code="invalid_type",
            )
        if name in _IDENTIFIERS:
            _check_identifier(name, value)


def _check_identifier(name: str, value: Raw) -> None:
    """Refuse line breaks and NUL, which JSON can only write as escapes."""
    data = bytes(value)
    if b"\\" in data and _breaks_lines(json.decode_leniently(data)):
        raise InvalidRequest(
            f"Invalid value for '{name}': it holds a line break or NUL",
            param=name,
            code="invalid_value",
        )


def _breaks_lines(value: Any) -> bool:
    if isinstance(value, dict):
        return any(_breaks_lines(part) for pair in value.items() for part in pair)
    return isinstance(value, str) and any(bad in value for bad in "\r\n\0")

"""Holds what we write to the types of the vendors' own SDKs.

Types of requests are typed dictionaries, which take no member here that they do
not name; those of replies and events are models. The SDKs take seconds to import:
they are on first use.
"""

import warnings
from collections.abc import Callable, Iterator
from functools import cache
from typing import Annotated, Any, get_args, get_origin

import msgspec
from pydantic import BaseModel, ConfigDict, TypeAdapter
from typing_extensions import TypedDict

from posthouse.wire.sse import SSEDecoder, event_name

STRICT = ConfigDict(extra="forbid")

ALLOWED = {
    "openai_chat": {
        # What compatible servers and relays have added.
        "reasoning_content",
        "reasoning_details",
        "extra_content",
        "images",
        "enable_thinking",
        "thinking_budget",
        "thinking",
        "top_k",
    },
    # Its newest models take none of them, older ones do.
    "anthropic_messages": {"temperature", "top_p", "top_k"},
}


def _exhaust(value: Any) -> None:
    """Read iterables to their end: they are validated as they are read."""
    if isinstance(value, dict):
        for entry in value.values():
            _exhaust(entry)
    elif not isinstance(value, str | bytes | BaseModel | int | float | None):
        for entry in value:
            _exhaust(entry)


@cache
def named(path: str) -> Any:
    module, _, name = path.rpartition(".")
    with warnings.catch_warnings():
        # Google's has escapes that Python has begun to warn of.
        warnings.simplefilter("ignore")
        return getattr(__import__(module, fromlist=[name]), name)


@cache
def _adapter(path: str, *, strict: bool) -> TypeAdapter[Any]:
    kind = named(path)
    if not strict:
        return TypeAdapter(kind)

    class Around(TypedDict):
        # Dictionaries inside take over what the one around them says.
        __pydantic_config__ = STRICT
        body: kind

    return TypeAdapter(Around)


@cache
def _events_of(path: str) -> dict[str, type[BaseModel]]:
    """The models of a union of events, by what their `type` is."""
    kind = named(path)
    union = get_args(kind)[0] if get_origin(kind) is Annotated else kind
    models = get_args(union)
    return {
        get_args(model.model_fields["type"].annotation)[0]: model for model in models
    }


def _without(value: Any, names: set[str]) -> Any:
    if isinstance(value, dict):
        return {k: _without(v, names) for k, v in value.items() if k not in names}
    if isinstance(value, list):
        return [_without(entry, names) for entry in value]
    return value


def _typed_dict(path: str, value: Any) -> None:
    _exhaust(_adapter(path, strict=True).validate_python({"body": value}))


def check_request(dialect: str, body: dict[str, Any]) -> None:
    """Hold a request's body to its vendor's types; raises ValidationError."""
    _REQUESTS[dialect](_without(body, ALLOWED.get(dialect, set())))


def _gemini_request(body: dict[str, Any]) -> None:
    for name, value in body.items():
        # SDKs build the body member by member, and so it is held to them.
        _model(f"google.genai.types.{_GEMINI_MEMBERS[name]}", value)


def _model(path: str, value: Any) -> Any:
    adapter = _adapter(path.removesuffix("[]"), strict=False)
    entries = value if path.endswith("[]") else [value]
    return [adapter.validate_json(msgspec.json.encode(entry)) for entry in entries]


_GEMINI_MEMBERS = {
    "contents": "Content[]",
    "systemInstruction": "Content",
    "generationConfig": "GenerationConfig",
    "tools": "Tool[]",
    "toolConfig": "ToolConfig",
    "safetySettings": "SafetySetting[]",
    "serviceTier": "ServiceTier",
}

_REQUESTS: dict[str, Callable[[dict[str, Any]], None]] = {
    "openai_chat": lambda body: _typed_dict(
        "openai.types.chat.completion_create_params."
        + (
            "CompletionCreateParamsStreaming"
            if body.get("stream")
            else "CompletionCreateParamsNonStreaming"
        ),
        body,
    ),
    "openai_responses": lambda body: _typed_dict(
        "openai.types.responses.response_create_params."
        + (
            "ResponseCreateParamsStreaming"
            if body.get("stream")
            else "ResponseCreateParamsNonStreaming"
        ),
        body,
    ),
    "anthropic_messages": lambda body: _typed_dict(
        "anthropic.types.message_create_params."
        + (
            "MessageCreateParamsStreaming"
            if body.get("stream")
            else "MessageCreateParamsNonStreaming"
        ),
        body,
    ),
    "gemini_generate": _gemini_request,
}

_REPLIES = {
    "openai_chat": "openai.types.chat.ChatCompletion",
    "openai_responses": "openai.types.responses.Response",
    "anthropic_messages": "anthropic.types.Message",
    "gemini_generate": "google.genai.types.GenerateContentResponse",
}


def check_reply(dialect: str, body: bytes) -> None:
    """Hold a whole reply to its vendor's types; raises ValidationError."""
    _adapter(_REPLIES[dialect], strict=False).validate_json(body)


_EVENTS = {
    "openai_chat": "openai.types.chat.ChatCompletionChunk",
    "openai_responses": "openai.types.responses.ResponseStreamEvent",
    "anthropic_messages": "anthropic.types.RawMessageStreamEvent",
    "gemini_generate": "google.genai.types.GenerateContentResponse",
}


def check_stream(dialect: str, wire: bytes) -> None:
    """Hold every frame of a stream to its vendor's types; raises ValidationError."""
    for raw, data in _frames(wire):
        if data.startswith(b"[DONE]") and dialect == "openai_chat":
            continue
        value = msgspec.json.decode(data)
        if "error" in value or value.get("type") == "ping":
            continue
        if dialect in ("anthropic_messages", "openai_responses"):
            assert event_name(raw).decode() == value["type"]
            _events_of(_EVENTS[dialect])[value["type"]].model_validate_json(data)
        else:
            assert event_name(raw) == b""
            _adapter(_EVENTS[dialect], strict=False).validate_json(data)


def _frames(wire: bytes) -> Iterator[tuple[bytes, bytes]]:
    decoder = SSEDecoder()
    for raw, data in decoder.feed(wire) + decoder.close():
        if data:
            yield raw, data

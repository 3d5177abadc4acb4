"""A chat request's envelope, judged as far as routing and money need it."""

from typing import Any

from msgspec import Raw, Struct, UnsetType

from posthouse.dialects.base import ParsedRequest, PromptSize
from posthouse.dialects.openai.envelope import (
    AFFINITY_LIMIT,
    COUNT_LIMIT,
    cache_key,
    checked_model_name,
    count,
    flag,
    judged,
    model_name,
    named_models,
    parse_envelope,
    service_tier,
    wants_usage,
)
from posthouse.errors import InvalidRequest
from posthouse.model.call import Operation
from posthouse.wire import json
from posthouse.wire.json import Envelope

MEDIA_ALLOWANCE = 256
"""Bytes of a media part that are its frame and not its payload."""


class _Part(Struct):
    type: str = ""
    text: str | None = None
    image_url: Raw | UnsetType | None = None
    input_audio: Raw | UnsetType | None = None
    file: Raw | UnsetType | None = None
    video_url: Raw | UnsetType | None = None


class _Message(Struct):
    role: str
    content: str | list[_Part] | None = None


class _Tool(Struct):
    type: str = "function"
    model: str | None = None


_messages = json.decoder(list[_Message])
_tools = json.decoder(list[_Tool] | None)
_any = json.decoder(Any)

_CLIENT_TOOLS = frozenset({"function", "custom"})
_SEARCH_TOOLS = ("web_search", "builtin_function")
"""Zhipu's and OpenAI's names, and Moonshot's (`$web_search`)."""


def parse_request(body: bytes) -> ParsedRequest:
    """Read a chat request; raises InvalidRequest."""
    envelope = parse_envelope(body)
    model = model_name(envelope)
    messages = _read_messages(envelope)
    searches, tool_models = _read_tools(envelope)
    return ParsedRequest(
        operation=Operation.CHAT,
        envelope=envelope,
        model=model,
        stream=flag(envelope, "stream"),
        prompt=_size(envelope, messages),
        affinity=cache_key(envelope) or _opening(messages),
        choices=count(envelope, "n", COUNT_LIMIT) or 1,
        output_limit=_output_limit(envelope),
        include_usage=wants_usage(envelope),
        other_models=named_models(envelope) + tool_models,
        service_tier=service_tier(envelope),
        searches=searches,
    )


def _read_messages(envelope: Envelope) -> list[_Message]:
    value = envelope.get("messages")
    if value is None:
        raise InvalidRequest(
            "Missing required parameter: 'messages'",
            param="messages",
            code="missing_required_parameter",
        )
    messages: list[_Message] = judged(value, "messages", _messages)
    if not messages:
        raise InvalidRequest(
            "Invalid 'messages': expected at least one message",
            param="messages",
            code="empty_array",
        )
    return messages


def _output_limit(envelope: Envelope) -> int | None:
    """The lower of the two names under which a client sets the limit."""
    limits = [
        limit
        for name in ("max_completion_tokens", "max_tokens")
        if (limit := count(envelope, name)) is not None
    ]
    return min(limits, default=None)


def _read_tools(envelope: Envelope) -> tuple[int, tuple[str, ...]]:
    """Count priced searches and collect models; refuse unpriced server tools."""
    searches = 1 if _is_set(envelope, "web_search_options") else 0
    value = envelope.get("tools")
    if value is None:
        return searches, ()
    models = []
    for tool in judged(value, "tools", _tools) or ():
        if tool.type.startswith(_SEARCH_TOOLS):
            searches = 1
        elif tool.type not in _CLIENT_TOOLS:
            raise InvalidRequest(
                f"Tools of type {tool.type[:64]!r} are not offered here",
                param="tools",
                code="unsupported_value",
            )
        if tool.model is not None:
            models.append(checked_model_name(tool.model))
    return searches, tuple(models)


def _is_set(envelope: Envelope, name: str) -> bool:
    value = envelope.get(name)
    return value is not None and bytes(value) != b"null"


def _size(envelope: Envelope, messages: list[_Message]) -> PromptSize:
    """Measure the prompt; media count as parts, not as bytes."""
    text_bytes = sum(
        len(bytes(value))
        for name in ("messages", "tools", "functions", "response_format", "prediction")
        if (value := envelope.get(name)) is not None
    )
    images = audio_parts = files = 0
    for message in messages:
        if not isinstance(message.content, list):
            continue
        for part in message.content:
            if isinstance(part.image_url, Raw) or isinstance(part.video_url, Raw):
                images += 1
                text_bytes -= _payload(part.image_url) + _payload(part.video_url)
            elif isinstance(part.input_audio, Raw):
                audio_parts += 1
                text_bytes -= _payload(part.input_audio)
            elif isinstance(part.file, Raw):
                files += 1
                text_bytes -= _payload(part.file)
    return PromptSize(
        text_bytes=text_bytes,
        messages=len(messages),
        images=images,
        audio_parts=audio_parts,
        files=files,
    )


def _payload(value: Raw | UnsetType | None) -> int:
    return max(0, len(bytes(value)) - MEDIA_ALLOWANCE) if isinstance(value, Raw) else 0


def _opening(messages: list[_Message]) -> bytes:
    """What a conversation starts with, up to its first user message."""
    opening: list[str] = []
    length = 0
    for message in messages:
        text = _message_text(message)
        opening.append(text[:AFFINITY_LIMIT])
        length += len(text)
        if message.role == "user" or length > AFFINITY_LIMIT:
            break
    return "\n".join(opening).encode(errors="replace")[:AFFINITY_LIMIT]


def _message_text(message: _Message) -> str:
    if isinstance(message.content, str):
        return message.content
    parts = message.content or ()
    return "\n".join(part.text for part in parts if part.text is not None)


def prompt_text(request: ParsedRequest) -> str:
    """The prompt's text, for counting where no usage was given."""
    texts = [_message_text(message) for message in _read_messages(request.envelope)]
    texts += [
        bytes(value).decode(errors="replace")
        for name in ("tools", "functions", "response_format")
        if (value := request.envelope.get(name)) is not None
    ]
    return "\n".join(texts)

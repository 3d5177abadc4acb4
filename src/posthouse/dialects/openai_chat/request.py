"""A chat request's envelope, judged as far as routing and money need it."""

from collections.abc import Sequence

from msgspec import Raw, Struct

from posthouse.dialects.base import Judged, Later, ParsedRequest, PromptSize
from posthouse.dialects.openai.envelope import (
    AFFINITY_LIMIT,
    COUNT_LIMIT,
    cache_key,
    checked_model_name,
    count,
    decode_body,
    flag,
    judged,
    judged_once,
    model_in,
    model_name,
    named_models,
    optional_objects,
    refuse_lookalikes,
    service_tier,
    wants_usage,
)
from posthouse.dialects.openai.kinds import CHAT, check_kinds
from posthouse.dialects.openai.texts import prompt_of
from posthouse.dialects.openai_chat.asked import MESSAGES_LIMIT, Words, read_asked
from posthouse.errors import InvalidRequest
from posthouse.model.call import Operation
from posthouse.wire import json
from posthouse.wire.json import Envelope

MEDIA_ALLOWANCE = 256
"""Bytes of a media part that are its frame and not its payload."""


KEPT_LIMIT = 16 * 1024
"""Bytes of a body that is kept as it was decoded to be judged; a call may be long."""

_ABSENT = Raw()


class _Part(Struct, gc=False):
    type: str = ""
    text: str | None = None
    # msgspec fills a Raw only where no union could stand in its place.
    image_url: Raw = _ABSENT
    input_audio: Raw = _ABSENT
    file: Raw = _ABSENT
    video_url: Raw = _ABSENT


class _Message(Struct, gc=False):
    role: str
    content: str | list[_Part] | None = None
    audio: Raw = _ABSENT
    """What the model has said before, by its id."""


# Members of an enumeration are slow to look up for each call.
_CHAT = Operation.CHAT
_messages = json.decoder(list[_Message])
_text = json.decoder(str)

_NULL = Raw(b"null")
_FUNCTION = Raw(b'"function"')
_IN_TOOLS = frozenset({"type", "model"})
_TEXT_MEMBERS = ("messages", "tools", "functions", "response_format", "prediction")
_CLIENT_TOOLS = frozenset({"function", "custom"})
_SEARCH_TOOLS = ("web_search", "builtin_function")
"""Zhipu's and OpenAI's names, and Moonshot's (`$web_search`)."""
_OFFERED = (*sorted(_CLIENT_TOOLS), *_SEARCH_TOOLS)


def parse_request(body: bytes) -> ParsedRequest:
    """Read a chat request; raises InvalidRequest."""
    envelope = decode_body(body)
    asked = read_asked(body, envelope)
    if asked is None:
        return _judge_members(envelope)
    messages, limit = asked.messages, asked.max_tokens
    if asked.max_completion_tokens is not None:
        limit = max(asked.max_completion_tokens, limit or 0)
    kept = len(body) <= KEPT_LIMIT
    return ParsedRequest(
        operation=_CHAT,
        envelope=envelope,
        model=asked.model,
        stream=asked.stream is True,
        prompt=PromptSize(len(envelope["messages"]), len(messages)),
        affinity=Later(_opening, (messages,)) if kept else _opening(messages),
        output_limit=limit,
        judged=Judged(envelope, asked) if kept else None,
        plain=True,
    )


def _judge_members(envelope: Envelope) -> ParsedRequest:
    """Judge a request member by member; raises InvalidRequest."""
    refuse_lookalikes(envelope)
    model = model_name(envelope)
    messages = _read_messages(envelope)
    check_kinds(envelope, CHAT)
    searches, tool_models = _read_tools(envelope)
    return ParsedRequest(
        operation=_CHAT,
        envelope=envelope,
        model=model,
        stream=flag(envelope, "stream"),
        prompt=_size(messages, _text_bytes(envelope)),
        affinity=cache_key(envelope) or _opening(messages),
        choices=count(envelope, "n", highest=COUNT_LIMIT) or 1,
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
    if len(messages) > MESSAGES_LIMIT:
        raise InvalidRequest(
            f"'messages' may have at most {MESSAGES_LIMIT} entries",
            param="messages",
            code="array_above_max_length",
        )
    return messages


def _output_limit(envelope: Envelope) -> int | None:
    """Read the limit; of both its names, the higher counts.

    Providers differ in which one they obey, and money is held for either.
    """
    new = count(envelope, "max_completion_tokens")
    old = count(envelope, "max_tokens")
    if new is None or old is None:
        return old if new is None else new
    return max(new, old)


def _read_tools(envelope: Envelope) -> tuple[int, tuple[str, ...]]:
    """Count priced searches and collect models; refuse unpriced server tools."""
    searches = 1 if _asks_for_search(envelope) else 0
    if "tools" not in envelope:
        return searches, ()
    tools = judged_once(envelope, "tools", optional_objects, _IN_TOOLS)
    models = []
    for index, tool in enumerate(tools or ()):
        kind = "function"
        if tool.get("type", _FUNCTION) != _FUNCTION:
            kind = judged(tool["type"], f"tools[{index}].type", _text)
        if kind.startswith(_SEARCH_TOOLS):
            searches = 1
        elif kind not in _CLIENT_TOOLS:
            raise InvalidRequest.tool_not_offered(kind, _OFFERED)
        if "model" in tool:
            model = model_in(tool, f"tools[{index}].model")
            if model is not None:
                models.append(checked_model_name(model))
    return searches, tuple(models)


def _asks_for_search(envelope: Envelope) -> bool:
    """Whether a member of its own has the provider search the web."""
    options = envelope.get("web_search_options")
    if options is not None and options != _NULL:
        return True
    # DashScope's name.
    return flag(envelope, "enable_search")


def _text_bytes(envelope: Envelope) -> int:
    """Measure the members that a model reads."""
    return sum(len(envelope[name]) for name in _TEXT_MEMBERS if name in envelope)


def _size(messages: list[_Message], text_bytes: int) -> PromptSize:
    """Measure the prompt; media count as parts, not as bytes."""
    images = audio_parts = files = 0
    for message in messages:
        if message.audio is not _ABSENT:
            audio_parts += 1
        if not isinstance(message.content, list):
            continue
        for part in message.content:
            if len(part.image_url) or len(part.video_url):
                images += 1
                text_bytes -= _payload(part.image_url) + _payload(part.video_url)
            elif len(part.input_audio):
                audio_parts += 1
                text_bytes -= _payload(part.input_audio)
            elif len(part.file):
                files += 1
                text_bytes -= _payload(part.file)
    return PromptSize(text_bytes, len(messages), images, audio_parts, files)


def _payload(value: Raw) -> int:
    return max(0, len(value) - MEDIA_ALLOWANCE)


def _opening(messages: Sequence[Words | _Message]) -> tuple[str, ...]:
    """What a conversation starts with, up to its first user message."""
    opening: list[str] = []
    room = AFFINITY_LIMIT
    for message in messages:
        content = message.content
        text = content if isinstance(content, str) else _joined(content or ())
        opening.append(text[:room])
        room -= len(text)
        if message.role == "user" or room <= 0:
            break
    return tuple(opening)


def _joined(parts: Sequence[_Part]) -> str:
    return "\n".join(part.text for part in parts if part.text is not None)


_NOT_READ = frozenset(
    {
        "file",
        "id",
        "image_url",
        "input_audio",
        "role",
        "tool_call_id",
        "type",
        "video_url",
    }
)


def prompt_text(request: ParsedRequest) -> str:
    """The prompt's text, for counting where no usage was given."""
    return prompt_of(
        request.envelope, _TEXT_MEMBERS, said=("messages",), skipped=_NOT_READ
    )

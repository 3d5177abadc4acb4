"""The words of nearly every request: texts, thoughts, tool calls and their results.

They are read by types in one go, for a third of what reading member by member
costs. A request in whose words anything else stands is read so; its tools, and
what else it asks for, always are (`read_request`).
"""

from collections.abc import Sequence
from typing import Literal

from msgspec import Raw, Struct

from posthouse.dialects.anthropic_messages.asked import Asked, Options
from posthouse.dialects.anthropic_messages.caching import NAME
from posthouse.dialects.anthropic_messages.read_parts import EMPTY_OBJECT
from posthouse.dialects.base import ParsedRequest
from posthouse.dialects.neutral.seal import unseal
from posthouse.model.chat import (
    CacheMark,
    ChatRequest,
    Extras,
    Message,
    Part,
    Role,
    Sampling,
    Text,
    Thinking,
    ToolCall,
    ToolResult,
)
from posthouse.wire import json
from posthouse.wire.json import MalformedJSON


class _Mark(Struct, gc=False, forbid_unknown_fields=True):
    type: Literal["ephemeral"] | None = None
    ttl: str | None = None


class _Text(Struct, gc=False, tag="text", forbid_unknown_fields=True):
    text: str
    citations: tuple[()] | None = None
    cache_control: _Mark | None = None

    def read(self) -> Text:
        return Text(self.text, cache=_cache(self.cache_control))


class _Thinking(Struct, gc=False, tag="thinking", forbid_unknown_fields=True):
    thinking: str | None = None
    signature: str | None = None

    def read(self) -> Thinking:
        return Thinking(self.thinking or "", unseal(self.signature, NAME))


class _Redacted(Struct, gc=False, tag="redacted_thinking", forbid_unknown_fields=True):
    data: str | None = None

    def read(self) -> Thinking:
        return Thinking(signature=unseal(self.data, NAME), redacted=True)


class _ToolUse(Struct, gc=False, tag="tool_use", forbid_unknown_fields=True):
    id: str
    name: str
    input: Raw = Raw(EMPTY_OBJECT.encode())
    cache_control: _Mark | None = None

    def read(self) -> ToolCall:
        if not json.opens_with(self.input, b"{"):
            raise MalformedJSON
        arguments = bytes(self.input).decode()
        cache = _cache(self.cache_control)
        return ToolCall(self.id, self.name, arguments, cache=cache)


class _ToolResult(Struct, gc=False, tag="tool_result", forbid_unknown_fields=True):
    tool_use_id: str
    content: str | list[_Text] | None = None
    is_error: bool | None = None
    cache_control: _Mark | None = None

    def read(self) -> ToolResult:
        return ToolResult(
            self.tool_use_id,
            _parts(self.content),
            is_error=self.is_error,
            cache=_cache(self.cache_control),
        )


_Block = _Text | _Thinking | _Redacted | _ToolUse | _ToolResult


class _Turn(Struct, gc=False, forbid_unknown_fields=True):
    role: Literal["user", "assistant", "system"]
    content: str | list[_Block]


class _Request(Options, gc=False, kw_only=True):
    messages: list[_Turn]
    system: str | list[_Text] | None = None


_request = json.decoder(_Request)
READ = frozenset({"model", "max_tokens", "stream", *_Request.__struct_fields__})
"""The members that are read here, or were when the request was judged."""


_SYSTEM, _USER = Role.SYSTEM, Role.USER
ROLES = {"user": _USER, "assistant": Role.ASSISTANT, "system": _SYSTEM}


def as_turns(role: Role, parts: tuple[Part, ...], extras: Extras) -> list[Message]:
    """Make messages of a turn; results of tools stand apart, before the rest."""
    results: tuple[Part, ...] = ()
    if role is _USER:
        results = tuple([part for part in parts if type(part) is ToolResult])
    if not results:
        return [Message(role, parts, extras=extras)]
    rest = tuple([part for part in parts if type(part) is not ToolResult])
    if not rest:
        return [Message(Role.TOOL, results, extras=extras)]
    return [Message(Role.TOOL, results), Message(role, rest, extras=extras)]


def _cache(mark: _Mark | None) -> CacheMark | None:
    return None if mark is None else CacheMark(mark.ttl)


def _parts(content: str | Sequence[_Block] | None) -> tuple[Part, ...]:
    if isinstance(content, str):
        return (Text(content),)
    return tuple([block.read() for block in content or ()])


def read_usual(request: ParsedRequest) -> ChatRequest | None:
    """Read all that READ names; None if something unusual stands there."""
    try:
        asked: _Request = json.decode_with(_request, json.encode(request.envelope))
        return _chat(request, asked, _read_turns(asked))
    except MalformedJSON:
        return None


def read_words(request: ParsedRequest, asked: Asked) -> ChatRequest:
    """Read a request that is all in what was decoded to judge it."""
    messages = []
    if asked.system is not None:
        messages.append(Message(_SYSTEM, (Text(asked.system),)))
    for said in asked.messages:
        role, text = ROLES[said.role], said.content
        messages.append(Message(role, (Text(text),)))
    return _chat(request, asked, messages)


def _read_turns(asked: _Request) -> list[Message]:
    """Give what is said in turns of any kind; raises MalformedJSON."""
    system = _parts(asked.system)
    messages = [Message(_SYSTEM, system)] if system else []
    for turn in asked.messages:
        role, content = ROLES[turn.role], turn.content
        if isinstance(content, str):
            messages.append(Message(role, (Text(content),)))
        else:
            messages += as_turns(role, _parts(content), {})
    return messages


def _chat(
    request: ParsedRequest, options: Options, messages: list[Message]
) -> ChatRequest:
    return ChatRequest(
        dialect=NAME,
        model=request.model,
        messages=tuple(messages),
        sampling=Sampling(
            temperature=options.temperature,
            top_p=options.top_p,
            top_k=options.top_k,
            stop=options.stop_sequences or (),
        ),
        output_limit=request.output_limit,
        service_tier=options.service_tier,
        stream=request.stream,
        include_usage=True,
    )

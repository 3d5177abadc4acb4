"""The conversations of nearly every request: texts, tool calls and their results.

They are read by types in one go, for a third of what reading member by member
costs. A request in whose words anything else stands is read so; its tools, and
what else it asks for, always are (`read_request`).
"""

from collections.abc import Sequence
from typing import Literal

from msgspec import Struct

from posthouse.dialects.base import ParsedRequest
from posthouse.dialects.openai_chat.asked import Asked, Options
from posthouse.dialects.openai_chat.read_messages import add_result, result_id
from posthouse.dialects.openai_chat.thoughts import NAME
from posthouse.model.chat import (
    ChatRequest,
    Message,
    Part,
    Role,
    Sampling,
    Text,
    ToolCall,
    ToolResult,
)
from posthouse.wire import json
from posthouse.wire.json import MalformedJSON


class _Text(Struct, gc=False, tag="text", forbid_unknown_fields=True):
    text: str


class _Function(Struct, gc=False, forbid_unknown_fields=True):
    name: str
    arguments: str


class _Call(Struct, gc=False, forbid_unknown_fields=True):
    id: str
    function: _Function
    type: Literal["function"] = "function"


class _Turn(Struct, gc=False, forbid_unknown_fields=True):
    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: str | list[_Text] | None = None
    name: str | None = None
    tool_calls: list[_Call] | None = None
    tool_call_id: str | None = None
    refusal: None = None
    audio: None = None
    function_call: None = None


class _Request(Options, gc=False, kw_only=True):
    messages: list[_Turn]


_request = json.decoder(_Request)
JUDGED = frozenset(
    {"model", "stream", "n", "max_tokens", "max_completion_tokens", "service_tier"}
)
"""The members that were read when the request was judged."""
READ = JUDGED | {*_Request.__struct_fields__}
"""Those, and the members that are read here."""
_FURTHER_SAMPLING = frozenset({"logit_bias", "logprobs", "top_logprobs"})
_ROLES = {role.value: role for role in Role}
_ASSISTANT, _TOOL = Role.ASSISTANT, Role.TOOL


class _Unusual(Exception):
    """Something stands where it seldom does."""


def read_usual(request: ParsedRequest) -> ChatRequest | None:
    """Read all that READ names; None if something unusual stands there."""
    envelope = request.envelope
    if not _FURTHER_SAMPLING.isdisjoint(envelope):
        return None
    messages: list[Message] = []
    try:
        asked: _Request = json.decode_with(_request, json.encode(envelope))
        for turn in asked.messages:
            _read(turn, messages)
    except (MalformedJSON, _Unusual):
        return None
    return _chat(request, asked, messages)


def _chat(
    request: ParsedRequest,
    options: Options,
    messages: list[Message],
    user: str | None = None,
) -> ChatRequest:
    stop = options.stop
    return ChatRequest(
        dialect=NAME,
        model=request.model,
        messages=tuple(messages),
        sampling=Sampling(
            temperature=options.temperature,
            top_p=options.top_p,
            top_k=options.top_k,
            frequency_penalty=options.frequency_penalty,
            presence_penalty=options.presence_penalty,
            seed=options.seed,
            stop=(stop,) if isinstance(stop, str) else stop or (),
        ),
        output_limit=request.output_limit,
        choices=request.choices if "n" in request.envelope else None,
        user=user,
        service_tier=request.service_tier,
        stream=request.stream,
        include_usage=request.include_usage,
    )


def read_words(request: ParsedRequest, asked: Asked) -> ChatRequest:
    """Read a request that is all in what was decoded to judge it."""
    messages = []
    for one in asked.messages:
        role, text = _ROLES[one.role], one.content
        # An empty text is no words of the model's.
        parts = (Text(text),) if text or role is not _ASSISTANT else ()
        messages.append(Message(role, parts, one.name))
    return _chat(request, asked, messages, asked.user)


def _read(turn: _Turn, messages: list[Message]) -> None:
    """Add what a turn says; raises _Unusual for members of another role's."""
    role, calls = _ROLES[turn.role], turn.tool_calls
    parts = _parts(turn.content)
    if role is _TOOL:
        if calls is not None:
            raise _Unusual
        call_id = result_id(turn.tool_call_id, turn.name)
        add_result(messages, ToolResult(call_id, parts, turn.name))
        return
    if turn.tool_call_id is not None or (calls is not None and role is not _ASSISTANT):
        raise _Unusual
    if role is _ASSISTANT:
        # An empty text is nobody's words.
        spoken = tuple([part for part in parts if part.text])
        messages.append(Message(role, (*spoken, *_calls(calls)), turn.name))
    else:
        messages.append(Message(role, parts, turn.name))


def _parts(content: str | Sequence[_Text] | None) -> tuple[Text, ...]:
    if isinstance(content, str):
        return (Text(content),)
    return tuple([Text(block.text) for block in content or ()])


def _calls(calls: list[_Call] | None) -> list[Part]:
    """The calls; raises _Unusual for one without an id, which is given one."""
    found: list[Part] = []
    for call in calls or ():
        if not call.id:
            raise _Unusual
        function = call.function
        found.append(ToolCall(call.id, function.name, function.arguments))
    return found

"""The conversations of nearly every request: texts, calls of functions, their results.

They are read by types in one go, for a third of what reading member by member
costs. A request in whose items anything else stands is read so; its tools, and
what else it asks for, always are (`read_request`).
"""

from collections.abc import Sequence
from typing import Any, Literal

from msgspec import Struct

from posthouse.dialects.base import ParsedRequest
from posthouse.dialects.openai_responses.names import Namespaces
from posthouse.dialects.openai_responses.parts import NAME
from posthouse.dialects.openai_responses.read_items import ROLES, ItemReader
from posthouse.model.chat import (
    ChatRequest,
    Message,
    Role,
    Sampling,
    Text,
    ToolCall,
    ToolResult,
)
from posthouse.wire import json
from posthouse.wire.json import MalformedJSON


class _Text(Struct, gc=False, forbid_unknown_fields=True):
    text: str
    type: Literal["input_text", "output_text", "text"] = "input_text"
    annotations: tuple[()] | None = None
    logprobs: Any = None
    """Those of an earlier answer say nothing to a model."""


class _Item(Struct, gc=False, forbid_unknown_fields=True):
    type: Literal["message", "function_call", "function_call_output"] | None = None
    role: Literal["user", "assistant", "system", "developer"] | None = None
    content: str | list[_Text] | None = None
    name: str | None = None
    call_id: str | None = None
    arguments: str | None = None
    output: str | None = None
    id: str | None = None
    status: Any = None


class _Request(Struct, gc=False):
    input: str | list[_Item]
    instructions: str | None = None
    temperature: int | float | None = None
    top_p: int | float | None = None
    max_output_tokens: int | None = None
    service_tier: str | None = None


_request = json.decoder(_Request)
READ = frozenset({"model", "stream", *_Request.__struct_fields__})
"""The members that are read here, or were when the request was judged."""
_SYSTEM, _USER, _ASSISTANT = Role.SYSTEM, Role.USER, Role.ASSISTANT


class _Unusual(Exception):
    """Something stands where it seldom does."""


def read_usual(request: ParsedRequest) -> ChatRequest | None:
    """Read all that READ names; None if something unusual stands there."""
    items = ItemReader(Namespaces())
    try:
        asked: _Request = json.decode_with(_request, json.encode(request.envelope))
        if isinstance(asked.input, str):
            items.say(Message(_USER, (Text(asked.input),)))
        else:
            for item in asked.input:
                _READERS[item.type](item, items)
    except (MalformedJSON, _Unusual):
        return None
    messages = items.end()
    if asked.instructions is not None:
        messages = [Message(_SYSTEM, (Text(asked.instructions),)), *messages]
    return ChatRequest(
        dialect=NAME,
        model=request.model,
        messages=tuple(messages),
        sampling=Sampling(temperature=asked.temperature, top_p=asked.top_p),
        output_limit=asked.max_output_tokens,
        service_tier=asked.service_tier,
        stream=request.stream,
    )


def _read_message(item: _Item, items: ItemReader) -> None:
    _check_absent(item.call_id, item.name, item.arguments, item.output)
    if item.role is None:
        raise _Unusual
    role, parts = ROLES[item.role], _parts(item.content)
    if role is _ASSISTANT:
        items.give(*parts)
    else:
        items.say(Message(role, parts))


def _read_call(item: _Item, items: ItemReader) -> None:
    call_id = item.call_id or item.id
    _check_absent(item.role, item.content, item.output)
    if call_id is None or item.name is None:
        raise _Unusual
    items.give(ToolCall(call_id, item.name, item.arguments or ""))


def _read_output(item: _Item, items: ItemReader) -> None:
    _check_absent(item.role, item.content, item.arguments)
    if item.call_id is None:
        raise _Unusual
    content = () if item.output is None else (Text(item.output),)
    items.give_back(ToolResult(item.call_id, content, item.name))


def _check_absent(*members: object) -> None:
    """Raise _Unusual for a member that only items of another type have."""
    for member in members:
        if member is not None:
            raise _Unusual


def _parts(content: str | Sequence[_Text] | None) -> tuple[Text, ...]:
    if isinstance(content, str):
        return (Text(content),)
    return tuple([Text(block.text) for block in content or ()])


_READERS = {
    None: _read_message,
    "message": _read_message,
    "function_call": _read_call,
    "function_call_output": _read_output,
}

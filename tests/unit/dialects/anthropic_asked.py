"""Requests of other dialects, and what Anthropic's provider would get of them."""

from typing import Any

import pytest

from posthouse.dialects.anthropic_messages import CODEC
from posthouse.dialects.neutral.codec import Losses
from posthouse.errors import InvalidRequest
from posthouse.model.chat import (
    ChatRequest,
    FunctionTool,
    Message,
    Part,
    Role,
    Text,
    ToolChoice,
    ToolUse,
)
from posthouse.model.traits import Traits
from posthouse.wire import json

HI = Message(Role.USER, (Text("Hi"),))
FUNCTION = FunctionTool("f", "Does it.", {"type": "object", "properties": {}})
OTHER = FunctionTool("g")
REQUIRED = ToolChoice(ToolUse.REQUIRED)


def asked(*messages: Message, **members: Any) -> ChatRequest:
    return ChatRequest(
        dialect="openai_chat", model="m", messages=messages or (HI,), **members
    )


def written(
    chat: ChatRequest, traits: Traits | None = None
) -> tuple[dict[str, Any], tuple[str, ...]]:
    losses = Losses()
    body = CODEC.write_request(chat, traits or Traits(model="claude-x"), losses)
    return json.decode(json.encode(body), dict[str, Any]), losses.told


def refused(chat: ChatRequest) -> str | None:
    with pytest.raises(InvalidRequest) as caught:
        CODEC.write_request(chat, Traits(model="claude-x"), Losses())
    return caught.value.param


def content_of(*parts: Part, role: Role = Role.USER) -> Any:
    chat = asked(HI, Message(role, parts), HI) if role is Role.ASSISTANT else None
    body, _ = written(chat or asked(Message(role, parts)))
    return body["messages"][1 if role is Role.ASSISTANT else 0]["content"]

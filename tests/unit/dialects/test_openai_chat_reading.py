"""Requests of OpenAI's chat: what clients mean, and what they cannot mean."""

import json
from typing import Any

import pytest
from tests.support.cases import each

from posthouse.dialects.openai_chat import CODEC, DIALECT
from posthouse.errors import InvalidRequest
from posthouse.model.chat import ChatRequest, Reasoning, ToolCall, ToolResult


def read(**members: Any) -> ChatRequest:
    body = {"model": "m", "messages": [{"role": "user", "content": "hi"}]} | members
    return CODEC.read_request(DIALECT.parse_request(json.dumps(body).encode()))


@each(
    ("members", "expected"),
    [
        ({"reasoning_effort": "low"}, Reasoning(effort="low")),
        ({"thinking": {"type": "disabled"}}, Reasoning(enabled=False)),
        ({"thinking": {"type": "auto"}}, Reasoning(adaptive=True)),
        (
            {"thinking": {"type": "enabled", "budget_tokens": 9}},
            Reasoning(enabled=True, budget=9),
        ),
        (
            {"enable_thinking": True, "thinking_budget": 9},
            Reasoning(enabled=True, budget=9),
        ),
        (
            {"reasoning": {"max_tokens": 9, "exclude": True}},
            Reasoning(budget=9, show=False),
        ),
        ({"include_reasoning": True}, Reasoning(show=True)),
        ({"reasoning_effort": None, "thinking": None}, None),
    ],
)
def test_all_ways_to_ask_for_thoughts_are_read(
    members: dict[str, Any], expected: Reasoning | None
) -> None:
    """Whoever has introduced them."""
    chat = read(**members)
    assert chat.reasoning == expected
    assert chat.extras == {}


@each(
    ("members", "param"),
    [
        ({"messages": [{"role": "x", "content": "hi"}]}, "messages[0].role"),
        ({"messages": [{"role": "user", "content": 5}]}, "messages[0].content"),
        (
            {"messages": [{"role": "user", "content": [{"type": "text"}]}]},
            "messages[0].content[0].text",
        ),
        (
            {"messages": [{"role": "assistant", "tool_calls": [{"id": "a"}]}]},
            "messages[0].tool_calls[0].function",
        ),
        ({"tools": [{"type": "function"}]}, "tools[0].function"),
        ({"tools": [{"type": "function", "function": {}}]}, "tools[0].function.name"),
        ({"tool_choice": "perhaps"}, "tool_choice"),
        ({"response_format": {"type": "json_schema"}}, "response_format.json_schema"),
        ({"thinking": {"type": "perhaps"}}, "thinking.type"),
        ({"temperature": True}, "temperature"),
        ({"stop": [1]}, "stop"),
        ({"logit_bias": {"7": "x"}}, "logit_bias"),
    ],
)
def test_what_cannot_be_meant_is_refused_by_its_place(
    members: dict[str, Any], param: str
) -> None:
    """As OpenAI itself names it."""
    with pytest.raises(InvalidRequest) as caught:
        read(**members)
    assert caught.value.param == param


def test_calls_without_ids_are_answered_by_those_of_their_name() -> None:
    """The newest of that name."""
    call = {"role": "assistant", "function_call": {"name": "f", "arguments": "{}"}}
    result = {"role": "function", "name": "f", "content": "x"}
    chat = read(messages=[call, result, call, result])
    calls = [m.parts[0] for m in chat.messages[::2]]
    results = [m.parts[0] for m in chat.messages[1::2]]
    assert [c.id for c in calls if isinstance(c, ToolCall)] == [
        r.call_id for r in results if isinstance(r, ToolResult)
    ]
    assert calls[0] != calls[1]

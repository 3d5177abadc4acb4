"""The sandbox's tools and structured outputs: what is called, and with what."""

import json
from typing import Any

from tests.support.cases import each
from tests.support.sandbox import (
    ARGUMENTS,
    CLOCK,
    CUSTOM,
    SCHEMA,
    WEATHER,
    assembled,
    chat,
    completion,
)


def test_a_tool_is_called_with_arguments_of_its_schema() -> None:
    (choice,) = completion("How is it?", tools=[WEATHER]).choices
    assert choice.finish_reason == "tool_calls"
    assert choice.message.content is None
    (call,) = choice.message.tool_calls or []
    assert call.type == "function"
    assert call.function.name == "get_weather"
    assert json.loads(call.function.arguments) == ARGUMENTS


def test_tool_results_are_answered_in_words() -> None:
    first = completion("How is it?", tools=[WEATHER]).choices[0].message
    (call,) = first.tool_calls or []
    second = completion(
        tools=[WEATHER],
        messages=[
            {"role": "user", "content": "How is it?"},
            first.model_dump(exclude_none=True),
            {"role": "tool", "tool_call_id": call.id, "content": "Rain at 8 degrees"},
        ],
    )
    assert second.choices[0].finish_reason == "stop"
    assert "Rain at 8 degrees" in (second.choices[0].message.content or "")


@each(
    ("prompt", "more", "names"),
    [
        ("Both get_weather and get_time", {}, ["get_weather", "get_time"]),
        ("get_time please", {}, ["get_time"]),
        ("sandbox:parallel-3 go", {}, ["get_weather", "get_time", "get_weather"]),
        ("get_weather, get_time", {"parallel_tool_calls": False}, ["get_weather"]),
        ("Hello", {"tool_choice": "none"}, []),
        ("Hello", {"tool_choice": "required"}, ["get_weather"]),
        ("sandbox:no-tools Hello", {}, []),
        (
            "Hello",
            {
                "tool_choice": {
                    "type": "allowed_tools",
                    "allowed_tools": {"mode": "auto", "tools": [CLOCK]},
                }
            },
            ["get_time"],
        ),
    ],
)
def test_the_choice_of_tools(
    prompt: str, more: dict[str, Any], names: list[str]
) -> None:
    message = completion(prompt, tools=[WEATHER, CLOCK], **more).choices[0].message
    calls = message.tool_calls or []
    assert [call.function.name for call in calls if call.type == "function"] == names
    assert len({call.id for call in calls}) == len(names)


def test_a_custom_tool_gets_text() -> None:
    (call,) = completion(tools=[CUSTOM]).choices[0].message.tool_calls or []
    assert call.type == "custom"
    assert call.custom.name == "run_code"
    (streamed,) = assembled(chat(tools=[CUSTOM], stream=True))
    assert streamed["calls"] == {0: call.custom.input}


def test_a_function_is_called_the_deprecated_way() -> None:
    (choice,) = completion(functions=[WEATHER["function"]]).choices
    assert choice.finish_reason == "function_call"
    assert choice.message.function_call is not None
    assert json.loads(choice.message.function_call.arguments) == ARGUMENTS


def test_structured_output_is_valid() -> None:
    content = completion(response_format=SCHEMA).choices[0].message.content
    assert json.loads(content or "") == ARGUMENTS


def test_a_limit_cuts_tool_arguments() -> None:
    (choice,) = completion(tools=[WEATHER], max_completion_tokens=2).choices
    assert choice.finish_reason == "length"
    (call,) = choice.message.tool_calls or []
    assert call.type == "function"
    assert call.function.arguments == '{"city":'

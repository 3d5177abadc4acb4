"""aimock, a player of provider accounts that is not ours: alone, and relayed."""

import json
from collections.abc import Iterator
from typing import Any

import openai
import pytest
from openai.types.chat import ChatCompletionMessageParam, ChatCompletionToolParam
from tests.acceptance.configuration import AIMOCK_KEY, KEYS
from tests.support.posthouse import Posthouse
from tests.support.processes import ServerProcess

MODEL = "gpt-4o"

WEATHER: ChatCompletionToolParam = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}},
            "required": ["city"],
        },
    },
}


@pytest.fixture(params=["direct", "posthouse"])
def client(request: pytest.FixtureRequest) -> Iterator[openai.OpenAI]:
    """The official SDK, with aimock itself or behind Posthouse."""
    direct = request.param == "direct"
    server: ServerProcess = request.getfixturevalue("aimock")
    if not direct:
        server = request.getfixturevalue("posthouse")
    with openai.OpenAI(
        base_url=server.url + "/v1",
        api_key=AIMOCK_KEY if direct else KEYS["app"],
        max_retries=0,
        timeout=20,
    ) as client:
        yield client


def said(text: str) -> list[ChatCompletionMessageParam]:
    """A chat of one user message."""
    return [{"role": "user", "content": text}]


def test_a_whole_answer(client: openai.OpenAI) -> None:
    reply = client.chat.completions.create(model=MODEL, messages=said("say hello"))
    assert reply.choices[0].message.content == "Hello from aimock, twice over."
    assert reply.usage is not None
    assert reply.usage.total_tokens == (
        reply.usage.prompt_tokens + reply.usage.completion_tokens
    )


def test_a_streamed_answer_with_usage(client: openai.OpenAI) -> None:
    chunks = list(
        client.chat.completions.create(
            model=MODEL,
            messages=said("say hello"),
            stream=True,
            stream_options={"include_usage": True},
        )
    )
    text = "".join(
        choice.delta.content or "" for chunk in chunks for choice in chunk.choices
    )
    assert text == "Hello from aimock, twice over."
    assert chunks[-1].usage is not None


def test_a_stream_without_the_option_shows_no_usage(client: openai.OpenAI) -> None:
    chunks = list(
        client.chat.completions.create(
            model=MODEL, messages=said("say hello"), stream=True
        )
    )
    assert all(chunk.usage is None for chunk in chunks)
    assert chunks[-1].choices[0].finish_reason == "stop"


def test_a_round_trip_of_tools(client: openai.OpenAI) -> None:
    messages = said("How is it in Oslo?")
    first = client.chat.completions.create(
        model=MODEL, messages=messages, tools=[WEATHER]
    )
    (call,) = first.choices[0].message.tool_calls or []
    assert call.type == "function"
    assert json.loads(call.function.arguments) == {"city": "Oslo"}
    messages.append(first.choices[0].message)  # type: ignore[arg-type]  # as the SDK's own guide does
    messages.append({"role": "tool", "tool_call_id": call.id, "content": "sun"})
    second = client.chat.completions.create(
        model=MODEL, messages=messages, tools=[WEATHER]
    )
    assert second.choices[0].message.content == "It is sunny."


def test_parallel_tool_calls_streamed(client: openai.OpenAI) -> None:
    joined: dict[int, str] = {}
    for chunk in client.chat.completions.create(
        model=MODEL,
        messages=said("weather everywhere"),
        tools=[WEATHER],
        stream=True,
    ):
        for choice in chunk.choices:
            for part in choice.delta.tool_calls or []:
                assert part.function is not None
                joined[part.index] = joined.get(part.index, "") + (
                    part.function.arguments or ""
                )
    assert [json.loads(text)["city"] for text in joined.values()] == ["Oslo", "Rome"]


def test_structured_output(client: openai.OpenAI) -> None:
    form: Any = {
        "type": "json_schema",
        "json_schema": {
            "name": "weather",
            "schema": {
                "type": "object",
                "properties": {
                    "city": {"type": "string"},
                    "degrees": {"type": "number"},
                },
            },
        },
    }
    reply = client.chat.completions.create(
        model=MODEL, messages=said("as json"), response_format=form
    )
    assert json.loads(reply.choices[0].message.content or "")["degrees"] == 8


def test_a_providers_refusal_keeps_its_class_and_code(client: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        client.chat.completions.create(model=MODEL, messages=said("be wrong"))
    assert caught.value.code == "wrong_thing"
    assert "That is wrong." in caught.value.message


@pytest.mark.usefixtures("aimock")
def test_what_was_said_is_what_is_charged(
    relayed: openai.OpenAI, posthouse: Posthouse
) -> None:
    raw = relayed.chat.completions.with_raw_response.create(
        model=MODEL, messages=said("say hello")
    )
    usage = raw.parse().usage
    assert usage is not None
    record = posthouse.call(raw.headers["x-request-id"])
    assert record["usage"] == {
        "input": usage.prompt_tokens,
        "output": usage.completion_tokens,
    }
    assert record["usage_source"] == "provider"
    # 2.50 and 10 USD per million tokens, in nano-dollars.
    assert record["price"] == (
        2_500 * usage.prompt_tokens + 10_000 * usage.completion_tokens
    )

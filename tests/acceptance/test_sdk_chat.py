"""Chat through the official SDK: everything an application does with it."""

import json
from typing import Any, Literal

import openai
import pytest
from openai.types.chat import ChatCompletionMessageParam, ChatCompletionToolParam
from pydantic import BaseModel

CITY = {
    "type": "object",
    "properties": {"city": {"type": "string"}},
    "required": ["city"],
    "additionalProperties": False,
}
WEATHER: ChatCompletionToolParam = {
    "type": "function",
    "function": {"name": "get_weather", "parameters": CITY, "strict": True},
}
CLOCK: ChatCompletionToolParam = {
    "type": "function",
    "function": {"name": "get_time", "parameters": CITY},
}


class Step(BaseModel):
    """A part of a structured answer."""

    explanation: str
    output: str


class Solution(BaseModel):
    """A structured answer."""

    kind: Literal["solution"]
    steps: list[Step]
    answer: float
    remark: str | None


def said(text: str) -> list[ChatCompletionMessageParam]:
    """A chat of one user message."""
    return [{"role": "user", "content": text}]


def test_a_whole_answer(client: openai.OpenAI) -> None:
    reply = client.chat.completions.create(
        model="sandbox",
        messages=[{"role": "system", "content": "Be kind."}, *said("Hello there")],
    )
    assert reply.model == "sandbox"
    assert "Hello there" in (reply.choices[0].message.content or "")
    assert reply.choices[0].finish_reason == "stop"
    assert reply.usage is not None
    assert reply.usage.prompt_tokens == 2 + 3 + 3 + 3 + 3
    assert reply.system_fingerprint == "sandbox"


def test_a_streamed_answer_with_usage(client: openai.OpenAI) -> None:
    whole = client.chat.completions.create(model="sandbox", messages=said("Hello"))
    chunks = list(
        client.chat.completions.create(
            model="sandbox",
            messages=said("Hello"),
            stream=True,
            stream_options={"include_usage": True},
        )
    )
    text = "".join(
        choice.delta.content or "" for chunk in chunks for choice in chunk.choices
    )
    assert text == whole.choices[0].message.content
    assert len(chunks) > 5
    assert chunks[-1].choices == []
    assert chunks[-1].usage == whole.usage
    assert all(chunk.usage is None for chunk in chunks[:-1])


def test_a_stream_without_the_option_never_shows_usage(client: openai.OpenAI) -> None:
    chunks = list(
        client.chat.completions.create(
            model="sandbox", messages=said("Hello"), stream=True
        )
    )
    assert all(chunk.usage is None for chunk in chunks)
    assert all(chunk.choices for chunk in chunks)
    assert chunks[-1].choices[0].finish_reason == "stop"


def test_a_round_trip_of_tools(client: openai.OpenAI) -> None:
    messages = said("What is it like outside?")
    first = client.chat.completions.create(
        model="sandbox", messages=messages, tools=[WEATHER]
    )
    assert first.choices[0].finish_reason == "tool_calls"
    (call,) = first.choices[0].message.tool_calls or []
    assert call.type == "function"
    assert json.loads(call.function.arguments) == {"city": "sample city"}
    messages.append(first.choices[0].message)  # type: ignore[arg-type]  # as the SDK's own guide does
    messages.append(
        {"role": "tool", "tool_call_id": call.id, "content": "8 degrees, rain"}
    )
    second = client.chat.completions.create(
        model="sandbox", messages=messages, tools=[WEATHER]
    )
    assert "8 degrees, rain" in (second.choices[0].message.content or "")


def test_parallel_tool_calls_whole_and_streamed(client: openai.OpenAI) -> None:
    body: dict[str, Any] = {
        "model": "sandbox",
        "messages": said("get_weather and get_time, please"),
        "tools": [WEATHER, CLOCK],
    }
    whole = client.chat.completions.create(**body)
    names = ["get_weather", "get_time"]
    calls = whole.choices[0].message.tool_calls or []
    assert [call.function.name for call in calls if call.type == "function"] == names
    joined: dict[int, str] = {}
    for chunk in client.chat.completions.create(**body, stream=True):
        for part in chunk.choices[0].delta.tool_calls or []:
            assert part.function is not None
            joined[part.index] = joined.get(part.index, "") + (
                part.function.arguments or ""
            )
    assert [json.loads(joined[index]) for index in (0, 1)] == [
        {"city": "sample city"},
        {"city": "sample city"},
    ]
    single = client.chat.completions.create(**body, parallel_tool_calls=False)
    assert len(single.choices[0].message.tool_calls or []) == 1


@pytest.mark.parametrize(
    ("choice", "names"),
    [
        ("none", []),
        ("auto", ["get_weather"]),
        ("required", ["get_weather"]),
        ({"type": "function", "function": {"name": "get_time"}}, ["get_time"]),
    ],
)
def test_the_choice_of_a_tool(
    client: openai.OpenAI, choice: Any, names: list[str]
) -> None:
    reply = client.chat.completions.create(
        model="sandbox",
        messages=said("Hello"),
        tools=[WEATHER, CLOCK],
        tool_choice=choice,
    )
    calls = reply.choices[0].message.tool_calls or []
    assert [call.function.name for call in calls if call.type == "function"] == names


def test_functions_as_they_were_before_tools(client: openai.OpenAI) -> None:
    reply = client.chat.completions.create(
        model="sandbox",
        messages=said("Hello"),
        functions=[{"name": "get_weather", "parameters": CITY}],
        function_call={"name": "get_weather"},
    )
    assert reply.choices[0].finish_reason == "function_call"
    assert reply.choices[0].message.function_call is not None
    assert reply.choices[0].message.function_call.name == "get_weather"


def test_structured_output_parsed_by_the_sdk(client: openai.OpenAI) -> None:
    reply = client.chat.completions.parse(
        model="sandbox", messages=said("Solve it"), response_format=Solution
    )
    parsed = reply.choices[0].message.parsed
    assert isinstance(parsed, Solution)
    assert parsed.kind == "solution"
    assert len(parsed.steps) == 1


def test_tools_parsed_by_the_sdk(client: openai.OpenAI) -> None:
    reply = client.chat.completions.parse(
        model="sandbox",
        messages=said("Solve it"),
        tools=[openai.pydantic_function_tool(Solution)],
    )
    (call,) = reply.choices[0].message.tool_calls or []
    assert isinstance(call.function.parsed_arguments, Solution)


def test_an_answer_cut_short_is_the_sdks_own_error(client: openai.OpenAI) -> None:
    with pytest.raises(openai.LengthFinishReasonError):
        client.chat.completions.parse(
            model="sandbox",
            messages=said("Solve it"),
            response_format=Solution,
            max_tokens=2,
        )


def test_the_stream_helper_assembles_the_answer(client: openai.OpenAI) -> None:
    with client.chat.completions.stream(
        model="sandbox", messages=said("Solve it"), response_format=Solution
    ) as stream:
        kinds = [event.type for event in stream]
        final = stream.get_final_completion()
    assert kinds.count("content.delta") > 3
    assert kinds.count("content.done") == 1
    assert isinstance(final.choices[0].message.parsed, Solution)


def test_the_stream_helper_assembles_tool_calls(client: openai.OpenAI) -> None:
    with client.chat.completions.stream(
        model="sandbox", messages=said("Hello"), tools=[WEATHER]
    ) as stream:
        done = [
            event
            for event in stream
            if event.type == "tool_calls.function.arguments.done"
        ]
    assert [event.name for event in done] == ["get_weather"]
    assert json.loads(done[0].arguments) == {"city": "sample city"}


def test_several_choices(client: openai.OpenAI) -> None:
    reply = client.chat.completions.create(model="sandbox", messages=said("Hello"), n=3)
    assert [choice.index for choice in reply.choices] == [0, 1, 2]
    assert len({choice.message.content for choice in reply.choices}) == 3
    texts = {0: "", 1: "", 2: ""}
    for chunk in client.chat.completions.create(
        model="sandbox", messages=said("Hello"), n=3, stream=True
    ):
        for choice in chunk.choices:
            texts[choice.index] += choice.delta.content or ""
    assert list(texts.values()) == [c.message.content for c in reply.choices]


def test_json_object(client: openai.OpenAI) -> None:
    reply = client.chat.completions.create(
        model="sandbox",
        messages=said("Answer in JSON"),
        response_format={"type": "json_object"},
    )
    assert isinstance(json.loads(reply.choices[0].message.content or ""), dict)


def test_limits_stops_and_seeds(client: openai.OpenAI) -> None:
    short = client.chat.completions.create(
        model="sandbox", messages=said("Hello"), max_completion_tokens=4, seed=7
    )
    assert short.choices[0].finish_reason == "length"
    assert short.usage is not None
    assert short.usage.completion_tokens == 4
    stopped = client.chat.completions.create(
        model="sandbox", messages=said("sandbox:echo one two three"), stop=["two"]
    )
    assert stopped.choices[0].message.content == "one "


def test_log_probabilities(client: openai.OpenAI) -> None:
    reply = client.chat.completions.create(
        model="sandbox", messages=said("Hello"), logprobs=True, top_logprobs=2
    )
    written = reply.choices[0].logprobs
    assert written is not None
    assert "".join(token.token for token in written.content or []) == (
        reply.choices[0].message.content
    )


def test_a_reasoning_model(client: openai.OpenAI) -> None:
    reply = client.chat.completions.create(
        model="sandbox-reasoning",
        messages=[{"role": "developer", "content": "Think."}, *said("Hello")],
        reasoning_effort="high",
        max_completion_tokens=500,
    )
    assert reply.usage is not None
    assert reply.usage.completion_tokens_details is not None
    assert (reply.usage.completion_tokens_details.reasoning_tokens or 0) > 0
    assert (reply.choices[0].message.model_extra or {})["reasoning_content"]
    with pytest.raises(openai.BadRequestError) as caught:
        client.chat.completions.create(
            model="sandbox-reasoning", messages=said("Hello"), max_tokens=5
        )
    assert caught.value.code == "unsupported_parameter"


def test_pictures_sounds_and_files(client: openai.OpenAI) -> None:
    reply = client.chat.completions.create(
        model="sandbox",
        messages=[
            {
                "role": "user",
                "content": [
                    {"type": "text", "text": "What is this?"},
                    {
                        "type": "image_url",
                        "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="},
                    },
                    {
                        "type": "input_audio",
                        "input_audio": {"data": "UklGRg==", "format": "wav"},
                    },
                ],
            }
        ],
    )
    assert "1 image, 1 audio clip" in (reply.choices[0].message.content or "")


def test_a_spoken_answer(client: openai.OpenAI) -> None:
    reply = client.chat.completions.create(
        model="sandbox",
        messages=said("Hello"),
        modalities=["text", "audio"],
        audio={"voice": "alloy", "format": "wav"},
    )
    audio = reply.choices[0].message.audio
    assert audio is not None
    assert audio.data.startswith("UklGR")
    spoken = ""
    for chunk in client.chat.completions.create(
        model="sandbox",
        messages=said("Hello"),
        modalities=["text", "audio"],
        audio={"voice": "alloy", "format": "pcm16"},
        stream=True,
    ):
        delta = chunk.choices[0].delta.audio
        spoken += (delta.transcript or "") if delta else ""
    assert spoken == audio.transcript


def test_predictions_tiers_and_refusals(client: openai.OpenAI) -> None:
    reply = client.chat.completions.create(
        model="sandbox",
        messages=said("Hello"),
        prediction={"type": "content", "content": "This is the wrong text"},
        service_tier="flex",
    )
    assert reply.service_tier == "flex"
    assert reply.usage is not None
    assert reply.usage.completion_tokens_details is not None
    assert reply.usage.completion_tokens_details.accepted_prediction_tokens == 3
    refused = client.chat.completions.create(
        model="sandbox", messages=said("sandbox:refusal Do it")
    )
    assert refused.choices[0].message.refusal


async def test_the_asynchronous_client(async_client: openai.AsyncOpenAI) -> None:
    whole = await async_client.chat.completions.create(
        model="sandbox", messages=said("Hello")
    )
    stream = await async_client.chat.completions.create(
        model="sandbox", messages=said("Hello"), stream=True
    )
    text = ""
    async for chunk in stream:
        text += chunk.choices[0].delta.content or ""
    assert text == whole.choices[0].message.content
    parsed = await async_client.chat.completions.parse(
        model="sandbox", messages=said("Solve it"), response_format=Solution
    )
    assert isinstance(parsed.choices[0].message.parsed, Solution)
    async with async_client.chat.completions.stream(
        model="sandbox", messages=said("Hello"), tools=[WEATHER]
    ) as helper:
        final = await helper.get_final_completion()
    assert final.choices[0].finish_reason == "tool_calls"

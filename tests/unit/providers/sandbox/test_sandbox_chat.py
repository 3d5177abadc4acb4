"""The sandbox's chat: every reply and chunk is what the official SDK expects."""

import base64
import io
import json
import wave
from typing import Any

from openai.types.chat import ChatCompletionChunk
from tests.support.cases import each
from tests.support.sandbox import (
    CLOCK,
    SCHEMA,
    WEATHER,
    assembled,
    chat,
    completion,
    unknown_fields,
)

from posthouse.providers.sandbox import tokens

REQUESTS: dict[str, dict[str, Any]] = {
    "plain": {},
    "system": {
        "messages": [
            {"role": "developer", "content": "Be brief."},
            {"role": "user", "content": [{"type": "text", "text": "Hi"}]},
        ]
    },
    "tool": {"tools": [WEATHER]},
    "tools named": {"tools": [WEATHER, CLOCK], "prompt": "get_weather and get_time"},
    "tool forced": {
        "tools": [WEATHER, CLOCK],
        "tool_choice": {"type": "function", "function": {"name": "get_time"}},
    },
    "functions": {"functions": [WEATHER["function"]]},
    "choices": {"n": 3},
    "json object": {
        "response_format": {"type": "json_object"},
        "prompt": "Answer in JSON",
    },
    "json schema": {"response_format": SCHEMA},
    "log probabilities": {"logprobs": True, "top_logprobs": 3},
    "refusal": {"prompt": "sandbox:refusal Do it", "logprobs": True},
    "content filter": {"prompt": "sandbox:content-filter Say it"},
    "limit": {"max_completion_tokens": 3},
    "audio": {
        "modalities": ["text", "audio"],
        "audio": {"voice": "alloy", "format": "pcm16"},
    },
    "prediction": {"prediction": {"type": "content", "content": "This is no"}},
    "tier": {"service_tier": "flex"},
    "length": {"prompt": "sandbox:length-100"},
}


def asked(body: dict[str, Any], **more: Any) -> tuple[str, dict[str, Any]]:
    """Give a request's prompt and its other fields."""
    fields = {**body, **more}
    return fields.pop("prompt", "Hello"), fields


@each("name", REQUESTS)
def test_every_reply_is_of_the_sdks_types(name: str) -> None:
    prompt, fields = asked(REQUESTS[name])
    whole = completion(prompt, **fields)
    assert unknown_fields(whole) == []
    assert whole.system_fingerprint == "sandbox"


@each("name", REQUESTS)
def test_every_chunk_is_of_the_sdks_types(name: str) -> None:
    prompt, fields = asked(
        REQUESTS[name], stream=True, stream_options={"include_usage": True}
    )
    played = chat(prompt, **fields)
    chunks = [
        ChatCompletionChunk.model_validate_json(json.dumps(event), strict=True)
        for event in played.events
    ]
    found = {field for chunk in chunks for field in unknown_fields(chunk)}
    assert found == set()
    assert {(chunk.id, chunk.model, chunk.created) for chunk in chunks} == {
        (chunks[0].id, "sandbox", chunks[0].created)
    }
    assert [bool(chunk.usage) for chunk in chunks] == [False] * (len(chunks) - 1) + [
        True
    ]
    assert chunks[-1].choices == []


@each("name", sorted(set(REQUESTS) - {"audio"}))
def test_a_stream_says_what_the_whole_reply_says(name: str) -> None:
    prompt, fields = asked(REQUESTS[name])
    whole = chat(prompt, **fields).document
    streamed = chat(
        prompt, **fields, stream=True, stream_options={"include_usage": True}
    )
    assert streamed.events[-1]["usage"] == whole["usage"]
    for one, choice in zip(assembled(streamed), whole["choices"], strict=True):
        message = choice["message"]
        assert one["finish"] == choice["finish_reason"]
        assert one.get("content", None) == message["content"]
        assert one.get("refusal") == message["refusal"]
        calls = message.get("tool_calls", [])
        assert list(one["calls"].values()) == [
            call["function"]["arguments"] for call in calls
        ]


def test_usage_counts_four_characters_as_a_token() -> None:
    whole = completion("12345678")
    assert whole.usage is not None
    # Two of text, three for the message, three for the chat.
    assert whole.usage.prompt_tokens == 2 + 3 + 3
    assert whole.usage.completion_tokens == tokens.count(
        whole.choices[0].message.content or ""
    )


def test_a_stream_without_the_option_has_no_usage() -> None:
    played = chat(stream=True)
    assert played.done
    assert all("usage" not in event for event in played.events)


def test_the_prompt_and_the_instructions_come_back() -> None:
    whole = completion(
        messages=[
            {"role": "system", "content": "Talk like a pirate."},
            {"role": "user", "content": "Where are we?"},
        ]
    )
    content = whole.choices[0].message.content or ""
    assert "Where are we?" in content
    assert "Talk like a pirate." in content


def test_the_same_request_gets_the_same_bytes_and_another_one_another_id() -> None:
    assert chat("Hello").body == chat("Hello").body
    assert chat("Hello").document["id"] != chat("Hello!").document["id"]


def test_every_choice_is_billed() -> None:
    one, three = completion().usage, completion(n=3).usage
    assert one is not None
    assert three is not None
    assert three.prompt_tokens == one.prompt_tokens
    assert three.completion_tokens > 3 * one.completion_tokens


def test_a_limit_ends_an_answer_and_is_kept_to_the_token() -> None:
    whole = completion("sandbox:length-50", max_tokens=7)
    assert whole.choices[0].finish_reason == "length"
    assert whole.usage is not None
    assert whole.usage.completion_tokens == 7
    assert completion("sandbox:length-7", max_tokens=7).choices[0].finish_reason == (
        "stop"
    )


def test_a_stop_sequence_is_not_said() -> None:
    whole = completion("sandbox:echo one two three", stop=["three", " two"])
    assert whole.choices[0].message.content == "one"
    assert whole.choices[0].finish_reason == "stop"


def test_a_reasoning_model_thinks_and_charges_for_it() -> None:
    whole = completion(model="sandbox-reasoning")
    assert whole.usage is not None
    assert whole.usage.completion_tokens_details is not None
    reasoning = whole.usage.completion_tokens_details.reasoning_tokens
    message = whole.choices[0].message
    thought = (message.model_extra or {})["reasoning_content"]
    assert reasoning == tokens.count(thought) > 0
    assert whole.usage.completion_tokens == reasoning + tokens.count(
        message.content or ""
    )
    (streamed,) = assembled(chat(model="sandbox-reasoning", stream=True))
    assert streamed["reasoning_content"] == thought


def test_thinking_comes_first_under_a_limit() -> None:
    whole = completion(model="sandbox-reasoning", max_completion_tokens=4)
    assert whole.choices[0].message.content == ""
    assert whole.choices[0].finish_reason == "length"
    assert whole.usage is not None
    assert whole.usage.completion_tokens == 4


def test_pictures_sounds_and_files_are_acknowledged_and_counted() -> None:
    image = {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}}
    sound = {"type": "input_audio", "input_audio": {"data": "UklG", "format": "wav"}}
    file = {"type": "file", "file": {"file_id": "file-1"}}
    whole = completion([{"type": "text", "text": "Look"}, image, image, sound, file])
    assert "2 images, 1 audio clip, 1 file" in (whole.choices[0].message.content or "")
    assert whole.usage is not None
    assert whole.usage.prompt_tokens == 1 + 2 * 85 + 50 + 100 + 6
    assert whole.usage.prompt_tokens_details is not None
    assert whole.usage.prompt_tokens_details.audio_tokens == 50


def test_a_spoken_answer_is_a_real_sound() -> None:
    message = (
        completion(
            modalities=["text", "audio"], audio={"voice": "alloy", "format": "wav"}
        )
        .choices[0]
        .message
    )
    assert message.audio is not None
    assert message.content is None
    with wave.open(io.BytesIO(base64.b64decode(message.audio.data))) as sound:
        assert sound.getframerate() == 24_000
        assert sound.getnframes() > 2_400
    assert "sandbox" in message.audio.transcript


def test_a_spoken_stream_joins_to_the_same_sound() -> None:
    audio = {"voice": "alloy", "format": "pcm16"}
    body: dict[str, Any] = {"modalities": ["text", "audio"], "audio": audio}
    whole = chat(**body).document["choices"][0]["message"]["audio"]
    deltas = [
        event["choices"][0]["delta"].get("audio", {})
        for event in chat(**body, stream=True).events
    ]
    joined = {
        name: "".join(delta.get(name, "") for delta in deltas)
        for name in ("data", "transcript")
    }
    assert joined == {name: whole[name] for name in joined}


def test_log_probabilities_cover_every_token() -> None:
    (choice,) = completion("Hello", logprobs=True, top_logprobs=2).choices
    assert choice.logprobs is not None
    written = choice.logprobs.content or []
    assert "".join(token.token for token in written) == choice.message.content
    for token in written:
        assert token.logprob <= 0
        assert bytes(token.bytes or []).decode() == token.token
        assert [top.token for top in token.top_logprobs] == [token.token, "~1"]
    streamed = [
        token
        for event in chat(logprobs=True, top_logprobs=2, stream=True).events
        for part in event["choices"]
        for token in (part["logprobs"] or {}).get("content") or []
    ]
    assert streamed == [token.model_dump() for token in written]


def test_a_prediction_is_counted_as_accepted_and_rejected() -> None:
    said = completion("Hello").choices[0].message.content or ""
    usage = completion(
        "Hello", prediction={"type": "content", "content": said[:8] + "########"}
    ).usage
    assert usage is not None
    assert usage.completion_tokens_details is not None
    assert usage.completion_tokens_details.accepted_prediction_tokens == 2
    assert usage.completion_tokens_details.rejected_prediction_tokens == 2
    assert usage.completion_tokens == tokens.count(said) + 2


@each(
    ("asked_for", "used"),
    [("auto", "default"), ("fast", "priority"), ("flex", "flex"), (None, "default")],
)
def test_the_service_tier_is_echoed(asked_for: str | None, used: str) -> None:
    assert completion(service_tier=asked_for).service_tier == used


def test_a_refusal_takes_the_contents_place() -> None:
    (choice,) = completion("sandbox:refusal Do it", tools=[WEATHER]).choices
    assert choice.message.refusal
    assert choice.message.content is None
    assert choice.message.tool_calls is None


def test_unknown_fields_are_nobodys_business() -> None:
    assert completion(some_new_field={"a": 1}).choices[0].finish_reason == "stop"

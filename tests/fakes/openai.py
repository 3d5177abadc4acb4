"""Ready-made answers of an OpenAI-compatible provider, with truthful usage.

A text counts as one token per four bytes, rounded up; an answer has as many
tokens as words, one per streamed chunk, as many as `max_tokens` asks for or
`WORDS`. Nothing is random, so a test can say beforehand what a call costs.
"""

import struct
from collections.abc import Iterator
from typing import Any

import msgspec
from tests.fakes.steps import (
    LAST_CHUNK,
    Behaviour,
    Request,
    Send,
    Step,
    Wait,
    chunk,
    head,
    json_reply,
)

WORDS = 16
CREATED = 1_770_000_000
CACHED_TOKENS = 4
DIMENSIONS = 8
EVENT_STREAM = "text/event-stream"
DONE = b"data: [DONE]\n\n"


def tokens(value: Any) -> int:
    """Count the tokens of a text, or of every text inside a value."""
    if isinstance(value, str):
        return (len(value.encode()) + 3) // 4
    if isinstance(value, list):
        return sum(tokens(item) for item in value)
    if isinstance(value, dict):
        return sum(tokens(item) for item in value.values())
    return 1 if isinstance(value, int) else 0


def words(count: int) -> list[str]:
    """Give the text of an answer, a word per token."""
    return [f"word{index} " for index in range(count)]


def wanted_words(request: Request) -> int:
    """How long the answer shall be."""
    body = request.json
    return int(body.get("max_completion_tokens") or body.get("max_tokens") or WORDS)


def usage_of(prompt: int, completion: int) -> dict[str, Any]:
    """Write usage as the chat operation does."""
    return {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
        "prompt_tokens_details": {"cached_tokens": min(CACHED_TOKENS, prompt)},
        "completion_tokens_details": {"reasoning_tokens": 0},
    }


def chat_usage(request: Request) -> dict[str, Any]:
    """What a chat request truly amounts to."""
    prompt = tokens(request.json.get("messages", []))
    return usage_of(prompt, wanted_words(request))


def chat_value(request: Request) -> dict[str, Any]:
    """The body of an unary chat answer."""
    text = "".join(words(wanted_words(request)))
    message = {"role": "assistant", "content": text, "refusal": None}
    return {
        "id": f"chatcmpl-{request.number}",
        "object": "chat.completion",
        "created": CREATED,
        "model": request.json.get("model", ""),
        "choices": [
            {"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}
        ],
        "usage": chat_usage(request),
    }


def chat_event(request: Request, delta: dict[str, Any] | None, **more: Any) -> bytes:
    """One event of a chat stream; without a delta it has no choices."""
    choices = []
    if delta is not None:
        finish = more.pop("finish_reason", None)
        choices = [
            {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
        ]
    value = {
        "id": f"chatcmpl-{request.number}",
        "object": "chat.completion.chunk",
        "created": CREATED,
        "model": request.json.get("model", ""),
        "choices": choices,
        **more,
    }
    return b"data: %b\n\n" % msgspec.json.encode(value)


def chat_events(
    request: Request, count: int, usage: dict[str, Any] | None
) -> Iterator[bytes]:
    """Every event of a chat stream but [DONE]; no usage chunk without usage."""
    first = {"role": "assistant", "content": ""}
    quiet: dict[str, Any] = {} if usage is None else {"usage": None}
    yield chat_event(request, first, **quiet)
    for word in words(count):
        yield chat_event(request, {"content": word}, **quiet)
    yield chat_event(request, {}, finish_reason="stop", **quiet)
    if usage is not None:
        yield chat_event(request, None, usage=usage)


def stream_head(**more: Any) -> bytes:
    """The head of a chunked event stream."""
    return head(200, chunked=True, content_type=EVENT_STREAM, **more)


def stream_steps(events: Iterator[bytes], interval: float) -> Iterator[Step]:
    """Send events as chunks, `interval` seconds apart, then [DONE]."""
    yield Send(stream_head())
    for event in events:
        yield Send(chunk(event))
        if interval:
            yield Wait(interval)
    yield Send(chunk(DONE) + LAST_CHUNK, terminal=True)


def wants_usage(request: Request) -> bool:
    """Whether the stream shall end with a usage chunk."""
    return bool((request.json.get("stream_options") or {}).get("include_usage"))


def chat(request: Request, *, interval: float = 0.0) -> Behaviour:
    """Answer a chat, streamed if it asks for it.

    Args:
        request: the request.
        interval: seconds between two streamed chunks.
    """
    usage = chat_usage(request)
    if not request.json.get("stream"):
        steps: Any = (Send(json_reply(200, chat_value(request))),)
        return Behaviour("chat", steps, usage)
    shown = usage if wants_usage(request) else None
    events = chat_events(request, wanted_words(request), shown)
    return Behaviour("chat-stream", stream_steps(events, interval), usage)


def _completion_value(request: Request, text: str, finish: str | None) -> Any:
    """The body, or one event, of the legacy completions operation."""
    choice = {"text": text, "index": 0, "logprobs": None, "finish_reason": finish}
    return {
        "id": f"cmpl-{request.number}",
        "object": "text_completion",
        "created": CREATED,
        "model": request.json.get("model", ""),
        "choices": [choice],
    }


def completion(request: Request) -> Behaviour:
    """Answer a legacy completion, streamed if it asks for it."""
    count = wanted_words(request)
    usage = usage_of(tokens(request.json.get("prompt", "")), count)
    if not request.json.get("stream"):
        value = _completion_value(request, "".join(words(count)), "stop")
        steps: Any = (Send(json_reply(200, {**value, "usage": usage})),)
        return Behaviour("completion", steps, usage)

    def events() -> Iterator[bytes]:
        for word in words(count):
            value = _completion_value(request, word, None)
            yield b"data: %b\n\n" % msgspec.json.encode(value)
        value = _completion_value(request, "", "stop")
        yield b"data: %b\n\n" % msgspec.json.encode(value)
        if wants_usage(request):
            value = {**_completion_value(request, "", None), "choices": []}
            yield b"data: %b\n\n" % msgspec.json.encode({**value, "usage": usage})

    return Behaviour("completion-stream", stream_steps(events(), 0.0), usage)


def embedding(request: Request) -> Behaviour:
    """Answer an embedding request, as floats or base64."""
    body = request.json
    given = body.get("input", "")
    many = isinstance(given, list) and bool(given) and not isinstance(given[0], int)
    inputs = given if many else [given]
    size = int(body.get("dimensions") or DIMENSIONS)
    data = []
    for index, item in enumerate(inputs):
        vector = [1.0 / (1 + index + place) for place in range(size)]
        shown: Any = vector
        if body.get("encoding_format") == "base64":
            packed = struct.pack(f"<{size}f", *vector)
            shown = msgspec.json.decode(msgspec.json.encode(packed))
        data.append({"object": "embedding", "index": index, "embedding": shown})
        assert item is not None
    prompt = tokens(given)
    usage = {"prompt_tokens": prompt, "total_tokens": prompt}
    value = {
        "object": "list",
        "model": body.get("model", ""),
        "data": data,
        "usage": usage,
    }
    return Behaviour("embedding", (Send(json_reply(200, value)),), usage)


def moderation(request: Request) -> Behaviour:
    """Answer a moderation request: nothing is ever flagged."""
    given = request.json.get("input", "")
    count = len(given) if isinstance(given, list) else 1
    result = {
        "flagged": False,
        "categories": {"hate": False, "violence": False},
        "category_scores": {"hate": 0.0, "violence": 0.0},
        "category_applied_input_types": {"hate": ["text"], "violence": ["text"]},
    }
    value = {
        "id": f"modr-{request.number}",
        "model": request.json.get("model", ""),
        "results": [result] * count,
    }
    return Behaviour("moderation", (Send(json_reply(200, value)),))


def models(request: Request) -> Behaviour:
    """List one model."""
    row = {"id": "fake", "object": "model", "created": CREATED, "owned_by": "fake"}
    value = {"object": "list", "data": [row]}
    return Behaviour("models", (Send(json_reply(200, value)),))


def unknown(request: Request) -> Behaviour:
    """Refuse an operation that this provider does not have."""
    error = {
        "message": f"Unknown request URL: {request.method} {request.target}",
        "type": "invalid_request_error",
        "param": None,
        "code": "unknown_url",
    }
    return Behaviour("unknown", (Send(json_reply(404, {"error": error})),))


_OPERATIONS = {
    "/chat/completions": chat,
    "/completions": completion,
    "/embeddings": embedding,
    "/moderations": moderation,
    "/models": models,
}


def answer(request: Request) -> Behaviour:
    """Answer any operation like a healthy provider."""
    path = request.target.partition("?")[0].removeprefix("/v1")
    return _OPERATIONS.get(path, unknown)(request)

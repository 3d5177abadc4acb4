"""Writes a chat's choices down: one document, or a stream of chunks."""

from collections.abc import Iterator
from itertools import zip_longest
from typing import Any

from posthouse.providers.sandbox import sound, tokens, tools
from posthouse.providers.sandbox.chat import Answer, Chat
from posthouse.providers.sandbox.identity import (
    CREATED,
    FINGERPRINT,
    Identity,
    logprob,
)

Document = dict[str, Any]

AUDIO_PIECE = 4096
"""Characters of base64 in one chunk of a spoken stream."""


def usage(chat: Chat) -> Document:
    """Say what the chat consumed; a refused prediction is paid for as output."""
    accepted, rejected = predicted_tokens(chat)
    reasoning = sum(tokens.count(answer.reasoning) for answer in chat.answers)
    output = sum(answer.tokens for answer in chat.answers) + rejected
    spoken = sum(
        tokens.count(answer.content or "") for answer in chat.answers if chat.audio
    )
    prompt = chat.conversation.tokens
    return {
        "prompt_tokens": prompt,
        "completion_tokens": output,
        "total_tokens": prompt + output,
        "prompt_tokens_details": {
            "cached_tokens": 0,
            "audio_tokens": chat.conversation.audio_tokens,
        },
        "completion_tokens_details": {
            "reasoning_tokens": reasoning,
            "audio_tokens": spoken,
            "accepted_prediction_tokens": accepted,
            "rejected_prediction_tokens": rejected,
        },
    }


def predicted_tokens(chat: Chat) -> tuple[int, int]:
    """Count a prediction's tokens that came true, and the others."""
    said = chat.answers[0].content or ""
    predicted = tokens.split(chat.predicted[: len(said)])
    accepted = 0
    for one, other in zip(predicted, tokens.split(said), strict=False):
        if one != other:
            break
        accepted += 1
    return accepted, tokens.count(chat.predicted) - accepted


def document(chat: Chat, identity: Identity) -> Document:
    """Write the chat as one document."""
    return {
        "id": identity.make("chatcmpl-"),
        "object": "chat.completion",
        "created": CREATED,
        "model": chat.model,
        "choices": [
            {
                "index": index,
                "message": message(chat, answer, identity, index),
                "logprobs": logprobs(chat, answer),
                "finish_reason": finish_reason(chat, answer),
            }
            for index, answer in enumerate(chat.answers)
        ],
        "usage": usage(chat),
        "service_tier": chat.tier,
        "system_fingerprint": FINGERPRINT,
    }


def finish_reason(chat: Chat, answer: Answer) -> str:
    """Name why a choice ended."""
    if answer.finish == "tool_calls" and chat.legacy:
        return "function_call"
    return answer.finish


def message(chat: Chat, answer: Answer, identity: Identity, index: int) -> Document:
    """Write one choice's message."""
    written: Document = {
        "role": "assistant",
        "content": answer.content,
        "refusal": answer.refusal,
        "annotations": [],
    }
    if answer.reasoning:
        written["reasoning_content"] = answer.reasoning
    if chat.audio and answer.content is not None:
        written["content"] = None
        written["audio"] = {
            "id": identity.make("audio_", index),
            "data": sound.speech(answer.content, chat.audio),
            "expires_at": CREATED + 3600,
            "transcript": answer.content,
        }
    if answer.calls and chat.legacy:
        call = answer.calls[0]
        written["function_call"] = {"name": call.name, "arguments": call.text}
    elif answer.calls:
        written["tool_calls"] = [
            tool_call(call, call_id(identity, index, place), call.text)
            for place, call in enumerate(answer.calls)
        ]
    return written


def call_id(identity: Identity, index: int, place: int) -> str:
    """Make a tool call's id."""
    return f"{identity.make('call_', index)}{index}{place}"


def tool_call(call: tools.Call, name: str, text: str) -> Document:
    """Write a tool call, or its first fragment with only a part of its text."""
    field = "arguments" if call.kind == "function" else "input"
    inner = {"name": call.name, field: text}
    return {"id": name, "type": call.kind, call.kind: inner}


def logprobs(chat: Chat, answer: Answer) -> Document | None:
    """Write the log probabilities of a choice's text."""
    if chat.top_logprobs < 0:
        return None
    return {
        "content": token_logprobs(answer.content, chat.top_logprobs),
        "refusal": token_logprobs(answer.refusal, chat.top_logprobs),
    }


def token_logprobs(text: str | None, top: int, first: int = 0) -> list[Document] | None:
    """Write the log probabilities of a text's tokens; `first` is its first place."""
    if text is None:
        return None
    return [
        {
            **one_logprob(token, place, 0),
            "top_logprobs": [
                one_logprob(token if rank == 0 else f"~{rank}", place, rank)
                for rank in range(top)
            ],
        }
        for place, token in enumerate(tokens.split(text), first)
    ]


def one_logprob(token: str, place: int, rank: int) -> Document:
    """Write one token's log probability."""
    return {
        "token": token,
        "logprob": logprob(place, rank),
        "bytes": list(token.encode()),
    }


def chunks(chat: Chat, identity: Identity) -> Iterator[Document]:
    """Write the chat as chunks; the choices' chunks take turns."""
    frame: Document = {
        "id": identity.make("chatcmpl-"),
        "object": "chat.completion.chunk",
        "created": CREATED,
        "model": chat.model,
        "service_tier": chat.tier,
        "system_fingerprint": FINGERPRINT,
    }
    if chat.include_usage:
        frame["usage"] = None
    streams = [
        choice_chunks(chat, answer, identity, index)
        for index, answer in enumerate(chat.answers)
    ]
    for turn in zip_longest(*streams):
        for choice in turn:
            if choice is not None:
                yield {**frame, "choices": [choice]}
    if chat.include_usage:
        yield {**frame, "choices": [], "usage": usage(chat)}


def choice_chunks(
    chat: Chat, answer: Answer, identity: Identity, index: int
) -> Iterator[Document]:
    """Write one choice as its chunks."""
    for delta, written in deltas(chat, answer, identity, index):
        yield choice(index, delta, written)
    yield {**choice(index, {}), "finish_reason": finish_reason(chat, answer)}


def choice(index: int, delta: Document, written: Document | None = None) -> Document:
    """Write one choice's part of a chunk."""
    return {
        "index": index,
        "delta": delta,
        "logprobs": written,
        "finish_reason": None,
    }


def deltas(
    chat: Chat, answer: Answer, identity: Identity, index: int
) -> Iterator[tuple[Document, Document | None]]:
    """Write what a choice says in parts, each with its log probabilities."""
    spoken = chat.audio if answer.content is not None else ""
    content = None if answer.content is None or spoken else ""
    yield {"role": "assistant", "content": content, "refusal": None}, None
    for token in tokens.split(answer.reasoning):
        yield {"reasoning_content": token}, None
    if spoken:
        name = identity.make("audio_", index)
        for delta in spoken_deltas(chat, answer.content or "", name):
            yield {"audio": delta}, None
    else:
        yield from text_deltas(chat, "content", answer.content)
    yield from text_deltas(chat, "refusal", answer.refusal)
    for place, call in enumerate(answer.calls):
        for delta in call_deltas(chat, call, call_id(identity, index, place), place):
            yield delta, None


def text_deltas(
    chat: Chat, field: str, text: str | None
) -> Iterator[tuple[Document, Document | None]]:
    """Write a text token by token."""
    for place, token in enumerate(tokens.split(text or "")):
        yield {field: token}, logprob_delta(chat, field, token, place)


def logprob_delta(chat: Chat, field: str, token: str, place: int) -> Document | None:
    """Write one streamed token's log probability."""
    if chat.top_logprobs < 0:
        return None
    empty: Document = {"content": None, "refusal": None}
    return {**empty, field: token_logprobs(token, chat.top_logprobs, place)}


def spoken_deltas(chat: Chat, text: str, name: str) -> Iterator[Document]:
    """Write a spoken answer in parts: its words, its sound, its expiry."""
    yield {"id": name, "transcript": ""}
    for token in tokens.split(text):
        yield {"transcript": token}
    data = sound.speech(text, chat.audio)
    for start in range(0, len(data), AUDIO_PIECE):
        yield {"data": data[start : start + AUDIO_PIECE]}
    yield {"expires_at": CREATED + 3600}


def call_deltas(
    chat: Chat, call: tools.Call, name: str, place: int
) -> Iterator[Document]:
    """Write a call in parts: its name first, then its text token by token."""
    pieces = tokens.split(call.text)
    if chat.legacy:
        yield {"function_call": {"name": call.name, "arguments": ""}}
        for piece in pieces:
            yield {"function_call": {"arguments": piece}}
        return
    yield {"tool_calls": [{"index": place, **tool_call(call, name, "")}]}
    field = "arguments" if call.kind == "function" else "input"
    for piece in pieces:
        yield {"tool_calls": [{"index": place, call.kind: {field: piece}}]}

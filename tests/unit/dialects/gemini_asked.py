"""Small requests and replies of Gemini's, for its tests."""

from typing import Any

import msgspec

from posthouse.dialects.base import ParsedRequest
from posthouse.dialects.gemini_generate import CODEC
from posthouse.dialects.gemini_generate.request import parse_request_for
from posthouse.dialects.neutral.codec import Identity, Losses
from posthouse.model.chat import ChatRequest, Message, Part, Role, Signature, Text
from posthouse.model.chat_events import ChatEvent
from posthouse.model.traits import Traits
from posthouse.wire import json

IDENTITY = Identity("abc", 1_770_000_000)
NEWEST = Traits(model="gemini-3.8-flash")
STOP = {"finishReason": "STOP"}
ANOTHERS = Signature("anthropic_messages", "EqQB")


def body_of(**members: Any) -> bytes:
    return msgspec.json.encode({"contents": [{"parts": [{"text": "hi"}]}], **members})


def parsed(body: bytes, *, stream: bool = False) -> ParsedRequest:
    return parse_request_for(body, "gemini-x", stream)


def read(**members: Any) -> ChatRequest:
    return CODEC.read_request(parsed(body_of(**members)))


def asked(*parts: Part, dialect: str = "openai_chat", **members: Any) -> ChatRequest:
    """What a caller of another dialect asks."""
    said = parts or (Text("hi"),)
    messages = members.pop("messages", (Message(Role.USER, said),))
    return ChatRequest(dialect=dialect, model="m", messages=messages, **members)


def written(
    chat: ChatRequest, traits: Traits = NEWEST
) -> tuple[dict[str, Any], tuple[str, ...]]:
    """The body for a provider, and what was lost."""
    losses = Losses()
    body = CODEC.write_request(chat, traits, losses)
    return msgspec.json.decode(json.encode(body)), losses.told


def frame(*parts: Any, **members: Any) -> bytes:
    """One frame of a stream, or a whole reply."""
    candidate = members.pop("candidate", {})
    content = {"parts": list(parts), "role": "model"}
    return msgspec.json.encode(
        {
            "candidates": [{"content": content, "index": 0, **candidate}],
            "modelVersion": "gemini-3.8-flash",
            "responseId": "r1",
            **members,
        }
    )


def decoded(*frames: bytes) -> list[ChatEvent]:
    """All events of a stream."""
    decoder = CODEC.decoder()
    events = [event for data in frames for event in decoder.feed(data, data)]
    return events + decoder.close()


def usage(prompt: int, candidates: int, **more: Any) -> dict[str, Any]:
    """What a reply has used, with the sum."""
    total = prompt + candidates + more.get("thoughtsTokenCount", 0)
    return {
        "promptTokenCount": prompt,
        "candidatesTokenCount": candidates,
        "totalTokenCount": total,
        **more,
    }

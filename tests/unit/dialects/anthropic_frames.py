"""Frames of Anthropic's streams, made, read and written for tests."""

import json
from typing import Any

from posthouse.dialects.anthropic_messages import CODEC
from posthouse.dialects.neutral.codec import Identity
from posthouse.model.chat import (
    ChatRequest,
    Finish,
    FinishReason,
    Message,
    Role,
    Text,
)
from posthouse.model.chat_events import (
    ChatEvent,
    Finished,
)
from posthouse.wire.sse import SSEDecoder, event_name

CHAT = ChatRequest(
    dialect="anthropic_messages",
    model="asked",
    messages=(Message(Role.USER, (Text("Hi"),)),),
)
IDENTITY = Identity("abc", 1_770_000_000)
STOP = Finished(0, Finish(FinishReason.STOP))


def frame(kind: str, **members: Any) -> tuple[bytes, bytes]:
    data = json.dumps({"type": kind, **members}).encode()
    return b"event: " + kind.encode() + b"\ndata: " + data + b"\n\n", data


def start(usage: Any = None, **members: Any) -> tuple[bytes, bytes]:
    message = {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": "claude-x-1",
        "content": [],
        "stop_reason": None,
        "usage": usage or {"input_tokens": 9, "output_tokens": 1},
    }
    return frame("message_start", message=message | members)


def block(index: int, **content: Any) -> tuple[bytes, bytes]:
    return frame("content_block_start", index=index, content_block=content)


def grow(index: int, kind: str, **members: Any) -> tuple[bytes, bytes]:
    delta = {"type": kind, **members}
    return frame("content_block_delta", index=index, delta=delta)


def stop(index: int) -> tuple[bytes, bytes]:
    return frame("content_block_stop", index=index)


def finish(reason: str = "end_turn", **usage: Any) -> tuple[bytes, bytes]:
    delta = {"stop_reason": reason, "stop_sequence": None}
    return frame("message_delta", delta=delta, usage={"output_tokens": 5} | usage)


END = frame("message_stop")


def decoded(*frames: tuple[bytes, bytes]) -> list[ChatEvent]:
    decoder = CODEC.decoder()
    events = [event for raw, data in frames for event in decoder.feed(raw, data)]
    return events + decoder.close()


def encoded(*events: ChatEvent, chat: ChatRequest = CHAT) -> list[dict[str, Any]]:
    """What a client gets, frame by frame; the names of events are checked."""
    encoder = CODEC.encoder(chat, IDENTITY)
    out = b"".join(map(encoder.feed, events))
    frames = SSEDecoder().feed(out + encoder.close())
    values = [json.loads(data) for _, data in frames]
    assert [event_name(raw).decode() for raw, _ in frames] == [
        value["type"] for value in values
    ]
    return values

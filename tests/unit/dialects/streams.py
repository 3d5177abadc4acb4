"""Streams and taps for the tests of this folder."""

import json
from typing import Any

from tests.unit.dialects.asked import CHAT, parse

from posthouse.dialects.base import StreamTap, TappedFrame
from posthouse.wire.sse import Frame, SSEDecoder


def tap(public_model: str | None = None, **members: Any) -> StreamTap:
    request = parse(CHAT, stream=True, **members)
    made = CHAT.tap_stream(request, public_model)
    assert made is not None
    return made


def frames_of(stream: bytes) -> list[Frame]:
    decoder = SSEDecoder()
    return decoder.feed(stream) + decoder.close()


def feed(to: StreamTap, stream: bytes) -> list[TappedFrame]:
    return [to.feed(raw, data) for raw, data in frames_of(stream)]


def data(value: Any) -> bytes:
    return b"data: " + json.dumps(value).encode() + b"\n\n"


def chunk(delta: Any, index: int = 0, finish: str | None = None, **more: Any) -> bytes:
    choice = {"index": index, "delta": delta, "finish_reason": finish}
    return data({"id": "c", "model": "up", "choices": [choice], **more})


USAGE = {"prompt_tokens": 9, "completion_tokens": 12, "total_tokens": 21}
USAGE_FRAME = data({"id": "c", "choices": [], "usage": USAGE})
DONE = b"data: [DONE]\n\n"

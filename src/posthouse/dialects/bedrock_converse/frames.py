"""Bedrock's streams, cut into events.

A frame's data is the event under its name, `{"messageStop":{…}}`, as the service
model has it; an exception is told in the same way. What is not an event is left out.
"""

from typing import Any

from typing_extensions import override

from posthouse.dialects.base import Frames
from posthouse.errors import UpstreamBadResponse
from posthouse.wire import json
from posthouse.wire.aws_eventstream import (
    CorruptMessage,
    EventStreamDecoder,
    headers_of,
    payload_of,
)
from posthouse.wire.sse import Frame

EXCEPTION = "!"
"""Stands before the name of an exception, which no event's name has."""


class ConverseFrames(Frames):
    """Cuts one stream."""

    __slots__ = ("_messages",)

    def __init__(self) -> None:
        """Start before the stream's first byte."""
        self._messages = EventStreamDecoder()

    @override
    def feed(self, data: bytes) -> list[Frame]:
        try:
            return [(raw, _event(raw)) for raw in self._messages.feed(data)]
        except CorruptMessage:
            raise UpstreamBadResponse from None

    @override
    def close(self) -> list[Frame]:
        # What has begun and lacks its end was cut off.
        return []


def _event(raw: bytes) -> bytes:
    headers = headers_of(raw)
    match headers.get(":message-type"):
        case "event":
            name = headers.get(":event-type", "")
        case "exception":
            name = EXCEPTION + headers.get(":exception-type", "")
        case "error":
            told: Any = {"message": headers.get(":error-message")}
            return json.encode({EXCEPTION + headers.get(":error-code", ""): told})
        case _:
            return b""
    return b"{%b:%b}" % (json.encode(name), payload_of(raw) or b"{}")

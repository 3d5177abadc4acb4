"""What taps on OpenAI's streams of pictures, speech and transcripts have in common.

An event names its type in itself or beside its data, `[DONE]` ends a stream where
anybody sends it, and an error may come as an event. Nothing that is cut off can be
ended well: whoever listens is told of the error.
"""

from typing import Any, Generic, TypeVar

from msgspec import Struct
from typing_extensions import override

from posthouse.dialects.base import StreamTap, TappedFrame
from posthouse.dialects.openai.errors import error_frame, fault_in
from posthouse.errors import PosthouseError, UpstreamBadResponse
from posthouse.wire import json
from posthouse.wire.json import Decoder, MalformedJSON
from posthouse.wire.sse import event_name

ERROR = "error"


class StreamEvent(Struct, gc=False):
    """What all events may have."""

    type: Any = None
    usage: Any = None
    error: Any = None


_Read = TypeVar("_Read", bound=StreamEvent)


class EventTap(StreamTap, Generic[_Read]):
    """Reads a stream along, event by event; see `StreamTap`."""

    __slots__ = ()

    decoder: "Decoder[_Read]"
    """Reads the events."""

    def take(self, event: _Read, raw: bytes, data: bytes) -> TappedFrame:
        """Take an event along that tells of no error; raises UpstreamFault."""
        raise NotImplementedError

    def is_error(self, event: _Read, raw: bytes) -> bool:  # noqa: ARG002 - for those that need it
        """Whether an event may tell that the stream has failed."""
        return bool(event.error) or event.type == ERROR

    @override
    def feed(self, raw: bytes, data: bytes) -> TappedFrame:
        if not data:
            return TappedFrame(raw)
        if data.startswith(b"[DONE]"):
            return TappedFrame(raw, terminal=True)
        try:
            event = json.decode_with(self.decoder, data)
        except MalformedJSON:
            raise UpstreamBadResponse from None
        if self.is_error(event, raw):
            value = json.decode_leniently(data)
            told = event_name(raw) == ERROR.encode() or value.get("type") == ERROR
            fault = fault_in(value, told=told)
            if fault is not None:
                raise fault
        return self.take(event, raw, data)

    @override
    def close(self) -> TappedFrame | None:
        return None

    @override
    def error_frame(self, error: PosthouseError) -> bytes:
        return error_frame(error)

    @override
    def cut_off_frames(self, error: PosthouseError) -> tuple[bytes, bytes]:
        return error_frame(error), b""

"""A stream that is no text: sound as it is made.

Its pieces pass as they come. The last one is held back, for the client may have the
end of a stream only when it is paid for; which one is the last shows when the
connection ends. Nothing can be told inside: a stream that fails is broken off.
"""

from collections.abc import Sequence

from typing_extensions import override

from posthouse.dialects.base import Frames, Headers, StreamTap, TappedFrame
from posthouse.errors import PosthouseError
from posthouse.model.usage import ReportedUsage
from posthouse.wire.sse import Frame

_NOTHING = TappedFrame(b"")


class RawFrames(Frames):
    """Takes each piece for a frame."""

    @override
    def feed(self, data: bytes) -> list[Frame]:
        return [(data, data)] if data else []

    @override
    def close(self) -> list[Frame]:
        return []


class RawTap(StreamTap):
    """Reads a stream along; `produced` may look at what passes."""

    def __init__(self, content_type: bytes, headers: Headers = ()) -> None:
        """Begin a stream of this type."""
        self.usage: ReportedUsage | None = ReportedUsage()
        self.service_tier: str | None = None
        self.finished = False
        self.output_bytes = 0
        self.each: Sequence[ReportedUsage | None] = ()
        self.stream_headers: Headers | None = (
            (b"content-type", content_type),
            *headers,
        )
        self._held = b""

    def produced(self, data: bytes) -> None:
        """See a piece of what is made."""
        self.output_bytes += len(data)

    @override
    def feed(self, raw: bytes, data: bytes) -> TappedFrame:
        self.produced(data)
        before, self._held = self._held, raw
        return TappedFrame(before, content=True) if before else _NOTHING

    @override
    def close(self) -> TappedFrame | None:
        if not self._held:
            return None
        last, self._held = self._held, b""
        self.finished = True
        return TappedFrame(last, content=True, terminal=True)

    @override
    def output_text(self) -> str:
        return ""

    @override
    def compact(self) -> None:
        pass

    @override
    def error_frame(self, error: PosthouseError) -> bytes:
        return b""

    @override
    def cut_off_frames(self, error: PosthouseError) -> tuple[bytes, bytes]:
        return b"", b""

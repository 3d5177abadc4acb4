"""The two framings of a stream: server-sent events, and one JSON array that grows.

`streamGenerateContent` gives events where the query says `alt=sse` and an array
otherwise. Neither has a frame that ends it: the connection's end does. A silent
connection is kept alive by white space. google-genai takes a comment for JSON
(`_iter_response_stream` in 3.4.0: every line but `data:` ones is a piece of an
error), an empty line it passes over, and so does @google/genai 2.32.0.
"""

from posthouse.dialects.base import Headers
from posthouse.wire.sse import SSEDecoder

KEEP_ALIVE = b"\r\n"
ARRAY_KEEP_ALIVE = b"\n"
ARRAY_HEADERS: Headers = (
    (b"content-type", b"application/json; charset=UTF-8"),
    (b"cache-control", b"no-cache"),
    (b"x-accel-buffering", b"no"),
)


def event(payload: bytes) -> bytes:
    """One event, as Google frames it."""
    return b"data: " + payload + b"\r\n\r\n"


class JSONArrayFraming:
    """Turns a stream of events into the pieces of one JSON array."""

    __slots__ = ("_begun", "_frames")

    def __init__(self) -> None:
        """Begin before the first event."""
        self._frames = SSEDecoder()
        self._begun = False

    def feed(self, events: bytes) -> bytes:
        """Give the pieces that some events come to; white space for none."""
        pieces = [self._piece(data) for _, data in self._frames.feed(events) if data]
        return b"".join(pieces) or (ARRAY_KEEP_ALIVE if events else b"")

    def close(self) -> bytes:
        """Give the array's end, and its beginning if there was no event."""
        pieces = [self._piece(data) for _, data in self._frames.close() if data]
        end = b"]" if self._begun else b"[]"
        return b"".join((*pieces, end))

    def _piece(self, data: bytes) -> bytes:
        begun, self._begun = self._begun, True
        return (b",\r\n" if begun else b"[") + data

"""A reply before it is bytes, and its rendering as an HTTP/1.1 script."""

from collections.abc import Iterable
from http import HTTPStatus
from typing import Any

from msgspec import Struct

from posthouse.model.exchange import Script, ScriptEnd, ScriptStep
from posthouse.wire import json

Header = tuple[bytes, bytes]

MARK: Header = (b"x-posthouse-sandbox", b"true")
JSON: Header = (b"content-type", b"application/json")
EVENT_STREAM: Header = (b"content-type", b"text/event-stream; charset=utf-8")
CHUNKED: Header = (b"transfer-encoding", b"chunked")
LAST_CHUNK = b"0\r\n\r\n"
DONE = b"data: [DONE]\n\n"


class Reply(Struct, frozen=True):
    """A status, its headers and the body's parts.

    A stream has one part per server-sent event; any other body has one part.
    """

    status: int
    headers: tuple[Header, ...]
    parts: tuple[bytes, ...]
    streamed: bool = False

    @property
    def has_events(self) -> bool:
        """Whether it is a stream of events, and not one of sound."""
        return EVENT_STREAM in self.headers


class Pace(Struct, frozen=True):
    """Seconds before the first byte, and between a stream's events."""

    first: float = 0.0
    between: float = 0.0


def json_reply(
    value: Any, *, status: int = 200, headers: tuple[Header, ...] = ()
) -> Reply:
    """Make a reply of one JSON document."""
    return Reply(status, (JSON, *headers), (json.encode(value),))


def stream_reply(values: Iterable[Any]) -> Reply:
    """Make a reply that streams JSON documents and ends with `[DONE]`."""
    frames = tuple(event(value) for value in values)
    headers = (EVENT_STREAM, (b"cache-control", b"no-cache"))
    return Reply(200, headers, (*frames, DONE), streamed=True)


def event(value: Any) -> bytes:
    """Frame a JSON document as a server-sent event."""
    return b"data: " + json.encode(value) + b"\n\n"


def head(status: int, headers: Iterable[Header]) -> bytes:
    """Write a status line and headers; every reply says that it is the sandbox's."""
    try:
        phrase = HTTPStatus(status).phrase
    except ValueError:
        phrase = "Unknown"
    lines = [f"HTTP/1.1 {status} {phrase}".encode()]
    lines += [name + b": " + value for name, value in (MARK, *headers)]
    return b"\r\n".join(lines) + b"\r\n\r\n"


def chunk(data: bytes) -> bytes:
    """Frame data as one HTTP chunk."""
    return f"{len(data):x}\r\n".encode() + data + b"\r\n"


def length(size: int) -> Header:
    """Give the Content-Length header."""
    return (b"content-length", str(size).encode())


def sized_script(
    status: int, headers: tuple[Header, ...], body: bytes, pace: Pace
) -> Script:
    """Play a whole reply with a Content-Length, in one go."""
    data = head(status, (*headers, length(len(body)))) + body
    return Script((ScriptStep(pace.first, data),))


def render(reply: Reply, pace: Pace) -> Script:
    """Turn a reply into the bytes and delays that the client's side will see."""
    if not reply.streamed:
        return sized_script(reply.status, reply.headers, b"".join(reply.parts), pace)
    return chunked_script(reply, reply.parts, pace, (ScriptStep(0.0, LAST_CHUNK),))


def chunked_script(
    reply: Reply,
    parts: Iterable[bytes],
    pace: Pace,
    tail: tuple[ScriptStep, ...],
    *,
    end: ScriptEnd = ScriptEnd.KEEP,
) -> Script:
    """Play parts as chunks, one step each, then whatever `tail` says."""
    opening = head(reply.status, (*reply.headers, CHUNKED))
    steps = [ScriptStep(pace.first, opening)]
    steps += [ScriptStep(pace.between, chunk(part)) for part in parts]
    return Script((*steps, *tail), end)

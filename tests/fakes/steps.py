"""What a fake provider does with a request: a named list of steps.

    Behaviour("slow hello", (Send(head(200)), Wait(0.5), Send(b"hello"), Close()))

After its last step the connection is kept for the next request.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import msgspec
from msgspec import Struct

LAST_CHUNK = b"0\r\n\r\n"
"""Ends a chunked body."""


class Send(Struct, frozen=True):
    """Write bytes."""

    data: bytes
    terminal: bool = False
    """The client has everything it needs once it has these: the journal is
    written before them. The last `Send` of a tuple of steps is so by itself."""


class Wait(Struct, frozen=True):
    """Do nothing for some seconds."""

    seconds: float


class Hang(Struct, frozen=True):
    """Do nothing ever again, and keep the connection open."""


class Close(Struct, frozen=True):
    """Close after what was written."""


class Reset(Struct, frozen=True):
    """Break the connection with a TCP reset."""


Step = Send | Wait | Hang | Close | Reset


class Behaviour(Struct, frozen=True):
    """One answer, and what is true about it."""

    name: str
    steps: Iterable[Step]
    """A tuple, or a generator where an answer is long or endless."""
    usage: dict[str, Any] | None = None
    """What the work truly amounts to, whether or not the bytes say so."""
    before_reading: bool = False
    """Play at once when the connection is accepted, without any request."""


class Request(Struct, frozen=True):
    """A request as it arrived."""

    number: int
    """Counts the requests of one fake, from 1."""
    connection: int
    """Counts the connections of one fake, from 1."""
    method: str
    target: str
    headers: list[tuple[bytes, bytes]]
    """Names in lower case."""
    body: bytes

    def header(self, name: bytes) -> bytes | None:
        """Give the first value of a header."""
        return next((value for key, value in self.headers if key == name), None)

    @property
    def json(self) -> dict[str, Any]:
        """The body's JSON object; empty if it is none."""
        try:
            value = msgspec.json.decode(self.body)
        except msgspec.DecodeError:
            return {}
        return value if isinstance(value, dict) else {}


Behave = Callable[[Request], Behaviour]
"""Chooses what to do with a request."""


def head(
    status: int,
    *,
    length: int | None = None,
    chunked: bool = False,
    content_type: str = "application/json",
    headers: Sequence[tuple[str, str]] = (),
) -> bytes:
    """Write a reply's head; without length and chunked the body ends by EOF."""
    lines = [f"HTTP/1.1 {status} Reply", f"Content-Type: {content_type}"]
    if length is not None:
        lines.append(f"Content-Length: {length}")
    if chunked:
        lines.append("Transfer-Encoding: chunked")
    lines += [f"{name}: {value}" for name, value in headers]
    return "\r\n".join([*lines, "", ""]).encode("latin-1")


def chunk(data: bytes) -> bytes:
    """Frame bytes as one chunk."""
    return b"%x\r\n%b\r\n" % (len(data), data)


def reply(
    status: int,
    body: bytes,
    *,
    content_type: str = "application/json",
    headers: Sequence[tuple[str, str]] = (),
) -> bytes:
    """Write a whole reply."""
    start = head(status, length=len(body), content_type=content_type, headers=headers)
    return start + body


def json_reply(
    status: int, value: Any, *, headers: Sequence[tuple[str, str]] = ()
) -> bytes:
    """Write a whole JSON reply."""
    return reply(status, msgspec.json.encode(value), headers=headers)

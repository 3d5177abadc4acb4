"""A client of bare bytes: what a caller really gets, with its framing.

Nothing is decoded on the way, so that a missing final chunk, a stray `[DONE]`
or a connection that was left open is seen as it is.
"""

import asyncio
import re
from collections.abc import Iterable
from contextlib import suppress
from typing import Any

from msgspec import Struct, json

PATIENCE = 20.0
"""Seconds after which a reply that does not end fails the test."""
DONE = b"data: [DONE]\n\n"

Fields = Iterable[tuple[str, str]]


class Reply(Struct):
    """A reply as it came."""

    raw: bytes
    status: int
    headers: dict[str, str]
    chunks: list[bytes]
    """The body's chunks; one for a body of known length."""
    framing: str
    """chunked or length."""
    ended: bool
    """The final chunk came, or as many bytes as were announced."""
    closed: bool = False
    """The server closed the connection."""

    @property
    def body(self) -> bytes:
        """The body without its framing."""
        return b"".join(self.chunks)

    @property
    def error(self) -> dict[str, Any]:
        """The error that a reply of its own consists of."""
        found: dict[str, Any] = json.decode(self.body)["error"]
        return found

    @property
    def frames(self) -> list[bytes]:
        """A stream's whole frames, comments left out."""
        return [
            part + b"\n\n"
            for part in self.body.split(b"\n\n")
            if part and not part.startswith(b":")
        ]

    @property
    def comments(self) -> int:
        """How many comments a stream has."""
        return sum(part.startswith(b":") for part in self.body.split(b"\n\n"))

    @property
    def call_id(self) -> str:
        """The call's id."""
        return self.headers["x-request-id"]


def request_bytes(path: str, body: bytes, headers: Fields) -> bytes:
    """Write a POST that asks for nothing special about the connection."""
    lines = [f"POST {path} HTTP/1.1", "Host: relay.test"]
    lines += [f"{name}: {value}" for name, value in headers]
    lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


def parse(data: bytes) -> Reply | None:
    """Take apart what has come of a reply; None before its head is whole."""
    head, found, rest = data.partition(b"\r\n\r\n")
    if not found:
        return None
    first, *lines = head.decode("latin-1").split("\r\n")
    headers = {}
    for line in lines:
        name, _, value = line.partition(":")
        headers[name.lower()] = value.strip()
    status = int(first.split(" ")[1])
    if headers.get("transfer-encoding") == "chunked":
        chunks, ended = _chunks(rest)
        return Reply(data, status, headers, chunks, "chunked", ended)
    size = int(headers["content-length"])
    return Reply(data, status, headers, [rest], "length", len(rest) == size)


def _chunks(data: bytes) -> tuple[list[bytes], bool]:
    """Cut chunked bytes; tell whether the final chunk is among them."""
    chunks: list[bytes] = []
    at = 0
    while (end := data.find(b"\r\n", at)) >= 0:
        size = int(data[at:end], 16)
        start = end + 2
        if data[start + size : start + size + 2] != b"\r\n":
            break
        if size == 0:
            assert start + 2 == len(data), "bytes behind the final chunk"
            return chunks, True
        chunks.append(data[start : start + size])
        at = start + size + 2
    return chunks, False


def events_of(stream: bytes) -> list[bytes]:
    """The data of a stream's events, as its standard's grammar says.

    What the stream's end leaves open is an event, too.
    """
    found: list[bytes] = []
    values: list[bytes] = []
    for line in re.split(rb"\r\n|\n|\r", stream.removeprefix(b"\xef\xbb\xbf")):
        name, _, value = line.partition(b":")
        if name == b"data":
            values.append(value.removeprefix(b" "))
        if not line:
            found.append(b"\n".join(values))
            values.clear()
    found.append(b"\n".join(values))
    return [event for event in found if event]


class Peer:
    """A client's connection."""

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        """Keep both directions; use `connect`."""
        self._reader = reader
        self.writer = writer
        self.received = b""
        self.closed = False

    @classmethod
    async def connect(cls, port: int) -> "Peer":
        """Connect to a port of this machine."""
        return cls(*await asyncio.open_connection("127.0.0.1", port))

    async def more(self) -> bool:
        """Receive what comes next; false at the end."""
        async with asyncio.timeout(PATIENCE):
            try:
                data = await self._reader.read(65_536)
            except ConnectionResetError:
                data = b""
        self.received += data
        self.closed = not data
        return not self.closed

    async def until(self, size: int) -> None:
        """Receive at least so many bytes."""
        while len(self.received) < size and await self.more():
            pass

    async def reply(self) -> Reply:
        """Receive one whole reply, or what there is of it when it breaks off."""
        while True:
            found = parse(self.received)
            if found is not None and found.ended:
                return found
            if not await self.more():
                assert found is not None, f"no reply, but {self.received!r}"
                found.closed = True
                return found

    async def close(self) -> None:
        """Close, as a client that has had enough."""
        self.writer.transport.abort()
        with suppress(ConnectionError):
            # What had come and was not read is not the end.
            await self._reader.read()

"""What the tests of `upstream` share: requests, a byte transport, outcomes."""

import asyncio
import time
from typing import Any

import msgspec
from typing_extensions import override

from posthouse.model.exchange import (
    Certainty,
    ExchangeFailure,
    FailureKind,
    Timeouts,
    UpstreamRequest,
)
from posthouse.upstream.connection import Connection
from posthouse.upstream.ports import UpstreamResponse
from posthouse.upstream.resolver import Resolver
from posthouse.upstream.sender import Upstream

LIMIT = 1 << 20
HEADERS = ((b"Content-Type", b"application/json"), (b"Authorization", b"Bearer x"))


def chat_request(origin: str, *, stream: bool = False, **more: Any) -> UpstreamRequest:
    """Build a chat request; `more` are fields of `UpstreamRequest` or the body."""
    fields = {
        name: more.pop(name)
        for name in ("method", "target", "headers", "body", "timeouts", "proxy")
        if name in more
    }
    body = {"model": "m", "messages": [{"role": "user", "content": "hello"}], **more}
    if stream:
        body["stream"] = True
    given = {
        "method": "POST",
        "origin": origin,
        "target": "/v1/chat/completions",
        "headers": HEADERS,
        "body": msgspec.json.encode(body),
        "timeouts": Timeouts(),
        **fields,
    }
    return UpstreamRequest(**given)


async def fetch(upstream: Upstream, request: UpstreamRequest) -> tuple[int, bytes]:
    """Send and read everything."""
    response = await upstream.send(request)
    return response.status, await response.read_all(LIMIT)


async def failure_of(
    upstream: Upstream, request: UpstreamRequest
) -> tuple[FailureKind, Certainty]:
    """Send, read, and give how it failed."""
    try:
        got = await fetch(upstream, request)
    except ExchangeFailure as failure:
        return failure.kind, failure.certainty
    raise AssertionError(f"it did not fail: {got}")


async def read_until(response: UpstreamResponse, mark: bytes) -> bytes:
    """Read until the bytes so far contain a mark."""
    data = b""
    while mark not in data:
        piece = await response.read()
        assert piece
        data += piece
    return data


def fixed_resolver(**hosts: tuple[str, ...]) -> Resolver:
    """A resolver that knows these names (underscores stand for dots) only."""
    table = {name.replace("_", "."): value for name, value in hosts.items()}

    async def lookup(host: str) -> tuple[str, ...]:
        if host not in table:
            raise OSError(f"no such host: {host}")
        return table[host]

    return Resolver(lookup)


class ByteTransport(asyncio.Transport):
    """A transport without a network: the test plays the provider."""

    def __init__(self) -> None:
        super().__init__()
        self.written = b""
        self.closed = False
        self.reading = True
        self.unsent = 0

    @override
    def get_write_buffer_size(self) -> int:
        return self.unsent

    @override
    def write(self, data: Any) -> None:
        self.written += data

    @override
    def is_closing(self) -> bool:
        return self.closed

    @override
    def pause_reading(self) -> None:
        self.reading = False

    @override
    def resume_reading(self) -> None:
        self.reading = True

    @override
    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        """It is the test that says how much arrives at once."""

    @override
    def set_write_buffer_limits(
        self, high: int | None = None, low: int | None = None
    ) -> None:
        pass

    @override
    def abort(self) -> None:
        self.closed = True


class Keeper:
    """An owner of connections that only counts."""

    def __init__(self) -> None:
        self.released_count = 0
        self.lost_count = 0

    def released(self, connection: Connection) -> None:
        """Count."""
        self.released_count += 1

    def lost(self, connection: Connection) -> None:
        """Count."""
        self.lost_count += 1


class Wire:
    """A connection on a byte transport."""

    def __init__(self) -> None:
        self.keeper = Keeper()
        self.transport = ByteTransport()
        self.connection = Connection(self.keeper, time.monotonic)
        self.connection.connection_made(self.transport)

    async def exchange(
        self, pieces: list[bytes], end: str = "open", *, body_less: bool = False
    ) -> tuple[Any, ...]:
        """Play a reply and give everything that a caller can tell of it.

        Args:
            pieces: the reply's bytes as they arrive.
            end: `open`, `eof` or `reset`.
            body_less: whether the request is a HEAD.

        Returns:
            (status, headers, body, failure kind, certainty, connection reusable)
        """
        task = asyncio.create_task(self._read(body_less))
        await asyncio.sleep(0)
        for piece in pieces:
            if self.transport.closed:
                break
            self.connection.data_received(piece)
            while not self.transport.reading and not task.done():
                await asyncio.sleep(0)
        if not self.transport.closed:
            if end == "eof":
                self.connection.eof_received()
                self.connection.connection_lost(None)
            elif end == "reset":
                self.connection.connection_lost(ConnectionResetError("reset"))
        async with asyncio.timeout(5):
            seen = await task
        return (*seen, not self.transport.closed)

    async def _read(self, body_less: bool) -> tuple[Any, ...]:
        """Read a reply to its end or failure."""
        status, headers, body = 0, [], b""
        try:
            response = await self.connection.exchange(
                (b"request",), Timeouts(), time.monotonic(), body_less=body_less
            )
            status, headers = response.status, response.headers
            while piece := await response.read():
                body += piece
        except ExchangeFailure as failure:
            return status, headers, body, failure.kind, failure.certainty
        return status, headers, body, None, None

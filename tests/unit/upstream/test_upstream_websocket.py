"""Requests that are answered by a WebSocket's messages."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from http import HTTPStatus

import pytest
from tests.support.cases import each
from websockets.asyncio.server import ServerConnection, serve
from websockets.http11 import Request, Response

from posthouse.model.exchange import (
    Certainty,
    ExchangeFailure,
    FailureKind,
    Timeouts,
    UpstreamRequest,
)
from posthouse.upstream.sender import Upstream

Handler = Callable[[ServerConnection], Awaitable[None]]


def request(port: int, *, proxy: str | None = None, **limits: float) -> UpstreamRequest:
    return UpstreamRequest(
        "GET",
        f"ws://127.0.0.1:{port}",
        "/chat?a=1",
        ((b"x-own", b"1"),),
        '{"question": "你好"}'.encode(),
        Timeouts(**limits),
        proxy,
    )


@asynccontextmanager
async def server(handler: Handler, status: int = 0) -> AsyncIterator[int]:
    """A server on a free port; with a status it refuses the handshake."""

    def refuse(connection: ServerConnection, asked: Request) -> Response | None:
        assert asked.path == "/chat?a=1"
        assert asked.headers["x-own"] == "1"
        if not status:
            return None
        return connection.respond(HTTPStatus(status), '{"message":"no"}')

    async with serve(
        handler, "127.0.0.1", 0, process_request=refuse, compression=None
    ) as running:
        port: int = next(iter(running.sockets)).getsockname()[1]
        yield port


@asynccontextmanager
async def upstream() -> AsyncIterator[Upstream]:
    found = Upstream()
    try:
        yield found
    finally:
        await found.close()


async def two_words(connection: ServerConnection) -> None:
    assert await connection.recv() == '{"question": "你好"}'
    await connection.send('{"a":\n1}')
    await connection.ping()
    await connection.send(["{", '"b":2}'])


async def nothing(connection: ServerConnection) -> None:
    await connection.recv()
    await connection.wait_closed()


async def test_each_message_is_a_line() -> None:
    """A break inside one is white space; a ping is answered and left out."""
    async with server(two_words) as port, upstream() as sender:
        response = await sender.send(request(port))
        assert response.status == 200
        assert await response.read_all(1000) == b'{"a": 1}\n{"b":2}\n'


async def test_a_large_message_out_and_back() -> None:
    async def echo(connection: ServerConnection) -> None:
        await connection.send(await connection.recv())

    async with server(echo) as port, upstream() as sender:
        asked = request(port)
        large = UpstreamRequest(
            "GET", asked.origin, asked.target, asked.headers, b"x" * 70_000, Timeouts()
        )
        response = await sender.send(large)
        assert await response.read_all(100_000) == b"x" * 70_000 + b"\n"


async def test_a_refused_handshake_is_an_ordinary_reply() -> None:
    async with server(nothing, 401) as port, upstream() as sender:
        response = await sender.send(request(port))
        assert response.status == 401
        assert await response.read_all(1000) == b'{"message":"no"}'
        assert await response.read() == b""


async def test_silence_has_a_limit() -> None:
    async with server(nothing) as port, upstream() as sender:
        response = await sender.send(request(port, idle=0.05))
        with pytest.raises(ExchangeFailure) as failed:
            await response.read()
        response.abort()
        assert failed.value.kind is FailureKind.IDLE_TIMEOUT
        assert failed.value.certainty is Certainty.RESPONSE_STARTED


async def test_all_of_it_has_a_limit() -> None:
    async with server(nothing) as port, upstream() as sender:
        response = await sender.send(request(port, total=0.2))
        with pytest.raises(ExchangeFailure) as failed:
            await response.read()
        response.abort()
        assert failed.value.kind is FailureKind.TOTAL_TIMEOUT


async def test_a_reply_has_a_limit() -> None:
    async with server(two_words) as port, upstream() as sender:
        response = await sender.send(request(port))
        with pytest.raises(ExchangeFailure) as failed:
            await response.read_all(3)
        assert failed.value.kind is FailureKind.TOO_LARGE


async def test_nobody_there_is_no_connection() -> None:
    async with upstream() as sender:
        with pytest.raises(ExchangeFailure) as failed:
            await sender.send(request(1))
        assert failed.value.kind is FailureKind.CONNECT
        assert failed.value.certainty is Certainty.NOT_SENT


async def test_no_proxy_is_passed_by() -> None:
    async with upstream() as sender:
        with pytest.raises(ExchangeFailure) as failed:
            await sender.send(request(1, proxy="http://127.0.0.1:1"))
        assert failed.value.certainty is Certainty.NOT_SENT


async def test_a_metadata_service_is_refused() -> None:
    async with upstream() as sender:
        asked = UpstreamRequest("GET", "ws://169.254.169.254", "/", (), b"", Timeouts())
        with pytest.raises(ExchangeFailure) as failed:
            await sender.send(asked)
        assert failed.value.kind is FailureKind.REFUSED_TARGET


@each(
    "answer",
    [
        (
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"
            b"Connection: Upgrade\r\nSec-WebSocket-Accept: wrong\r\n\r\n"
        ),
        b"HTTP/1.1 101 Switching Protocols\r\n\r\n",
        b"no HTTP\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-",
    ],
)
async def test_an_odd_handshake_is_refused(answer: bytes) -> None:
    async def behave(
        reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        writer.close()

    running = await asyncio.start_server(behave, "127.0.0.1", 0)
    port = running.sockets[0].getsockname()[1]
    async with running, upstream() as sender:
        with pytest.raises(ExchangeFailure) as failed:
            await sender.send(request(port))
        assert failed.value.kind is FailureKind.PROTOCOL


async def test_closing_ends_what_is_under_way() -> None:
    """Whether that was all of the reply, its messages say."""
    async with server(nothing) as port:
        sender = Upstream()
        response = await sender.send(request(port))
        reading = asyncio.create_task(response.read())
        await asyncio.sleep(0.02)
        await sender.close()
        assert await reading == b""

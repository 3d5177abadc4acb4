"""Opening WebSockets to providers: directly, by TLS, by proxies, and in vain."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from http import HTTPStatus
from pathlib import Path
from typing import Any

import pytest
from tests.fakes.proxies import HTTPProxy, SOCKS5Proxy
from tests.support.cases import each
from tests.unit.upstream.certificates import make_certificate
from tests.unit.upstream.support import fixed_resolver
from websockets.asyncio.server import ServerConnection, serve

from posthouse.model.exchange import (
    ExchangeFailure,
    FailureKind,
    Timeouts,
    UpstreamRequest,
)
from posthouse.model.sockets import HandshakeRefused, Saying
from posthouse.upstream.dial import Dialer
from posthouse.upstream.resolver import Resolver
from posthouse.upstream.sockets import SocketOpener
from posthouse.wire.websocket import TEXT
from posthouse.wire.websocket_end import Closing


async def echo(connection: ServerConnection) -> None:
    """Say everything back."""
    async for message in connection:
        await connection.send(message)


@asynccontextmanager
async def provider(handler: Any = echo, **options: Any) -> AsyncIterator[int]:
    """Run a provider; give its port."""
    async with serve(handler, "127.0.0.1", 0, **options) as running:
        yield next(iter(running.sockets)).getsockname()[1]


def asking(origin: str, **options: Any) -> UpstreamRequest:
    """A wish for a socket."""
    headers = ((b"authorization", b"Bearer mine"),)
    limits = Timeouts(connect=2, first_byte=options.pop("first_byte", 2.0))
    return UpstreamRequest("GET", origin, "/x?y=z", headers, b"", limits, **options)


def opener(**options: Any) -> SocketOpener:
    """An opener of a test's own."""
    return SocketOpener(Dialer(options.pop("resolver", Resolver()), **options))


async def test_messages_both_ways() -> None:
    """The provider gets our headers and path; a close is told."""
    seen = []

    async def handler(connection: ServerConnection) -> None:
        assert connection.request is not None
        seen.append((connection.request.path, connection.request.headers))
        await connection.send("at once")
        await connection.close(4002, "done")

    async with provider(handler) as port:
        socket = await opener().open(asking(f"ws://127.0.0.1:{port}"))
        assert await socket.receive() == (TEXT, b"at once")
        assert await socket.receive() is None
        assert socket.closing == Closing(4002, "done")
    [(path, headers)] = seen
    assert path == "/x?y=z"
    assert headers["authorization"] == "Bearer mine"
    assert headers["host"] == f"127.0.0.1:{port}"
    assert "sec-websocket-protocol" not in headers
    assert "sec-websocket-extensions" not in headers


@pytest.mark.parametrize("kind", [HTTPProxy, SOCKS5Proxy])
async def test_through_a_proxy(kind: type) -> None:
    """Which is asked for the provider's address."""
    async with provider() as port, kind() as proxy:
        socket = await opener().open(
            asking(f"http://127.0.0.1:{port}", proxy=proxy.url)
        )
        await socket.send(TEXT, b"hello")
        assert await socket.receive() == (TEXT, b"hello")
        assert proxy.asked == [f"127.0.0.1:{port}"]
        socket.close(Closing(1000))
        await socket.farewell()


async def test_by_tls(tmp_path: Path) -> None:
    """The provider's name is checked."""
    server, client = make_certificate(tmp_path, "provider.example")
    resolver = fixed_resolver(
        provider_example=("127.0.0.1",), other_example=("127.0.0.1",)
    )
    sockets = opener(resolver=resolver, tls=lambda: client)
    async with provider(ssl=server) as port:
        socket = await sockets.open(asking(f"https://provider.example:{port}"))
        await socket.send(TEXT, b"x" * 1_000_000)
        message = await socket.receive()
        assert message is not None
        assert len(message[1]) == 1_000_000
        socket.close(Closing(1000))
        await socket.farewell()
        with pytest.raises(ExchangeFailure) as failed:
            await sockets.open(asking(f"https://other.example:{port}"))
        assert failed.value.kind is FailureKind.CONNECT


async def test_a_refusal_is_told() -> None:
    """With its status, its headers and its body."""

    def refuse(connection: ServerConnection, _: Any) -> Any:
        return connection.respond(HTTPStatus.TOO_MANY_REQUESTS, '{"error":1}')

    async with provider(process_request=refuse) as port:
        with pytest.raises(HandshakeRefused) as refused:
            await opener().open(asking(f"http://127.0.0.1:{port}"))
    assert (refused.value.status, refused.value.body) == (429, b'{"error":1}')
    assert dict(refused.value.headers)[b"content-length"] == b"11"


@each(
    ("reply", "kind"),
    [
        (b"HTTP/1.1 101 Switching Protocols\r\n\r\n", FailureKind.PROTOCOL),
        (
            (
                b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\n"
                b"Upgrade: websocket\r\nSec-WebSocket-Accept: wrong\r\n\r\n"
            ),
            FailureKind.PROTOCOL,
        ),
        (b"SSH-2.0\r\n\r\n", FailureKind.PROTOCOL),
        (b"HTTP/1.1 200 OK\r\nx: " + b"y" * 100_000, FailureKind.PROTOCOL),
        (b"HTTP/1.1 101 Swit", FailureKind.PROTOCOL),
        (b"", FailureKind.RESET),
        (None, FailureKind.FIRST_BYTE_TIMEOUT),
    ],
)
async def test_what_is_no_answer(reply: bytes | None, kind: FailureKind) -> None:
    """Garbage, too much, too little, silence."""

    over = asyncio.Event()

    async def answer(
        reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        with suppress(OSError):
            await reader.readuntil(b"\r\n\r\n")
            if reply is None:
                await reader.read()
            else:
                writer.write(reply)
            writer.close()
            await writer.wait_closed()
        over.set()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        with pytest.raises(ExchangeFailure) as failed:
            await opener().open(asking(f"http://127.0.0.1:{port}", first_byte=0.5))
        await over.wait()
    assert failed.value.kind is kind


async def test_what_leads_to_a_metadata_service_is_not_dialled() -> None:
    """Nor is a header sent that would begin another line."""
    with pytest.raises(ExchangeFailure) as failed:
        await opener().open(asking("http://169.254.169.254"))
    assert failed.value.kind is FailureKind.REFUSED_TARGET
    odd = UpstreamRequest(
        "GET", "http://127.0.0.1:1", "/", ((b"a", b"b\r\nc: d"),), b"", Timeouts()
    )
    with pytest.raises(ExchangeFailure) as failed:
        await opener().open(odd)
    assert failed.value.kind is FailureKind.PROTOCOL


async def test_those_that_are_left_are_dropped() -> None:
    """When the process ends."""
    async with provider() as port:
        sockets = opener()
        socket = await sockets.open(asking(f"http://127.0.0.1:{port}"))
        await sockets.close()
        assert await socket.receive() is None


class Chatty:
    """A talker inside the process that says two things to each."""

    def __init__(self) -> None:
        self.said: list[Saying] = []

    @property
    def waiting(self) -> int:
        return len(self.said)

    def take(self, kind: int, payload: bytes) -> None:
        self.said += [Saying(kind, payload), Saying(kind, payload, delay=0.001)]

    def next(self) -> Saying | None:
        return self.said.pop(0) if self.said else None


async def test_a_provider_inside_the_process() -> None:
    """It is heard in order, and does not gather what nobody takes."""
    talker = Chatty()
    sockets = SocketOpener(Dialer(Resolver()), talk=lambda _: talker)
    socket = await sockets.open(asking("sandbox://local"))
    await socket.send(TEXT, b"a")
    assert await socket.receive() == (TEXT, b"a")
    assert await socket.receive() == (TEXT, b"a")

    async def flood() -> None:
        for _ in range(5_000):
            await socket.send(TEXT, b"b")

    task = asyncio.create_task(flood())
    await asyncio.sleep(0.05)
    assert not task.done()
    assert talker.waiting < 1_100
    socket.close(Closing(1000))
    await task
    assert await socket.receive() is None
    with pytest.raises(ExchangeFailure):
        await opener().open(asking("sandbox://local"))

"""Bodies that are never in memory as a whole: sent as fast as they are taken."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from msgspec import structs
from tests.fakes import openai
from tests.fakes.proxies import HTTPProxy
from tests.fakes.upstream import FakeUpstream
from tests.unit.upstream.certificates import make_certificate
from tests.unit.upstream.support import fixed_resolver

from posthouse.model.exchange import (
    Certainty,
    ExchangeFailure,
    FailureKind,
    Script,
    ScriptStep,
    Timeouts,
    UpstreamRequest,
)
from posthouse.upstream.ports import Content
from posthouse.upstream.sender import Upstream

PIECE = b"0123456789abcdef" * 4096
PIECES = 1_000
"""64 MiB, far more than sockets hold."""
ANSWER = b"HTTP/1.1 %d Fine\r\nContent-Length: 2\r\n\r\nok"

Talk = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def provider(talk: Talk) -> AsyncIterator[str]:
    """Serve so; give the origin."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await talk(reader, writer)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        host, port = server.sockets[0].getsockname()
        yield f"http://{host}:{port}"
    finally:
        server.close()
        await server.wait_closed()


def request(origin: str, timeouts: Timeouts | None = None) -> UpstreamRequest:
    """Write a request without its body."""
    headers = ((b"content-type", b"text/plain"),)
    return UpstreamRequest(
        "POST", origin, "/files", headers, b"", timeouts or Timeouts()
    )


class Source:
    """Pieces, and how many were asked for."""

    def __init__(self, count: int = PIECES) -> None:
        self.count = count
        self.given = 0

    async def pieces(self) -> AsyncIterator[bytes]:
        """Give them."""
        for _ in range(self.count):
            self.given += 1
            yield PIECE

    def content(self, size: int | None = None) -> Content:
        """The body."""
        whole = self.count * len(PIECE)
        return Content(whole if size is None else size, self.pieces())


async def test_a_body_waits_for_who_takes_it() -> None:
    source = Source()
    slow = asyncio.Event()
    got: list[int] = []

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        await slow.wait()
        body = await reader.readexactly(PIECES * len(PIECE))
        got.append(len(body))
        assert body.startswith(PIECE)
        assert body.endswith(PIECE)
        writer.write(ANSWER % 200)

    async with provider(talk) as origin:
        upstream = Upstream()
        sending = asyncio.create_task(
            upstream.upload(request(origin), source.content())
        )
        seen = -1
        while seen != source.given or source.given == 0:
            seen = source.given
            await asyncio.sleep(0.2)
        assert source.given < PIECES // 2
        slow.set()
        response = await sending
        assert response.status == 200
        assert await response.read_all(10) == b"ok"
        assert got == [PIECES * len(PIECE)]
        # Nobody uses such a connection again.
        assert upstream.idle_connections == 0
        await upstream.close()


async def test_a_body_goes_through_a_proxy_and_tls(tmp_path: Path) -> None:
    server, client = make_certificate(tmp_path, "localhost")
    source = Source(50)
    async with FakeUpstream(openai.answer, tls=server) as fake, HTTPProxy() as proxy:
        upstream = Upstream(tls=lambda: client, resolver=fixed_resolver())
        asked = request(f"https://localhost:{fake.port}")
        asked = structs.replace(asked, proxy=proxy.url)
        response = await upstream.upload(asked, source.content())
        await response.read_all(1 << 20)
        assert fake.served[0].request.body == PIECE * 50
        await upstream.close()


async def test_who_answers_before_the_end_is_sent_no_more() -> None:
    source = Source()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(ANSWER % 413)
        await writer.drain()
        while await reader.read(1 << 20):
            pass

    async with provider(talk) as origin:
        upstream = Upstream()
        response = await upstream.upload(request(origin), source.content())
        assert response.status == 413
        assert await response.read_all(10) == b"ok"
        assert source.given < PIECES
        assert upstream.idle_connections == 0
        await upstream.close()


async def test_a_body_of_another_size_is_no_request() -> None:
    whole = asyncio.Event()

    async def talk(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        assert b"Content-Length" in head
        while await reader.read(1 << 20):
            pass
        whole.set()

    for size in (2 * len(PIECE), 4 * len(PIECE)):
        async with provider(talk) as origin:
            upstream = Upstream()
            with pytest.raises(ExchangeFailure) as failed:
                await upstream.upload(request(origin), Source(3).content(size))
            assert failed.value.kind is FailureKind.ABORTED
            await upstream.close()


async def test_who_takes_nothing_is_given_up() -> None:
    async def talk(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        await over.wait()

    over = asyncio.Event()
    async with provider(talk) as origin:
        upstream = Upstream()
        timeouts = Timeouts(first_byte=0.3, total=60)
        with pytest.raises(ExchangeFailure) as failed:
            await upstream.upload(request(origin, timeouts), Source().content())
        assert failed.value.kind is FailureKind.FIRST_BYTE_TIMEOUT
        assert failed.value.certainty is Certainty.POSSIBLY_ACCEPTED
        over.set()
        await upstream.close()


async def test_what_reading_raises_is_raised() -> None:
    async def talk(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        while await reader.read(1 << 20):
            pass

    async def pieces() -> AsyncIterator[bytes]:
        yield PIECE
        raise LookupError

    async with provider(talk) as origin:
        upstream = Upstream()
        with pytest.raises(LookupError):
            await upstream.upload(request(origin), Content(10 * len(PIECE), pieces()))
        await upstream.close()


async def test_the_sandbox_is_sent_the_whole() -> None:
    played: list[bytes] = []

    def play(asked: UpstreamRequest) -> Script:
        played.append(asked.body)
        return Script((ScriptStep(0, ANSWER % 200),))

    upstream = Upstream(play=play)
    asked = request("sandbox://local")
    response = await upstream.upload(asked, Source(3).content())
    assert (response.status, played) == (200, [3 * PIECE])
    with pytest.raises(ExchangeFailure):
        await upstream.upload(asked, Source(2_000).content())
    await upstream.close()

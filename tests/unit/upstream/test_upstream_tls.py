"""TLS: the right names are asked for, wrong certificates are refused."""

import asyncio
import ssl
from pathlib import Path

import pytest
from tests.fakes import openai
from tests.fakes.steps import (
    LAST_CHUNK,
    Behaviour,
    Close,
    Hang,
    Reset,
    Send,
    Wait,
    chunk,
    head,
    reply,
)
from tests.fakes.upstream import FakeUpstream
from tests.unit.upstream.certificates import make_certificate
from tests.unit.upstream.support import (
    chat_request,
    failure_of,
    fetch,
    fixed_resolver,
)

from posthouse.model.exchange import Certainty, FailureKind, Timeouts
from posthouse.upstream.dial import default_tls
from posthouse.upstream.sender import Upstream

NOT_CONNECTED = (FailureKind.CONNECT, Certainty.NOT_SENT)


async def test_calls_over_tls_share_a_connection_and_name_the_host(
    tmp_path: Path,
) -> None:
    """SNI and Host carry the channel's name, not the address that was dialled."""
    server, client = make_certificate(tmp_path, "provider.example")
    asked: list[str | None] = []
    server.sni_callback = lambda _socket, name, _context: asked.append(name)
    async with FakeUpstream(openai.answer, tls=server) as provider:
        upstream = Upstream(
            tls=lambda: client,
            resolver=fixed_resolver(provider_example=("127.0.0.1",)),
        )
        origin = f"https://provider.example:{provider.port}"
        for stream in (False, True):
            got = await fetch(upstream, chat_request(origin, stream=stream))
            assert got[0] == 200
        assert (asked, provider.connections) == (["provider.example"], 1)
        host = provider.served[0].headers[b"host"].decode()
        assert host == f"provider.example:{provider.port}"
        await upstream.close()


@pytest.mark.parametrize("bad", ["name", "expired", "unknown authority"])
async def test_a_certificate_that_does_not_hold_is_refused(
    bad: str, tmp_path: Path
) -> None:
    """Nothing of the request is sent."""
    names = ("other.example",) if bad == "name" else ("127.0.0.1",)
    server, client = make_certificate(tmp_path, *names, expired=bad == "expired")
    if bad == "unknown authority":
        client = default_tls()
    async with FakeUpstream(openai.answer, tls=server) as provider:
        upstream = Upstream(tls=lambda: client)
        assert await failure_of(upstream, chat_request(provider.origin)) == (
            NOT_CONNECTED
        )
        assert provider.served == []
        await upstream.close()
        await asyncio.sleep(0.01)


async def test_plain_text_on_a_tls_port_is_a_connect_failure() -> None:
    """So is a server that hangs up in the hand-shake, or says nothing."""
    plain = Behaviour("plain", (Send(b"220 hello\r\n"), Close()), before_reading=True)
    ended = Behaviour("ended", (Reset(),), before_reading=True)
    silent = Behaviour("silent", (Hang(),), before_reading=True)
    async with FakeUpstream([plain, ended, silent]) as provider:
        upstream = Upstream(tls=default_tls)
        origin = provider.origin.replace("http:", "https:")
        for _ in range(3):
            request = chat_request(origin, timeouts=Timeouts(connect=0.5))
            assert await failure_of(upstream, request) == NOT_CONNECTED
        assert upstream.open_connections == 0
        await upstream.close()


async def test_faults_inside_tls_are_told_like_those_outside(tmp_path: Path) -> None:
    """Truncation, reset and idle closing have the same kinds."""
    server, client = make_certificate(tmp_path, "127.0.0.1")
    begin = Send(head(200, chunked=True) + chunk(b"begin"))
    good = Behaviour("good", (Send(reply(200, b"good")),))
    scripts = [
        Behaviour("cut", (begin, Wait(0.02), Close())),
        Behaviour("reset", (begin, Wait(0.02), Reset())),
        good,
        Behaviour("closed under us", (Close(),)),
        good,
    ]
    async with FakeUpstream(scripts, tls=server) as provider:
        upstream = Upstream(tls=lambda: client)
        request = chat_request(provider.origin)
        broken = (FailureKind.RESET, Certainty.RESPONSE_STARTED)
        assert await failure_of(upstream, request) == broken
        assert await failure_of(upstream, request) == broken
        assert await fetch(upstream, request) == (200, b"good")
        assert await fetch(upstream, request) == (200, b"good")
        await upstream.close()
        await asyncio.sleep(0.01)
        assert upstream.open_connections == 0


async def test_large_bodies_and_pauses_work_over_tls(tmp_path: Path) -> None:
    """Both directions, much more than any buffer holds."""
    server, client = make_certificate(tmp_path, "127.0.0.1")
    piece = chunk(b"x" * 50_000)
    steps = (Send(head(200, chunked=True)), *(Send(piece),) * 100, Send(LAST_CHUNK))
    async with FakeUpstream([Behaviour("large", steps)] * 2, tls=server) as provider:
        upstream = Upstream(tls=lambda: client)
        body = b"y" * 3_000_000
        for _ in range(2):
            request = chat_request(provider.origin, body=body)
            response = await upstream.send(request)
            await asyncio.sleep(0.05)
            assert len(await response.read_all(10_000_000)) == 5_000_000
        assert [len(served.request.body) for served in provider.served] == [
            len(body)
        ] * 2
        assert provider.connections == 1
        await upstream.close()


def test_there_is_one_context_and_it_verifies() -> None:
    """Hosts and chains are checked; only HTTP/1.1 is offered."""
    context = default_tls()
    assert context is default_tls()
    assert context.check_hostname
    assert context.verify_mode is ssl.CERT_REQUIRED

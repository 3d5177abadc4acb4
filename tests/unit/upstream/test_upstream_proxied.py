"""Channels behind an HTTP or SOCKS5 proxy: the same client by another road."""

import asyncio
from pathlib import Path

import pytest
from tests.fakes import openai
from tests.fakes.proxies import HTTPProxy, SOCKS5Proxy
from tests.fakes.steps import Behaviour, Close, Hang, Send, Wait, chunk, head, reply
from tests.fakes.upstream import FakeUpstream, refusing_origin
from tests.support.cases import each
from tests.unit.upstream.certificates import make_certificate
from tests.unit.upstream.support import (
    chat_request,
    failure_of,
    fetch,
    fixed_resolver,
)

from posthouse.model.exchange import Certainty, FailureKind, Timeouts
from posthouse.upstream.sender import Upstream

KINDS = [HTTPProxy, SOCKS5Proxy]
NOT_CONNECTED = (FailureKind.CONNECT, Certainty.NOT_SENT)
both = pytest.mark.parametrize("kind", KINDS, ids=["http", "socks5"])


@both
@each("login", [None, ("user", "pass:w@rd")], ids=["open", "login"])
async def test_calls_go_through_the_proxy_and_share_a_tunnel(
    kind: type, login: tuple[str, str] | None
) -> None:
    """The proxy is asked once; the provider sees nothing of it."""
    async with FakeUpstream(openai.answer) as provider, kind(login=login) as proxy:
        upstream = Upstream()
        url = proxy.url.replace("pass:w@rd", "pass%3Aw%40rd")
        for stream in (False, True, False):
            request = chat_request(provider.origin, stream=stream, proxy=url)
            assert (await fetch(upstream, request))[0] == 200
        assert proxy.asked == [f"127.0.0.1:{provider.port}"]
        assert provider.connections == 1
        names = set(provider.served[0].headers)
        assert not {name for name in names if name.startswith(b"proxy")}
        await upstream.close()


@both
async def test_tls_runs_inside_the_tunnel_to_a_name_the_proxy_resolves(
    kind: type, tmp_path: Path
) -> None:
    """Local DNS is not asked for the provider."""
    server, client = make_certificate(tmp_path, "localhost")
    async with FakeUpstream(openai.answer, tls=server) as provider, kind() as proxy:
        upstream = Upstream(tls=lambda: client, resolver=fixed_resolver())
        origin = f"https://localhost:{provider.port}"
        for _ in range(2):
            request = chat_request(origin, proxy=proxy.url)
            assert (await fetch(upstream, request))[0] == 200
        assert proxy.asked == [f"localhost:{provider.port}"]
        await upstream.close()
        await asyncio.sleep(0.01)


async def test_direct_and_proxied_calls_do_not_share_connections() -> None:
    """The pool is per origin and proxy."""
    async with (
        FakeUpstream(openai.answer) as provider,
        HTTPProxy() as one,
        HTTPProxy() as two,
    ):
        upstream = Upstream()
        for url in (None, one.url, two.url, None, one.url):
            await fetch(upstream, chat_request(provider.origin, proxy=url))
        assert provider.connections == 3
        assert (len(one.asked), len(two.asked)) == (1, 1)
        assert upstream.idle_connections == 3
        await upstream.close()


@both
async def test_a_proxy_that_refuses_is_a_connect_failure(kind: type) -> None:
    """Nothing reached the provider."""
    async with FakeUpstream(openai.answer) as provider, kind() as proxy:
        proxy.refuse = True
        upstream = Upstream()
        request = chat_request(provider.origin, proxy=proxy.url)
        assert await failure_of(upstream, request) == NOT_CONNECTED
        assert provider.connections == 0
        await upstream.close()


@both
async def test_a_wrong_log_in_is_a_connect_failure(kind: type) -> None:
    """With another password, and with none."""
    async with (
        FakeUpstream(openai.answer) as provider,
        kind(login=("user", "right")) as proxy,
    ):
        upstream = Upstream()
        for url in (
            proxy.url.replace("right", "wrong"),
            proxy.url.replace("user:right@", ""),
        ):
            request = chat_request(provider.origin, proxy=url)
            assert await failure_of(upstream, request) == NOT_CONNECTED
        await upstream.close()


@both
async def test_a_silent_proxy_costs_the_connect_limit(kind: type) -> None:
    """The hand-shake is part of connecting."""
    async with FakeUpstream(openai.answer) as provider, kind() as proxy:
        proxy.answer_nothing = True
        upstream = Upstream()
        request = chat_request(
            provider.origin, proxy=proxy.url, timeouts=Timeouts(connect=0.2)
        )
        assert await failure_of(upstream, request) == NOT_CONNECTED
        await upstream.close()


@both
async def test_a_dead_proxy_is_a_connect_failure(kind: type) -> None:
    """Also one whose name nobody knows."""
    scheme = "http" if kind is HTTPProxy else "socks5"
    upstream = Upstream(resolver=fixed_resolver())
    with refusing_origin() as dead:
        for url in (dead.replace("http", scheme), f"{scheme}://unknown.example:1"):
            request = chat_request("http://a.example", proxy=url)
            assert await failure_of(upstream, request) == NOT_CONNECTED
    await upstream.close()


@each(
    "url",
    ["", "nonsense", "https://a.example:1", "ftp://a:1", "http://", "socks5://:1",
     "http://a:99999", "http://a:1/path", "socks4://a:1"],
)  # fmt: skip
async def test_a_proxy_url_of_another_kind_is_refused(url: str) -> None:
    """Without repeating it: it may hold a password."""
    upstream = Upstream()
    request = chat_request("http://a.example", proxy=url)
    assert await failure_of(upstream, request) == NOT_CONNECTED
    await upstream.close()


@both
async def test_metadata_services_are_refused_behind_a_proxy_too(kind: type) -> None:
    """As the target by name or literal, and as the proxy itself."""
    async with kind() as proxy:
        upstream = Upstream(resolver=fixed_resolver(sly_example=("169.254.169.254",)))
        refused = (FailureKind.REFUSED_TARGET, Certainty.NOT_SENT)
        scheme = proxy.url.partition(":")[0]
        for origin, url in (
            ("http://169.254.169.254", proxy.url),
            ("http://0xa9fea9fe", proxy.url),
            ("http://metadata.google.internal", proxy.url),
            ("http://a.example", f"{scheme}://169.254.169.254:80"),
            ("http://a.example", f"{scheme}://sly.example:80"),
        ):
            request = chat_request(origin, proxy=url)
            assert await failure_of(upstream, request) == refused
        assert proxy.asked == []
        await upstream.close()


@both
async def test_faults_behind_a_proxy_have_the_same_kinds(kind: type) -> None:
    """Truncation, idle, and a kept tunnel that closed under us."""
    begin = Send(head(200, chunked=True) + chunk(b"begin"))
    scripts = [
        Behaviour("cut", (begin, Wait(0.02), Close())),
        Behaviour("stall", (begin, Hang())),
        Behaviour("good", (Send(reply(200, b"good")),)),
        Behaviour("closed under us", (Close(),)),
        Behaviour("good", (Send(reply(200, b"good")),)),
    ]
    async with FakeUpstream(scripts) as provider, kind() as proxy:
        upstream = Upstream()
        request = chat_request(
            provider.origin, proxy=proxy.url, timeouts=Timeouts(idle=0.2)
        )
        begun = Certainty.RESPONSE_STARTED
        assert await failure_of(upstream, request) == (FailureKind.RESET, begun)
        assert await failure_of(upstream, request) == (FailureKind.IDLE_TIMEOUT, begun)
        assert await fetch(upstream, request) == (200, b"good")
        assert await fetch(upstream, request) == (200, b"good")
        await upstream.close()


@both
async def test_cancelling_in_the_hand_shake_leaves_no_socket(kind: type) -> None:
    """Whatever step it is at."""
    async with FakeUpstream(openai.answer) as provider, kind() as proxy:
        upstream = Upstream()
        for turns in range(30):
            request = chat_request(provider.origin, proxy=proxy.url)
            task = asyncio.create_task(fetch(upstream, request))
            for _ in range(turns):
                await asyncio.sleep(0)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            for player in tuple(provider.open):
                player.abort()
        await asyncio.sleep(0.1)
        assert upstream.open_connections == 0
        await upstream.close()

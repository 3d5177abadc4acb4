"""Fetching what users point at, over real sockets: never from inside.

`world` says who plays whom. At the end of each test nobody has connected to the
internal host, and no connection is left.
"""

import ast
import asyncio
import contextlib
import socket
import time
from ipaddress import ip_address
from pathlib import Path

import pytest
from tests.fakes.steps import (
    Behaviour,
    Request,
    reply,
)
from tests.security import targets
from tests.security.egress_world import (
    ANSWER,
    HERE,
    INTERNAL,
    PUBLIC,
    redirect,
    sending,
    world,
)
from tests.support.cases import each
from tests.support.processes import ROOT
from tests.unit.upstream.certificates import make_certificate

from posthouse.dialects.openai.errors import render_error
from posthouse.errors import URLNotAllowed, URLNotFetched
from posthouse.upstream.egress import Egress, Fetch, is_own_address
from posthouse.upstream.egress_addresses import make_policy, plain
from posthouse.upstream.egress_urls import URLRefused, is_literal, parse_url
from posthouse.upstream.resolver import Resolver


async def test_a_public_file_is_fetched() -> None:
    """Its status, its type and its bytes; the host hears its name, and no more."""
    async with world() as there:
        found = await there.fetch(HERE + "/a/b?c#d")
        assert (found.status, found.content_type, found.body) == (
            200,
            "text/plain",
            ANSWER,
        )
        assert found.url == there.at(HERE + "/a/b?c")
        (served,) = there.fake.served
        assert served.request.target == "/a/b?c"
        assert dict(served.request.headers) == {
            b"host": there.at("public.com:{port}").encode(),
            b"user-agent": b"posthouse",
            b"accept": b"*/*",
            b"accept-encoding": b"identity",
        }
        assert (await there.fetch(f"http://{PUBLIC}:{{port}}/")).body == ANSWER
        missing = await there.fetch(HERE + "/", method="HEAD")
        assert (missing.status, missing.body) == (200, b"")
        assert there.fake.connections == 3


# --- what is refused before a packet leaves -----------------------------------------


class Nowhere:
    """An egress whose loop cannot open a connection, and whose names do not exist."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.asked: list[str] = []
        loop = asyncio.get_running_loop()
        monkeypatch.setattr(loop, "create_connection", self._dial)
        self.egress = Egress(make_policy(), resolver=Resolver(self._look_up))

    async def _dial(self, *place: object, **_: object) -> None:
        raise AssertionError(f"dialled {place}")

    async def _look_up(self, name: str) -> tuple[str, ...]:
        self.asked.append(name)
        raise OSError("no such name")

    async def refused(self, url: str) -> bytes:
        """Give the error as a caller sees it."""
        with pytest.raises(URLNotAllowed) as caught:
            await self.egress.fetch(Fetch(url, param="messages.0.content"))
        return render_error(caught.value)[2]


async def test_every_bad_target_is_the_same_error_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Nothing is dialled, nothing looked up, and a name that does not exist is no
    different from one that may not be reached."""
    nowhere = Nowhere(monkeypatch)
    hosts = [*targets.LOOPBACK, *targets.IPV6, *targets.METADATA, *targets.SPECIAL]
    urls = [
        f"http://[{host}]/" if host.count(":") > 1 and "[" not in host else url
        for host in hosts
        for url in targets.urls_to(host)
    ]
    urls += targets.CONFUSING
    urls += [f"{scheme}://good.com/" for scheme in targets.SCHEMES]
    urls += ["http://good.com:22/", "http://good.com:6379/", "https://8.8.8.8:8443/"]
    assert len(urls) > 500
    began = time.perf_counter()
    errors = {await nowhere.refused(url) for url in urls}
    took = (time.perf_counter() - began) / len(urls)
    assert nowhere.asked == []
    errors.add(await nowhere.refused("http://no-such-name.com/"))
    assert nowhere.asked == ["no-such-name.com."]
    assert len(errors) == 1
    (error,) = errors
    assert b'"url_not_allowed"' in error
    assert b'"messages.0.content"' in error
    assert took < 0.005
    await nowhere.egress.close()


@pytest.mark.parametrize("name", ["address", "names"])
async def test_this_machines_own_addresses_are_refused(name: str) -> None:
    """Also where they are public."""
    own = "93.184.216.34"
    async with world(is_own=lambda text: text == own) as there:
        there.names.give("names.com", (own,))
        host = own if name == "address" else "names.com"
        await there.refused(f"http://{host}:{{port}}/")


def test_a_machines_own_addresses_are_known() -> None:
    """Without being told, and without sending anything."""
    own = {"127.0.0.1"}
    with (
        contextlib.suppress(OSError),
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe,
    ):
        probe.connect(("192.0.2.1", 9))
        own.add(probe.getsockname()[0])
    for address in own:
        assert is_own_address(address)
    for other in ("192.0.2.1", "8.8.8.8", "2606:4700::1111"):
        assert not is_own_address(other)


# --- names ---------------------------------------------------------------------------


@each(
    "addresses",
    [
        (INTERNAL,),
        (PUBLIC, INTERNAL),
        (PUBLIC, "::1"),
        (PUBLIC, "10.0.0.1"),
        (PUBLIC, "fd00::1"),
        (PUBLIC, "169.254.169.254"),
        (PUBLIC, "::ffff:127.0.0.2"),
        (PUBLIC, "64:ff9b::7f00:2"),
        (PUBLIC, "fe80::1%2"),
        (PUBLIC, "0.0.0.0"),
        (PUBLIC,) * 99 + (INTERNAL,),
        ("not an address",),
    ],
)
async def test_one_bad_address_of_a_name_is_enough(addresses: tuple[str, ...]) -> None:
    """Group H: all are judged, also those that would not be dialled."""
    async with world() as there:
        there.names.give("names.com", addresses)
        await there.refused("http://names.com:{port}/")
        assert there.fake.connections == 0


async def test_a_name_that_changes_its_address_gains_nothing() -> None:
    """A thousand tries with an answer that is public and internal in turn."""
    async with world() as there:
        there.names.give("moving.com", (PUBLIC,), (INTERNAL,))
        outcomes = []
        for _ in range(1000):
            try:
                found = await there.fetch("http://moving.com:{port}/")
            except URLNotAllowed:
                outcomes.append(False)
            else:
                assert found.body == ANSWER
                outcomes.append(True)
        assert outcomes == [True, False] * 500
        # One look-up for each: what was judged is what was dialled.
        assert len(there.names.asked) == 1000
        assert there.fake.connections == 500


async def test_a_name_is_judged_anew_on_each_hop() -> None:
    """Public when it was asked first, internal when it redirects to itself."""
    async with world(lambda _: redirect("/again")) as there:
        there.names.give("moving.com", (PUBLIC,), (INTERNAL,))
        await there.refused("http://moving.com:{port}/")
        assert there.fake.connections == 1


async def test_a_name_without_an_end_is_asked_for_with_one() -> None:
    """The machine's search domains, a cluster's say, are not tried."""
    async with world() as there:
        await there.fetch(HERE)
        assert there.names.asked == ["public.com."]


async def test_a_resolver_that_is_silent_ends_in_time() -> None:
    """The wait counts like any other."""

    async def silent(_: str) -> tuple[str, ...]:
        await asyncio.sleep(3600)
        raise AssertionError

    async with world(connect=0.1) as there:
        there.egress._dialer.resolver._lookup = silent
        assert isinstance(await there.error(HERE), URLNotFetched)


# --- redirects -----------------------------------------------------------------------


def leads_to_public(url: str) -> bool:
    """Whether a URL is a plain one of the address that is public in this world."""
    try:
        host = parse_url(url).origin.host
    except URLRefused:
        return False
    return is_literal(host) and str(plain(ip_address(host))) == PUBLIC


@each("status", [301, 302, 303, 307, 308])
async def test_redirects_to_bad_targets_are_refused(status: int) -> None:
    """Group G: to each of A to D and F, in one hop."""
    places: list[str] = []
    async with world(lambda _: redirect(places[-1], status)) as there:
        hosts = [*targets.LOOPBACK, *targets.IPV6, *targets.METADATA]
        hosts += [INTERNAL, "internal.com", f"{INTERNAL}.", "public.com@127.0.0.2"]
        urls = [f"http://{host}:{{port}}/" for host in hosts]
        urls = [url for url in urls if not leads_to_public(there.at(url))]
        urls += [f"{scheme}:///etc/passwd" for scheme in targets.SCHEMES]
        urls += [
            "//127.0.0.2:{port}/",
            "//internal.com:{port}/",
            "http://public.com:22",
        ]
        for url in urls:
            # Bytes as they are: headers are Latin-1, and so UTF-8 is sent as such.
            places.append(there.at(url).encode().decode("latin-1"))
            await there.refused(HERE)
        assert there.fake.connections == len(urls)


async def test_redirects_are_followed_three_times() -> None:
    """From the public to the public; relative ones and those to other names, too."""

    def step(request: Request) -> Behaviour:
        left = int(request.target[1:])
        if not left:
            return sending(reply(200, ANSWER))
        return redirect(f"/{left - 1}", 307)

    async with world(step) as there:
        found = await there.fetch(HERE + "/3")
        assert found.body == ANSWER
        assert found.url.endswith("/0")
        error = await there.error(HERE + "/4")
        assert isinstance(error, URLNotFetched)
        assert "redirects" in error.message


async def test_a_loop_of_redirects_ends() -> None:
    """As any other chain that is too long."""
    async with world(lambda _: redirect("/")) as there:
        assert isinstance(await there.error(HERE), URLNotFetched)
        assert there.fake.connections == 4


@each("status", [300, 304, 305, 306, 399, 201, 404])
async def test_other_replies_with_a_location_are_not_followed(status: int) -> None:
    """They are the answer."""
    async with world(lambda _: redirect("http://internal.com:{port}", status)) as there:
        assert (await there.fetch(HERE)).status == status


async def test_pages_are_not_obeyed() -> None:
    """Refresh, a base, a script: bytes."""
    page = b'<meta http-equiv=refresh content="0;url=http://internal.com"><script>'
    headers = [("Refresh", "0; url=http://127.0.0.2/"), ("Link", "<http://127.0.0.2>")]
    async with world(
        lambda _: sending(reply(200, page, content_type="text/html", headers=headers))
    ) as there:
        assert (await there.fetch(HERE)).body == page
        assert there.fake.connections == 1


async def test_a_redirect_without_one_place_leads_nowhere() -> None:
    """None is an answer like any; two are refused."""
    async with world(lambda _: sending(reply(302, b"where?"))) as there:
        assert (await there.fetch(HERE)).status == 302
    two = ("Location", "/b")
    async with world(lambda _: redirect("/a", 302, two)) as there:
        await there.refused(HERE)


async def test_headers_stay_with_the_first_host() -> None:
    """Credentials above all, even if the second hop is on the same host; a cookie
    that was set is not sent."""

    def step(request: Request) -> Behaviour:
        if request.target == "/end":
            return sending(reply(200, ANSWER))
        return redirect("/end", 302, ("Set-Cookie", "a=b; Domain=com"))

    mine = (
        (b"authorization", b"Bearer x"),
        (b"cookie", b"c=d"),
        (b"x-mine", b"y"),
        (b"host", b"internal.com"),
    )
    async with world(step) as there:
        assert (await there.fetch(HERE, headers=mine)).body == ANSWER
        first, second = (dict(served.request.headers) for served in there.fake.served)
        assert first[b"authorization"] == b"Bearer x"
        assert first[b"x-mine"] == b"y"
        assert first[b"host"].startswith(b"public.com:")
        usual = {b"host", b"user-agent", b"accept", b"accept-encoding"}
        assert set(second) == usual


async def test_what_is_posted_is_posted_once() -> None:
    """No redirect takes a body along, or makes a GET of it."""
    for status in (301, 302, 303, 307, 308):
        async with world(lambda _, s=status: redirect("/b", s)) as there:
            found = await there.fetch(HERE, method="POST", body=b"event")
            assert found.status == status
            (served,) = there.fake.served
            assert (served.request.method, served.request.body) == ("POST", b"event")


@each("header", [(b"x", b"a\r\nb: c"), (b"x\r\ny", b"z"), (b"", b"")])
async def test_headers_that_would_be_two_are_not_sent(
    header: tuple[bytes, ...],
) -> None:
    """Nothing is dialled for them."""
    async with world() as there:
        error = await there.error(HERE, headers=(header,))
        assert isinstance(error, URLNotFetched)
        assert there.fake.connections == 0


# --- TLS -----------------------------------------------------------------------------


async def test_tls_keeps_the_name(tmp_path: Path) -> None:
    """A number is dialled; the certificate must be the name's."""
    tls = make_certificate(tmp_path, "public.com")
    asked: list[str | None] = []
    tls[0].sni_callback = lambda _socket, name, _context: asked.append(name)
    async with world(tls=tls) as there:
        there.names.give("other.com", (PUBLIC,))
        url = "https://public.com:{port}/"
        assert (await there.fetch(url)).body == ANSWER
        assert asked == ["public.com"]
        error = await there.error("https://other.com:{port}/")
        assert isinstance(error, URLNotFetched)
        assert error.message == "The URL's host could not be reached."
        assert len(there.fake.served) == 1


async def test_https_is_never_left_for_http(tmp_path: Path) -> None:
    """Although the other way is fine."""
    tls = make_certificate(tmp_path, "public.com")
    async with world(tls=tls) as there:
        there.fake._behave = lambda _: redirect(there.at(HERE))
        await there.refused("https://public.com:{port}/")
    async with world(tls=tls) as secure, world(limits=secure.egress._limits) as plain:
        plain.fake._behave = lambda _: redirect(secure.at("https://public.com:{port}/"))
        plain.egress._policy = make_policy(
            allow=[PUBLIC], ports=[str(secure.port), str(plain.port)]
        )
        plain.egress._dialer.tls = lambda: tls[1]
        found = await plain.fetch(HERE)
        assert found.body == ANSWER
        assert found.url.startswith("https://")


# --- types, errors, surroundings ------------------------------------------------------


@each(
    ("told", "types", "good"),
    [
        ("image/png", ("image/",), True),
        ("IMAGE/PNG; q=1", ("image/png",), True),
        ("image/png", ("audio/", "image/"), True),
        ("text/html", ("image/",), False),
        ("", ("image/",), False),
        ("x-image/png", ("image/",), False),
        ("anything", (), True),
    ],
)
async def test_the_type_is_what_was_asked_for(
    told: str, types: tuple[str, ...], *, good: bool
) -> None:
    """Of good replies; an error page may be of any."""
    async with world(lambda _: sending(reply(200, b"x", content_type=told))) as there:
        if good:
            assert (await there.fetch(HERE, types=types)).body == b"x"
        else:
            assert "type" in (await there.error(HERE, types=types)).message
    async with world(lambda _: sending(reply(404, b"x", content_type=told))) as there:
        assert (await there.fetch(HERE, types=types)).status == 404


async def test_a_host_that_is_not_there_is_not_named() -> None:
    """Neither its address nor why it could not be reached."""
    async with world() as there:
        policy = make_policy(allow=[PUBLIC], ports=["1"])
        there.egress._policy = policy
        error = await there.error("http://public.com:1/", param="a.b")
        assert isinstance(error, URLNotFetched)
        shown = render_error(error)[2]
        assert b'"url_not_fetched"' in shown
        assert b'"a.b"' in shown
        for secret in (b"127.0.0.1", b"public.com", b"refused", b"Errno"):
            assert secret not in shown


async def test_the_environment_chooses_no_way(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Group J: no proxy and no log-in from it."""
    async with world() as there:
        proxy = f"http://{INTERNAL}:{there.port}"
        for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy"):
            monkeypatch.setenv(name, proxy)
        monkeypatch.setenv("HOME", str(tmp_path))
        (tmp_path / ".netrc").write_text("machine public.com login a password b\n")
        (tmp_path / ".netrc").chmod(0o600)
        assert (await there.fetch(HERE)).body == ANSWER
        assert b"authorization" not in there.fake.served[0].headers


OUTWARD = {
    # The last one reaches the operator's own Valkey, whose URL no caller gives.
    "create_connection": {"dial.py", "proxied.py", "valkey_link.py"},
    "sock_connect": {"proxied.py"},
    "getaddrinfo": {"resolver.py", "egress_names.py", "sockets.py"},
    "urlopen": {"demo.py"},
    "HTTPConnection": set(),
    "HTTPSConnection": set(),
    # To the operator's own channels that speak WebSocket.
    "open_connection": {"websocket.py"},
    "ClientSession": set(),
    "AsyncClient": set(),
}
"""Who may call what leads outward. The demo asks its own server."""


def test_there_is_one_way_out_for_each_kind_of_url() -> None:
    """Another client in another corner would have other rules."""
    for path in (ROOT / "src").rglob("*.py"):
        tree = ast.parse(path.read_text())
        names = {
            node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)
        }
        names |= {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
        for name, places in OUTWARD.items():
            assert name not in names or path.name in places, (path, name)

"""Cloud metadata services are refused in every spelling; private hosts are not."""

from tests.fakes import openai
from tests.fakes.upstream import FakeUpstream
from tests.support.cases import each
from tests.unit.upstream.support import (
    chat_request,
    failure_of,
    fetch,
    fixed_resolver,
)

from posthouse.model.exchange import Certainty, FailureKind
from posthouse.upstream.origin import parse_origin
from posthouse.upstream.sender import Upstream
from posthouse.upstream.targets import is_metadata_address, is_metadata_host

METADATA_ADDRESSES = [
    "169.254.169.254",
    "169.254.0.0",
    "169.254.255.255",
    "169.254.170.2",
    "100.100.100.200",
    "192.0.0.192",
    "168.63.129.16",
    "fd00:ec2::254",
    "fd00:ec2:0:0:0:0:0:254",
    "fd20:ce::254",
    "::169.254.169.254",
    "::ffff:169.254.169.254",
    "::ffff:a9fe:a9fe",
    "0:0:0:0:0:ffff:a9fe:a9fe",
    "::ffff:0:a9fe:a9fe",
    "64:ff9b::a9fe:a9fe",
    "64:ff9b::100.100.100.200",
    "64:ff9b:1::a9fe:a9fe",
    "64:ff9b:1:a9fe:a9:fe00::",
    "2002:a9fe:a9fe::",
    "2002:a9fe:a9fe::1",
    "2001:0:a9fe:a9fe::1",
    "2001:0:102:304::5601:5601",
    "fe80::5efe:a9fe:a9fe",
    "fe80::200:5efe:a9fe:a9fe",
    "::ffff:168.63.129.16",
    "fe80::5efe:169.254.169.254%eth0",
]
ALLOWED_ADDRESSES = [
    "127.0.0.1",
    "10.0.0.1",
    "172.16.0.1",
    "192.168.1.1",
    "100.64.0.1",
    "169.253.255.255",
    "169.255.0.0",
    "100.100.100.199",
    "192.0.0.191",
    "168.63.129.17",
    "8.8.8.8",
    "0.0.0.0",
    "::1",
    "fd00::1",
    "fe80::1",
    "2606:4700::1111",
    "64:ff9b::8.8.8.8",
    "2002:808:808::",
    "::ffff:127.0.0.1",
]
METADATA_HOSTS = [
    *METADATA_ADDRESSES,
    "169.254.169.254.",
    "2852039166",
    "0xa9fea9fe",
    "0xA9FEA9FE",
    "0251.0376.0251.0376",
    "169.254.43518",
    "169.16689662",
    "0xa9.0xfe.0xa9.0xfe",
    "metadata",
    "metadata.",
    "METADATA.google.INTERNAL",
    "metadata.google.internal.",
    "metadata.tencentyun.com",
    "metadata.azure.com",
    "instance-data",
    "instance-data.ec2.internal",
]


@each("address", METADATA_ADDRESSES)
def test_metadata_addresses_are_known(address: str) -> None:
    """In IPv4, IPv6 and IPv4 inside IPv6."""
    assert is_metadata_address(address)


@each("address", ALLOWED_ADDRESSES)
def test_other_addresses_are_the_operators_business(address: str) -> None:
    """Private, loopback and public addresses are allowed for channels."""
    assert not is_metadata_address(address)
    assert not is_metadata_host(address)


@each("host", METADATA_HOSTS)
def test_metadata_hosts_are_known_without_a_look_up(host: str) -> None:
    """By name, and in the numeric forms that a resolver would accept."""
    assert is_metadata_host(host)


@each("host", ["api.example.com", "metadata.example.com", "a" * 300])
def test_other_hosts_are_not_judged_by_name(host: str) -> None:
    """Only exact names count."""
    assert not is_metadata_host(host)


@each("host", METADATA_HOSTS)
async def test_a_channel_cannot_point_at_a_metadata_service(host: str) -> None:
    """Refused before a packet leaves, with its own kind."""
    upstream = Upstream(resolver=fixed_resolver())
    shown = f"[{host}]" if ":" in host else host
    seen = await failure_of(upstream, chat_request(f"http://{shown}"))
    assert seen == (FailureKind.REFUSED_TARGET, Certainty.NOT_SENT)
    await upstream.close()


@each(
    "addresses",
    [
        ("169.254.169.254",),
        ("93.184.216.34", "169.254.169.254"),
        ("::ffff:a9fe:a9fe",),
        ("fe80::5efe:a9fe:a9fe%2",),
    ],
)
async def test_a_name_that_resolves_to_one_is_refused(
    addresses: tuple[str, ...],
) -> None:
    """One bad address among good ones is enough."""
    upstream = Upstream(resolver=fixed_resolver(innocent_example=addresses))
    seen = await failure_of(upstream, chat_request("http://innocent.example"))
    assert seen == (FailureKind.REFUSED_TARGET, Certainty.NOT_SENT)
    await upstream.close()


async def test_the_judged_address_is_the_one_dialled() -> None:
    """A name whose answer changes between two look-ups gains nothing."""
    answers = [("127.0.0.1",), ("169.254.169.254",)]

    async def lookup(_: str) -> tuple[str, ...]:
        return answers.pop(0)

    resolver = fixed_resolver()
    resolver._lookup = lookup
    async with FakeUpstream(openai.answer) as provider:
        upstream = Upstream(resolver=resolver)
        request = chat_request(f"http://moving.example:{provider.port}")
        assert (await fetch(upstream, request))[0] == 200
        assert len(answers) == 1
        assert provider.served[0].headers[b"host"].startswith(b"moving.example:")
        await upstream.close()


@each(
    ("text", "expected"),
    [
        ("http://a.example", (False, "a.example", 80, "a.example")),
        ("https://A.Example", (True, "a.example", 443, "a.example")),
        ("HTTPS://a.example:443", (True, "a.example", 443, "a.example")),
        ("https://a.example:8443", (True, "a.example", 8443, "a.example:8443")),
        ("http://[::1]:8080", (False, "::1", 8080, "[::1]:8080")),
        ("http://[fe80::1%eth0]", (False, "fe80::1%eth0", 80, "[fe80::1%eth0]")),
        ("https://bücher.example", (True, "xn--bcher-kva.example", 443)),
        ("http://127.0.0.1:1", (False, "127.0.0.1", 1, "127.0.0.1:1")),
    ],
)
def test_origins_are_taken_apart(text: str, expected: tuple[object, ...]) -> None:
    """Scheme, host and port, with the Host header's own form."""
    origin = parse_origin(text)
    parts = (origin.tls, origin.host, origin.port, origin.authority)
    assert parts[: len(expected)] == expected


@each(
    "text",
    [
        "",
        "a.example",
        "ftp://a.example",
        "file:///etc/passwd",
        "http://",
        "http://a.example/",
        "http://a.example/v1",
        "http://user@a.example",
        "http://user:word@a.example",
        "http://a.example:0",
        "http://a.example:65536",
        "http://a.example:80:81",
        "http://a.example?x",
        "http://a.example#x",
        "http://a.example\\@b.example",
        "http://a.example\r\nX: y",
        "http://a b",
        "http://a\0b",
        "http://[::1",
        "http://[::1]good",
        "http://%31.example",
        "http://" + "a" * 300,
        "http:/a.example",
        "//a.example",
    ],
)
async def test_what_is_not_an_origin_is_refused(text: str) -> None:
    """Nothing is guessed about a malformed URL."""
    upstream = Upstream(resolver=fixed_resolver())
    seen = await failure_of(upstream, chat_request(text))
    assert seen == (FailureKind.CONNECT, Certainty.NOT_SENT)
    await upstream.close()

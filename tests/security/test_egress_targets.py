"""What a user's URL may lead to: each spelling of each address that it may not."""

from ipaddress import IPv4Address, IPv6Address, ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.security import targets
from tests.support.cases import each

from posthouse.upstream.egress_addresses import is_public, make_policy
from posthouse.upstream.egress_urls import URLRefused, follow, is_literal, parse_url

POLICY = make_policy()


def admitted(url: str) -> bool:
    """Whether a URL passes all that is judged before a look-up."""
    try:
        host = parse_url(url).origin.host
    except URLRefused:
        return False
    if is_literal(host):
        return POLICY.admits_address(host, host)
    return POLICY.admits_name(host)


@each("host", [*targets.LOOPBACK, *targets.IPV6, *targets.METADATA], ids=ascii)
def test_no_spelling_of_a_bad_host_is_admitted(host: str) -> None:
    """Groups A, B and D, without a look-up."""
    for url in targets.urls_to(host):
        assert not admitted(url), url


@each("text", targets.SPECIAL)
def test_special_ranges_are_refused_to_their_edges(text: str) -> None:
    """Group C, alone, mapped into IPv6, and as a resolver's answer."""
    address = ip_address(text)
    assert not is_public(address)
    assert not POLICY.admits_address(text, "good.com")
    shown = f"[{text}]" if address.version == 6 else text
    assert not admitted(f"http://{shown}/")
    if address.version == 4:
        for prefix in ("::ffff:", "::", "64:ff9b::", "::ffff:0:"):
            assert not admitted(f"http://[{prefix}{text}]/")


@each("text", targets.BESIDE)
def test_public_addresses_beside_them_are_admitted(text: str) -> None:
    """The tables end where the registries do."""
    assert is_public(ip_address(text))
    assert POLICY.admits_address(text, "good.com")
    shown = f"[{text}]" if ":" in text else text
    assert admitted(f"http://{shown}/")


@given(st.integers(0, 2**32 - 1))
def test_no_ipv4_address_is_public_that_python_calls_private(value: int) -> None:
    """Our tables are at least as strict as the standard library's."""
    address = IPv4Address(value)
    if is_public(address):
        assert address.is_global
        assert not address.is_multicast
        assert not address.is_reserved


@given(st.integers(0, 2**128 - 1))
def test_no_ipv6_address_is_public_that_python_calls_private(value: int) -> None:
    """Those that are another spelling of IPv4 apart."""
    address = IPv6Address(value)
    if is_public(address):
        assert address.is_global
        assert address in targets.ip_network("2000::/3")


@given(st.integers(0, 2**32 - 1))
def test_an_address_inside_ipv6_is_judged_as_itself(value: int) -> None:
    """No form of carrying it makes a private address public."""
    address = IPv4Address(value)
    for prefix in (0xFFFF << 32, 0x64FF9B << 96):
        assert is_public(IPv6Address(prefix | value)) == is_public(address)
    for high in (0x2002 << 112 | value << 80, 0x2001 << 112 | (value ^ 0xFFFFFFFF)):
        assert not is_public(IPv6Address(high))
    assert not is_public(IPv6Address(value))


@each("text", targets.CONFUSING, ids=ascii)
def test_texts_that_parsers_read_differently_are_refused(text: str) -> None:
    """Group E: nothing is repaired."""
    with pytest.raises(URLRefused):
        parse_url(text)


@each(("text", "meant"), targets.HARMLESS.items())
def test_what_is_let_through_is_rebuilt_from_its_parts(text: str, meant: str) -> None:
    """What was judged is what is asked for; the text itself goes nowhere."""
    assert str(parse_url(text)) == meant
    assert str(parse_url(meant)) == meant
    assert admitted(text)


@each("scheme", targets.SCHEMES)
@each("rest", ["://good.com/", ":///etc/passwd", ":good.com", ":"])
def test_other_schemes_are_refused(scheme: str, rest: str) -> None:
    """Group F, at the start and behind a redirect."""
    with pytest.raises(URLRefused):
        parse_url(scheme + rest)
    with pytest.raises(URLRefused):
        follow(parse_url("http://good.com/"), (scheme + rest).encode())


@each(
    ("location", "meant"),
    [
        (b"/b", "https://good.com:8443/b"),
        (b"b?c", "https://good.com:8443/a/b?c"),
        (b"?c", "https://good.com:8443/a/x?c"),
        (b"../b", "https://good.com:8443/b"),
        (b"//other.com/b", "https://other.com/b"),
        (b"http://other.com", "http://other.com/"),
        (b"https://other.com:80/b#c", "https://other.com:80/b"),
        ("https://bücher.de/ä".encode(), "https://xn--bcher-kva.de/%C3%A4"),
        (b"/caf\xe9", "https://good.com:8443/caf%C3%A9"),
    ],
)
def test_redirects_are_resolved(location: bytes, meant: str) -> None:
    """Relative ones against what was asked for."""
    assert str(follow(parse_url("https://good.com:8443/a/x"), location)) == meant


@each(
    "location",
    [
        b"", b"\t//127.0.0.1/", b"/\t/127.0.0.1/", b"\\\\127.0.0.1\\", b"/\\127.0.0.1/",
        b"//a@127.0.0.1/", b"http:127.0.0.1", b"https:/127.0.0.1/", b"//good.com:x/",
        b"///127.0.0.1/", b"http://", b"//", b"a b", b"\xa0/", b"/" + b"a" * 9000,
    ],
)  # fmt: skip
def test_malformed_redirects_are_refused(location: bytes) -> None:
    """Nothing is repaired here either."""
    with pytest.raises(URLRefused):
        follow(parse_url("https://good.com/a"), location)


@given(
    st.text(
        alphabet=st.sampled_from("ahtps:/.@#?[]%\\0127x\u0667\u3002\u2460-_ \t\n:8"),
        max_size=30,
    )
)
def test_no_text_is_taken_for_more_than_it_says(rest: str) -> None:
    """Whatever is admitted is a rebuilt URL of a plain host and reads so again."""
    text = f"http://{rest}"
    try:
        url = parse_url(text)
    except URLRefused:
        return
    shown = str(url)
    assert shown.isascii()
    assert parse_url(shown) == url
    host = url.origin.host
    assert set(host) <= set("abcdefghijklmnopqrstuvwxyz0123456789.-_:")
    if host.rpartition(".")[2].isdigit():
        assert str(ip_address(host)) == host


# --- what the operator says ------------------------------------------------------


def test_what_is_allowed_may_be_private() -> None:
    """A block, an address, a host and what lies below it."""
    policy = make_policy(
        allow=["10.0.0.0/8", "fd00::/8", "192.168.1.7", "minio", "files.corp"]
    )
    for address in ("10.1.2.3", "fd00::1", "192.168.1.7", "::ffff:10.1.2.3"):
        assert policy.admits_address(address, "any.com")
    for address in ("192.168.1.8", "172.16.0.1", "127.0.0.1", "::1", "fc00::1"):
        assert not policy.admits_address(address, "any.com")
        assert policy.admits_address(address, "minio")
        assert policy.admits_address(address, "a.files.corp")
    for name in ("minio", "files.corp", "a.b.files.corp"):
        assert policy.admits_name(name)
    for name in ("minio2", "xfiles.corp", "corp", "minio.corp", "localhost"):
        assert not policy.admits_name(name)


def test_what_is_denied_stays_denied() -> None:
    """Also where a wider block, or the host, is allowed."""
    policy = make_policy(
        allow=["10.0.0.0/8", "minio", "bad.minio"],
        deny=["10.1.0.0/16", "8.8.8.0/24", "2606:4700::/32", "evil.com", "bad.minio"],
    )
    for address in ("10.1.2.3", "8.8.8.8", "::ffff:8.8.8.8", "64:ff9b::8.8.8.8"):
        assert not policy.admits_address(address, "good.com")
        assert not policy.admits_address(address, "minio")
    assert not policy.admits_address("2606:4700::1", "good.com")
    assert policy.admits_address("10.2.0.0", "good.com")
    for name in ("evil.com", "www.evil.com", "bad.minio", "x.bad.minio"):
        assert not policy.admits_name(name)
    assert policy.admits_name("notevil.com")


@each("host", ["169.254.169.254", "100.100.100.200", "fd00:ec2::254"])
def test_metadata_is_refused_whatever_is_allowed(host: str) -> None:
    """By address and by name."""
    policy = make_policy(
        allow=["0.0.0.0/0", "::/0", "metadata.google.internal", "com", "internal"]
    )
    assert policy.admits_address("127.0.0.1", "x")
    assert not policy.admits_address(host, "good.com")
    assert not policy.admits_name("metadata.google.internal")
    for odd in ("fe80::1%eth0", "fe80::1%1", "", "good.com", "1.2.3", "1.2.3.4%1"):
        assert not policy.admits_address(odd, "good.com")

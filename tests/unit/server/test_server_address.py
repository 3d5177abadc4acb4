"""The caller's address is believed only from proxies that are trusted."""

import pytest
from tests.support.cases import each

from posthouse.server.address import TrustedProxies

PROXIES = TrustedProxies(("127.0.0.1/32", "10.0.0.0/8", "fd00::/8"))


@each(
    ("peer", "forwarded", "caller"),
    [
        ("8.8.8.8", None, "8.8.8.8"),
        ("8.8.8.8", b"1.2.3.4", "8.8.8.8"),
        ("127.0.0.1", None, "127.0.0.1"),
        ("127.0.0.1", b"1.2.3.4", "1.2.3.4"),
        ("127.0.0.1", b"6.6.6.6, 1.2.3.4", "1.2.3.4"),
        ("127.0.0.1", b"6.6.6.6,1.2.3.4 , 10.1.1.1", "1.2.3.4"),
        ("127.0.0.1", b"10.2.2.2, 10.1.1.1", "10.2.2.2"),
        ("127.0.0.1", b"1.2.3.4, nonsense", "127.0.0.1"),
        ("127.0.0.1", b"1.2.3.4, nonsense, 10.1.1.1", "10.1.1.1"),
        ("127.0.0.1", b"", "127.0.0.1"),
        ("127.0.0.1", b"1.2.3.4:5678", "1.2.3.4"),
        ("127.0.0.1", b"[2001:db8::1]:5678", "2001:db8::1"),
        ("127.0.0.1", b"2001:db8::1", "2001:db8::1"),
        ("::ffff:127.0.0.1", b"1.2.3.4", "1.2.3.4"),
        ("::ffff:8.8.8.8", b"1.2.3.4", "8.8.8.8"),
        ("fd00::1", b"1.2.3.4", "1.2.3.4"),
        ("", b"1.2.3.4", ""),
    ],
)
def test_the_right_most_untrusted_entry_is_the_caller(peer, forwarded, caller) -> None:
    assert PROXIES.caller(peer, forwarded) == caller


def test_without_trusted_proxies_nothing_is_believed() -> None:
    assert TrustedProxies().caller("127.0.0.1", b"1.2.3.4") == "127.0.0.1"


def test_a_block_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match="nonsense"):
        TrustedProxies(("nonsense",))

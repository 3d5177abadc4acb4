"""A Valkey's URL: what it may say, what is told of it, and what is not."""

import pytest
from tests.support.cases import each

from posthouse.settings.coordination import Coordination, read_coordination
from posthouse.settings.environment import load_settings
from posthouse.settings.failure import ConfigurationError


@each(
    ("text", "expected"),
    [
        ("valkey://cache", Coordination("cache", 6379)),
        ("redis://cache:7000/3", Coordination("cache", 7000, 3)),
        ("valkey://:p%40ss@h", Coordination("h", 6379, password="p@ss")),
        (
            "redis://app:secret@[::1]:1/0",
            Coordination("::1", 1, username="app", password="secret"),
        ),
        (
            "rediss://h/?ssl_ca_certs=/ca&ssl_certfile=/c&ssl_keyfile=/k",
            Coordination(
                "h",
                6379,
                is_tls=True,
                authorities="/ca",
                certificate="/c",
                certificate_key="/k",
            ),
        ),
        ("valkeys://h", Coordination("h", 6379, is_tls=True)),
    ],
)
def test_url_is_taken_apart(text: str, expected: Coordination) -> None:
    assert read_coordination(text) == expected


@each(
    ("text", "reason"),
    [
        ("http://u:hidden@h", "must begin with valkey://"),
        ("h:6379", "must begin with valkey://"),
        ("valkey://u:hidden@/0", "no host"),
        ("valkey://u:hid#den@h", "percent-encode"),
        ("valkey://u:hidden@h:port", "percent-encode"),
        ("valkey://u:hidden@h/first", "number"),
        ("valkey://u:hidden@h/99999999999", "number"),
        ("valkey://u:hidden@h/0?ssl_ca_certs=/ca", "unknown parameter"),
        ("valkeys://u:hidden@h/0?ssl_cert_reqs=none", "unknown parameter"),
        ("valkey://hidden@h", "without a password"),
    ],
)
def test_what_is_wrong_is_told_without_the_url(
    monkeypatch: pytest.MonkeyPatch, text: str, reason: str
) -> None:
    """The variable is named, the password is not."""
    monkeypatch.setenv("POSTHOUSE_COORDINATION", text)
    with pytest.raises(ConfigurationError) as caught:
        load_settings()
    told = str(caught.value)
    assert "POSTHOUSE_COORDINATION" in told
    assert reason in told
    assert "hid" not in told


def test_password_is_shown_nowhere() -> None:
    """Neither by the place, nor by the settings that it came in."""
    url = "valkeys://app:hidden@[2001:db8::1]:7000/2"
    place = read_coordination(url)
    assert str(place) == "valkeys://[2001:db8::1]:7000/2"
    assert "hidden" not in repr(place)
    assert "hidden" not in repr(load_settings(coordination=url))

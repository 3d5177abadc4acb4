"""The database's URL: what is taken, and that nobody is shown its password."""

import pytest
from tests.support.cases import each

from posthouse.settings.database import shown_database
from posthouse.settings.environment import load_settings
from posthouse.settings.failure import ConfigurationError

URL = "postgresql://relay:not-for-eyes@db.example:5433/posthouse?sslmode=verify-full"


@each(
    ("url", "shown"),
    [
        (URL, "postgresql://db.example:5433/posthouse"),
        ("postgres://db/posthouse", "postgres://db/posthouse"),
        ("postgresql://a:p%40%2Fss@[::1]:1/p", "postgresql://[::1]:1/p"),
        ("postgresql://me@/p?host=/run/pg", "postgresql:///run/pg/p"),
        ("postgresql://me@one,two:2/p", "postgresql://one,two:2/p"),
    ],
)
def test_a_database_is_taken_and_shown_without_its_password(
    monkeypatch: pytest.MonkeyPatch, url: str, shown: str
) -> None:
    """Everything else is as it was given; the settings' text has none of it."""
    monkeypatch.setenv("POSTHOUSE_DATABASE", url)
    settings = load_settings()
    assert settings.database_url == url
    assert shown_database(url) == shown
    assert "@" not in repr(settings)


@each(
    ("url", "reason"),
    [
        ("not-for-eyes", "must begin with postgresql://"),
        ("mysql://me:not-for-eyes@db/p", "must begin with postgresql://"),
        ("postgresql://me:not-for-eyes@db", "names no database"),
        ("postgresql://me:not-for-eyes@/p", "names no host"),
        ("postgresql://me:not-for-eyes@db:x/p", "is no URL"),
        ("postgresql://me:not-for/eyes@db/p", "is no URL"),
        ("postgresql://me:p@db/p#not-for-eyes", "has a fragment"),
        ("postgresql://me:not-for-eyes@db/p?sslmod=off", "unknown parameter"),
        ("postgresql://me:not-for-eyes@db/p?sslmode", "is no URL"),
    ],
)
def test_what_is_no_database_is_refused_without_a_word_of_it(
    monkeypatch: pytest.MonkeyPatch, url: str, reason: str
) -> None:
    """The message names the variable and the reason."""
    monkeypatch.setenv("POSTHOUSE_DATABASE", url)
    with pytest.raises(ConfigurationError, match=reason) as caught:
        load_settings()
    assert "POSTHOUSE_DATABASE" in str(caught.value)
    assert "eyes" not in str(caught.value)

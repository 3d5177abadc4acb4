"""Settings from POSTHOUSE_* variables, and the secret behind everything."""

import stat
from decimal import Decimal
from pathlib import Path

import pytest
from tests.support.cases import each

from posthouse.settings.environment import (
    Settings,
    all_settings,
    load_settings,
    unknown_variables,
)
from posthouse.settings.failure import ConfigurationError
from posthouse.settings.file import ServerSpec, TelemetrySpec
from posthouse.settings.secret import (
    CREDENTIALS,
    PEPPER,
    Secret,
    load_secret,
    write_private,
)

SECRET = "0123456789abcdef0123456789abcdef"


@pytest.fixture(autouse=True)
def _clean(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import os

    for name in list(os.environ):
        if name.startswith(("POSTHOUSE_", "OTEL_")):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


def test_defaults_need_nothing() -> None:
    """Without a variable or a file the process serves here, on SQLite in ./data."""
    settings = load_settings()
    assert (settings.host, settings.port, settings.data) == (
        "127.0.0.1",
        3000,
        Path("data"),
    )
    assert settings.database_url == "sqlite+aiosqlite:///data/posthouse.db"
    assert settings.hold_max == 10_000_000_000


def test_variables_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each setting has its variable; lists are written with commas."""
    for name, value in {
        "DATA": "/var/lib/posthouse",
        "PORT": "8080",
        "CORS_ORIGINS": "https://a.example, https://b.example",
        "TRUSTED_PROXIES": "10.0.0.0/8,::1",
        "DURABILITY": "power",
        "HOLD_MAX_USD": "0.000000001",
        "HEADER_SECONDS": "0.5",
        "MAX_BODY_BYTES": "1000",
        "JOURNAL_SEGMENT_BYTES": "65536",
    }.items():
        monkeypatch.setenv(f"POSTHOUSE_{name}", value)
    settings = load_settings()
    assert settings.data == Path("/var/lib/posthouse")
    assert settings.port == 8080
    assert settings.cors_origins == ("https://a.example", "https://b.example")
    assert settings.trusted_proxies == ("10.0.0.0/8", "::1")
    assert settings.durability == "power"
    assert settings.hold_max == 1
    assert (settings.header_seconds, settings.max_body_bytes) == (0.5, 1000)
    assert settings.journal_segment_bytes == 65_536


def test_given_values_win_over_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    """The command line wins; what it leaves out (None) does not."""
    monkeypatch.setenv("POSTHOUSE_PORT", "1")
    monkeypatch.setenv("POSTHOUSE_HOST", "::1")
    settings = load_settings(port=2, host=None)
    assert (settings.port, settings.host) == (2, "::1")


def test_empty_variables_are_none_but_empty_options_are_mistakes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A variable that is set to nothing is not set; --host '' is refused."""
    monkeypatch.setenv("POSTHOUSE_PORT", "")
    settings = load_settings()
    assert settings.port == 3000
    assert settings.chosen == frozenset()
    with pytest.raises(ConfigurationError, match="POSTHOUSE_HOST: is empty"):
        load_settings(host="")


def test_what_is_no_setting_is_a_fault_of_the_program() -> None:
    """A misspelt option must not be ignored."""
    with pytest.raises(TypeError, match="not settings: prot"):
        load_settings(prot=1)


def test_variables_win_over_the_files_server_section(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Of [server], only what no variable sets is taken."""
    monkeypatch.setenv("POSTHOUSE_DURABILITY", "process")
    server = ServerSpec(
        cors_origins=("*",), trusted_proxies=("10.0.0.0/8",), durability="power"
    )
    settings = load_settings().with_file(server)
    assert settings.cors_origins == ("*",)
    assert settings.trusted_proxies == ("10.0.0.0/8",)
    assert settings.durability == "process"


def test_the_standard_variable_says_where_telemetry_goes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """OpenTelemetry's own variable wins over the file, and ours over both."""
    file = TelemetrySpec(endpoint="http://file:4318", sample=0.5, propagate="on")
    assert load_settings().telemetry_endpoint is None
    settings = load_settings().with_file(ServerSpec(), file)
    assert settings.telemetry_endpoint == "http://file:4318"
    assert (settings.telemetry_sample, settings.telemetry_propagate) == (0.5, "on")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://standard:4318")
    settings = load_settings().with_file(ServerSpec(), file)
    assert settings.telemetry_endpoint == "http://standard:4318"
    monkeypatch.setenv("POSTHOUSE_TELEMETRY_ENDPOINT", "http://ours:4318")
    monkeypatch.setenv("POSTHOUSE_TELEMETRY_SIGNALS", "traces, logs")
    settings = load_settings().with_file(ServerSpec(), file)
    assert settings.telemetry_endpoint == "http://ours:4318"
    assert settings.telemetry_signals == ("traces", "logs")


@each(
    ("name", "value"),
    [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "collector:4317"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "https://user:secret@collector"),
        ("POSTHOUSE_TELEMETRY_ENDPOINT", "http://"),
        ("POSTHOUSE_TELEMETRY_ENDPOINT", "http://collector:70000"),
        ("POSTHOUSE_TELEMETRY_ENDPOINT", "http://collector/?a=b"),
        ("POSTHOUSE_TELEMETRY_SIGNALS", "traces,profiles"),
        ("POSTHOUSE_TELEMETRY_SAMPLE", "1.5"),
        ("POSTHOUSE_TELEMETRY_PROPAGATE", "yes"),
    ],
)
def test_telemetry_that_cannot_be_is_refused_by_the_variable_s_name(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    with monkeypatch.context() as patch:
        patch.setenv(name, value)
        with pytest.raises(ConfigurationError, match=f"^{name}: ") as refused:
            load_settings()
    assert "secret" not in str(refused.value)


@each(
    ("name", "value", "reason"),
    [
        ("PORT", "tcp://10.0.0.1:3000", "enableServiceLinks"),
        ("PORT", "65536", "not a whole number from 0, up to 65,535"),
        ("CORS_ORIGINS", "example.com", "must begin with"),
        ("TRUSTED_PROXIES", "10.0.0.1/8", "host bits set"),
        ("DURABILITY", "maybe", "not `process` or `power`"),
        ("HOLD_MAX_USD", "0", "not a decimal number above 0"),
        ("HOLD_MAX_USD", "NaN", "not a decimal number"),
        ("HOLD_MAX_USD", "sNaN", "not a decimal number"),
        ("HOLD_MAX_USD", "ten", "not a decimal number"),
        ("HOLD_MAX_USD", "0.0000000001", "9 decimal places"),
        ("HEADER_SECONDS", "nan", "not a number above 0, up to 86,400"),
        ("DRAIN_GRACE_SECONDS", "-0.1", "not a number from 0, up to 600"),
        ("MAX_BODY_BYTES", "9" * 400, "not a whole number"),
        ("MAX_BODY_BYTES", "-1", "not a whole number from 1"),
        ("SECRET", "canary", "at least 32 characters"),
    ],
)
def test_bad_variables_are_named_but_not_shown(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, reason: str
) -> None:
    """A bad value is refused by its variable's name, never repeating a secret."""
    with monkeypatch.context() as patch:
        patch.setenv(f"POSTHOUSE_{name}", value)
        with pytest.raises(ConfigurationError, match=reason) as caught:
            load_settings()
    assert caught.value.source == f"POSTHOUSE_{name}"
    assert "canary" not in str(caught.value)


def test_secrets_of_settings_never_show() -> None:
    """The secret does not show, wherever it is kept."""
    settings = load_settings(secret=SECRET)
    assert SECRET not in repr(settings)
    assert SECRET not in repr(load_secret(settings))


def test_unknown_variables_are_pointed_out() -> None:
    """A typo in a variable's name is noticed and a known one proposed."""
    found = unknown_variables(
        {"POSTHOUSE_DURABILTY": "x", "POSTHOUSE_DATA": "", "POSTHOUSE_ZQ": "", "A": ""}
    )
    assert found == [
        "POSTHOUSE_DURABILTY; did you mean POSTHOUSE_DURABILITY?",
        "POSTHOUSE_ZQ",
    ]


def test_every_setting_is_described() -> None:
    """The reference is made from the descriptions, so each setting has one."""
    for name, setting in all_settings().items():
        assert setting.rule.meaning.endswith("."), name


def test_secret_file_is_made_once_and_private(tmp_path: Path) -> None:
    """Without POSTHOUSE_SECRET a file of mode 0600 is made, and kept."""
    settings = load_settings(data=tmp_path / "data")
    first = load_secret(settings).derive(PEPPER)
    path = tmp_path / "data" / "secret.key"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert len(path.read_text().strip()) >= 43
    assert load_secret(settings).derive(PEPPER) == first
    assert [entry.name for entry in path.parent.iterdir()] == ["secret.key"]


def test_secret_file_that_others_can_read_is_refused(tmp_path: Path) -> None:
    """A secret that any user of the machine can read is none."""
    settings = load_settings(data=tmp_path)
    load_secret(settings)
    (tmp_path / "secret.key").chmod(0o644)
    with pytest.raises(ConfigurationError, match="others may read it"):
        load_secret(settings)


def test_truncated_secret_file_is_refused(tmp_path: Path) -> None:
    """An emptied file must not silently become an empty secret."""
    (tmp_path / "secret.key").touch(0o600)
    with pytest.raises(ConfigurationError, match="fewer than 32"):
        load_secret(load_settings(data=tmp_path))


def test_derived_keys_differ_by_purpose_and_secret() -> None:
    """Each purpose and each secret has a 32-byte key of its own."""
    keys = {
        Secret(material).derive(purpose)
        for material in (b"a" * 32, b"b" * 32)
        for purpose in (PEPPER, CREDENTIALS)
    }
    assert len(keys) == 4
    assert {len(key) for key in keys} == {32}


def test_private_file_keeps_the_first_writers_content(tmp_path: Path) -> None:
    """Whoever loses the race finds the winner's file, whole."""
    path = tmp_path / "keys" / "app"

    def lose() -> str:
        assert write_private(path, lambda: "winner")
        return "loser"

    assert not write_private(path, lose)
    assert path.read_text() == "winner"
    assert not write_private(path, lambda: "later")
    assert [entry.name for entry in path.parent.iterdir()] == ["app"]


def test_hold_max_is_exact() -> None:
    """The largest hold is whole nano-dollars, never a float."""
    assert Settings(hold_max_usd=Decimal("0.1")).hold_max == 100_000_000


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("secret", SECRET),
        ("database", "postgresql://posthouse:pw@db/posthouse"),
        ("coordination", "valkey://:pw@valkey:6379/0"),
    ],
)
def test_what_is_secret_may_stand_in_a_file(
    name: str, text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As service managers hand secrets over; a line's end is none of it."""
    (tmp_path / "told").write_text(text + "\n")
    monkeypatch.setenv(f"POSTHOUSE_{name.upper()}", f"file:{tmp_path / 'told'}")
    assert getattr(load_settings(), name) == text


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (None, "cannot be read: No such file"),
        (b"\xff\xfe", "is no text"),
        (b"short", "at least 32 characters"),
        (b"", "is empty"),
    ],
)
def test_a_file_without_a_secret_is_refused(
    content: bytes | None,
    reason: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """By the variable's name; what is in the file is not repeated."""
    path = tmp_path / "told"
    if content is not None:
        path.write_bytes(content)
    monkeypatch.setenv("POSTHOUSE_SECRET", f"file:{path}")
    with pytest.raises(ConfigurationError, match=reason) as refused:
        load_settings()
    assert refused.value.source == "POSTHOUSE_SECRET"
    assert not content or str(content) not in str(refused.value)

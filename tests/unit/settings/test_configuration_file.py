"""The configuration file: every key of the example, and every refusal's line."""

import os
import tomllib
from datetime import UTC, datetime
from pathlib import Path

import pytest
import rich.console
from hypothesis import given
from hypothesis import strategies as st
from tests.support.cases import each

from posthouse.settings.checks import PLACEHOLDER_KEY
from posthouse.settings.failure import ConfigurationError
from posthouse.settings.file import (
    BodyEdits,
    ChannelLimits,
    ChannelSpec,
    ChannelTimeouts,
    ConfigurationFile,
    FallbackSpec,
    KeySpec,
    ModelEntry,
    PriceSpec,
    RoutingSpec,
    RuleSpec,
    RuleUse,
    RuleWhen,
    ServerSpec,
    TelemetrySpec,
)
from posthouse.settings.loader import LoadedFile, load_file
from posthouse.settings.locator import locate

ROOT = Path(__file__).parents[3]
EXAMPLE = ROOT / "posthouse.example.toml"
GOOD_KEY = "sk-0123456789abcdefghij"
CHANNEL = '[[channels]]\nname = "a"\nprovider = "openai"\n'
KEY = '[[keys]]\nname = "a"\n'
PRICE = '[[prices]]\nmodel = "m"\n'


def write(folder: Path, text: str) -> Path:
    path = folder / "posthouse.toml"
    path.write_text(text, encoding="utf-8")
    return path


def refusal(folder: Path, text: str) -> ConfigurationError:
    with pytest.raises(ConfigurationError) as caught:
        load_file(write(folder, text))
    return caught.value


def test_example_is_understood_key_by_key() -> None:
    """Every value of the shipped example arrives as its comment says."""
    expected = ConfigurationFile(
        channels=(
            ChannelSpec(
                name="openai-main",
                provider="openai",
                base_url="https://api.openai.com/v1",
                api_key="env:OPENAI_API_KEY",
                models=("gpt-4o", ModelEntry("fast", "gpt-4o-mini"), "o3*"),
                priority=10,
                weight=1,
                limits=ChannelLimits(concurrency=200, rpm=5000),
                timeouts=ChannelTimeouts(connect=5, first_byte=120, idle=60, total=600),
                proxy="socks5://127.0.0.1:1080",
                headers={"X-Team": "a"},
                body=BodyEdits(set={"store": False}, drop=("metadata",)),
                on_disconnect="cancel",
                enabled=True,
            ),
            ChannelSpec(name="sandbox", provider="sandbox"),
        ),
        keys=(
            KeySpec(
                name="app",
                key=PLACEHOLDER_KEY,
                balance_usd="25",
                models=("gpt-*", "fast"),
                rpm=600,
                tpm=200_000,
                concurrency=50,
                ips=("10.0.0.0/8",),
                expires=datetime(2027, 1, 1, tzinfo=UTC),
                sandbox=False,
            ),
        ),
        prices=(
            PriceSpec(
                model="gpt-4o", input="2.50", cached_input="1.25", output="10.00"
            ),
            PriceSpec(model="local/*", free=True),
        ),
        fallbacks=(FallbackSpec(model="gpt-4o", to=("fast",)),),
        server=ServerSpec(
            cors_origins=("*",),
            trusted_proxies=("127.0.0.1/32",),
            durability="process",
        ),
    )
    assert load_file(EXAMPLE).configuration == expected


def test_example_sets_every_key_there_is() -> None:
    """A key that the program knows and the example does not show is a gap."""
    text = EXAMPLE.read_text(encoding="utf-8")
    for spec in (
        ChannelSpec,
        ChannelLimits,
        ChannelTimeouts,
        BodyEdits,
        KeySpec,
        FallbackSpec,
        RoutingSpec,
        RuleSpec,
        RuleWhen,
        RuleUse,
        ServerSpec,
        TelemetrySpec,
    ):
        for name in spec.__struct_fields__:
            assert f"{name} =" in text, f"{spec.__name__}.{name}"
    for unit in ("image", "second", "character", "page", "search", "task", "request"):
        assert unit in text


@each(
    "text",
    [
        CHANNEL + 'api_key = ["one", "env:TWO", "file:three"]',
        CHANNEL + 'base_url = "http://127.0.0.1:8080/v1"',
        CHANNEL + 'base_url = "http://[::1]:8080"',
        CHANNEL + 'proxy = "http://user:word@proxy.internal:3128"',
        CHANNEL + 'models = ["*"]',
        CHANNEL + 'on_disconnect = "drain"\nenabled = false',
        KEY + f'key = "{GOOD_KEY}"',
        KEY + 'key = "env:APP_KEY"',
        KEY + 'ips = ["10.1.2.3", "2001:db8::/32"]',
        KEY + "sandbox = true",
        PRICE + 'image = "0.04"',
        PRICE + 'character = "0.000000000000001"',
        PRICE + 'input = "0"\noutput = "1"',
        PRICE + 'channel = "a"\nrequest = "0.000000001"',
        '[server]\ncors_origins = ["https://example.com"]\ndurability = "power"',
        "",
        "\ufeff# an empty file with a byte order mark",
        CHANNEL.replace("\n", "\r\n"),
    ],
)
def test_valid_files_load(tmp_path: Path, text: str) -> None:
    """What the example's comments allow is accepted."""
    path = tmp_path / "posthouse.toml"
    path.write_bytes(text.encode())
    assert isinstance(load_file(path), LoadedFile)


REFUSED = [
    ("names = 1", 1, "unknown key 'names'"),
    (CHANNEL + "wieght = 1", 4, "did you mean 'weight'?"),
    (CHANNEL + "limits = { rmp = 1 }", 4, "did you mean 'rpm'?"),
    (CHANNEL + "[channels.timeouts]\nidel = 1", 5, "did you mean 'idle'?"),
    (KEY + "zzz = 1", 3, "known here: balance_usd"),
    ('[[channels]]\n\nname = "a"', 1, "provider is missing"),
    (CHANNEL + "\n# two\n" + CHANNEL, 7, "'a' stands in the file twice"),
    (CHANNEL + 'name = "b"', 4, "not valid TOML"),
    ("[[channels]]\nname = 1", 2, "expected str, not int; write it in quotes"),
    (CHANNEL.replace('"a"', '""'), 2, "1 to 64 characters"),
    (CHANNEL.replace('"a"', '"a/b"'), 2, "no slash"),
    (CHANNEL.replace('"a"', '"a "'), 2, "none around it"),
    (CHANNEL.replace("openai", "Open AI"), 3, "not a provider's name"),
    (CHANNEL + "weight = 0", 4, "weight must be a whole number from 1"),
    (CHANNEL + "weight = 1.5", 4, "expected int, not float"),
    (CHANNEL + "priority = 99999999999999999999", 4, "out of range"),
    (CHANNEL + "limits = { concurrency = 0 }", 4, "concurrency must be"),
    (CHANNEL + "timeouts = { idle = 0 }", 4, "above 0"),
    (CHANNEL + "timeouts = { idle = nan }", 4, "above 0"),
    (CHANNEL + 'api_key = ["a",\n  "b c"]', 5, "no space"),
    (CHANNEL + 'api_key = "env:1X"', 4, "environment variable"),
    (CHANNEL + 'api_key = ""', 4, "not empty"),
    (CHANNEL + 'models = [\n "a",\n { public = "b" }]', 6, "upstream is missing"),
    (CHANNEL + 'models = [{ public = "b", upstream = "c*" }]', 4, "without *"),
    (CHANNEL + "models = []", 4, "leave it out"),
    (CHANNEL + 'models = ["a**"]', 4, "one * stands"),
    (CHANNEL + 'models = ["a\\n"]', 4, "no model name has"),
    (CHANNEL + 'base_url = "ftp://a/"', 4, "must begin with https:// or http://"),
    (CHANNEL + 'base_url = "https:a"', 4, "no host"),
    (CHANNEL + 'base_url = "https://a b"', 4, "no URL may hold"),
    (CHANNEL + 'base_url = "https://u:p@a/"', 4, "use api_key"),
    (CHANNEL + 'base_url = "https://a/?k=1"', 4, "without ? or #"),
    (CHANNEL + 'base_url = "https://a:99999"', 4, "not a URL"),
    (CHANNEL + 'proxy = "socks4://a:1"', 4, "http:// or socks5://"),
    (CHANNEL + 'proxy = "http://a"', 4, "no port"),
    (CHANNEL + 'headers = { Authorization = "x" }', 4, "sets the header"),
    (CHANNEL + 'headers = { host = "x" }', 4, "sets the header"),
    (CHANNEL + 'headers = { Content-Length = "1" }', 4, "sets the header"),
    (CHANNEL + 'headers = { "a b" = "1" }', 4, "not a header's name"),
    (CHANNEL + 'headers = { a = "x\\r\\ny: z" }', 4, "one line"),
    (CHANNEL + '[channels.headers]\nx-a = "1"\nX-A = "2"', 6, "set twice"),
    (CHANNEL + "headers = { a = 1 }", 4, "expected str, not int"),
    (CHANNEL + 'body = { set = { model = "x" } }', 4, "sets 'model' itself"),
    (CHANNEL + 'body = { drop = ["stream"] }', 4, "sets 'stream' itself"),
    (CHANNEL + 'body = { set = { a = 1 }, drop = ["a"] }', 4, "both set and dropped"),
    (CHANNEL + "body = { set = { a = [inf] } }", 4, "written as JSON"),
    (CHANNEL + "body = { set = { a = { b = 2027-01-01 } } }", 4, "written as JSON"),
    (CHANNEL + "body = { set = { a = 9223372036854775808 } }", 4, "written as JSON"),
    (CHANNEL + 'on_disconnect = "ignore"', 4, "on_disconnect"),
    (KEY + 'key = "short"', 3, "20 to 256 characters"),
    (KEY + 'key = "sk-0123456789 abcdefghij"', 3, "no space"),
    (KEY + 'key = "sk-0123456789abcdefghijé"', 3, "ASCII"),
    (
        KEY + f'key = "{GOOD_KEY}"\n[[keys]]\nname = "b"\nkey = "{GOOD_KEY}"',
        6,
        "also the key of 'a'",
    ),
    (KEY + "balance_usd = 2.5", 3, "expected str, not float; write it in quotes"),
    (KEY + 'balance_usd = "-1"', 3, "not a decimal"),
    (KEY + 'balance_usd = "1e3"', 3, "not a decimal"),
    (KEY + 'balance_usd = "\uff11"', 3, "not a decimal"),
    (KEY + 'balance_usd = "0.0000000001"', 3, "not a decimal"),
    (KEY + "rpm = 0", 3, "rpm must be"),
    (KEY + "tpm = -1", 3, "tpm must be"),
    (KEY + "concurrency = true", 3, "expected int, not bool"),
    (KEY + 'ips = ["10.0.0.1/8"]', 3, "the block is 10.0.0.0/8"),
    (KEY + 'ips = ["ten"]', 3, "not a block of addresses"),
    (KEY + "expires = 2027-01-01T00:00:00", 3, "needs a time zone"),
    (KEY + "expires = 2027-01-01", 3, "expected datetime, not date"),
    (KEY + "models = []", 3, "leave it out"),
    (PRICE, 2, "`free = true` makes it free"),
    (PRICE + 'input = "0"\noutput = "0.00"', 2, "only `free = true`"),
    (PRICE + 'free = true\ninput = "1"', 3, "either free or has prices"),
    (PRICE + "input = 2.5", 3, "expected str, not float"),
    (PRICE + 'input = "nan"', 3, "not a decimal"),
    (PRICE + 'input = "0.0000000001"', 3, "up to 9 places"),
    (PRICE + 'character = "0.0000000000000001"', 3, "up to 15 places"),
    (PRICE + "free = true\n" + PRICE + "free = true", 5, "priced twice"),
    ('[[fallbacks]]\nmodel = "a"\nto = []', 3, "at least one"),
    ('[[fallbacks]]\nmodel = "a"\nto = ["b",\n"a"]', 4, "tried already"),
    ('[[fallbacks]]\nmodel = "a*"\nto = ["b"]', 2, "without *"),
    ('[server]\n\ncors_origins = ["example.com"]', 3, "must begin with"),
    ('[server]\ncors_origins = ["https://example.com/"]', 2, "not an origin"),
    ('[server]\ntrusted_proxies = ["1.2.3.4/33"]', 2, "not a block"),
    ('[server]\ndurability = "maybe"', 2, "durability"),
    ('[telemetry]\nendpoint = "collector:4317"', 2, "endpoint must begin with"),
    ('[telemetry]\n\nsignals = ["traces", "profiles"]', 3, "'profiles' is none of"),
    ("[telemetry]\nsample = 1.01", 2, "not a number from 0 to 1"),
    ('[telemetry]\npropagate = "yes"', 2, "propagate"),
    ('[telemetry]\nendpont = "http://a"', 2, "did you mean 'endpoint'"),
    ("channels = 1", 1, "expected array, not int"),
    ("a = 1\nb = ", 2, "not valid TOML"),
]


@each(("text", "line", "reason"), REFUSED)
def test_refusal_names_line_and_reason(
    tmp_path: Path, text: str, line: int, reason: str
) -> None:
    """Each mistake is refused at its own line with a reason that helps."""
    error = refusal(tmp_path, text)
    assert (error.line, reason in error.reason) == (line, True), str(error)
    assert str(error).startswith(f"{tmp_path / 'posthouse.toml'}:{line}: ")


@each(
    "host",
    [
        "169.254.169.254",
        "2852039166",
        "0xa9fea9fe",
        "0251.0376.0251.0376",
        "169.254.169.254.",
        "[::ffff:a9fe:a9fe]",
        "[64:ff9b::a9fe:a9fe]",
        "[2002:a9fe:a9fe::]",
        "[fd00:ec2::254]",
        "[fe80::1]",
        "169.254.170.2",
        "100.100.100.200",
        "192.0.0.192",
        "168.63.129.16",
        "metadata.google.internal",
        "METADATA.google.internal.",
        "metadata.tencentyun.com",
        "instance-data",
    ],
)
def test_metadata_addresses_are_refused_in_every_spelling(
    tmp_path: Path, host: str
) -> None:
    """No channel may point at a cloud's metadata service."""
    error = refusal(tmp_path, CHANNEL + f'base_url = "http://{host}/v1"')
    assert (error.line, "metadata" in error.reason) == (4, True)


@each("host", ["10.0.0.1", "localhost", "[::1]", "192.168.1.5:1"])
def test_private_addresses_are_the_operators_business(
    tmp_path: Path, host: str
) -> None:
    """A provider on the operator's own network is welcome."""
    load_file(write(tmp_path, CHANNEL + f'base_url = "http://{host}/v1"'))


@pytest.mark.parametrize(
    ("data", "line", "reason"),
    [
        (b"a = 1\nb = '\xff'", 2, "not UTF-8"),
        (b"x = " + b"[" * 5000 + b"]" * 5000, None, "nested too deeply"),
    ],
)
def test_bytes_that_are_no_toml(
    tmp_path: Path, data: bytes, line: int | None, reason: str
) -> None:
    """Broken encodings and bombs are refused like any other mistake."""
    path = tmp_path / "posthouse.toml"
    path.write_bytes(data)
    with pytest.raises(ConfigurationError, match=reason) as caught:
        load_file(path)
    assert caught.value.line == line


def test_missing_file_is_named(tmp_path: Path) -> None:
    """A path with nothing behind it says so."""
    with pytest.raises(ConfigurationError, match="cannot be read"):
        load_file(tmp_path / "absent.toml")


def test_secrets_never_show() -> None:
    """Neither repr nor a terminal shows a credential, a header or a proxy."""
    channel = ChannelSpec(
        "a",
        "openai",
        api_key="canary",
        headers={"x": "canary"},
        proxy="http://u:canary@h:1",
    )
    key = KeySpec("a", key="canary")
    file = ConfigurationFile((channel,), (key,))
    loaded = LoadedFile(Path("p"), file, "canary")
    console = rich.console.Console(file=open(os.devnull, "w"), record=True)  # noqa: PTH123, SIM115 -- Console keeps it
    for value in (channel, key, file, loaded):
        assert "canary" not in repr(value)
        assert "canary" not in f"{value}"
        console.print(value)
    console.file.close()
    assert "canary" not in console.export_text()
    assert "api_key='…'" in repr(channel)


@each(
    "text",
    [
        CHANNEL + 'api_key = "sk canary"',
        CHANNEL + 'headers = { a = "canary\\n" }',
        CHANNEL + 'proxy = "ftp://canary:canary@h:1"',
        CHANNEL + 'base_url = "https://canary@h/"',
        KEY + 'key = "canary"',
    ],
)
def test_errors_never_repeat_a_secret(tmp_path: Path, text: str) -> None:
    """The reason tells what is wrong with a secret without showing it."""
    assert "canary" not in str(refusal(tmp_path, text))


names = st.text(st.sampled_from("ab .\"'#=[]{}\\é\n"), min_size=1, max_size=6)


def quoted(text: str) -> str:
    escaped = "".join(f"\\u{ord(char):04x}" for char in text)
    return f'"{escaped}"'


@given(st.lists(st.tuples(names, st.integers(0, 3)), max_size=8))
def test_lines_are_exact_for_any_names(items: list[tuple[str, int]]) -> None:
    """Whatever a key holds and whatever stands around it, its line is found."""
    lines = ["# [[head]]"]
    expected: dict[tuple[str | int, ...], int] = {}

    def add(line: str, *path: str | int) -> None:
        lines.append(line)
        expected[path] = len(lines)

    for index, (name, blanks) in enumerate(items):
        lines += ["# x = [ {"] * blanks
        add("[[items]]", "items", index)
        add(f'{quoted(name)} = """a', "items", index, name)
        lines.append("b = 1 # [[items]]")
        lines.append('"""')
        add("list = [ # one", "items", index, "list")
        add(f"  {{ {quoted(name)} = '}}]' }},", "items", index, "list", 0, name)
        lines.append("]")
        add("[items.sub]", "items", index, "sub")
        add(f"{quoted(name)}.deep = 2", "items", index, "sub", name, "deep")
    text = "\n".join(lines)
    tomllib.loads(text)
    found = locate(text)
    assert {path: found[path] for path in expected} == expected

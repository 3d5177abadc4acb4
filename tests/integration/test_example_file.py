"""Keys, prices, fallbacks and server of posthouse.example.toml; and that all is shown.

What a channel's keys do is shown in `test_example_channels`, and what telemetry's
do in `test_telemetry`.
"""

import json
import re
import stat
import sys
import time
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.integration.test_example_channels import REFUSED, slowly
from tests.support import raw
from tests.support.example import CACHED, INPUT, OUTPUT, Example, key_of, shows
from tests.support.posthouse import QUICK, Posthouse
from tests.support.processes import ROOT, ServerProcess, free_port

from posthouse.billing.prices import charge, price_of_spec
from posthouse.model.money import format_usd
from posthouse.model.usage import Usage, UsageSource
from posthouse.settings.loader import load_file

EXAMPLE = ROOT / "posthouse.example.toml"
COMMENTED = {
    "prices.channel",
    *(
        f"prices.{unit}"
        for unit in ("image", "second", "character", "page", "search", "task")
    ),
    "prices.request",
    *(f"telemetry.{name}" for name in ("endpoint", "signals", "sample", "propagate")),
}
"""Keys that stand in the example's comments."""
FREE_FORM = {"channels.headers", "channels.body.set"}
"""Tables whose keys are the operator's own."""


# --- keys ------------------------------------------------------------------------


@shows("keys.name", "keys.key")
def test_a_key_is_known_by_its_name(example: Example) -> None:
    assert example.chat("sandbox", "app").record["key"] == "app"
    assert example.chat("sandbox", "from-environment").record["key"] == (
        "from-environment"
    )
    assert example.chat("sandbox", "nobody").code == "invalid_api_key"


@shows("keys.key")
@pytest.mark.parametrize("name", ["made", "placeholder"])
def test_a_key_without_text_is_made_once_and_kept_private(
    example: Example, name: str
) -> None:
    path = example.posthouse.data / "keys" / name
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    header = ("Authorization", f"Bearer {path.read_text().strip()}")
    url = example.posthouse.url
    assert raw.send(url, "/v1/models", method="GET", headers=(header,)).status == 200


def _balance(example: Example, name: str) -> str | None:
    [entry] = [k for k in example.posthouse.ask("key", "list") if k["name"] == name]
    balance: str | None = entry["balance_usd"]
    return balance


@shows("keys.balance_usd")
def test_a_balance_is_posted_once_and_spent(example: Example) -> None:
    assert _balance(example, "funded") == "25.00"
    price = example.chat("plain-model", "funded").record["price"]
    assert price > 0
    assert _balance(example, "funded") == format_usd(25_000_000_000 - price)
    lines = example.posthouse.ask("ledger", "--key", "funded")
    assert [line["kind"] for line in lines] == ["settle", "opening"]
    assert lines[1]["usd"] == "25.00"


@shows("keys.balance_usd")
def test_what_a_balance_does_not_cover_is_refused(example: Example) -> None:
    answer = example.chat("plain-model", "poor")
    assert (answer.status, answer.code) == (429, "insufficient_quota")


@shows("keys.balance_usd")
def test_without_a_balance_the_default_account_pays(example: Example) -> None:
    answer = example.chat("plain-model", "app")
    assert answer.record["price"] > 0
    lines = example.posthouse.ask("ledger", "--call", answer.record["id"])
    assert [line["account_id"] for line in lines] == ["default"]
    assert _balance(example, "app") is None


@shows("keys.models")
def test_a_key_reaches_only_the_models_that_it_is_allowed(example: Example) -> None:
    assert example.chat("wild-one", "allowed").status == 200
    assert example.chat("public-name", "allowed").status == 200
    assert example.chat("plain-model", "allowed").code == "model_not_found"
    assert example.models("allowed") == {"public-name"}


@shows("keys.rpm")
def test_a_key_makes_as_many_calls_a_minute_as_it_may(example: Example) -> None:
    statuses = [example.chat("plain-model", "rated").status for _ in range(3)]
    assert statuses == [200, 200, 429]


@shows("keys.tpm")
def test_a_key_uses_as_many_tokens_a_minute_as_it_may(example: Example) -> None:
    statuses = [
        example.chat("plain-model", "counted", max_tokens=16).status for _ in range(4)
    ]
    assert statuses[0] == 200
    assert statuses[-1] == 429


@shows("keys.concurrency")
def test_a_key_has_as_many_calls_at_a_time_as_it_may(example: Example) -> None:
    example.fake.on("priced-slowly", slowly)
    with example.meanwhile("priced-slowly", "single") as first:
        time.sleep(0.15)
        assert example.chat("plain-model", "single").code == "rate_limit_exceeded"
    assert first.answer.status == 200
    assert example.chat("plain-model", "single").status == 200


@shows("keys.ips", "server.trusted_proxies")
def test_a_key_is_used_from_its_networks_as_a_trusted_proxy_names_them(
    example: Example,
) -> None:
    assert example.chat("plain-model", "networked").status == 403
    inside = ("X-Forwarded-For", "10.1.2.3")
    assert example.chat("plain-model", "networked", inside).status == 200
    outside = ("X-Forwarded-For", "10.1.2.3, 192.0.2.1")
    assert example.chat("plain-model", "networked", outside).status == 403


@shows("keys.expires")
def test_a_key_ends_when_it_expires(example: Example) -> None:
    assert example.chat("plain-model", "expired").code == "invalid_api_key"
    assert example.chat("plain-model", "lasting").status == 200


@shows("keys.sandbox")
def test_a_sandbox_key_reaches_only_the_sandbox_and_pays_nothing(
    example: Example,
) -> None:
    assert example.chat("sandbox", "tester").record["price"] == 0
    assert example.chat("sandbox", "app").record["price"] > 0
    assert example.chat("plain-model", "tester").code == "model_not_found"


# --- prices ----------------------------------------------------------------------


@shows("prices.model", "prices.input", "prices.cached_input", "prices.output")
def test_a_call_costs_its_tokens_to_the_nano_dollar(example: Example) -> None:
    record = example.chat("plain-model").record
    assert record["usage"] == {
        "input": INPUT,
        "cached_input": CACHED,
        "output": OUTPUT,
    }
    assert record["price"] == INPUT * 2_500 + CACHED * 1_250 + OUTPUT * 10_000
    assert record["price_usd"] == "0.0001825"


@shows("prices.model")
def test_the_most_specific_price_wins(example: Example) -> None:
    tokens = INPUT + CACHED + OUTPUT
    assert example.chat("priced-somehow").record["price"] == tokens * 1_000
    assert example.chat("priced-exactly").record["price"] == tokens * 3_000


@shows("prices.free")
def test_free_is_the_only_way_to_zero(example: Example) -> None:
    assert example.chat("free/model").record["price"] == 0


@shows("prices.request")
def test_a_price_per_request(example: Example) -> None:
    assert example.chat("request-model").record["price_usd"] == "0.04"


@shows("prices.channel")
def test_a_channels_own_price_is_what_it_costs_us(example: Example) -> None:
    record = example.chat("costly-model").record
    assert record["cost"] == (INPUT + CACHED) * 1_000 + OUTPUT * 2_000
    assert record["price_usd"] == "0.0001825"


@shows(
    "prices.image",
    "prices.second",
    "prices.character",
    "prices.page",
    "prices.search",
    "prices.task",
)
@pytest.mark.parametrize(
    "unit", ["image", "second", "character", "page", "search", "task"]
)
def test_other_units_are_charged_apiece(tmp_path: Path, unit: str) -> None:
    path = tmp_path / "posthouse.toml"
    path.write_text(f'[[prices]]\nmodel = "a"\n{unit} = "0.04"\n')
    [spec] = load_file(path).configuration.prices
    usage = Usage({unit: 3}, UsageSource.PROVIDER)
    assert charge(price_of_spec(spec), usage) == 120_000_000


# --- fallbacks and server --------------------------------------------------------


@shows("fallbacks.model", "fallbacks.to")
def test_another_model_serves_when_all_channels_of_the_first_have_failed(
    example: Example,
) -> None:
    example.fake.on("broken-model", REFUSED)
    answer = example.chat("broken-model")
    assert answer.channel == "rescuing"
    assert len(example.fake.served("rescue-model")) == 1


@shows("server.cors_origins")
def test_pages_of_the_listed_origins_may_call(example: Example) -> None:
    known = ("Origin", "https://chat.example.com")
    allowed = example.get("/v1/models", "app", known)
    assert allowed.header("access-control-allow-origin") == known[1]
    stranger = example.get("/v1/models", "app", ("Origin", "https://other.example"))
    assert stranger.header("access-control-allow-origin") is None


COUNTING = """
import os, sys
plain = os.fdatasync
def counted(descriptor):
    with open({count!r}, "ab", 0) as file:
        file.write(b"s")
    plain(descriptor)
os.fdatasync = counted
from posthouse.cli import main
main(sys.argv[1:])
"""


@shows("server.durability")
@pytest.mark.parametrize(
    ("durability", "synced"), [("process", False), ("power", True)]
)
def test_durability_power_syncs_the_journal_before_the_reply_ends(
    tmp_path: Path, durability: str, *, synced: bool
) -> None:
    count = tmp_path / "syncs"
    count.touch()
    path = tmp_path / "posthouse.toml"
    path.write_text(
        '[[channels]]\nname = "sandbox"\nprovider = "sandbox"\n'
        f'[[keys]]\nname = "app"\nkey = "{key_of("app")}"\n'
        f'[server]\ndurability = "{durability}"\n'
    )
    port = free_port()
    program = COUNTING.format(count=str(count))
    options = ["--config", str(path), "--data", str(tmp_path / "data")]
    with ServerProcess(
        [sys.executable, "-c", program, "serve", *options, "--port", str(port)],
        url=f"http://127.0.0.1:{port}",
        ready="/health/ready",
        log=tmp_path / "log",
        environment=QUICK,
    ) as server:
        before = count.stat().st_size
        assert _chat(server.url) == 200
        assert (count.stat().st_size > before) is synced


def _chat(url: str, key: str = "app", model: str = "sandbox") -> int:
    body = json.dumps(
        {"model": model, "messages": [{"role": "user", "content": "Hello"}]}
    )
    headers = (("Authorization", f"Bearer {key_of(key)}"),)
    return raw.send(url, "/v1/chat/completions", body.encode(), headers=headers).status


# --- the example itself ----------------------------------------------------------


def _keys_of(value: Any, path: str = "") -> Iterator[str]:
    """Give the dotted names of a TOML tree's keys."""
    if isinstance(value, list) and value and isinstance(value[0], dict):
        for element in value:
            if path != "channels.models":
                yield from _keys_of(element, path)
    elif isinstance(value, dict):
        for name, member in value.items():
            place = f"{path}.{name}".lstrip(".")
            is_table = isinstance(member, dict) and place not in FREE_FORM
            is_section = isinstance(member, list) and member and not path
            if not is_table and not is_section:
                yield place
            elif is_section or is_table:
                yield from _keys_of(member, place)


def test_every_key_of_the_example_is_shown() -> None:
    """A key that is added to the example needs a test of what it does."""
    text = EXAMPLE.read_text()
    keys = set(_keys_of(tomllib.loads(text))) | COMMENTED
    here = Path(__file__)
    shown: set[str] = set()
    for name in (here.name, "test_example_channels.py", "test_telemetry.py"):
        source = here.with_name(name)
        for group in re.findall(r"@shows\(([^)]*)\)", source.read_text()):
            shown.update(re.findall(r'"([^"]+)"', group))
    assert keys == shown


def test_the_example_itself_serves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever copies the file and sets the one variable has a running relay."""
    monkeypatch.setenv("OPENAI_API_KEY", "sk-of-nobody")
    with Posthouse(tmp_path, EXAMPLE.read_text()) as posthouse:
        [key] = posthouse.ask("key", "list")
        assert (key["name"], key["balance_usd"], key["rpm"]) == ("app", "25.00", 600)
        names = {channel["name"] for channel in posthouse.ask("channel", "list")}
        assert names == {"openai-main", "sandbox"}

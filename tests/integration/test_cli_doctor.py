"""`posthouse doctor`: content with what is well, and naming all that is not."""

import json
import os
from pathlib import Path

import pytest
from tests.support.cli import CommandLine


@pytest.fixture
def cli(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> CommandLine:
    """A command line on a data folder that is not there yet."""
    for name in [name for name in os.environ if name.startswith("POSTHOUSE_")]:
        monkeypatch.delenv(name)
    return CommandLine(tmp_path / "data", capsys)


@pytest.fixture
def made(cli: CommandLine) -> CommandLine:
    """A command line on an installation with the sandbox and a first key."""
    assert cli("init").code == 0
    return cli


def test_the_doctor_is_content_with_a_new_installation(made: CommandLine) -> None:
    findings = made("doctor", "--json").json
    assert {found["result"] for found in findings} <= {"ok", "warning"}
    subjects = {found["subject"] for found in findings}
    assert {"disk", "secret", "database", "journals", "books", "channels"} <= subjects


def test_the_doctor_tells_all_faults_and_makes_nothing(
    cli: CommandLine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("POSTHOUSE_DURABILTY", "power")
    config = tmp_path / "posthouse.toml"
    config.write_text("[[channels]]\nname = 1\n")
    ended = cli("doctor", "--config", str(config), "--json")
    assert ended.code == 1
    details = {f["subject"]: f["detail"] for f in json.loads(ended.out)}
    assert "POSTHOUSE_DURABILITY?" in details["environment"]
    assert f"{config}:2: " in details["configuration file"]
    assert "holds no installation" in details["database"]
    assert not cli.data.exists()


@pytest.mark.parametrize(
    ("channel", "said"),
    [
        ('provider = "nope"', "there is no provider 'nope'"),
        ('provider = "openai-compatible"', "base_url"),
        ('provider = "openai"\napi_key = "env:NOT_SET_AT_ALL"', "NOT_SET_AT_ALL"),
    ],
)
def test_the_doctor_refuses_what_serving_would(
    cli: CommandLine, tmp_path: Path, channel: str, said: str
) -> None:
    """A file is judged whole, although nothing of it is kept."""
    config = tmp_path / "posthouse.toml"
    config.write_text(f'[[channels]]\nname = "a"\n{channel}\n')
    ended = cli("doctor", "--config", str(config), "--json")
    found = {f["subject"]: f for f in json.loads(ended.out)}["configuration file"]
    assert (ended.code, found["result"]) == (1, "fault")
    assert said in found["detail"]
    assert f"{config}:" in found["detail"]
    assert not cli.data.exists()


def test_the_doctor_names_channels_that_cannot_serve(made: CommandLine) -> None:
    made("channel", "add", "bare", "--provider", "openai")
    made(
        "channel",
        "add",
        "own",
        *("--provider", "openai-compatible", "--model", "priceless"),
        *("--base-url", "http://127.0.0.1:9/v1"),
    )
    ended = made("doctor", "--json").json
    warnings = [f["detail"] for f in ended if f["result"] == "warning"]
    assert "bare has no api_key" in warnings
    assert "priceless has no price and is refused" in warnings

"""`posthouse channel`: switched on and off; `posthouse key`: in a group."""

import os
import sqlite3
from pathlib import Path

import pytest
from tests.support.cli import CommandLine


@pytest.fixture
def cli(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> CommandLine:
    """A command line on an installation with the sandbox."""
    for name in [name for name in os.environ if name.startswith("POSTHOUSE_")]:
        monkeypatch.delenv(name)
    made = CommandLine(tmp_path / "data", capsys)
    assert made("init").code == 0
    return made


def state(cli: CommandLine, name: str = "sandbox") -> str:
    [found] = [c for c in cli("channel", "list", "--json").json if c["name"] == name]
    return str(found["state"])


def test_a_channel_is_switched_off_and_on(cli: CommandLine) -> None:
    assert cli("channel", "disable", "sandbox").code == 0
    assert state(cli) == "disabled"
    done = cli("channel", "enable", "sandbox")
    assert (done.code, state(cli)) == (0, "enabled")
    assert "is used" in done.err
    assert "in use already" in cli("channel", "enable", "sandbox").err


@pytest.mark.parametrize("command", ["enable", "disable"])
def test_a_channel_that_is_not_there_is_told(cli: CommandLine, command: str) -> None:
    done = cli("channel", command, "nothing")
    assert done.code != 0
    assert "there is no channel 'nothing'" in done.err


def test_a_credential_that_is_not_there_is_told(cli: CommandLine) -> None:
    done = cli("channel", "enable", "sandbox", "--credential", "3")
    assert done.code != 0
    assert "has no credential 3" in done.err


def test_a_channel_of_the_file_is_switched_there(cli: CommandLine) -> None:
    with sqlite3.connect(cli.data / "posthouse.db") as database:
        database.execute("UPDATE channels SET owner = 'file'")
    database.close()
    done = cli("channel", "disable", "sandbox")
    assert done.code != 0
    assert "file" in done.err
    assert state(cli) == "enabled"


def test_a_key_is_made_in_a_group(cli: CommandLine) -> None:
    assert cli("key", "create", "grouped", "--group", "team-a").code == 0
    found = {key["name"]: key["group"] for key in cli("key", "list", "--json").json}
    assert found["grouped"] == "team-a"
    assert set(found.values()) == {"team-a", None}
    assert cli("key", "create", "odd", "--group", " ").code != 0

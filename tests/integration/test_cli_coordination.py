"""`posthouse doctor` before a Valkey: well, evicting, full, strange, gone."""

import os
from pathlib import Path

import pytest
from tests.support.cli import CommandLine
from tests.support.valkey import Valkey

PASSWORD = "not-for-eyes"


@pytest.fixture
def cli(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> CommandLine:
    for name in [name for name in os.environ if name.startswith("POSTHOUSE_")]:
        monkeypatch.delenv(name)
    return CommandLine(tmp_path / "data", capsys)


def finding(cli: CommandLine) -> tuple[int, str, str]:
    """How the doctor ended, and what it says of the Valkey."""
    ended = cli("doctor")
    assert PASSWORD not in ended.out + ended.err
    (found,) = [row for row in ended.rows if row[0] == "coordination"]
    return ended.code, found[1], found[2]


def test_the_doctor_looks_at_the_valkey(
    cli: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It says where it is, what it is and what is wrong; never the password."""
    assert cli("init").code == 0
    monkeypatch.setenv("POSTHOUSE_COORDINATION_SECONDS", "5")
    assert "coordination" not in cli("doctor").out
    with Valkey(requirepass=PASSWORD) as server:
        place = f"valkey://127.0.0.1:{server.port}/0"
        url = f"valkey://:{PASSWORD}@127.0.0.1:{server.port}"
        monkeypatch.setenv("POSTHOUSE_COORDINATION", url)
        code, result, detail = finding(cli)
        assert (code, result) == (0, "ok")
        assert detail.startswith(f"{place}: Valkey 9.")
        server.do("CONFIG", "SET", "maxmemory-policy", "allkeys-lru")
        code, result, detail = finding(cli)
        assert (code, result) == (0, "warning")
        assert "maxmemory-policy allkeys-lru" in detail
        server.do("CONFIG", "SET", "maxmemory", "1")
        code, result, detail = finding(cli)
        assert (code, result) == (1, "fault")
        assert "OOM" in detail
        assert "each process keeps to its part" in detail
        assert server.do("DBSIZE") == 0
    code, result, detail = finding(cli)
    assert (code, result) == (1, "fault")
    assert f"{place}: no connection: Connection refused" in detail

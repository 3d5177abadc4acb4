"""The unit for systemd: valid, of settings that exist, and walled in."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from tests.support.deployment import (
    DEPLOY,
    check_command,
    check_environment,
    stop_seconds,
)

UNIT = DEPLOY / "systemd" / "posthouse.service"
EXPOSURE = 15
"""Of a hundred, as `systemd-analyze security` judges; a plain unit has 96."""

needs_systemd = pytest.mark.skipif(
    not shutil.which("systemd-analyze"), reason="systemd is not there"
)


def values(name: str) -> list[str]:
    """Give what a directive is set to."""
    return re.findall(rf"^{name}=(.*)$", UNIT.read_text(), re.MULTILINE)


def environment() -> dict[str, str]:
    pairs = [line.partition("=") for line in values("Environment")]
    return {name: value for name, _, value in pairs}


def test_the_program_understands_what_it_is_told():
    check_environment(environment())
    [start] = values("ExecStart")
    program, *words = start.split()
    assert program == "/opt/posthouse/bin/posthouse"
    check_command(words)
    commented = re.findall(r"(POSTHOUSE_[A-Z]+)=(\S+)", UNIT.read_text())
    check_environment(dict(commented))


def test_a_stop_is_given_its_time():
    """SIGTERM for the supervisor alone; SIGKILL long after the last call has ended."""
    [limit] = values("TimeoutStopSec")
    assert float(limit) >= stop_seconds(environment())
    assert values("KillMode") == ["mixed"]
    assert values("ExecReload") == ["/bin/kill -HUP $MAINPID"]


def test_the_data_folder_is_the_services_own():
    [folder] = values("StateDirectory")
    assert environment()["POSTHOUSE_DATA"] == f"/var/lib/{folder}"
    assert values("StateDirectoryMode") == ["0700"]


@pytest.fixture
def unit(tmp_path: Path) -> Path:
    """The unit, with a program that is there."""
    text = UNIT.read_text()
    program = Path(sys.executable).parent / "posthouse"
    path = tmp_path / UNIT.name
    path.write_text(
        text.replace("/opt/posthouse/bin/posthouse serve", f"{program} serve")
    )
    return path


@needs_systemd
def test_systemd_finds_nothing_wrong(unit):
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", "--recursive-errors=no", unit],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert str(unit) not in done.stderr
    unit.write_text(unit.read_text() + "\n[Service]\nNoSuchThing=yes\n")
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", unit],
        capture_output=True,
        text=True,
        check=False,
    )
    assert "NoSuchThing" in done.stderr


@needs_systemd
def test_it_may_do_little(unit):
    def is_within(exposure: int) -> bool:
        command = ["systemd-analyze", "security", "--offline=true", "--no-pager"]
        return not subprocess.run(
            [*command, f"--threshold={exposure}", unit],
            capture_output=True,
            check=False,
        ).returncode

    assert is_within(EXPOSURE)
    unit.write_text(unit.read_text().replace("NoNewPrivileges=true\n", ""))
    assert not is_within(EXPOSURE // 2)

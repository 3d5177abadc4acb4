"""Nobody else reaches a server whose operator has set no secret."""

import os
import socket
from pathlib import Path

import pytest
from tests.support import nursery
from tests.support.posthouse import COMMAND, QUICK
from tests.support.processes import ROOT, ServerProcess, free_port

SECRET = "a secret of this test that is long enough"
SANDBOX = '[[channels]]\nname = "sandbox"\nprovider = "sandbox"\n'


def start(folder: Path, *options: str, **environment: str) -> tuple[int, str, str]:
    """Run a server that shall not start; give exit code, complaint and output."""
    done = nursery.run(
        "posthouse",
        "serve",
        "--data",
        folder / "data",
        *options,
        environment={**os.environ, **environment},
        timeout=60,
    )
    return done.returncode, done.stderr, done.stdout


def other_addresses() -> list[str]:
    """Give every spelling of addresses that others may reach this machine at."""
    found = ["0.0.0.0", "0", "0x0", "::", "0:0:0:0:0:0:0:0", "::ffff:0.0.0.0"]
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))
            found.append(probe.getsockname()[0])
        except OSError:
            pass
    return found


@pytest.mark.parametrize(
    ("host", "workers"),
    [*((host, "1") for host in other_addresses()), ("0.0.0.0", "2")],
)
def test_no_other_address_is_listened_at_without_a_secret(
    tmp_path: Path, host: str, workers: str
) -> None:
    """One line says what to do; nothing was made, and the exit code is 1."""
    options = ("--host", host, "--port", "0", "--workers", workers)
    code, complaint, output = start(tmp_path, *options)
    assert (code, output) == (1, "")
    assert complaint == (
        f"posthouse: {host} can be reached from other machines: set POSTHOUSE_SECRET "
        "first, or listen on 127.0.0.1\n"
    )
    assert not (tmp_path / "data").exists()


def test_neither_the_environment_nor_a_made_secret_opens_it(tmp_path: Path) -> None:
    """The variable is the same as the option; what `init` makes is no decision."""
    data = ("--data", tmp_path / "data")
    nursery.run("posthouse", "init", *data, environment=os.environ, timeout=60)
    assert (tmp_path / "data" / "secret.key").exists()
    for environment in (
        {"POSTHOUSE_HOST": "0.0.0.0"},
        {"POSTHOUSE_HOST": "0.0.0.0", "POSTHOUSE_SECRET": ""},
    ):
        code, complaint, _ = start(tmp_path, "--port", "0", **environment)
        assert code == 1
        assert "POSTHOUSE_SECRET" in complaint


@pytest.mark.parametrize(
    "secret", ["short", "x" * 31, " " * 40, "0" * 64, "abcdefg" * 10, "changeme" * 8]
)
def test_what_is_no_secret_is_refused_and_not_shown(
    tmp_path: Path, secret: str
) -> None:
    """A word that others would guess opens nothing, on any address."""
    host = "0.0.0.0" if len(secret) > 60 else "127.0.0.1"
    code, complaint, output = start(
        tmp_path, "--host", host, "--port", "0", POSTHOUSE_SECRET=secret
    )
    assert (code, output) == (2, "")
    assert complaint.startswith("posthouse: POSTHOUSE_SECRET: must have ")
    assert len(complaint.splitlines()) == 1
    assert secret not in complaint
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize(
    ("host", "secret"), [("0.0.0.0", SECRET), ("127.0.0.1", None), ("127.0.0.2", None)]
)
def test_with_a_secret_or_for_this_machine_it_serves(
    tmp_path: Path, host: str, secret: str | None
) -> None:
    """The two ways in which it starts."""
    (tmp_path / "posthouse.toml").write_text(SANDBOX)
    port = free_port()
    command = [COMMAND, "serve", "--data", tmp_path / "data", "--port", str(port)]
    command += ["--host", host, "--config", tmp_path / "posthouse.toml"]
    shown = "127.0.0.1" if host == "0.0.0.0" else host
    server = ServerProcess(
        command,
        url=f"http://{shown}:{port}",
        ready="/health/ready",
        log=tmp_path / "log",
        environment={**QUICK, **({"POSTHOUSE_SECRET": secret} if secret else {})},
    )
    with server:
        assert (tmp_path / "data" / "secret.key").exists() == (secret is None)
    assert SECRET not in (tmp_path / "log").read_text()


def test_the_image_asks_for_a_secret() -> None:
    """It listens at every address of its container, and says what that needs."""
    text = (ROOT / "Dockerfile").read_text()
    assert "POSTHOUSE_HOST=0.0.0.0" in text
    assert "-e POSTHOUSE_SECRET=" in text
    # One that is written into an image is everybody's.
    assert "ENV POSTHOUSE_SECRET" not in text
    assert "POSTHOUSE_SECRET=" not in text.replace("-e POSTHOUSE_SECRET=…", "")

"""`posthouse demo`, which `make demo` runs: the first thing that anybody sees."""

import os
import re
import socket
import sqlite3
import subprocess
import time
from pathlib import Path

import pytest
from tests.support.posthouse import COMMAND
from tests.support.processes import ROOT


def demo(
    data: Path, *arguments: str, **environment: str
) -> "subprocess.CompletedProcess[str]":
    """Run the demo to its end."""
    return subprocess.run(
        [COMMAND, "demo", "--once", "--data", data, *arguments],
        cwd=ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )


def test_the_demo_shows_a_call_and_what_it_cost(tmp_path: Path) -> None:
    """Twice with the same data: the second time with the same key."""
    data = tmp_path / "data"
    first = demo(data, "--port", "0")
    assert first.returncode == 0, first.stderr
    assert first.stdout.count("This is the Posthouse sandbox") == 2
    assert len(re.findall(r"\tsettle\treq_\w+\tdemo\t", first.stdout)) == 2
    [key] = set(re.findall(r"sk-[\w-]{20,}", first.stdout))
    assert f"  key       {key}\n" in first.stdout
    assert re.search(r"  base URL  http://127\.0\.0\.1:\d+/v1\n", first.stdout)
    assert "\ncurl -N http://127.0.0.1:" in first.stdout
    assert "demo has 4.99" in first.stdout
    second = demo(data, "--port", "0")
    assert second.returncode == 0, second.stderr
    assert key in second.stdout
    with sqlite3.connect(data / "posthouse.db") as database:
        [(calls,)] = database.execute("SELECT count(*) FROM calls")
    database.close()
    assert calls == 4


def test_the_curl_line_is_a_command_that_works(tmp_path: Path) -> None:
    """What people copy is what a shell takes."""
    from posthouse.cli.demo import curl_line

    words = subprocess.run(
        ["sh", "-c", f"set -- {curl_line('http://h', 'sk-k')}; printf '%s\n' \"$@\""],
        capture_output=True,
        text=True,
        check=True,
        cwd=tmp_path,
    ).stdout.splitlines()
    body = '{"model":"sandbox","stream":true,"messages":[{"role":"user",'
    assert words == [
        "curl",
        "-N",
        "http://h/v1/chat/completions",
        "-H",
        "Authorization: Bearer sk-k",
        "-H",
        "Content-Type: application/json",
        "-d",
        body + '"content":"Hello!"}]}',
    ]


def test_a_taken_port_is_told(tmp_path: Path) -> None:
    """Before anything is made."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        done = demo(tmp_path / "data", "--port", port)
    assert done.returncode == 1
    assert done.stderr.startswith(f"posthouse: port {port} on 127.0.0.1 is already")
    assert len(done.stderr.splitlines()) == 1
    assert not (tmp_path / "data").exists()


def test_a_server_that_does_not_start_fails_the_demo(tmp_path: Path) -> None:
    """Its reason stands above ours."""
    config = tmp_path / "posthouse.toml"
    config.write_text("nonsense\n")
    done = demo(tmp_path / "data", "--port", "0", POSTHOUSE_CONFIG=str(config))
    assert done.returncode == 1
    reason, verdict = done.stderr.splitlines()
    assert f"{config}:1: " in reason
    assert verdict.startswith("posthouse: the server did not start")


def test_whoever_ends_the_demo_ends_its_server(tmp_path: Path) -> None:
    """Also with a plain kill: no server is left behind."""
    log = tmp_path / "log"
    with log.open("w") as output:
        process = subprocess.Popen(
            [COMMAND, "demo", "--data", tmp_path / "data", "--port", "0"],
            cwd=ROOT,
            env=os.environ,
            stdout=output,
            stderr=output,
        )
    try:
        deadline = time.monotonic() + 60
        while "Ctrl-C stops" not in log.read_text():
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline
            time.sleep(0.05)
        found = re.search(r"base URL  http://127\.0\.0\.1:(\d+)/v1", log.read_text())
        assert found is not None
        address = ("127.0.0.1", int(found[1]))
        socket.create_connection(address, 5).close()
    finally:
        process.terminate()
        assert process.wait(60) == 0
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(address, 5)

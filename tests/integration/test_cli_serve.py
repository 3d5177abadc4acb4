"""`posthouse serve` as its operator meets it: starting, refusing, reloading."""

import json
import os
import signal
import socket
import subprocess
import time
from pathlib import Path

import pytest
from tests.conftest import StartPosthouse
from tests.support import raw
from tests.support.cli import CommandLine
from tests.support.example import key_of
from tests.support.posthouse import COMMAND, QUICK, Posthouse
from tests.support.processes import ROOT, ServerProcess

SECONDS = 15.0
SANDBOX = '[[channels]]\nname = "sandbox"\nprovider = "sandbox"\n'
KEY = '[[keys]]\nname = "{name}"\nkey = "{text}"\n'
APP = KEY.format(name="app", text=key_of("app"))
LATER = KEY.format(name="later", text=key_of("later"))
CORS = '[server]\ncors_origins = ["https://chat.example.com"]\n'


def serve(*arguments: str | Path, **environment: str) -> tuple[int, str]:
    """Run a server that shall not start; give its exit code and complaint."""
    done = subprocess.run(
        [COMMAND, "serve", *arguments],
        cwd=ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return done.returncode, done.stderr


def test_a_port_in_use_is_told_before_anything_is_touched(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        code, text = serve("--port", port, "--data", tmp_path / "data")
    assert code == 1
    assert text.startswith(f"posthouse: port {port} on 127.0.0.1 is already in use")
    assert len(text.splitlines()) == 1
    assert not (tmp_path / "data").exists()


def test_without_a_secret_only_this_machine_is_served(tmp_path: Path) -> None:
    code, text = serve("--host", "0.0.0.0", "--port", "0", "--data", tmp_path / "data")
    assert code == 1
    assert "POSTHOUSE_SECRET" in text


@pytest.mark.parametrize(
    ("content", "line", "words"),
    [
        ("[[channels]\n", 1, "not valid TOML"),
        (SANDBOX + "prioritty = 1\n", 4, "did you mean 'priority'?"),
        ('[[channels]]\nname = "a"\nprovider = "nope"\n', 3, "no provider 'nope'"),
        (SANDBOX + SANDBOX, 5, "stands in the file twice"),
        (
            SANDBOX + '[[channels]]\nname = "b"\nprovider = "openai-compatible"\n',
            4,
            "needs a base_url",
        ),
        (SANDBOX + 'api_key = "env:NO_SUCH_VARIABLE"\n', 4, "NO_SUCH_VARIABLE"),
    ],
)
def test_a_faulty_file_is_refused_by_its_line(
    tmp_path: Path, content: str, line: int, words: str
) -> None:
    path = tmp_path / "posthouse.toml"
    path.write_text(content)
    options = ("--port", "0", "--data", tmp_path / "data")
    code, text = serve("--config", path, *options)
    assert code == 2
    assert text.startswith(f"posthouse: {path}:{line}: ")
    assert words in text
    assert len(text.splitlines()) == 1


def test_another_secret_does_not_start(tmp_path: Path) -> None:
    path = tmp_path / "posthouse.toml"
    path.write_text(SANDBOX + 'api_key = "something"\n')
    first = {"POSTHOUSE_SECRET": "the first secret of this installation"}
    with Posthouse(tmp_path, path.read_text(), first):
        pass
    code, text = serve(
        *("--port", "0", "--data", tmp_path / "data"),
        POSTHOUSE_SECRET="a second secret, which opens nothing",
    )
    assert code == 2
    assert "POSTHOUSE_SECRET" in text
    assert len(text.splitlines()) == 1


class Reloaded:
    """A server whose file a test changes."""

    def __init__(self, posthouse: Posthouse) -> None:
        """Take the server."""
        self.posthouse = posthouse

    def apply(self, content: str, words: str) -> str:
        """Write the file, send SIGHUP, wait for words in the log after that."""
        before = len(self.posthouse.log.read_text())
        self.posthouse.configuration.write_text(content)
        self.posthouse.process.send_signal(signal.SIGHUP)
        deadline = time.monotonic() + SECONDS
        while words not in (text := self.posthouse.log.read_text()[before:]):
            assert time.monotonic() < deadline, text
            time.sleep(0.02)
        return text

    def chat(self, name: str = "app", *headers: tuple[str, str]) -> raw.RawReply:
        """Ask the sandbox with a key."""
        body = json.dumps(
            {"model": "sandbox", "messages": [{"role": "user", "content": "Hello"}]}
        )
        bearer = ("Authorization", f"Bearer {key_of(name)}")
        target = "/v1/chat/completions"
        url = self.posthouse.url
        return raw.send(url, target, body.encode(), headers=(bearer, *headers))

    def status_of(self, key: str) -> int:
        """Ask for the models with a key's text."""
        bearer = ("Authorization", f"Bearer {key}")
        url = self.posthouse.url
        return raw.send(url, "/v1/models", method="GET", headers=(bearer,)).status

    def wait_for(self, status: int, name: str) -> None:
        """Wait until a key is answered so; two seconds are promised."""
        deadline = time.monotonic() + 2
        while (found := self.chat(name).status) != status:
            assert time.monotonic() < deadline, found
            time.sleep(0.05)


@pytest.fixture(scope="module")
def reloaded(start_posthouse: StartPosthouse) -> Reloaded:
    """A server of a small file."""
    return Reloaded(start_posthouse(SANDBOX + APP))


def test_sighup_applies_the_file_again(reloaded: Reloaded) -> None:
    """New keys work, old ones end, the server's own settings change."""
    origin = ("Origin", "https://chat.example.com")
    assert reloaded.chat("app").status == 200
    assert reloaded.chat("later").status == 401
    assert reloaded.chat("app", origin).header("access-control-allow-origin") is None
    reloaded.apply(SANDBOX + LATER + CORS, "configuration applied")
    reloaded.wait_for(200, "later")
    reloaded.wait_for(401, "app")
    allowed = reloaded.chat("later", origin).header("access-control-allow-origin")
    assert allowed == origin[1]
    states = {k["name"]: k["state"] for k in reloaded.posthouse.ask("key", "list")}
    assert states == {"app": "disabled", "later": "enabled"}
    reloaded.apply(SANDBOX + APP, "configuration applied")
    reloaded.wait_for(200, "app")


@pytest.mark.parametrize(
    ("content", "line"),
    [
        ("[[keys", 1),
        (SANDBOX + APP + LATER + "rpm = 0\n", 10),
        (LATER + '[[channels]]\nname = "b"\nprovider = "openai-compatible"\n', 4),
        (LATER + '[[channels]]\nname = "b"\nprovider = "openai"\napi_key="env:NO"', 7),
    ],
)
def test_a_faulty_file_changes_nothing(
    reloaded: Reloaded, content: str, line: int
) -> None:
    """It is named with its line, and what served before goes on."""
    text = reloaded.apply(content, "the configuration was refused")
    assert f"posthouse.toml:{line}: " in text
    assert "Traceback" not in text
    assert reloaded.chat("app").status == 200
    assert reloaded.chat("later").status == 401
    assert [k["name"] for k in reloaded.posthouse.ask("channel", "list")] == ["sandbox"]


def test_durability_waits_for_the_next_start(reloaded: Reloaded) -> None:
    """And says so."""
    power = SANDBOX + APP + '[server]\ndurability = "power"\n'
    reloaded.apply(power, "durability changes with the next start")


def test_commands_work_beside_the_running_server(
    reloaded: Reloaded, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whoever looks sees calls; what is changed is served within two seconds."""
    cli = CommandLine(reloaded.posthouse.data, capsys)
    reloaded.apply(SANDBOX + APP, "configuration applied")
    call_id = str(reloaded.chat("app").header("x-request-id"))
    assert reloaded.posthouse.call(call_id)["outcome"] == "served"
    served = cli("calls", "--outcome", "served", "--key", "app", "--json").json
    assert call_id in {call["id"] for call in served}
    assert cli("calls", "--outcome", "failed", "--json").json == []
    assert cli("calls", "--channel", "nowhere", "--json").json == []
    assert cli("calls", "--model", "sandbox", "--limit", "1", "--json").json
    assert cli("calls", "--operation", "image", "--json").json == []
    headings, line = cli("calls", "--operation", "chat", "--limit", "1").out.split(
        "\n"
    )[:2]
    told = dict(zip(headings.split("\t"), line.split("\t"), strict=True))
    assert told["operation"] == "chat"
    [line] = cli("ledger", "--call", call_id, "--json").json
    assert line["usd"].startswith("-0.0000")
    assert cli("audit", "--json").json["clean"] is True
    found = {f["subject"]: f["detail"] for f in cli("doctor", "--json").json}
    assert found["journals"] == "a server is running"
    key = cli("key", "create", "by-hand", "--json").json["key"]
    assert reloaded.status_of(key) == 200
    assert cli("key", "revoke", "by-hand").code == 0
    deadline = time.monotonic() + 2
    while reloaded.status_of(key) != 401:
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_second_server_on_the_same_port_leaves_the_first_alone(
    reloaded: Reloaded, tmp_path: Path
) -> None:
    """Not even its file is applied."""
    path = tmp_path / "other.toml"
    path.write_text(LATER)
    port = reloaded.posthouse.url.rpartition(":")[2]
    data = reloaded.posthouse.data
    code, _ = serve("--config", path, "--port", port, "--data", data)
    assert code == 1
    assert reloaded.chat("app").status == 200


def test_a_server_is_ready_soon(reloaded: Reloaded) -> None:
    """Two seconds are the budget; CPU time is what a busy machine cannot falsify."""
    with ServerProcess(
        [COMMAND, "serve", "--data", reloaded.posthouse.data, "--port", "0"],
        url=reloaded.posthouse.url,
        ready="/health/ready",
        log=reloaded.posthouse.log.with_name("second.log"),
        environment=QUICK,
    ) as server:
        deadline = time.monotonic() + SECONDS
        while '"serving"' not in server.output():
            assert time.monotonic() < deadline, server.output()
            time.sleep(0.01)
        fields = Path(f"/proc/{server.process.pid}/stat").read_text()
        user, system = fields.rpartition(")")[2].split()[11:13]
        seconds = (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")
    # Measured at half a second; uncompiled modules and a slow core are allowed for.
    assert seconds < 5

"""Nodes that share a database by its URL, and the command line beside them."""

import json
import os
import signal
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.support.cli import CommandLine
from tests.support.postgres import Server, execute
from tests.support.posthouse import Posthouse

SECRET = "a secret that all the nodes are given"
FILE = """
[[channels]]
name = "sandbox"
provider = "sandbox"

[[keys]]
name = "app"
key = "sk-the-key-of-both-the-nodes"
balance_usd = "5"
"""
KEY = "sk-the-key-of-both-the-nodes"
PROPAGATION_SECONDS = 2.0
SLACK_SECONDS = 8.0
"""The machine that runs tests may be busy."""


def chat(node: Posthouse, key: str = KEY) -> int:
    """Ask the sandbox; give the status."""
    body = {"model": "sandbox", "messages": [{"role": "user", "content": "hi"}]}
    request = urllib.request.Request(
        f"{node.url}/v1/chat/completions",
        json.dumps(body).encode(),
        {"authorization": f"Bearer {key}", "content-type": "application/json"},
    )
    try:
        with urllib.request.urlopen(request, timeout=20) as reply:
            status: int = reply.status
            return status
    except urllib.error.HTTPError as error:
        return error.code


def until(holds: Callable[[], bool], seconds: float) -> bool:
    """Whether something comes true in time."""
    deadline = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


@pytest.fixture
def url(postgres: Server) -> Iterator[str]:
    yield postgres.new_database()
    postgres.clear()


@pytest.fixture
def nodes(tmp_path: Path, url: str) -> Iterator[tuple[Posthouse, Posthouse]]:
    """Two, started at once on an empty database."""
    environment = {"POSTHOUSE_DATABASE": url, "POSTHOUSE_SECRET": SECRET}
    one = Posthouse(tmp_path / "one", FILE, environment)
    two = Posthouse(tmp_path / "two", FILE, environment)
    with one, two:
        yield one, two


@pytest.mark.slow
def test_what_one_node_is_told_holds_on_all(
    nodes: tuple[Posthouse, Posthouse], url: str
) -> None:
    """Keys, money and calls are everybody's; a death is mended by its own restart."""
    one, two = nodes
    assert [chat(node) for node in (one, two, one)] == [200, 200, 200]
    made = one.ask("key", "create", "late", "--balance", "1")
    assert chat(two, made["key"]) == 200
    assert one.run("key", "revoke", "late")[0] == 0
    limit = PROPAGATION_SECONDS + SLACK_SECONDS
    assert until(lambda: chat(two, made["key"]) == 401, limit)
    assert until(lambda: len(one.ask("calls")) >= 4, limit)
    assert one.ask("calls") == two.ask("calls")
    homes = execute(url, "SELECT DISTINCT home FROM journals")
    assert len(homes) == 2
    # A node that dies leaves its journal to its own next start.
    os.killpg(one.process.pid, signal.SIGKILL)
    one.process.wait()
    two.process.send_signal(signal.SIGHUP)
    assert chat(two) == 200
    opened = "SELECT count(*) FROM journals WHERE state = 'open'"
    assert execute(url, opened) == [(2,)]
    again = Posthouse(one.data.parent, FILE, one.environment)
    with again:
        assert chat(again) == 200
        assert execute(url, opened) == [(2,)]
        recovered = "SELECT count(*) FROM journals WHERE state = 'recovered'"
        assert execute(url, recovered) == [(1,)]
    one.stop = lambda: 0  # type: ignore[method-assign] -- it is dead already


class TestCommands:
    """What is said of a database that is empty, away, newer or not to be had."""

    @pytest.fixture
    def run(
        self,
        tmp_path: Path,
        url: str,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
    ) -> CommandLine:
        monkeypatch.setenv("POSTHOUSE_DATABASE", url)
        return CommandLine(tmp_path / "data", capsys)

    def test_every_command_works(self, run: CommandLine) -> None:
        """From nothing to a key with money, and books that are in order."""
        for command in (("ledger",), ("key", "list"), ("audit",), ("calls",)):
            ended = run(*command)
            assert (ended.code, ended.out) == (2, "")
            assert "holds no installation" in ended.err
        assert run("migrate").code == 0
        assert run("migrate", "--json").json == {"done": []}
        assert run("init", "--json").json["channel"] == "sandbox"
        key = run("key", "create", "app", "--balance", "2.5", "--json").json
        assert key["name"] == "app"
        assert run("key", "credit", "app", "0.5").code == 0
        assert [line["usd"] for line in run("ledger", "--json").json] == [
            "0.50",
            "2.50",
        ]
        assert run("channel", "disable", "sandbox").code == 0
        assert run("audit").code == 0
        assert run("doctor").code == 0
        assert run("calls").code == 0

    @pytest.mark.parametrize("command", ["doctor", "migrate", "audit"])
    def test_no_command_shows_the_password(
        self, run: CommandLine, monkeypatch: pytest.MonkeyPatch, command: str
    ) -> None:
        """Neither when nobody listens there nor when the server turns us away."""
        for url in (
            "postgresql://me:not-for-eyes@127.0.0.1:1/posthouse",
            os.environ["POSTHOUSE_DATABASE"].replace("posthouse@", "me:not-for-eyes@"),
        ):
            monkeypatch.setenv("POSTHOUSE_DATABASE", url)
            ended = run(command)
            assert ended.code == 1
            said = ended.out + ended.err
            assert "eyes" not in said
            assert "Traceback" not in said
            assert "PostgreSQL" in said

    def test_a_server_does_not_serve_on_a_schema_that_it_cannot_have(
        self, run: CommandLine, url: str
    ) -> None:
        """Neither on a newer one nor on one that cannot be brought up to date."""
        execute(url, "CREATE TABLE accounts (id integer)")
        ended = run("serve", "--port", "0")
        assert ended.code == 1
        assert "the schema could not be brought up to date" in ended.err
        assert "still empty" in ended.err
        execute(url, "DROP TABLE accounts")
        assert run("migrate").code == 0
        execute(url, "UPDATE alembic_version SET version_num = '9999'")
        ended = run("serve", "--port", "0")
        assert ended.code == 1
        assert "a newer version of posthouse made it" in ended.err

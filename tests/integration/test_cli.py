"""Every command, as a script sees it: output, JSON, exit codes, one-line errors."""

import json
import os
import sqlite3
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.fakes.steps import Behaviour, Send, json_reply
from tests.support.cli import CommandLine
from tests.support.fake import ThreadedFake

from posthouse.cli import COMMANDS


@pytest.fixture
def cli(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
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


# --- the command line itself -----------------------------------------------------


def test_help_names_every_command(cli: CommandLine) -> None:
    help_text = cli.plain("--help")
    assert help_text.code == 0
    for name, (_, summary) in COMMANDS.items():
        assert f"{name}: {summary}" in help_text.out


@pytest.mark.parametrize(
    "arguments",
    [
        ("nonsense",),
        ("key", "create"),
        ("serve", "--port", "many"),
        ("calls", "--limit", "0"),
        ("calls", "--outcome", "strange"),
        ("key", "create", "a", "--unknown", "1"),
    ],
)
def test_a_wrong_command_line_is_told_in_a_line(
    cli: CommandLine, arguments: tuple[str, ...]
) -> None:
    ended = cli.plain(*arguments)
    assert ended.code == 2
    first, hint = ended.err.splitlines()
    assert first.startswith("posthouse: ")
    assert hint.startswith("Try `posthouse")
    assert not ended.out


@pytest.mark.parametrize(
    "command",
    [
        ("key", "list"),
        ("key", "revoke", "a"),
        ("key", "credit", "a", "1"),
        ("channel", "list"),
        ("channel", "test", "a"),
        ("calls",),
        ("ledger",),
        ("audit",),
    ],
)
def test_looking_makes_nothing(cli: CommandLine, command: tuple[str, ...]) -> None:
    ended = cli(*command)
    assert ended.code == 2
    assert "holds no installation" in ended.err
    assert not cli.data.exists()


def test_a_data_folder_that_is_a_file_is_refused(cli: CommandLine) -> None:
    cli.data.write_text("")
    for command in (("init",), ("calls",)):
        ended = cli(*command)
        assert (ended.code, ended.err) == (
            2,
            f"posthouse: {cli.data}: is not a folder\n",
        )


@contextmanager
def as_another_user() -> Iterator[None]:
    """Be nobody for a while, for root may write everywhere."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65_534)
    try:
        yield
    finally:
        os.seteuid(0)


def test_a_data_folder_that_cannot_be_written_is_named(
    made: CommandLine, tmp_path: Path
) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o555)
    data = closed / "data"
    with as_another_user():
        ended = made.plain("init", "--data", str(data))
    assert (ended.code, ended.err) == (1, f"posthouse: {data}: Permission denied\n")


def test_a_busy_database_is_told(
    made: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("posthouse.storage.database.BUSY_TIMEOUT_MS", 50)
    database = sqlite3.connect(made.data / "posthouse.db", isolation_level=None)
    database.execute("BEGIN EXCLUSIVE")
    try:
        ended = made("key", "create", "a")
        assert ended.code == 1
        assert ended.err.startswith("posthouse: the database is busy")
        # Whoever only looks does not wait for writers.
        assert made("key", "list").code == 0
        assert made("audit").code == 0
    finally:
        database.close()


def test_a_database_of_a_newer_version_is_told(made: CommandLine) -> None:
    with sqlite3.connect(made.data / "posthouse.db") as database:
        database.execute("UPDATE alembic_version SET version_num = '9999'")
    database.close()
    for command in (("calls",), ("migrate",), ("key", "create", "a")):
        ended = made(*command)
        assert ended.code == 1
        assert "a newer version of posthouse made it" in ended.err


def test_a_damaged_database_is_told(made: CommandLine) -> None:
    for path in made.data.glob("posthouse.db*"):
        path.write_bytes(b"This is no database." * 500)
    ended = made("calls")
    assert (ended.code, ended.err) == (
        1,
        "posthouse: the database: file is not a database\n",
    )


def test_another_secret_is_told(
    made: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("POSTHOUSE_SECRET", "another secret that is long enough")
    ended = made("channel", "list")
    assert ended.code == 2
    assert "POSTHOUSE_SECRET" in ended.err
    assert len(ended.err.splitlines()) == 1


def test_a_wrong_variable_is_told_by_name(
    cli: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("POSTHOUSE_PORT", "tcp://10.0.0.1:3000")
    ended = cli("init")
    assert ended.code == 2
    assert ended.err.startswith("posthouse: POSTHOUSE_PORT: ")


# --- init, migrate ---------------------------------------------------------------


def test_init_sets_up_once(cli: CommandLine) -> None:
    first = cli("init", "--json").json
    assert first["channel"] == "sandbox"
    assert first["key"]["key"].startswith("sk-")
    assert stat.S_IMODE((cli.data / "secret.key").stat().st_mode) == 0o600
    assert stat.S_IMODE(cli.data.stat().st_mode) == 0o700
    before = (cli.data / "secret.key").read_bytes()
    assert cli("init", "--json").json == {"channel": None, "key": None}
    assert (cli.data / "secret.key").read_bytes() == before
    assert len(cli("key", "list").rows) == 2


def test_init_prints_the_key_alone_to_a_script(cli: CommandLine) -> None:
    ended = cli("init")
    assert ended.out.startswith("sk-")
    assert len(ended.out.splitlines()) == 1


def test_migrate_says_what_it_did(cli: CommandLine) -> None:
    assert cli("migrate", "--json").json["done"][:1] == ["0001"]
    again = cli("migrate")
    assert (again.out, again.err) == ("", "The schema is up to date.\n")


# --- keys ------------------------------------------------------------------------


def test_a_key_is_shown_once_and_kept_as_a_digest(made: CommandLine) -> None:
    created = made("key", "create", "app")
    [key] = created.out.splitlines()
    assert key.startswith("sk-")
    listed = made("key", "list", "--json")
    assert key not in listed.out
    assert key.encode() not in (made.data / "posthouse.db").read_bytes()
    [entry] = [each for each in listed.json if each["name"] == "app"]
    assert entry["hint"] == key[-4:]


def test_key_list_shows_limits_and_what_remains(made: CommandLine) -> None:
    options = ["--balance", "2.5", "--rpm", "5", "--tpm", "6", "--concurrency", "7"]
    options += ["--model", "gpt-*", "--model", "fast", "--ip", "10.0.0.0/8"]
    assert made("key", "create", "a", *options, "--expires", "2099-01-01").code == 0
    [entry] = [each for each in made("key", "list", "--json").json if each["rpm"]]
    assert entry | {"id": "", "created": "", "hint": "", "account": ""} == {
        "name": "a",
        "id": "",
        "hint": "",
        "state": "enabled",
        "owner": "database",
        "account": "",
        "balance_usd": "2.50",
        "remaining_usd": "2.50",
        "spent_usd": "0.00",
        "models": ["gpt-*", "fast"],
        "rpm": 5,
        "tpm": 6,
        "concurrency": 7,
        "ips": ["10.0.0.0/8"],
        "expires": "2099-01-01T00:00:00Z",
        "sandbox": False,
        "group": None,
        "created": "",
    }
    head, *rows = made("key", "list").rows
    shown = dict(zip(head, rows[0], strict=True))
    assert shown["models"] == "gpt-* fast"
    assert shown["remaining_usd"] == "2.50"


def test_states_of_keys(made: CommandLine) -> None:
    made("key", "create", "old", "--expires", "2020-01-01T00:00:00")
    made("key", "create", "gone")
    assert made("key", "revoke", "gone").code == 0
    assert made("key", "revoke", "gone").code == 0
    states = {
        each["name"]: each["state"] for each in made("key", "list", "--json").json
    }
    assert states == {"first": "enabled", "old": "expired", "gone": "revoked"}


def test_a_sandbox_key_says_what_it_is(made: CommandLine) -> None:
    key = made("key", "create", "tester", "--sandbox", "--json").json["key"]
    assert key.startswith("sk-test-")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("create", "first"), "there is a key 'first' already"),
        (("create", "a", "--balance", "-1"), "balance_usd"),
        (("create", "a", "--rpm", "0"), "rpm"),
        (("create", "a", "--ip", "10.0.0.1/8"), "10.0.0.1/8"),
        (("revoke", "nobody"), "there is no key 'nobody'"),
        (("credit", "nobody", "1"), "there is no key 'nobody'"),
        (("credit", "first", "1"), "has no balance of its own"),
        (("credit", "first", "much"), "is not a decimal number"),
        (("credit", "first", "0.0000000001"), "finer than one billionth"),
    ],
)
def test_what_cannot_be_done_with_a_key(
    made: CommandLine, arguments: tuple[str, ...], words: str
) -> None:
    ended = made("key", *arguments)
    assert ended.code == 2
    assert words in ended.err
    assert len(ended.err.splitlines()) == 1


def test_a_named_credit_is_posted_once(made: CommandLine) -> None:
    made("key", "create", "a", "--balance", "1")
    assert made("key", "credit", "a", "0.000000001", "--id", "x").out == (
        "a\t1.000000001\n"
    )
    again = made("key", "credit", "a", "0.000000001", "--id", "x", "--json").json
    assert again == {
        "name": "a",
        "id": "x",
        "posted": False,
        "balance_usd": "1.000000001",
    }
    other = made("key", "credit", "a", "2", "--id", "x")
    assert (other.code, "named another credit" in other.err) == (2, True)
    kinds = [line["kind"] for line in made("ledger", "--json").json]
    assert kinds == ["credit", "opening"]


# --- channels --------------------------------------------------------------------


def test_a_channels_credential_is_sealed_and_never_shown(
    made: CommandLine, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "key").write_text("canary-of-a-file\n")
    monkeypatch.setenv("PROVIDER_KEY", "canary-of-a-variable")
    keys = ["--api-key", "env:PROVIDER_KEY", "--api-key", f"file:{tmp_path / 'key'}"]
    options = ["--model", "fast=gpt-4o-mini", "--model", "o3*", "--priority", "3"]
    added = made("channel", "add", "main", "--provider", "openai", *keys, *options)
    assert added.code == 0
    listed = made("channel", "list", "--json")
    assert "canary" not in listed.out + added.out + added.err
    assert b"canary" not in (made.data / "posthouse.db").read_bytes()
    [entry] = [each for each in listed.json if each["name"] == "main"]
    assert entry == {
        "name": "main",
        "provider": "openai",
        "state": "enabled",
        "owner": "database",
        "priority": 3,
        "weight": 1,
        "keys": 2,
        "base_url": None,
        "models": ["fast=gpt-4o-mini", "o3*"],
        "concurrency": None,
        "rpm": None,
    }


def test_a_literal_credential_is_warned_of(
    made: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    add = ("channel", "add", "--provider", "openai", "--api-key")
    literal = made(*add, "canary-in-the-history", "one")
    assert (literal.code, "shell's history" in literal.err) == (0, True)
    assert "canary" not in literal.err
    read, write = os.pipe()
    os.write(write, b"canary-of-a-pipe\n")
    os.close(write)
    with os.fdopen(read) as pipe:
        monkeypatch.setattr(sys, "stdin", pipe)
        piped = made(*add, "-", "two")
    assert (piped.code, "history" in piped.err) == (0, False)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("a", "--provider", "nope"), "there is no provider 'nope'; there are"),
        (("a", "--provider", "openai-compatible"), "needs a base_url"),
        (("a", "--provider", "openai", "--api-key", "env:NO_SUCH"), "NO_SUCH"),
        (("sandbox", "--provider", "sandbox"), "there is a channel 'sandbox' already"),
        (
            ("a", "--provider", "openai", "--base-url", "http://169.254.169.254/v1"),
            "base_url",
        ),
        (("a", "--provider", "openai", "--model", "a=b*"), "without *"),
    ],
)
def test_a_channel_that_cannot_be(
    made: CommandLine, arguments: tuple[str, ...], words: str
) -> None:
    ended = made("channel", "add", *arguments)
    assert ended.code == 2
    assert words in ended.err


def test_a_channel_is_tried_without_server_key_or_charge(made: CommandLine) -> None:
    result = made("channel", "test", "sandbox", "--json").json
    assert (result["result"], result["status"], result["model"]) == (
        "ok",
        200,
        "sandbox",
    )
    head, row = made("channel", "test", "sandbox").rows
    assert dict(zip(head, row, strict=True))["result"] == "ok"
    assert made("calls", "--json").out == "[]\n"


def test_a_channel_that_does_not_answer_ends_with_1(made: CommandLine) -> None:
    made(
        "channel",
        "add",
        "dead",
        *("--provider", "openai-compatible", "--model", "m"),
        *("--base-url", "http://127.0.0.1:9/v1"),
    )
    ended = made("channel", "test", "dead", "--json")
    assert ended.code == 1
    assert json.loads(ended.out)["result"].startswith("connect")
    missing = made("channel", "test", "nowhere")
    assert (missing.code, "there is no channel" in missing.err) == (2, True)
    wrong = made("channel", "test", "sandbox", "--model", "nothing-such")
    assert (wrong.code, "no chat model" in wrong.err) == (2, True)


@pytest.mark.parametrize(
    ("status", "answer", "result"),
    [
        (200, {"nonsense": "canary"}, "upstream_bad_response"),
        (401, {"error": {"message": "canary"}}, "upstream_unavailable"),
        (429, {"error": {"message": "canary"}}, "rate_limit_exceeded"),
    ],
)
def test_a_trial_tells_by_code_what_a_provider_answered(
    made: CommandLine, status: int, answer: object, result: str
) -> None:
    with ThreadedFake() as fake:
        fake.on("m", Behaviour("answer", (Send(json_reply(status, answer)),)))
        made(
            *("channel", "add", "odd", "--provider", "openai-compatible"),
            *("--model", "m", "--base-url", f"{fake.origin}/v1"),
        )
        ended = made("channel", "test", "odd", "--json")
    assert ended.code == 1
    found = json.loads(ended.out)
    assert (found["status"], found["result"]) == (status, result)
    assert "canary" not in ended.out + ended.err


# --- books ------------------------------------------------------------


def test_empty_books(made: CommandLine) -> None:
    for command in ("calls", "ledger"):
        ended = made(command)
        assert (ended.code, ended.out) == (0, "")
        assert ended.err
    missing = made("calls", "--key", "nobody")
    assert (missing.code, "there is no key 'nobody'" in missing.err) == (2, True)


def test_audit_finds_what_was_tampered_with(made: CommandLine) -> None:
    made("key", "create", "a", "--balance", "1")
    clean = made("audit", "--json").json
    assert clean["clean"] is True
    assert [check["name"] for check in clean["checks"]] == [
        f"I{number}" for number in range(1, 11)
    ]
    with sqlite3.connect(made.data / "posthouse.db") as database:
        database.execute("UPDATE accounts SET balance = balance + 1 WHERE balance > 0")
    database.close()
    faulty = made("audit")
    assert faulty.code == 1
    assert "faulty: " in faulty.out
    assert any(row[1] == "fault" for row in faulty.rows if len(row) > 1)

"""SIGKILL in the midst of a batch: the next process finishes it, each line once.

What a line costs is known of its call's id: of all calls that were made for a line,
one is charged, and that one's answer is in the output.
"""

import json
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest
from tests.support import store as databases
from tests.support.fake import ThreadedFake
from tests.support.posthouse import Posthouse

KEY = "sk-crash-app-0123456789abcdefghijklmnopqrstuvwxyz"
CONFIGURATION = """
[[channels]]
name = "fake"
provider = "openai-compatible"
base_url = "{origin}/v1"
api_key = "provider-secret"
models = ["fake"]

[[prices]]
model = "fake"
input = "1.00"
output = "2.00"

[[keys]]
name = "app"
key = "{key}"
balance_usd = "5"
"""
LINES = 60
POINTS = (
    "before_dispatch:25",
    "after_usage:25",
    "settle.before_record:25",
    "settle.after_record:25",
    "before_terminal:25",
    "after_terminal:25",
    "drain.before_commit:1",
    "drain.after_commit:1",
)
"""Instants in the life of a call, and of the ledger behind it."""


@pytest.fixture(scope="module")
def fake() -> Iterator[ThreadedFake]:
    """A provider."""
    with ThreadedFake() as fake:
        yield fake


def _client(server: Posthouse) -> openai.OpenAI:
    return openai.OpenAI(
        base_url=server.url + "/v1", api_key=KEY, max_retries=0, timeout=20
    )


def _begin(client: openai.OpenAI, count: int) -> str:
    lines = [
        {
            "custom_id": f"line-{n}",
            "method": "POST",
            "url": "/v1/chat/completions",
            "body": {
                "model": "fake",
                "messages": [{"role": "user", "content": f"Hello {n}"}],
            },
        }
        for n in range(count)
    ]
    file = client.files.create(
        file=("input.jsonl", "\n".join(map(json.dumps, lines)).encode()),
        purpose="batch",
    )
    batch = client.batches.create(
        input_file_id=file.id,
        endpoint="/v1/chat/completions",
        completion_window="24h",
    )
    return batch.id


def _finished(client: openai.OpenAI, name: str) -> Any:
    deadline = time.monotonic() + 60
    while True:
        batch = client.batches.retrieve(name)
        if batch.status in ("completed", "failed", "expired", "cancelled"):
            return batch
        assert time.monotonic() < deadline, batch
        time.sleep(0.2)


def _judge(server: Posthouse, client: openai.OpenAI, name: str, count: int) -> None:
    """Every line has its answer, and was charged exactly once, for that."""
    batch = _finished(client, name)
    assert batch.status == "completed"
    assert batch.error_file_id is None
    counts = batch.request_counts
    assert (counts.total, counts.completed, counts.failed) == (count, count, 0)
    text = client.files.content(batch.output_file_id).text
    answers = {one["custom_id"]: one for one in map(json.loads, text.splitlines())}
    assert len(text.splitlines()) == count
    assert set(answers) == {f"line-{n}" for n in range(count)}
    told = {one["response"]["request_id"] for one in answers.values()}
    deadline = time.monotonic() + 10
    while (charged := _charged(server, name)) < told:
        assert time.monotonic() < deadline
        time.sleep(0.2)
    assert charged == told


def _charged(server: Posthouse, name: str) -> set[str]:
    """The calls of a batch's lines that cost something, as far as they are posted."""
    return {
        record["id"]
        for record in server.ask("calls", "--limit", "1000")
        if record["id"].startswith(name) and record["price"]
    }


@pytest.fixture(
    scope="module",
    params=["sqlite", pytest.param("postgresql", marks=pytest.mark.slow)],
)
def store(request: pytest.FixtureRequest) -> Iterator[str]:
    """Which database the servers are on; what nodes share is tried elsewhere too."""
    if request.param == "postgresql":
        databases.server = request.getfixturevalue("postgres")
    yield request.param
    if databases.server is not None:
        databases.server.clear()
        databases.server = None


@pytest.fixture
def environment(store: str, tmp_path: Path) -> dict[str, str]:
    """Which database a server is on."""
    if store == "sqlite":
        return {}
    return {"POSTHOUSE_DATABASE": databases.new_database(tmp_path / "unused")}


@pytest.mark.parametrize("point", POINTS)
def test_a_kill_in_the_midst_of_a_batch(
    point: str, environment: dict[str, str], fake: ThreadedFake, tmp_path: Path
) -> None:
    """Whatever was being done for its lines just then."""
    configuration = CONFIGURATION.format(origin=fake.origin, key=KEY)
    killed = Posthouse(
        tmp_path, configuration, {**environment, "POSTHOUSE_KILL_POINT": point}
    )
    try:
        killed.__enter__()
        name = _begin(_client(killed), LINES)
        assert killed.process.wait(30) == -signal.SIGKILL
    finally:
        killed.process.kill()
    with Posthouse(tmp_path, configuration, environment) as server:
        _judge(server, _client(server), name, LINES)


def test_kills_wherever_it_is(
    environment: dict[str, str], fake: ThreadedFake, tmp_path: Path
) -> None:
    """One after the other, while it reads its input, runs lines and writes output."""
    configuration = CONFIGURATION.format(origin=fake.origin, key=KEY)
    server = Posthouse(tmp_path, configuration, environment)
    server.__enter__()
    name = _begin(_client(server), 400)
    for seconds in (0.02, 0.2, 0.4, 0.1, 0.6):
        time.sleep(seconds)
        server.process.kill()
        server.process.wait()
        server = Posthouse(tmp_path, configuration, environment)
        server.__enter__()
    with server:
        _judge(server, _client(server), name, 400)


def test_a_stop_leaves_a_batch_to_the_next(
    environment: dict[str, str], fake: ThreadedFake, tmp_path: Path
) -> None:
    """What was under way is ended, the rest is somebody else's."""
    configuration = CONFIGURATION.format(origin=fake.origin, key=KEY)
    with Posthouse(tmp_path, configuration, environment) as server:
        name = _begin(_client(server), 400)
        while _client(server).batches.retrieve(name).status == "validating":
            time.sleep(0.05)
    with Posthouse(tmp_path, configuration, environment) as server:
        _judge(server, _client(server), name, 400)


def test_another_worker_goes_on_with_what_a_dead_one_left(
    environment: dict[str, str], fake: ThreadedFake, tmp_path: Path
) -> None:
    """Of several behind one address, of which one is killed."""
    configuration = CONFIGURATION.format(origin=fake.origin, key=KEY)
    with Posthouse(
        tmp_path, configuration, {**environment, "POSTHOUSE_WORKERS": "2"}
    ) as server:
        name = _begin(_client(server), 400)
        while _client(server).batches.retrieve(name).status == "validating":
            time.sleep(0.05)
        children = Path(
            f"/proc/{server.process.pid}/task/{server.process.pid}/children"
        )
        for child in children.read_text().split():
            # The one that works on it is among them; the place of each is taken.
            os.kill(int(child), signal.SIGKILL)
            time.sleep(1.0)
        _judge(server, _client(server), name, 400)

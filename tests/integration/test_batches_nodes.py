"""A node that dies for good: another one ends its batch, at the operator's cost."""

import json
import time
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import openai
import pytest
from tests.integration.test_batches_crash import (
    CONFIGURATION,
    KEY,
    _begin,
    _client,
)
from tests.support.fake import ThreadedFake
from tests.support.postgres import Server
from tests.support.posthouse import Posthouse

LINES = 150
SECRET = "a secret that all the nodes are given"
PATIENCE = 150.0
"""A node is taken for dead after a minute of silence."""


@pytest.fixture(scope="module")
def fake() -> Iterator[ThreadedFake]:
    """A provider."""
    with ThreadedFake() as fake:
        yield fake


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_another_node_ends_the_batch_of_one_that_is_gone(
    postgres: Server, fake: ThreadedFake, tmp_path: Path
) -> None:
    """What the dead one had charged and not posted, its caller never pays."""
    configuration = CONFIGURATION.format(origin=fake.origin, key=KEY)
    environment = {
        "POSTHOUSE_DATABASE": postgres.new_database(),
        "POSTHOUSE_SECRET": SECRET,
        "POSTHOUSE_FILES": (tmp_path / "files").as_uri(),
    }
    one = Posthouse(tmp_path / "one", configuration, environment)
    try:
        one.__enter__()
        client = _client(one)
        batch = _begin(client, LINES)
        while client.batches.retrieve(batch).status == "validating":
            time.sleep(0.02)
    finally:
        one.process.kill()
        one.process.wait()
    with Posthouse(tmp_path / "two", configuration, environment) as two:
        told = _output(_client(two), batch)
        assert {line["custom_id"] for line in told} == {
            f"line-{n}" for n in range(LINES)
        }
        assert len(told) == LINES
        # The dead one comes back, with what it had not posted.
        with Posthouse(tmp_path / "one", configuration, environment):
            time.sleep(1)
        prices = {
            call["id"]: call["price"] for call in two.ask("calls", "--limit", "1000")
        }
        owed = sum(prices[line["response"]["request_id"]] for line in told)
        assert 5 * 10**9 - _balance(two) == owed


def _output(client: openai.OpenAI, name: str) -> list[Any]:
    """Wait until a batch is over, all of it well, and give its answers."""
    deadline = time.monotonic() + PATIENCE
    while (batch := client.batches.retrieve(name)).status != "completed":
        assert time.monotonic() < deadline, batch
        time.sleep(0.5)
    assert batch.error_file_id is None
    text = client.files.content(batch.output_file_id or "").text
    return [json.loads(line) for line in text.splitlines()]


def _balance(node: Posthouse) -> int:
    """What the key has left, in nano-dollars."""
    (key,) = [key for key in node.ask("key", "list") if key["name"] == "app"]
    return int(Decimal(key["balance_usd"]) * 10**9)

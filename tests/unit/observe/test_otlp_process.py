"""The process that sends: what it is given arrives, whatever happens to it."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from msgspec import msgpack
from tests.support.collector import Collector
from tests.unit.observe.test_otlp import CALL

from posthouse.observe.facts import CallFacts, LogEntry
from posthouse.observe.otlp_process import RESTART_SECONDS, CollectorProcess

ENTRY = LogEntry(1, "warning", "posthouse.test", "it happened", {"count": 3})


@pytest.fixture
def collector() -> Iterator[Collector]:
    with Collector() as collector:
        yield collector


def until(condition: Callable[[], object]) -> None:
    """Wait a moment for a condition."""
    end = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_facts_come_over_whole() -> None:
    items = [CALL, ENTRY]
    data = msgpack.encode(items)
    assert msgpack.decode(data, type=list[CallFacts | LogEntry]) == items


def test_what_is_taken_is_sent_and_the_rest_at_the_end(
    collector: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("POSTHOUSE_SECRET", "nobody-else-shall-know-this-secret")
    monkeypatch.setenv("OPENAI_API_KEY", "sk-of-the-provider")
    monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "service.name=named")
    process = CollectorProcess(collector.url, ["traces", "metrics", "logs"])
    assert process.pid is None
    assert process.take([CALL, ENTRY]) == 0
    assert [span.name for span in collector.spans()] == [
        "embeddings fast",
        "attempt main",
    ]
    assert {record.body for record in collector.records()} == {"call", "it happened"}
    assert collector.resource()["service.name"] == "named"
    environment = Path(f"/proc/{process.pid}/environ").read_text()
    assert "POSTHOUSE_" not in environment
    assert "sk-of-the-provider" not in environment
    assert not collector.metrics()
    process.finish()
    assert "gen_ai.client.token.usage" in collector.metrics()
    assert process.pid is None


def test_a_process_that_died_loses_a_batch_and_is_started_again_in_time(
    collector: Collector,
) -> None:
    now = 0.0
    process = CollectorProcess(collector.url, ["traces"], clock=lambda: now)
    assert process.take([CALL]) == 0
    assert process.pid is not None
    os.kill(process.pid, signal.SIGKILL)
    until(lambda: process.take([CALL]) == 1)
    assert process.take([CALL]) == 1
    assert process.pid is None
    now = RESTART_SECONDS
    assert process.take([CALL]) == 0
    process.finish()


def test_a_process_that_cannot_start_loses_what_it_is_given() -> None:
    process = CollectorProcess("http://127.0.0.1:9", [], command=("/no/such/program",))
    assert process.take([CALL, ENTRY]) == 2
    process.finish()
    broken = CollectorProcess(
        "http://127.0.0.1:9", [], command=(sys.executable, "-c", "pass")
    )
    assert broken.take([CALL]) == 1
    broken.finish()


def test_once_closed_nothing_is_started(collector: Collector) -> None:
    process = CollectorProcess(collector.url, ["traces"])
    process.close()
    assert process.take([CALL]) == 1
    assert process.pid is None


def test_a_collector_that_refuses_costs_the_batch(collector: Collector) -> None:
    collector.mode = "refuse"
    process = CollectorProcess(collector.url, ["traces", "logs"])
    assert process.take([CALL, ENTRY]) == 2
    collector.mode = "take"
    assert process.take([CALL, ENTRY]) == 0
    process.finish()


def test_it_ends_when_the_server_is_gone_however_that_ended(
    collector: Collector,
) -> None:
    """What it has counted is sent even then."""
    code = (
        "import os, sys; from tests.unit.observe.test_otlp import CALL;"
        "from posthouse.observe.otlp_process import CollectorProcess;"
        f"process = CollectorProcess({collector.url!r}, ['metrics']);"
        "assert process.take([CALL]) == 0; print(process.pid, flush=True);"
        "os.kill(os.getpid(), 9)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    pid = int(done.stdout)
    until(lambda: _is_gone(pid))
    assert "gen_ai.client.token.usage" in collector.metrics()


def _is_gone(pid: int) -> bool:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return True
    return stat.rpartition(")")[2].split()[0] == "Z"

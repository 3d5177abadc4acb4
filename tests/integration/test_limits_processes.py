"""Limits over real processes, by file and by Valkey: exact, and free of the dead."""

import json
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from tests.support.valkey import Valkey

from posthouse.storage.coordination.valkey import DEAD_SECONDS

WORKERS = 4


class Process:
    """A worker that does what it is told."""

    def __init__(self, place: str) -> None:
        command = [sys.executable, "-m", "tests.integration.limits_worker"]
        self._process = subprocess.Popen(
            [*command, place, str(WORKERS)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def say(self, **order: Any) -> None:
        stream = self._process.stdin
        assert stream is not None
        stream.write(json.dumps(order) + "\n")
        stream.flush()

    def hear(self) -> str:
        stream = self._process.stdout
        assert stream is not None
        return stream.readline().strip()

    def ask(self, **order: Any) -> int:
        self.say(**order)
        return int(self.hear())

    def kill(self) -> None:
        self._process.kill()
        self._close()

    def stop(self) -> int:
        assert self._process.stdin is not None
        self._process.stdin.close()
        return self._close()

    def _close(self) -> int:
        for stream in (self._process.stdin, self._process.stdout):
            assert stream is not None
            stream.close()
        return self._process.wait(10)


@contextmanager
def running(place: str) -> Iterator[list[Process]]:
    processes = [Process(place) for _ in range(WORKERS)]
    try:
        for process in processes:
            assert process.hear() == "ready"
        yield processes
    finally:
        for process in processes:
            process.kill()


@pytest.fixture(scope="module", params=["sqlite", "valkey"])
def place(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> str:
    """Where they meet."""
    if request.param == "valkey":
        valkey: Valkey = request.getfixturevalue("valkey")
        return valkey.url
    return str(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def processes(place: str) -> Iterator[list[Process]]:
    """Four that survive their test."""
    with running(place) as processes:
        yield processes


def at_once(processes: list[Process], **order: Any) -> int:
    """Give all of them the same order at the same moment; add their answers."""
    at = time.monotonic() + 0.05
    for process in processes:
        process.say(at=at, **order)
    return sum(int(process.hear()) for process in processes)


def test_of_a_hundred_over_four_processes_exactly_five_pass(
    processes: list[Process],
) -> None:
    """rpm = 5, 25 calls at once from each of four: 5 pass, then none."""
    order = {"key": "five", "rates": {"rpm": 5}, "calls": 25}
    assert at_once(processes, **order) == 5
    assert at_once(processes, **order) == 0


@pytest.mark.parametrize("limit", [16, 60, 250, 1000])
def test_a_busy_key_gets_all_of_its_limit(processes: list[Process], limit: int) -> None:
    """Also where processes have been lent some, not one fewer passes, nor more."""
    order = {"key": f"{limit} ", "rates": {"rpm": limit, "tpm": 10**6}}
    made = 0
    for _ in range(12):
        made += at_once(processes, calls=limit // 40, **order)
    made += at_once(processes, calls=limit, **order)
    assert made == limit


def test_the_dead_and_the_stopped_hold_nothing(place: str, tmp_path: Path) -> None:
    """SIGKILL keeps places for a few seconds at most; a stop in good order, none.

    And each of a thousand keys gets its limit over all processes together.
    """
    rates = {"rpm": 2, "concurrency": 5}
    is_valkey = "://" in place
    with running(place if is_valkey else str(tmp_path)) as processes:
        assert at_once(processes, rates=rates, calls=2, keys=1000) == 2000
        order = {"key": "dying", "rates": {"concurrency": 6}}
        assert processes[0].ask(calls=9, **order) == 6
        assert processes[1].ask(calls=3, **order) == 0
        processes[0].kill()
        killed = time.monotonic()
        made = 0
        while made < 6:
            made += processes[1].ask(calls=6, **order)
            assert time.monotonic() - killed < (DEAD_SECONDS + 2 if is_valkey else 2)
            time.sleep(0.02)
        assert made == 6
        assert processes[2].ask(calls=2, **order) == 0
        assert [process.stop() for process in processes[1:]] == [0, 0, 0]
    if is_valkey:
        return
    with sqlite3.connect(tmp_path / "coordination.db") as connection:
        names = connection.execute("SELECT name FROM subjects").fetchall()
    connection.close()
    assert len(names) == 1001
    # The killed one's lock file stays until the next process starts.
    assert len(list((tmp_path / "coordination").iterdir())) == 2

"""One SQLite file, four workers that serve, and everybody else who reads it (G-D3).

Callers never meet a database that is locked: not while a backup runs, not while
the records are listed and audited, not while commands write to it.
"""

import itertools
import json
import sqlite3
import statistics
import threading
import time
from contextlib import closing
from pathlib import Path

import pytest
from tests.support import raw
from tests.support.posthouse import Posthouse
from typing_extensions import override

KEY = "sk-contention-0123456789abcdefghijklmnopqrstuvwxyz"
CONFIGURATION = f"""
[[channels]]
name = "sandbox"
provider = "sandbox"

[[keys]]
name = "app"
key = "{KEY}"
balance_usd = "10"
"""
CALLERS = 4
LEAST_CALLS = 100
BODY = json.dumps(
    {"model": "sandbox", "messages": [{"role": "user", "content": "And you?"}]}
).encode()
HEADERS = (("Authorization", f"Bearer {KEY}"),)
WRITE_SECONDS = 0.05
"""For a transaction that writes, its wait for others' included, of 99 in 100."""
READ_SECONDS = 0.1
"""For which a reader may be held up."""
BUSY_SECONDS = 0.3
"""What a machine may add that runs other tests beside, on as many processors."""


class Clerk(threading.Thread):
    """Writes and reads beside everybody else, and notes how long each took."""

    def __init__(self, database: Path) -> None:
        super().__init__()
        self.writes: list[float] = []
        self.reads: list[float] = []
        self._database = database
        self._over = threading.Event()

    @override
    def run(self) -> None:
        """Do so until told to stop."""
        with closing(sqlite3.connect(self._database, 5, isolation_level=None)) as here:
            while not self._over.wait(0.01):
                began = time.monotonic()
                here.execute("BEGIN IMMEDIATE")
                here.execute("UPDATE keys SET hint = hint")
                here.execute("COMMIT")
                written = time.monotonic()
                here.execute("SELECT max(seq), count(*) FROM calls").fetchall()
                self.writes.append(written - began)
                self.reads.append(time.monotonic() - written)

    def stop(self) -> None:
        """End."""
        self._over.set()
        self.join()


def _ninety_ninth(values: list[float]) -> float:
    return sorted(values)[len(values) * 99 // 100]


@pytest.mark.timeout(120)
def test_nobody_meets_a_locked_database(tmp_path: Path) -> None:
    """Every call is served and every command does what it is for."""
    replies: list[raw.RawReply] = []
    over = threading.Event()

    def call(url: str) -> None:
        while not over.is_set():
            replies.append(raw.send(url, "/v1/chat/completions", BODY, headers=HEADERS))

    environment = {"POSTHOUSE_WORKERS": "4"}
    with Posthouse(tmp_path, CONFIGURATION, environment) as posthouse:
        clerk = Clerk(posthouse.data / "posthouse.db")
        clerk.start()
        threads = [
            threading.Thread(target=call, args=(posthouse.url,)) for _ in range(CALLERS)
        ]
        for thread in threads:
            thread.start()
        try:
            rounds = itertools.count(1)
            while (number := next(rounds)) <= 2 or len(replies) <= LEAST_CALLS:
                for command in (
                    ("backup", str(tmp_path / f"backup-{number}")),
                    ("calls", "--limit", "1000"),
                    ("key", "credit", "app", "1"),
                    ("ledger",),
                ):
                    code, output = posthouse.run(*command)
                    assert code == 0, (command, output)
        finally:
            over.set()
            for thread in threads:
                thread.join()
            clerk.stop()
        statuses = {reply.status for reply in replies}
        assert statuses == {200}, [r.body for r in replies if r.status != 200][:3]
        writes, reads = map(_ninety_ninth, (clerk.writes, clerk.reads))
        print(
            f"{len(replies)} calls; of {len(clerk.writes)} at p50 and p99: writes"
            f" {statistics.median(clerk.writes) * 1000:.1f} and {writes * 1000:.1f} ms,"
            f" reads {statistics.median(clerk.reads) * 1000:.1f} and"
            f" {reads * 1000:.1f} ms"
        )
        assert statistics.median(clerk.writes) < WRITE_SECONDS
        assert writes < WRITE_SECONDS + BUSY_SECONDS
        assert reads < READ_SECONDS + BUSY_SECONDS
        text = posthouse.output()
        assert "locked" not in text
        assert "Traceback" not in text

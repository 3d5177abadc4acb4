"""One SQLite file, four workers that serve, and everybody else who reads it (G-D3).

Callers never meet a database that is locked: not while a backup runs, not while
the records are listed and audited, not while commands write to it.
"""

import json
import threading
from pathlib import Path

import pytest
from tests.support import raw
from tests.support.posthouse import Posthouse

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
BODY = json.dumps(
    {"model": "sandbox", "messages": [{"role": "user", "content": "And you?"}]}
).encode()
HEADERS = (("Authorization", f"Bearer {KEY}"),)


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
        threads = [
            threading.Thread(target=call, args=(posthouse.url,)) for _ in range(CALLERS)
        ]
        for thread in threads:
            thread.start()
        try:
            for number in range(2):
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
        statuses = {reply.status for reply in replies}
        assert statuses == {200}, [r.body for r in replies if r.status != 200][:3]
        assert len(replies) > 100
        text = posthouse.output()
        assert "locked" not in text
        assert "Traceback" not in text

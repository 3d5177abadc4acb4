"""`posthouse channel status` beside a running server, and without one."""

import time
from pathlib import Path
from typing import Any

from tests.faults.asked import failing
from tests.support.example import Example, key_of
from tests.support.fake import ThreadedFake
from tests.support.posthouse import Posthouse

CONFIGURATION = """
[[keys]]
name = "app"
key = "{key}"

[[prices]]
model = "*"
free = true

[[channels]]
name = "good"
provider = "openai-compatible"
base_url = "{origin}/v1"
api_key = "sk-good"
models = ["good"]

[[channels]]
name = "bad"
provider = "openai-compatible"
base_url = "{origin}/v1"
api_key = ["sk-one", "sk-two"]
models = ["refused", "broken", "slow"]

[[routing]]
model = "good"
policy = "lowest_latency"
"""


def _entry(posthouse: Posthouse, name: str) -> dict[str, Any]:
    [found] = [e for e in posthouse.ask("channel", "status") if e["name"] == name]
    return found  # type: ignore[no-any-return]


def _soon(posthouse: Posthouse, name: str, field: str) -> dict[str, Any]:
    """The entry once a field of it says something."""
    deadline = time.monotonic() + 10
    while not (found := _entry(posthouse, name))[field]:
        assert time.monotonic() < deadline, found
        time.sleep(0.2)
    return found


def test_status_shows_the_running_server_and_what_is_kept(tmp_path: Path) -> None:
    with ThreadedFake() as fake:
        fake.on("refused", failing(401))
        fake.on("broken", failing(500))
        text = CONFIGURATION.format(origin=fake.origin, key=key_of("app"))
        with Posthouse(tmp_path, text) as posthouse:
            example = Example(posthouse, fake, tmp_path)
            assert example.chat("good").status == 200
            good = _soon(posthouse, "good", "latency")
            assert good["breaker"] == "closed"
            assert good["processes"] == 1
            assert 0 < good["latency"]["good"] < 5
            assert example.chat("refused").status == 503
            refused = _soon(posthouse, "bad", "resting")
            assert [
                (rest["credential"], rest["reason"], rest["status"])
                for rest in refused["resting"]
            ] == [(0, "refused", 401), (1, "refused", 401)]
            failed = _soon(posthouse, "bad", "last_error")
            assert failed["last_error"]["status"] == 401
            code, output = posthouse.run("channel", "status")
            assert code == 0
            assert "key 0 refused (401), key 1 refused (401)" in output
            assert "sk-" not in output
            for number in (0, 1):
                posthouse.run("channel", "enable", "bad", "--credential", str(number))
            deadline = time.monotonic() + 10
            while _entry(posthouse, "bad")["resting"]:
                assert time.monotonic() < deadline
                time.sleep(0.2)
            for _ in range(5):
                assert example.chat("broken").status == 503
            broken = _soon(posthouse, "bad", "open_for")
            assert (broken["breaker"], broken["failures"]) == ("open", 5)
            assert example.chat("refused").status == 503
        code, output = posthouse.run("channel", "status", "--json")
        assert code == 0
        assert '"processes": 0' in output

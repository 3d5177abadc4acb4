"""The time of day jumps under a real server of two workers, a day to either side.

Nothing but what ends at a certain time of day may notice: limits, money, streams and
what is kept go by clocks that do not jump. Nodes whose clocks differ by minutes are
in `tests/crash/test_storm.py`, one process and each kind of jump in
`tests/faults/test_clock_jumps.py`.
"""

import json
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO

import pytest
from tests.fakes import openai
from tests.fakes.steps import Behaviour, Request, Step, Wait
from tests.faults.channels import channel
from tests.support import raw
from tests.support.fake import ThreadedFake
from tests.support.posthouse import Posthouse
from tests.support.processes import ROOT
from tests.support.shifted_clock import VARIABLE, Clock
from typing_extensions import override

DAY = 86_400.0
APP, LIMITED, SHORT = (
    f"sk-{name}-0123456789abcdefghijklmnopqrstuv" for name in ("app", "few", "ends")
)
LIMIT = 3
KEYS = """
[[keys]]
name = "app"
key = "{app}"
balance_usd = "10"

[[keys]]
name = "limited"
key = "{limited}"
rpm = {limit}

[[keys]]
name = "short"
key = "{short}"
expires = {ends}

[[prices]]
model = "*"
input = "1.00"
output = "2.00"
"""


class Shifted(Posthouse):
    """A server with a time of day of its own."""

    @override
    def _begin(
        self, command: list[str], environment: Mapping[str, str], output: IO[bytes]
    ) -> "subprocess.Popen[bytes]":
        return subprocess.Popen(
            [sys.executable, "-m", "tests.support.shifted_clock", *command[1:]],
            cwd=ROOT,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )


def _slowly(request: Request) -> Behaviour:
    steps: list[Step] = []
    for step in openai.chat(request).steps:
        steps += [step, Wait(0.05)]
    return Behaviour("slowly", tuple(steps), openai.chat_usage(request))


@pytest.fixture
def provider() -> Iterator[ThreadedFake]:
    with ThreadedFake() as provider:
        provider.on("slow", _slowly)
        yield provider


def call(posthouse: Posthouse, key: str, model: str = "m") -> raw.RawReply:
    messages = [{"role": "user", "content": "What time is it?"}]
    body = {"model": model, "messages": messages, "stream": model == "slow"}
    headers = (("Authorization", f"Bearer {key}"),)
    data = json.dumps(body).encode()
    return raw.send(posthouse.url, "/v1/chat/completions", data, headers=headers)


def test_a_day_to_either_side(tmp_path: Path, provider: ThreadedFake) -> None:
    """A stream goes on, no minute begins anew, no money appears or goes."""
    clock = Clock(tmp_path / "clock")
    text = channel("a", provider.origin) + KEYS.format(
        app=APP,
        limited=LIMITED,
        limit=LIMIT,
        short=SHORT,
        ends=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + DAY / 2)),
    )
    environment = {VARIABLE: str(tmp_path / "clock"), "POSTHOUSE_WORKERS": "2"}
    statuses: dict[str, list[int]] = {"app": [], "limited": [], "short": []}

    with Shifted(tmp_path, text, environment) as posthouse:

        def ask_all() -> None:
            for name, key in (("app", APP), ("limited", LIMITED), ("short", SHORT)):
                statuses[name].append(call(posthouse, key).status)

        began = time.monotonic()
        while 429 not in statuses["limited"]:
            statuses["limited"].append(call(posthouse, LIMITED).status)
        for shift in (0.0, DAY, -DAY, 0.0):
            streamed: list[raw.RawReply] = []
            streams = len(provider.served("slow"))
            caller = threading.Thread(
                target=lambda: streamed.append(call(posthouse, APP, "slow"))  # noqa: B023 - it is joined below
            )
            caller.start()
            while len(provider.served("slow")) == streams:
                time.sleep(0.01)
            clock.shift(shift)
            ask_all()
            caller.join(30)
            assert streamed[0].complete
            assert streamed[0].body.endswith(b"data: [DONE]\n\n")
        # Who was refused is remembered for some seconds.
        deadline = time.monotonic() + 60
        while call(posthouse, SHORT).status != 200:
            assert time.monotonic() < deadline
            time.sleep(0.1)
        took = time.monotonic() - began
        with urllib.request.urlopen(posthouse.url + "/metrics") as reply:
            shown = reply.read().lower()
        records = posthouse.ask("calls", "--limit", "1000")
    assert statuses["app"] == [200] * 4
    assert statuses["short"][:2] == [200, 401]
    # A minute may have passed by the right clock, on a machine that is busy.
    assert statuses["limited"].count(200) <= LIMIT * (1 + took // 60 + (took > 60))
    assert b"nan" not in shown
    assert b" -" not in shown
    for record in records:
        assert 0 <= record["total_ms"] <= took * 1000, record

"""Posthouse's rows: everything on, and larger by keys or by channels.

Every key has a request limit, an opening credit and a price on what it asks
for, so each call is authenticated, limited, held, routed, settled, journalled,
drained and recorded. Calls take the keys in turn.
"""

import asyncio
import json
import sqlite3
import sys
import time
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import ClassVar

from typing_extensions import override

from benchmarks import process
from benchmarks.bodies import chat_body, chat_requests, encoded
from benchmarks.gateways import ROOT, Gateway, Upstream, get

PROGRAM = Path(sys.executable).with_name("posthouse")
ACTIVE_KEYS = 1_000
SETTLE_SECONDS = 60.0

CHANNEL = """\
[[channels]]
name = "channel-{number:04d}"
provider = "openai-compatible"
base_url = "http://127.0.0.1:{port}/v1"
api_key = "sk-upstream-{number:04d}"
models = ["bench", "silent"]
timeouts = {{ first_byte = 600, idle = 3600, total = 7200 }}
"""
KEY = """\
[[keys]]
name = "key-{number:06d}"
key = "{key}"
balance_usd = "{balance}"
rpm = 1000000
"""
PRICES = """\
[[prices]]
model = "bench"
input = "2.50"
cached_input = "1.25"
output = "10.00"

[[prices]]
model = "silent"
input = "2.50"
output = "10.00"
"""


def key_literal(number: int) -> str:
    """A key as the configuration file may name one."""
    return f"sk-{number:06d}-benchmark-0123456789abcdefghijklmnopqrs"


class Posthouse(Gateway):
    """Posthouse with 10³ keys and one channel."""

    name = "posthouse"
    label: ClassVar[str] = "Posthouse, everything on"
    key_count = 1_000
    channel_count = 1
    workers = 1
    balance = "10000"
    """Of each key, in US dollars."""

    def __init__(self, folder: Path, upstream: Upstream) -> None:
        super().__init__(folder, upstream)
        self.data = self.folder / "data"
        step = self.key_count // ACTIVE_KEYS
        self.keys: Sequence[str] = [
            key_literal(number * step) for number in range(ACTIVE_KEYS)
        ]

    @override
    def version(self) -> str:
        return process.output(["git", "-C", str(ROOT), "describe", "--always"])

    @override
    def command(self) -> list[str]:
        configuration = self.folder / "posthouse.toml"
        configuration.write_text("\n".join(self.sections()))
        return [
            str(PROGRAM),
            "serve",
            *("--config", str(configuration)),
            *("--data", str(self.data)),
            *("--host", "127.0.0.1"),
            *("--port", str(self.port)),
            *("--workers", str(self.workers)),
        ]

    def sections(self) -> list[str]:
        """The configuration file."""
        channels = (
            CHANNEL.format(number=number, port=self.upstream.port)
            for number in range(self.channel_count)
        )
        keys = (
            KEY.format(number=number, key=key_literal(number), balance=self.balance)
            for number in range(self.key_count)
        )
        return [*channels, *keys, PRICES]

    @override
    def is_ready(self) -> bool:
        return get(self.port, "/health/ready")[0] == 200

    def ended(self) -> int:
        """How many calls the ledger has settled or voided."""
        return self.count("SELECT count(*) FROM calls")

    def settled(self) -> int:
        """How many calls the ledger has settled: answered and charged."""
        return self.count("SELECT count(*) FROM transfers WHERE kind = 'settle'")

    def count(self, question: str) -> int:
        """Ask the ledger how many there are of something."""
        address = f"file:{self.database()}?mode=ro"
        with closing(sqlite3.connect(address, uri=True, timeout=30)) as ledger:
            return int(ledger.execute(question).fetchone()[0])

    def database(self) -> Path:
        """The ledger's file."""
        return self.data / "posthouse.db"

    @override
    async def settle(self) -> None:
        deadline = time.monotonic() + SETTLE_SECONDS
        while (ended := self.ended()) < self.made:
            if time.monotonic() > deadline:
                raise SystemExit(f"{self.name}: {self.made} calls made, {ended} ended")
            await asyncio.sleep(0.05)

    @override
    def proof(self) -> dict[str, object]:
        """After it has stopped: settlements = calls, clean audit, empty journal."""
        settled = self.settled()
        if settled != self.made:
            raise SystemExit(f"{self.name}: {self.made} calls, {settled} settlements")
        left = sorted(self.folder.glob("**/journal/*/*.segment"))
        if left:
            raise SystemExit(f"{self.name}: the journal is not empty: {left[0]}")
        audit = process.output(
            [str(PROGRAM), "audit", "--json"],
            {"POSTHOUSE_DATA": str(self.data), **self.environment()},
        )
        return {
            "calls": self.made,
            "settlements": settled,
            "journal": "empty",
            "audit": clean_audit(self.name, audit),
        }


def clean_audit(name: str, text: str) -> str:
    """`clean`, or the end of the benchmark with what is wrong."""
    try:
        report = json.loads(text)
    except ValueError:
        raise SystemExit(f"{name}: no audit: {text}") from None
    if report.get("clean") is not True:
        raise SystemExit(f"{name}: the audit is not clean: {text}")
    return "clean"


class ManyKeys(Posthouse):
    """A hundred times as many keys; the calls still take a thousand in turn."""

    name = "posthouse-keys"
    label = "Posthouse, 10⁵ keys"
    key_count = 100_000
    ready_seconds = 600.0


class ManyChannels(Posthouse):
    """A thousand channels that all offer the model that is asked for."""

    name = "posthouse-channels"
    label = "Posthouse, 10³ channels"
    channel_count = 1_000


class ManyWorkers(Posthouse):
    """Four processes behind one address, on the same core."""

    name = "posthouse-workers"
    label = "Posthouse, 4 workers"
    workers = 4


class Translated(Posthouse):
    """Clients of Anthropic's dialect, the provider still OpenAI's."""

    name = "posthouse-translated"
    label = "Posthouse, Anthropic to OpenAI"
    path = "/v1/messages"

    @override
    def requests(
        self, *, stream: bool = False, chunks: int = 20, model: str = "bench"
    ) -> list[bytes]:
        body = json.loads(chat_body(model=model, chunks=chunks, stream=stream))
        system, user = body["messages"]
        body |= {"system": system["content"], "messages": [user]}
        return chat_requests(self.keys, encoded(body), path=self.path)


class NearTheLimit(Posthouse):
    """Keys whose money is nearly spent: each call draws its own and returns the rest.

    Without a limit of the client's a call holds what the longest answer costs,
    a third of these balances.
    """

    name = "posthouse-strict"
    label = "Posthouse, keys near their limit"
    balance = "0.5"
    streams = 0

    @override
    def requests(
        self, *, stream: bool = False, chunks: int = 20, model: str = "bench"
    ) -> list[bytes]:
        limit = b'"max_tokens":%d,' % chunks
        requests = super().requests(stream=stream, chunks=chunks, model=model)
        return [request.replace(limit, b" " * len(limit)) for request in requests]


def loop_lag(port: int) -> dict[str, float]:
    """What /metrics says of the event loop's lag."""
    found: dict[str, float] = {}
    for line in get(port, "/metrics")[1].decode().splitlines():
        if "loop_lag" in line and not line.startswith("#"):
            name, _, value = line.rpartition(" ")
            found[name] = float(value)
    return found

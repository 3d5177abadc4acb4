"""`make bench`: all figures in one run, side by side, or an exit code ≠ 0.

Options: --json FILE, --page (refresh docs/reference/performance.md), --rounds N,
--rows NAMES (by commas, for a quick look). `PEERS=1` adds LiteLLM and Portkey.
"""

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path

import uvloop

from benchmarks import measure, process, report
from benchmarks.gateways import Direct, Gateway, Nginx, Upstream
from benchmarks.nodes import OnPostgres, ThreeNodes
from benchmarks.peers import LiteLLM, Portkey
from benchmarks.posthouse import (
    ManyChannels,
    ManyKeys,
    ManyWorkers,
    NearTheLimit,
    Posthouse,
    Translated,
    loop_lag,
)
from benchmarks.report import Row, Rows

IDLE_STREAMS = 1_000
IDLE_SECONDS = 10.0
DESCRIPTORS = 16_384
KINDS: tuple[type[Gateway], ...] = (
    *(Nginx, Posthouse, Translated, ManyKeys, ManyChannels, ManyWorkers, NearTheLimit),
    *(OnPostgres, ThreeNodes),
)
PEERS: tuple[type[Gateway], ...] = (Portkey, LiteLLM)
MAIN = {"nginx", "posthouse", "posthouse-translated", *(kind.name for kind in PEERS)}


def say(text: str) -> None:
    """Progress for whoever waits."""
    print(f"[{time.strftime('%H:%M:%S')}] {text}", file=sys.stderr, flush=True)


class Benchmark:
    """One run over the chosen rows."""

    def __init__(self, gateways: list[Gateway], direct: Direct, rounds: int) -> None:
        self.gateways = gateways
        self.direct = direct
        self.rounds = rounds
        self.rows: Rows = {}

    async def run(self) -> Rows:
        """Start everything, measure, stop, and prove."""
        self.direct.start()
        self.rows["direct"] = Row.of(self.direct)
        try:
            for gateway in self.gateways:
                await self._start(gateway)
            await self._costs()
            await self._latencies()
            await self._idle()
            self._lag()
        finally:
            for gateway in self.gateways:
                gateway.stop()
        for gateway in self.gateways:
            self._restart(gateway)
            self.rows[gateway.name].proof = gateway.proof()
        return self.rows

    async def _start(self, gateway: Gateway) -> None:
        say(f"start {gateway.label}")
        gateway.start()
        row = self.rows[gateway.name] = Row.of(gateway)
        row.rounds = self.rounds
        row.startup_seconds = gateway.startup_seconds
        row.first_call = await measure.warm_up(gateway)

    async def _costs(self) -> None:
        say(f"CPU per unary call, {self.rounds} rounds")
        found = await measure.unary_rounds(self.gateways, self.rounds)
        for name, series in found.items():
            self.rows[name].unary = series
        for gateway in self.gateways:
            row = self.rows[gateway.name]
            row.pss, row.rss = gateway.memory()
        say(f"CPU per streamed chunk, {self.rounds} rounds")
        streaming = [
            gateway
            for gateway in self.gateways
            if gateway.streams and gateway.name in MAIN
        ]
        found = await measure.chunk_rounds(streaming, self.rounds)
        for name, series in found.items():
            self.rows[name].chunk = series

    async def _latencies(self) -> None:
        say("latency in the open loop")
        chosen = [gateway for gateway in self.gateways if gateway.name in MAIN]
        found = await measure.latency_rounds([self.direct, *chosen], self.rounds)
        for name, latency in found.items():
            self.rows[name].latency = latency

    async def _idle(self) -> None:
        for gateway in self.gateways:
            if gateway.name in {"nginx", "posthouse"}:
                say(f"{IDLE_STREAMS} idle streams, {gateway.label}")
                self.rows[gateway.name].idle = await measure.idle_streams(
                    gateway, IDLE_STREAMS, IDLE_SECONDS
                )

    def _lag(self) -> None:
        for gateway in self.gateways:
            if gateway.name == "posthouse":
                self.rows[gateway.name].loop_lag = loop_lag(gateway.port)

    def _restart(self, gateway: Gateway) -> None:
        """Start it once more on what it left behind."""
        gateway.start()
        self.rows[gateway.name].restart_seconds = gateway.startup_seconds
        gateway.stop()


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks")
    parser.add_argument("--json", type=Path, metavar="FILE")
    parser.add_argument("--page", action="store_true")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--rows", default="")
    return parser.parse_args()


def kinds(names: str) -> list[type[Gateway]]:
    """The rows to measure, nginx always among them."""
    chosen = [*KINDS, *PEERS] if os.environ.get("PEERS") == "1" else [*KINDS]
    if names:
        wanted = {"nginx", *names.split(",")}
        chosen = [kind for kind in [*KINDS, *PEERS] if kind.name in wanted]
    return chosen


def main() -> int:
    """Measure, print, write; 1 when a budget is broken."""
    given = options()
    load_core = process.cores()[1]
    process.end_in_order()
    process.allow_descriptors(DESCRIPTORS)
    chosen = kinds(given.rows)
    for kind in chosen:
        kind.install()
    os.sched_setaffinity(0, {load_core})
    with tempfile.TemporaryDirectory(prefix="posthouse-bench-") as name:
        folder = Path(name)
        upstream = Upstream(folder)
        gateways = [kind(folder, upstream) for kind in chosen]
        try:
            direct = Direct(folder, upstream)
            benchmark = Benchmark(gateways, direct, given.rounds)
            rows = uvloop.run(benchmark.run())
            made = sum(gateway.made for gateway in [direct, *gateways])
            if upstream.served() != made:
                raise SystemExit(f"{made} calls made, {upstream.served()} served")
        finally:
            for gateway in gateways:
                gateway.close()
            upstream.stop()
    facts = report.machine()
    figures = report.markdown(rows, facts)
    print(figures)
    if given.json:
        given.json.parent.mkdir(parents=True, exist_ok=True)
        given.json.write_text(report.as_json(rows, facts))
    if given.page:
        report.refresh(report.PAGE, figures)
    broken = [budget for budget in report.budgets(rows) if not budget.kept]
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())

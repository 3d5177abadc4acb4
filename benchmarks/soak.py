"""`make soak`: ten thousand idle streams, held for minutes while calls go on.

Every minute it prints memory, descriptors, CPU, loop lag and the latency of the
calls that were made meanwhile. It fails when a stream breaks off, when memory or
descriptors climb, when calls become slow, or when the ledger does not add up.
Where the limit of open files is too low for all streams, it takes fewer and says
so: a gateway needs two descriptors for each.
"""

import argparse
import asyncio
import json
import os
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import linear_regression

import uvloop

from benchmarks import load, process
from benchmarks.gateways import Gateway, Upstream
from benchmarks.measure import quantile
from benchmarks.posthouse import Posthouse, loop_lag
from benchmarks.report import MIB, Budget

CALL_RATE = 100
SPARE_DESCRIPTORS = 500
SAMPLE_SECONDS = 60.0


@dataclass
class Sample:
    """The state after one more minute."""

    minute: int
    alive: int
    rss: int
    descriptors: int
    cpu_share: float
    p50: float
    p99: float
    loop_lag: dict[str, float]

    def line(self) -> str:
        lag = " ".join(f"{name}={value:g}" for name, value in self.loop_lag.items())
        return (
            f"minute {self.minute}: {self.alive} streams, RSS {self.rss / MIB:.1f} MiB,"
            f" {self.descriptors} descriptors, {self.cpu_share:.1%} of a core,"
            f" p50 {self.p50 * 1e3:.2f} ms, p99 {self.p99 * 1e3:.2f} ms {lag}"
        )


async def sample(gateway: Gateway, clients: list[load.Client], minute: int) -> Sample:
    """Make calls for a minute, then look."""
    instants = load.arrivals(int(CALL_RATE * SAMPLE_SECONDS), CALL_RATE, seed=minute)
    before = gateway.cpu()
    tally = await load.OpenLoop(gateway.port, gateway.requests(), instants).run()
    gateway.made += tally.calls
    tally.check(gateway.name)
    ordered = sorted(tally.latencies)
    return Sample(
        minute=minute,
        alive=sum(client.alive for client in clients),
        rss=gateway.memory()[1],
        descriptors=process.open_descriptors(gateway.pid),
        cpu_share=(gateway.cpu() - before) / tally.seconds,
        p50=quantile(ordered, 0.5),
        p99=quantile(ordered, 0.99),
        loop_lag=loop_lag(gateway.port),
    )


async def soak(gateway: Gateway, streams: int, minutes: int) -> list[Budget]:
    """Hold the streams, watch, hang up; give what was promised and found."""
    gateway.start()
    try:
        await load.closed_loop(
            gateway.ports, gateway.requests(), calls=2_000, concurrency=64
        )
        gateway.made += 2_000
        await gateway.settle()
        before = gateway.memory()[0]
        requests = gateway.requests(stream=True, model="silent")
        clients = await load.hold_open(gateway.port, requests, streams)
        gateway.made += streams
        await asyncio.sleep(2)
        per_stream = (gateway.memory()[0] - before) / streams / 1024
        samples = []
        for minute in range(1, minutes + 1):
            samples.append(await sample(gateway, clients, minute))
            print(samples[-1].line(), flush=True)
        for client in clients:
            client.close()
        await gateway.settle()
    finally:
        gateway.stop()
    print("proof:", gateway.proof())
    print(json.dumps([asdict(one) for one in samples]))
    return promises(samples, streams, per_stream)


def promises(samples: list[Sample], streams: int, per_stream: float) -> list[Budget]:
    """What must hold; the first two minutes may still warm up.

    Memory may climb by 1 MiB an hour; a few minutes cannot tell as little.
    """
    steepest = 17 if len(samples) > 180 else 256
    settled = samples[2:] if len(samples) > 4 else samples
    climb = 0.0
    if len(settled) > 1:
        minutes = [float(one.minute) for one in settled]
        climb = linear_regression(minutes, [one.rss / 1024 for one in settled]).slope
    descriptors = [one.descriptors for one in settled]
    return [
        Budget("streams that broke off", streams - samples[-1].alive, 0),
        Budget("memory per idle stream", per_stream, 50, "KiB"),
        Budget("climb of memory", climb, steepest, "KiB per minute"),
        Budget("climb of descriptors", descriptors[-1] - descriptors[0], 128),
        Budget("slowest minute's p99", max(one.p99 for one in samples) * 1e3, 50, "ms"),
    ]


def main() -> int:
    """Run it; 1 when a promise is broken."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.soak")
    parser.add_argument("--streams", type=int, default=10_000)
    parser.add_argument("--minutes", type=int, default=10)
    given = parser.parse_args()
    load_core = process.cores()[1]
    process.end_in_order()
    limit = process.allow_descriptors(2 * given.streams + SPARE_DESCRIPTORS)
    streams = min(given.streams, (limit - SPARE_DESCRIPTORS) // 2)
    if streams < given.streams:
        print(f"{limit} open files are allowed: {streams} streams")
    os.sched_setaffinity(0, {load_core})
    with tempfile.TemporaryDirectory(prefix="posthouse-soak-") as name:
        upstream = Upstream(Path(name))
        try:
            gateway = Posthouse(Path(name), upstream)
            found = uvloop.run(soak(gateway, streams, given.minutes))
        finally:
            upstream.stop()
    for budget in found:
        print(budget.line())
    return 0 if all(budget.kept for budget in found) else 1


if __name__ == "__main__":
    sys.exit(main())

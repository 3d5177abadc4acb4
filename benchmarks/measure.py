"""What is measured, each in rounds that alternate between the gateways.

CPU per call: the CPU time of all of a gateway's processes over a closed loop of
unary calls, late work included, divided by the calls.
CPU per chunk: that of a run of streams with many chunks less that of a run with
as many streams of few chunks, divided by the difference in chunks; what a stream
costs by itself cancels.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import median

from benchmarks import load
from benchmarks.gateways import Gateway

CONCURRENCY = 64
FEW_CHUNKS = 5
MANY_CHUNKS = 105
LATENCY_SECONDS = 3.0


@dataclass
class Series:
    """One quantity of one gateway over the rounds, in microseconds."""

    rounds: list[float] = field(default_factory=list)
    rate: float = 0.0
    beside: list[float] = field(default_factory=list)
    """What servers that the gateway needs have cost, which is not in the rest."""
    together: list[float] = field(default_factory=list)
    """Chunks per read at the client: above one, the gateway was late and batched."""

    @property
    def median(self) -> float:
        return median(self.rounds)


def quantile(ordered: Sequence[float], share: float) -> float:
    """The value below which a share of the ordered ones lies."""
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


@dataclass
class Latency:
    """Seconds per call of each round, sorted; calls per second offered."""

    rate: int
    rounds: list[list[float]] = field(default_factory=list)
    costs: list[float] = field(default_factory=list)
    """CPU µs per call of each round."""

    def quantile(self, share: float) -> float:
        """The median over the rounds of their quantiles."""
        return median(quantile(ordered, share) for ordered in self.rounds)


async def cpu_of(
    gateway: Gateway,
    requests: Sequence[bytes],
    calls: int,
    concurrency: int,
    *,
    ports: Sequence[int] | None = None,
) -> tuple[float, load.Tally]:
    """CPU seconds that so many calls cost, and what the run did."""
    before = gateway.cpu()
    tally = await load.closed_loop(
        ports or gateway.ports, requests, calls=calls, concurrency=concurrency
    )
    gateway.made += tally.calls
    tally.check(gateway.name)
    await gateway.settle()
    return gateway.cpu() - before, tally


async def warm_up(gateway: Gateway) -> float:
    """One call with every key and some streams; CPU µs of a key's first call."""
    requests = gateway.requests()
    calls = max(len(requests), gateway.calls // 20)
    seconds = 0.0
    for port in gateway.ports:
        # Each node learns every key.
        seconds = (await cpu_of(gateway, requests, calls, CONCURRENCY, ports=[port]))[0]
    if gateway.streams:
        streams = gateway.requests(stream=True, chunks=FEW_CHUNKS)
        gateway.upstream.pace(gateway.chunk_rate)
        await cpu_of(gateway, streams, gateway.streams, gateway.streams)
    return seconds / calls * 1e6


def in_turn(gateways: Sequence[Gateway], number: int) -> Sequence[Gateway]:
    """The gateways, another one first in each round."""
    first = number % len(gateways)
    return [*gateways[first:], *gateways[:first]]


async def unary_rounds(gateways: Sequence[Gateway], rounds: int) -> dict[str, Series]:
    """CPU µs per unary call."""
    found = {gateway.name: Series() for gateway in gateways}
    for number in range(rounds):
        for gateway in in_turn(gateways, number):
            before = gateway.cpu_beside()
            seconds, tally = await cpu_of(
                gateway, gateway.requests(), gateway.calls, CONCURRENCY
            )
            series = found[gateway.name]
            beside = gateway.cpu_beside() - before
            series.beside.append(beside / tally.calls * 1e6)
            series.rounds.append(seconds / tally.calls * 1e6)
            series.rate = tally.calls / tally.seconds
    return found


async def chunk_rounds(gateways: Sequence[Gateway], rounds: int) -> dict[str, Series]:
    """CPU µs per streamed chunk."""
    found = {gateway.name: Series() for gateway in gateways}
    for number in range(rounds):
        for gateway in in_turn(gateways, number):
            gateway.upstream.pace(gateway.chunk_rate)
            seconds = {}
            for chunks in (FEW_CHUNKS, MANY_CHUNKS):
                requests = gateway.requests(stream=True, chunks=chunks)
                seconds[chunks], tally = await cpu_of(
                    gateway, requests, gateway.streams, gateway.streams
                )
            check_chunks(gateway, tally)
            extra = gateway.streams * (MANY_CHUNKS - FEW_CHUNKS)
            cost = (seconds[MANY_CHUNKS] - seconds[FEW_CHUNKS]) / extra * 1e6
            series = found[gateway.name]
            series.rounds.append(cost)
            series.rate = tally.frames / tally.seconds
            series.together.append(tally.frames / tally.reads)
    return found


def check_chunks(gateway: Gateway, tally: load.Tally) -> None:
    """Every chunk arrived."""
    if tally.frames < gateway.streams * MANY_CHUNKS:
        raise SystemExit(f"{gateway.name}: only {tally.frames} chunks arrived")


async def latency_rounds(
    gateways: Sequence[Gateway], rounds: int
) -> dict[str, Latency]:
    """Latencies in the open loop; the instants are the same for all."""
    found = {gateway.name: Latency(gateway.call_rate) for gateway in gateways}
    for number in range(rounds):
        for gateway in in_turn(gateways, number):
            calls = int(gateway.call_rate * LATENCY_SECONDS)
            instants = load.arrivals(calls, gateway.call_rate, seed=number)
            loop = load.OpenLoop(gateway.port, gateway.requests(), instants)
            before = gateway.cpu()
            tally = await loop.run()
            gateway.made += tally.calls
            tally.check(gateway.name)
            await gateway.settle()
            latency = found[gateway.name]
            latency.rounds.append(sorted(tally.latencies))
            latency.costs.append((gateway.cpu() - before) / calls * 1e6)
    return found


@dataclass
class Idle:
    """What streams cost that say nothing."""

    streams: int
    kib_per_stream: float
    cpu_share: float
    """Of one core, while all of them are open and silent."""


async def idle_streams(gateway: Gateway, count: int, seconds: float) -> Idle:
    """Open streams, let them be silent, and hang up."""
    requests = gateway.requests(stream=True, model="silent")
    before = gateway.memory()[0]
    clients = await load.hold_open(gateway.port, requests, count)
    gateway.made += count
    await asyncio.sleep(1)
    grown = gateway.memory()[0] - before
    began = gateway.cpu()
    await asyncio.sleep(seconds)
    share = (gateway.cpu() - began) / seconds
    alive = sum(client.alive for client in clients)
    for client in clients:
        client.close()
    if alive != count:
        raise SystemExit(f"{gateway.name}: {count - alive} idle streams broke off")
    await gateway.settle()
    return Idle(count, grown / count / 1024, share)

"""`make soak`, after the idle streams: callers that mean no good, and too many of them.

    python -m benchmarks.storms [half-open] [bodies] [deaf] [neighbour] [overload]
        [greedy] [--scale 1.0] [--seconds 60]

Each storm runs against a gateway of its own, with everything on, and is held to
what was promised; `--scale` makes all numbers smaller. What is measured: how long
others wait meanwhile, what memory it takes, how soon it is over.
"""

import argparse
import asyncio
import os
import socket
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

import uvloop
from typing_extensions import override

from benchmarks import load, process
from benchmarks.bodies import chat_requests, encoded
from benchmarks.gateways import Upstream, get
from benchmarks.measure import quantile
from benchmarks.posthouse import Posthouse
from benchmarks.report import MIB, Budget

USUAL_RATE = 100.0
HALF_OPEN = 5_000
BODIES = 100
BODY_BYTES = 20 << 20
DEAF = 500
CUT_SECONDS = 60.0
"""After which a client that takes nothing is cut off."""
HEALTH_EVERY = 0.05
PEAK_SECONDS = 5.0
DESCRIPTORS = 15_000


FLOOD_PRICE = """
[[prices]]
model = "flood"
input = "2.50"
output = "10.00"
"""


class Stormy(Posthouse):
    """A gateway whose first key is at its limit soon; one model never ends."""

    name = "posthouse-storm"

    @override
    def sections(self) -> list[str]:
        sections = [
            section.replace("rpm = 1000000", "rpm = 60")
            if f'key = "{self.keys[0]}"' in section
            else section.replace('"silent"]', '"silent", "flood"]')
            for section in super().sections()
        ]
        return [*sections, FLOOD_PRICE]

    def abandoned(self) -> int:
        """How many calls were charged for what somebody had who went away."""
        return self.count(
            "SELECT count(*) FROM calls WHERE outcome = 'abandoned' AND price > 0"
        )

    def flooded(self) -> tuple[int, int]:
        """Bytes that the provider has sent of one answer, at most; and of all."""
        furthest, total = get(self.upstream.port, "/flooded")[1].split()
        return int(furthest), int(total)


class Given(argparse.Namespace):
    """The command line."""

    storms: list[str]
    scale: float
    seconds: float


async def usual(gateway: Posthouse, seconds: float, seed: int) -> load.Tally:
    """Calls of those who mean well; every one must be served."""
    instants = load.arrivals(int(USUAL_RATE * seconds), USUAL_RATE, seed)
    requests = gateway.requests()[1:]
    tally = await load.OpenLoop(gateway.port, requests, instants).run()
    gateway.made += tally.calls
    tally.check(gateway.name)
    return tally


def p99(tally: load.Tally) -> float:
    """Milliseconds."""
    return quantile(sorted(tally.latencies), 0.99) * 1e3


async def half_open(gateway: Posthouse, given: Given) -> list[Budget]:
    """Heads and bodies that never come to their end, thousands at once."""
    before = p99(await usual(gateway, 10, 1))
    descriptors = process.open_descriptors(gateway.pid)
    beginnings = (
        b"POST /v1/chat/completions HTTP/1.1\r\nHost: ",
        gateway.requests()[1].replace(b"Content-Length: 4096", b"Content-Length: 9999"),
    )

    async def begin(number: int) -> asyncio.StreamWriter:
        _, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
        writer.write(beginnings[number % 2])
        return writer

    count = int(HALF_OPEN * given.scale)
    writers: list[asyncio.StreamWriter] = []
    while len(writers) < count:
        batch = range(len(writers), min(len(writers) + 100, count))
        writers += await asyncio.gather(*map(begin, batch))
    during = p99(await usual(gateway, 10, 2))
    began = time.monotonic()
    # Heads have ten seconds, bodies as many for each kilobyte.
    while process.open_descriptors(gateway.pid) > descriptors + 200:
        if time.monotonic() - began > 30:
            break
        await asyncio.sleep(0.2)
    left = process.open_descriptors(gateway.pid) - descriptors
    for writer in writers:
        writer.close()
    return [
        Budget(f"{count} half-open: p99 of others", during, before * 1.2 + 10, "ms"),
        Budget("connections left 30 s after the last", left, 200),
    ]


async def bodies(gateway: Posthouse, given: Given) -> list[Budget]:
    """Large bodies at once: served, or refused with a time to come back."""
    await usual(gateway, 2, 3)
    before = gateway.memory()[1]
    count = max(1, int(BODIES * given.scale))
    picture = "A" * BODY_BYTES
    content = [{"type": "image_url", "image_url": {"url": f"data:;base64,{picture}"}}]
    value = {"model": "bench", "max_tokens": 5}
    body = encoded({**value, "messages": [{"role": "user", "content": content}]})
    (request,) = chat_requests(gateway.keys[1:2], body)
    statuses: list[int] = []
    highest = before

    async def send() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
        try:
            writer.write(request)
            line = await reader.readline()
            statuses.append(int(line.split()[1]))
        except (OSError, IndexError):
            statuses.append(0)
        finally:
            writer.transport.abort()

    async def watch() -> None:
        nonlocal highest
        while True:
            highest = max(highest, gateway.memory()[1])
            await asyncio.sleep(0.05)

    watching = asyncio.create_task(watch())
    for start in range(0, count, 20):
        await asyncio.gather(*(send() for _ in range(min(20, count - start))))
    watching.cancel()
    odd = [status for status in statuses if status not in (200, 503)]
    print(f"bodies: {statuses.count(200)} served, {statuses.count(503)} told to wait")
    gateway.made += statuses.count(200)
    return [
        Budget("bodies neither served nor refused", len(odd), 0),
        Budget("memory for them", (highest - before) / MIB, 2 * 256 + 256, "MiB"),
    ]


async def deaf(gateway: Stormy, given: Given) -> list[Budget]:
    """Clients that read nothing of 200 MB each: what waits, and where, and how long."""
    await usual(gateway, 5, 12)
    count = max(1, int(DEAF * given.scale))
    requests = gateway.requests(stream=True, model="flood")[1:]

    def ask(number: int) -> socket.socket:
        client = socket.create_connection(("127.0.0.1", gateway.port))
        client.sendall(requests[number % len(requests)])
        return client

    # What is needed once is no client's: of these, as of all others, nothing is read.
    first = [await asyncio.to_thread(ask, number) for number in range(10)]
    await asyncio.sleep(2)
    before = highest = gateway.memory()[1]
    began = time.monotonic()
    clients = [await asyncio.to_thread(ask, number) for number in range(count)]
    gateway.made += count + len(first)
    sent = 0, 0
    while (cut := await asyncio.to_thread(gateway.abandoned)) < count + len(first):
        if time.monotonic() - began > 3 * CUT_SECONDS:
            break
        await asyncio.sleep(0.5)
        highest = max(highest, gateway.memory()[1])
        before_now, sent = sent, await asyncio.to_thread(gateway.flooded)
        if sent != before_now:
            began = time.monotonic()
    took = time.monotonic() - began
    for client in (*first, *clients):
        client.close()
    return [
        Budget(
            "memory for one that reads nothing",
            (highest - before) / count / 1024,
            512,
            "KiB",
        ),
        Budget("of 200 MB, what left the provider", sent[0] / MIB, 32, "MiB"),
        Budget("not cut off and charged", count + len(first) - cut, 0),
        Budget(
            "seconds from the last byte until the last was cut",
            took,
            CUT_SECONDS + 30,
            "s",
        ),
    ]


async def neighbour(gateway: Posthouse, given: Given) -> list[Budget]:
    """A tenant far above its limit: what others notice of it."""
    seconds = max(10.0, given.seconds / 3)
    alone = [p99(await usual(gateway, seconds, seed)) for seed in (4, 5)]
    instants = load.arrivals(int(300 * seconds), 300, 6)
    noisy = load.OpenLoop(gateway.port, gateway.requests()[:1], instants)
    beside, shouting = await asyncio.gather(usual(gateway, seconds, 7), noisy.run())
    served = shouting.calls - shouting.failures
    gateway.made += served
    return [
        Budget("calls of who is above its limit", served, 60 * (seconds / 60 + 2)),
        Budget("p99 of others beside it", p99(beside), max(alone) * 1.1 + 1, "ms"),
    ]


class Core:
    """What of the core a gateway has had since it was last asked.

    Others may take some of it, and no gateway can serve with what it has not had;
    but what it leaves idle counts as had.
    """

    def __init__(self, gateway: Posthouse) -> None:
        self._pid = gateway.pid
        self._before = process.turns(self._pid)
        self._began = time.monotonic()

    def share(self) -> float:
        """Of the time that it wanted."""
        ran, waited = (
            now - before
            for now, before in zip(process.turns(self._pid), self._before, strict=True)
        )
        return ran / (ran + waited)

    def seconds(self) -> float:
        """Of a core that was all its own."""
        return (time.monotonic() - self._began) * self.share()


async def peak_rate(gateway: Posthouse) -> tuple[float, float]:
    """The most calls per second that it serves, and per second of its core."""
    requests = gateway.requests()[1:]
    calls = 3_000
    while True:
        core = Core(gateway)
        tally = await load.closed_loop(
            gateway.ports, requests, calls=calls, concurrency=64
        )
        gateway.made += tally.calls
        tally.check(gateway.name)
        if tally.seconds >= PEAK_SECONDS:
            return tally.calls / tally.seconds, tally.calls / core.seconds()
        calls = int(calls * min(4.0, 1.2 * PEAK_SECONDS / tally.seconds)) + 1


async def overload(gateway: Posthouse, given: Given) -> list[Budget]:
    """Three times what it can do: what is served, and how soon it is well again."""
    requests = gateway.requests()[1:]
    await peak_rate(gateway)
    rate, each_second = await peak_rate(gateway)
    asked = int(3 * rate * given.seconds)
    instants = load.arrivals(asked, 3 * rate, 8)
    waits: list[float] = []

    async def look() -> None:
        while True:
            began = time.monotonic()
            status, _ = await asyncio.to_thread(get, gateway.port, "/health/live")
            waits.append((time.monotonic() - began) * 1e3 if status == 200 else 1e4)
            await asyncio.sleep(HEALTH_EVERY)

    looking = asyncio.create_task(look())
    core = Core(gateway)
    tally = await load.OpenLoop(gateway.port, requests, instants).run()
    seconds, share = core.seconds(), core.share()
    looking.cancel()
    served = tally.calls - tally.failures
    gateway.made += served
    refusals = sorted(tally.refusals)
    print(
        f"overload: peak {rate:.0f}/s; {served} of {asked} served,"
        f" {len(refusals)} refused in {tally.seconds:.0f} s, with {share:.0%} of a core"
    )
    print(
        f"refusals: {quantile(refusals, 0.5) * 1e3:.1f} ms, 99 % in"
        f" {quantile(refusals, 0.99) * 1e3:.1f} ms; health: 99 % in"
        f" {quantile(sorted(waits), 0.99):.1f} ms"
    )
    if tally.failures > len(refusals):
        print(f"what else went wrong: {tally.complaint}")
    began = time.monotonic()
    while (await usual_p99(gateway)) > 50 and time.monotonic() - began < 30:
        pass
    return [
        Budget(
            "share of the peak that is lost", 1 - served / seconds / each_second, 0.2
        ),
        Budget("calls neither served nor refused", tally.failures - len(refusals), 0),
        Budget("half of the refusals", quantile(refusals, 0.5) * 1e3 * share, 10, "ms"),
        Budget("slowest health look-up", max(waits) * share, 100, "ms"),
        Budget("seconds until it is well again", time.monotonic() - began, 10, "s"),
    ]


async def greedy(gateway: Posthouse, given: Given) -> list[Budget]:
    """One tenant asks for twice what can be done, four for a third each."""
    requests = gateway.requests()[1:]
    rate, _ = await peak_rate(gateway)
    seconds = max(5.0, given.seconds / 3)

    async def ask(tenants: list[bytes], part: float, seed: int) -> load.Tally:
        instants = load.arrivals(int(part * rate * seconds), part * rate, seed)
        tally = await load.OpenLoop(gateway.port, tenants, instants).run()
        gateway.made += tally.calls - tally.failures
        return tally

    tallies = await asyncio.gather(
        ask(requests[:1], 2.0, 10), ask(requests[1:5], 4 / 3, 11)
    )
    first, others = (tally.calls - tally.failures for tally in tallies)
    print(f"greedy: {first} calls of one were served, {others} of four others")
    # A fifth is its share.
    return [Budget("share of the greedy one", first / (first + others), 2 / 5)]


async def usual_p99(gateway: Posthouse) -> float:
    """Of a second of usual calls."""
    return p99(await usual(gateway, 1, 9))


Storm = Callable[[Stormy, Given], Awaitable[list[Budget]]]
STORMS: dict[str, Storm] = {
    "half-open": half_open,
    "bodies": bodies,
    "deaf": deaf,
    "neighbour": neighbour,
    "overload": overload,
    "greedy": greedy,
}


async def run(gateway: Stormy, storm: Storm, given: Given) -> list[Budget]:
    """Start a gateway, let it storm, stop it, look into its books."""
    gateway.start()
    try:
        found = await storm(gateway, given)
        await asyncio.sleep(1)
    finally:
        gateway.stop()
    audit = process.output(
        [str(Path(sys.executable).with_name("posthouse")), "audit", "--json"],
        {"POSTHOUSE_DATA": str(gateway.data)},
    )
    clean = '"clean": true' in audit or '"clean":true' in audit
    return [*found, Budget("faults in the books", float(not clean), 0)]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run them; 1 when a promise is broken."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.storms")
    parser.add_argument("storms", nargs="*", choices=[*STORMS, []])
    parser.add_argument("--scale", type=float, default=1.0)
    parser.add_argument("--seconds", type=float, default=60.0)
    given = parser.parse_args(arguments, Given())
    process.end_in_order()
    process.allow_descriptors(DESCRIPTORS)
    os.sched_setaffinity(0, {process.cores()[1]})
    kept = True
    for name in given.storms or STORMS:
        with tempfile.TemporaryDirectory(prefix="posthouse-storm-") as folder:
            upstream = Upstream(Path(folder))
            try:
                gateway = Stormy(Path(folder), upstream)
                found = uvloop.run(run(gateway, STORMS[name], given))
            finally:
                upstream.stop()
        for budget in found:
            print(budget.line(), flush=True)
            kept = kept and budget.kept
    return 0 if kept else 1


if __name__ == "__main__":
    sys.exit(main())

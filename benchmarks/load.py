"""The load generator: closed loop, open loop, and streams that stay open.

Requests are bytes made beforehand. An answer counts when its status is 200 and
it came whole: a unary one with a body, a streamed one with its dialect's end.
In the open loop every call has its instant before the run begins and its latency
is counted from that instant, so a gateway that stalls cannot hide it (no
coordinated omission); when no connection is free, another one is opened.
"""

import asyncio
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import cast

import httptools
from typing_extensions import override

from benchmarks.ticker import Ticker

CALL_SECONDS = 120.0


def _ends(tail: bytes) -> bool:
    """Whether a stream's last bytes are how one ends."""
    return b"[DONE]" in tail or b'"message_stop"' in tail


@dataclass
class Tally:
    """What a run did; latencies are seconds.

    A refusal for overload (503 with a time to come back) is a failure, too.
    """

    calls: int = 0
    failures: int = 0
    frames: int = 0
    reads: int = 0
    seconds: float = 0.0
    latencies: list[float] = field(default_factory=list)
    refusals: list[float] = field(default_factory=list)
    """How long refusals took, from when the request was sent."""
    complaint: str = ""

    def check(self, what: str) -> None:
        """Fail the benchmark if any call failed."""
        if self.failures:
            raise SystemExit(
                f"{what}: {self.failures} of {self.calls} calls failed\n"
                f"{self.complaint}"
            )


class Client(asyncio.Protocol):
    """One keep-alive connection with at most one call on it."""

    def __init__(self, tally: Tally) -> None:
        self.tally = tally
        self.done: Callable[[Client], None] = lambda _: None
        self.first_byte: Callable[[], None] | None = None
        self.alive = False
        self._busy = False
        self._streamed = False
        self._began = 0.0
        self._sent = 0.0
        self._may_return = False
        self._tail = b""
        self._parser = httptools.HttpResponseParser(self)
        self._transport: asyncio.Transport

    def call(self, request: bytes, *, began: float = 0.0) -> None:
        """Send a request; `done(self)` follows when its answer has ended."""
        self._busy = True
        self._began = began
        self._sent = time.monotonic()
        self._may_return = False
        self._tail = b""
        self._streamed = False
        self._transport.write(request)

    def close(self) -> None:
        """Hang up."""
        self._busy = False
        self._transport.close()

    @override
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self.alive = True

    @override
    def data_received(self, data: bytes) -> None:
        self.tally.reads += 1
        self._parser.feed_data(data)

    @override
    def connection_lost(self, exc: Exception | None) -> None:
        self.alive = False
        if self._busy:
            self._finish(f"connection lost: {exc!r}")

    def on_header(self, name: bytes, value: bytes) -> None:
        if name.lower() == b"content-type":
            self._streamed = value.startswith(b"text/event-stream")
        elif name.lower() == b"retry-after":
            self._may_return = True

    def on_body(self, body: bytes) -> None:
        if self.first_byte is not None:
            self.first_byte()
        if self._streamed:
            self.tally.frames += body.count(b"data: ")
        self._tail = body

    def on_message_complete(self) -> None:
        if not self._parser.should_keep_alive():
            self.alive = False
        status = self._parser.get_status_code()
        whole = _ends(self._tail) if self._streamed else bool(self._tail)
        complaint = "" if status == 200 and whole else f"{status} {self._tail[:300]!r}"
        if status == 503 and self._may_return:
            self.tally.refusals.append(time.monotonic() - self._sent)
        self._finish(complaint)

    def _finish(self, complaint: str) -> None:
        self._busy = False
        tally = self.tally
        tally.calls += 1
        if complaint:
            tally.failures += 1
            if not complaint.startswith("503") or not tally.complaint:
                tally.complaint = complaint
        elif self._began:
            tally.latencies.append(time.monotonic() - self._began)
        self.done(self)


async def connect(port: int, tally: Tally) -> Client:
    """Open one connection."""
    loop = asyncio.get_running_loop()
    _, client = await loop.create_connection(lambda: Client(tally), "127.0.0.1", port)
    return client


async def connect_many(ports: Sequence[int], tally: Tally, count: int) -> list[Client]:
    """Open connections, a hundred at a time, to each port in turn."""
    clients: list[Client] = []
    while len(clients) < count:
        batch = range(len(clients), min(count, len(clients) + 100))
        clients += await asyncio.gather(
            *(connect(ports[number % len(ports)], tally) for number in batch)
        )
    return clients


async def closed_loop(
    ports: Sequence[int], requests: Sequence[bytes], *, calls: int, concurrency: int
) -> Tally:
    """So many calls, always so many of them in flight, requests in turn.

    Each port has as many of the connections as any other.
    """
    tally = Tally()
    clients = await connect_many(ports, tally, min(concurrency, calls))
    finished = asyncio.get_running_loop().create_future()
    sent = 0
    began = time.monotonic()

    def next_call(client: Client) -> None:
        nonlocal sent
        if sent < calls and client.alive:
            sent += 1
            client.call(requests[sent % len(requests)], began=time.monotonic())
        elif sent < calls:
            opening.add(asyncio.ensure_future(reopen()))
        elif tally.calls == calls and not finished.done():
            finished.set_result(None)

    async def reopen() -> None:
        client = await connect(ports[sent % len(ports)], tally)
        client.done = next_call
        clients.append(client)
        next_call(client)

    opening: set[asyncio.Future[None]] = set()
    for client in clients:
        client.done = next_call
        next_call(client)
    async with asyncio.timeout(CALL_SECONDS):
        await finished
    tally.seconds = time.monotonic() - began
    for client in clients:
        client.close()
    return tally


def arrivals(calls: int, rate: float, seed: int) -> list[float]:
    """A Poisson process's instants in seconds from its start."""
    chance = random.Random(seed)
    instants = []
    now = 0.0
    for _ in range(calls):
        now += chance.expovariate(rate)
        instants.append(now)
    return instants


class OpenLoop:
    """Calls at instants fixed beforehand, whatever became of those before."""

    def __init__(
        self, port: int, requests: Sequence[bytes], instants: Sequence[float]
    ) -> None:
        self.tally = Tally()
        self._port = port
        self._requests = requests
        self._instants = instants
        self._sent = 0
        self._start = 0.0
        self._idle: list[Client] = []
        self._opening: set[asyncio.Future[None]] = set()
        loop = asyncio.get_running_loop()
        self._finished: asyncio.Future[None] = loop.create_future()
        self._ticker = Ticker(loop, self._tick)

    async def run(self, warm: int = 64) -> Tally:
        """Make the calls, beginning with so many open connections."""
        self._idle = await connect_many([self._port], self.tally, warm)
        self._start = time.monotonic() + 0.05
        self._ticker.at(self._start + self._instants[0])
        async with asyncio.timeout(self._instants[-1] + CALL_SECONDS):
            await self._finished
        self.tally.seconds = time.monotonic() - self._start
        self._ticker.close()
        for client in self._idle:
            client.close()
        return self.tally

    def _tick(self, _: int) -> None:
        now = time.monotonic()
        while self._sent < len(self._instants):
            due = self._start + self._instants[self._sent]
            if due > now:
                self._ticker.at(due)
                return
            request = self._requests[self._sent % len(self._requests)]
            self._sent += 1
            self._begin(request, due)

    def _begin(self, request: bytes, due: float) -> None:
        while self._idle and not self._idle[-1].alive:
            self._idle.pop()
        if self._idle:
            self._send(self._idle.pop(), request, due)
        else:
            opening = asyncio.ensure_future(self._send_anew(request, due))
            self._opening.add(opening)

    async def _send_anew(self, request: bytes, due: float) -> None:
        self._send(await connect(self._port, self.tally), request, due)

    def _send(self, client: Client, request: bytes, due: float) -> None:
        client.done = self._done
        client.call(request, began=due)

    def _done(self, client: Client) -> None:
        if client.alive:
            self._idle.append(client)
        if self.tally.calls == len(self._instants) and not self._finished.done():
            self._finished.set_result(None)


async def open_one(client: Client, request: bytes) -> None:
    """Send a request on a connection; back at the first content."""
    opened: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def content() -> None:
        client.first_byte = None
        opened.set_result(None)

    def ended(_: Client) -> None:
        if not opened.done():
            opened.set_exception(ConnectionError(client.tally.complaint))

    client.first_byte = content
    client.done = ended
    client.call(request)
    await opened


async def hold_open(port: int, requests: Sequence[bytes], count: int) -> list[Client]:
    """Open streams that stay open, a hundred at a time."""
    clients = await connect_many([port], Tally(), count)
    for begin in range(0, count, 100):
        batch = clients[begin : begin + 100]
        async with asyncio.timeout(CALL_SECONDS):
            await asyncio.gather(
                *(
                    open_one(client, requests[(begin + offset) % len(requests)])
                    for offset, client in enumerate(batch)
                )
            )
    return clients

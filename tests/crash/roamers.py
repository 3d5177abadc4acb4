"""Callers who go to another node when one fails them, in a process of their own.

    python -m tests.crash.roamers --gateways PORT,PORT --keys KEY,KEY
        --transcript FILE --requests FILE [--callers 4] [--seed 1]

What each of their calls came to goes to the transcript, as `clients` writes it; the
number of a call says which node it was made at (`number_at`). A request is made as
often as it takes, each time as a call of its own, at a node that says that it is
ready. What became of requests goes line by line to another file:

    HOW TRIES SECONDS MODEL

HOW is `served` or `forsaken`, MODEL the last call's.
"""

import argparse
import asyncio
import contextlib
import random
import time
from itertools import count
from pathlib import Path

import uvloop
from tests.crash.clients import READY, Connection, Transcript
from tests.crash.nodes import CALLS_PER_NODE
from tests.crash.processes import until_orphaned
from tests.crash.traffic import KINDS, body_of
from tests.crash.wire import request_bytes

LOOK_SECONDS = 0.1
"""Between two looks whether a node is ready; a node that stops serves on for longer."""
PAUSE_SECONDS = 0.05
PATIENCE_SECONDS = 90.0
"""After which a request is forsaken: no fault lasts so long."""
SERVED = ("done", "body")


def number_at(place: int) -> int:
    """The first number of the calls that are made at a node."""
    return place * CALLS_PER_NODE + CALLS_PER_NODE // 2


class Roamers:
    """All of them."""

    def __init__(
        self, ports: list[int], keys: list[str], transcript: Transcript, seed: int
    ) -> None:
        """Call the nodes at some ports of this machine."""
        self._ports = ports
        self._keys = keys
        self._rich = [at for at, key in enumerate(keys) if "poor" not in key]
        self._transcript = transcript
        self._chance = random.Random(seed)
        self._numbers = [count(number_at(place)) for place in range(len(ports))]
        self._ready: set[int] = set()
        self._kinds = [kind for kind in KINDS.values() if kind.succeeds]
        self._weights = [kind.weight for kind in self._kinds]
        self._stopping = False

    async def run(self, callers: int, requests: Transcript) -> None:
        """Call until standard input ends; then let every request come to its end."""
        async with asyncio.TaskGroup() as tasks:
            watches = [
                tasks.create_task(self._watch(place))
                for place in range(len(self._ports))
            ]
            roaming = [
                tasks.create_task(self._caller(requests)) for _ in range(callers)
            ]
            await until_orphaned()
            self._stopping = True
            await asyncio.wait(roaming)
            for watch in watches:
                watch.cancel()

    async def _watch(self, place: int) -> None:
        """Know whether a node is ready."""
        while True:
            if await self._is_ready(self._ports[place]):
                self._ready.add(place)
            else:
                self._ready.discard(place)
            await asyncio.sleep(LOOK_SECONDS)

    async def _is_ready(self, port: int) -> bool:
        with contextlib.suppress(OSError, TimeoutError):
            async with asyncio.timeout(1):
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
                try:
                    writer.write(READY)
                    return (await reader.read()).startswith(b"HTTP/1.1 200")
                finally:
                    writer.close()
        return False

    async def _caller(self, requests: Transcript) -> None:
        while not self._stopping:
            kind = self._chance.choices(self._kinds, self._weights)[0]
            key = self._chance.choice(self._rich)
            began, last, tries = time.monotonic(), -1, 0
            how = model = "-"
            while how not in SERVED and time.monotonic() - began < PATIENCE_SECONDS:
                place = self._choose(last)
                connection = None if place is None else await self._connect(place)
                if place is None or connection is None:
                    await asyncio.sleep(PAUSE_SECONDS)
                    continue
                last, tries = place, tries + 1
                number = next(self._numbers[place])
                model = f"{kind.name}-{number:07d}"
                body = body_of(kind, number)
                text = request_bytes(kind.path, self._keys[key], body)
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(PATIENCE_SECONDS):
                        how = await connection.call(kind, text, f"{model} {key}")
            told = "served" if how in SERVED else "forsaken"
            requests.write(told, tries, f"{time.monotonic() - began:.3f}", model)

    def _choose(self, last: int) -> int | None:
        """A node that is ready, another one than the last where there is one."""
        others = sorted(self._ready - {last}) or sorted(self._ready)
        return self._chance.choice(others) if others else None

    async def _connect(self, place: int) -> Connection | None:
        loop = asyncio.get_running_loop()
        try:
            _, connection = await loop.create_connection(
                lambda: Connection(self._transcript), "127.0.0.1", self._ports[place]
            )
        except OSError:
            self._ready.discard(place)
            return None
        return None if connection.closed else connection


def main() -> None:
    """Read the command line and call."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--gateways", required=True)
    parser.add_argument("--keys", required=True)
    parser.add_argument("--transcript", type=Path, required=True)
    parser.add_argument("--requests", type=Path, required=True)
    parser.add_argument("--callers", type=int, default=4)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    ports = [int(port) for port in given.gateways.split(",")]
    transcript, requests = Transcript(given.transcript), Transcript(given.requests)

    async def run() -> None:
        roamers = Roamers(ports, given.keys.split(","), transcript, given.seed)
        await roamers.run(given.callers, requests)

    uvloop.run(run())


if __name__ == "__main__":
    main()

"""The clients of the crash suite, in a process of their own.

    python -m tests.crash.clients --gateway PORT --keys KEY,KEY --transcript FILE
        [--callers 80] [--seed 1] [--first 1] [--balanced]

Many callers, each with one call in flight at a time, on raw connections. What
they did and saw goes line by line to the transcript, each line one write:

    sent MODEL KEY
    ended MODEL KEY HOW STATUS REQUEST-ID BODY-BYTES CODE BEGAN SECONDS RETRY-AFTER

HOW is `done` (a stream's `[DONE]`), `body` (a whole 200), `refused` (a whole
reply of another status, CODE is its error's), `broken` (a stream that told of
an error), `odd` (one that ended and told of none), `left` (the client went
away, as was its plan) or `lost` (the connection ended, and nobody said why).
BEGAN is of this machine's monotonic clock; RETRY-AFTER is the reply's header, `-`
without one. FIRST numbers the first call. `balanced` callers open connections only
while the gateway says that it is ready, as those of a load balancer do; none uses a
connection again that was the last's.
The line is written before anything else is done with the bytes it tells of.
"""

import argparse
import asyncio
import contextlib
import os
import random
import re
import time
from itertools import count
from pathlib import Path
from typing import Any

import uvloop
from tests.crash.processes import until_orphaned
from tests.crash.traffic import KINDS, Kind, body_of
from typing_extensions import override

PATIENCE = 0.01
"""Seconds between two looks whether the gateway accepts connections."""
REFUSED_PAUSE = 0.02
POOR_SHARE = 0.2
"""How often a key is used that soon has nothing left, beside the others."""
LEAVE_AFTER = 0.01
READY = b"GET /health/ready HTTP/1.1\r\nHost: gateway\r\nConnection: close\r\n\r\n"
DONE = b"data: [DONE]\n\n"
LAST_CHUNK = b"\r\n0\r\n\r\n"
_CODE = re.compile(rb'"code":\s*"([a-z_0-9]+)"')


class Transcript:
    """Appends lines that survive whoever is killed."""

    def __init__(self, path: Path) -> None:
        """Open the file."""
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT
        self._file = os.open(path, flags, 0o600)

    def write(self, *words: object) -> None:
        """Write one line, at once."""
        os.write(self._file, " ".join(map(str, words)).encode() + b"\n")


class Connection(asyncio.Protocol):
    """One connection; carries one call at a time."""

    def __init__(self, transcript: Transcript) -> None:
        """Note what calls come to in a transcript."""
        self.closed = False
        self._transcript = transcript
        self._transport: Any = None
        self._over: asyncio.Future[str] | None = None
        self._name = ""
        self._leaves = False
        self._how = ""
        self._data = bytearray()
        self._body = 0
        """Where the body begins; 0 while the head is not whole."""
        self._length: int | None = None
        self._status = 0
        self._id = self._retry_after = "-"
        self._began = 0.0
        self._is_last = False

    @override
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    @override
    def connection_lost(self, exc: Exception | None) -> None:
        self.closed = True
        if self._over is not None:
            told = self._body and b'"error"' in self._data[self._body :]
            self._end("broken" if told else "lost")

    @override
    def data_received(self, data: bytes) -> None:
        if self._over is None:
            return
        self._data += data
        if not self._body and not self._read_head():
            return
        received = len(self._data) - self._body
        if self._leaves and received and self._status == 200:
            self.leave()
        elif self._length is not None:
            if received >= self._length:
                self._end("body" if self._status == 200 else "refused")
        else:
            if not self._how and DONE in self._data:
                self._note("done")
            if self._data.endswith(LAST_CHUNK):
                self._end("odd")

    def call(self, kind: Kind, request: bytes, name: str) -> "asyncio.Future[str]":
        """Send a call; the future tells its end. `name` is model and key."""
        self._name, self._how, self._leaves = name, "", kind.leaves
        self._data.clear()
        self._body, self._length, self._status = 0, None, 0
        self._id = self._retry_after = "-"
        self._began = time.monotonic()
        self._over = asyncio.get_running_loop().create_future()
        self._transcript.write("sent", name)
        self._transport.write(request)
        return self._over

    def leave(self) -> None:
        """Go away, whatever is on its way."""
        self._end("left")
        self.closed = True
        self._transport.abort()

    def _read_head(self) -> bool:
        """Read the reply's head once it is whole."""
        end = self._data.find(b"\r\n\r\n")
        if end < 0:
            return False
        first, *lines = bytes(self._data[:end]).decode("latin-1").split("\r\n")
        fields = {}
        for line in lines:
            name, _, value = line.partition(":")
            fields[name.lower()] = value.strip()
        self._status = int(first.split()[1])
        self._id = fields.get("x-request-id", "-")
        self._retry_after = fields.get("retry-after", "-")
        self._is_last = fields.get("connection") == "close"
        if "content-length" in fields:
            self._length = int(fields["content-length"])
        self._body = end + 4
        return True

    def _note(self, how: str) -> None:
        """Write down the call's end, once."""
        if self._how:
            return
        self._how = how
        body = self._data[self._body :] if self._body else b""
        found = _CODE.search(body) if how in ("refused", "broken") else None
        code = found[1].decode() if found else "-"
        took = time.monotonic() - self._began
        told = (how, self._status, self._id, len(body), code)
        times = (f"{self._began:.3f}", f"{took:.3f}", self._retry_after)
        self._transcript.write("ended", self._name, *told, *times)

    def _end(self, how: str) -> None:
        """Note the end, unless it was, and let the next call come."""
        self._note(how)
        if self._is_last:
            self.closed = True
            self._transport.close()
        over, self._over = self._over, None
        if over is not None and not over.done():
            over.set_result(self._how)


class Clients:
    """All callers."""

    def __init__(
        self,
        port: int,
        keys: list[str],
        transcript: Transcript,
        *,
        seed: int,
        first: int,
        balanced: bool,
    ) -> None:
        """Call the gateway at a port of this machine."""
        self._balanced = balanced
        self._port = port
        self._keys = keys
        self._transcript = transcript
        self._chance = random.Random(seed)
        self._numbers = count(first)
        self._kinds = list(KINDS.values())
        self._weights = [kind.weight for kind in self._kinds]
        self._places = range(len(keys))
        self._shares = [POOR_SHARE if "poor" in key else 1.0 for key in keys]
        self._stopping = False
        self._accepting = asyncio.Event()

    async def run(self, callers: int) -> None:
        """Call until standard input ends; then let every call come to its end."""
        async with asyncio.TaskGroup() as tasks:
            watch = tasks.create_task(self._watch())
            for _ in range(callers):
                tasks.create_task(self._caller())
            await until_orphaned()
            self._stopping = True
            self._accepting.set()
            watch.cancel()

    async def _watch(self) -> None:
        """See when the gateway accepts connections again."""
        while True:
            await asyncio.sleep(PATIENCE)
            if self._accepting.is_set():
                continue
            with contextlib.suppress(OSError):
                if await self._is_open():
                    self._accepting.set()

    async def _is_open(self) -> bool:
        reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
        try:
            if not self._balanced:
                return True
            writer.write(READY)
            return (await reader.read()).startswith(b"HTTP/1.1 200")
        finally:
            writer.close()

    async def _caller(self) -> None:
        connection: Connection | None = None
        while not self._stopping:
            if connection is None or connection.closed:
                if connection is not None and self._balanced:
                    self._accepting.clear()
                connection = await self._connect()
                continue
            kind = self._chance.choices(self._kinds, self._weights)[0]
            number = next(self._numbers)
            place = self._chance.choices(self._places, self._shares)[0]
            request = self._request(kind, number, self._keys[place])
            over = connection.call(kind, request, f"{kind.name}-{number:07d} {place}")
            if kind.leaves and not kind.stream:
                loop = asyncio.get_running_loop()
                timer = loop.call_later(LEAVE_AFTER, connection.leave)
                over.add_done_callback(lambda _, timer=timer: timer.cancel())
            if await over == "refused":
                await asyncio.sleep(REFUSED_PAUSE)

    async def _connect(self) -> Connection | None:
        await self._accepting.wait()
        if self._stopping:
            return None
        loop = asyncio.get_running_loop()
        try:
            _, connection = await loop.create_connection(
                lambda: Connection(self._transcript), "127.0.0.1", self._port
            )
        except OSError:
            self._accepting.clear()
            return None
        return connection

    def _request(self, kind: Kind, number: int, key: str) -> bytes:
        body = body_of(kind, number)
        head = (
            f"POST {kind.path} HTTP/1.1\r\nHost: gateway\r\n"
            f"Authorization: Bearer {key}\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(body)}\r\n\r\n"
        )
        return head.encode() + body


def main() -> None:
    """Read the command line and call."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--gateway", type=int, required=True)
    parser.add_argument("--keys", required=True)
    parser.add_argument("--transcript", type=Path, required=True)
    parser.add_argument("--callers", type=int, default=80)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--first", type=int, default=1)
    parser.add_argument("--balanced", action="store_true")
    given = parser.parse_args()
    transcript = Transcript(given.transcript)
    keys = given.keys.split(",")

    async def run() -> None:
        clients = Clients(
            given.gateway,
            keys,
            transcript,
            seed=given.seed,
            first=given.first,
            balanced=given.balanced,
        )
        await clients.run(given.callers)

    uvloop.run(run())


if __name__ == "__main__":
    main()

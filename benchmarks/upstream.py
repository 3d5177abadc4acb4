"""The fake upstream: OpenAI-shaped answers from bytes made beforehand.

A request says in its `max_tokens` how many chunks its stream has. All open
streams stand in one ring; a kernel timer ticks RATE times a second, and each
tick writes one chunk to the next stream of the ring. So every chunk is a write
and a TCP segment of its own, neighbours in time belong to different connections,
and no gateway can batch unless it is late. The timer starts half a second after
the first stream came, so that opening streams and relaying chunks do not mix.
The model `silent` sends one chunk and then nothing; `flood` sends 200 MB, as fast
as they are taken. `GET /flooded` tells how many bytes the furthest of its streams has
sent, and all of them together.

`GET /rate/N` sets the rate; every other GET tells how many calls were answered.
Run: python -m benchmarks.upstream PORT RATE
"""

import asyncio
import re
import sys
from collections import deque
from http import HTTPStatus
from typing import ClassVar, cast

import httptools
import uvloop
from typing_extensions import override

from benchmarks.ticker import Ticker

GATHER_SECONDS = 0.5
MAX_TOKENS = re.compile(rb'"max_tokens": ?(\d+)')
HEAD = '{"id":"chatcmpl-bench","object":"%s","created":1750000000,"model":"bench",'
USAGE = (
    '"usage":{"prompt_tokens":1000,"completion_tokens":%d,"total_tokens":%d,'
    '"prompt_tokens_details":{"cached_tokens":0},'
    '"completion_tokens_details":{"reasoning_tokens":0}}}'
)
WORDS = "It runs as it should, and here is the short answer that was asked for."
STREAM_HEAD = (
    b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\n"
    b"cache-control: no-cache\r\ntransfer-encoding: chunked\r\n\r\n"
)


def reply(body: bytes, status: HTTPStatus = HTTPStatus.OK) -> bytes:
    """A whole unary response."""
    head = (
        f"HTTP/1.1 {status.value} {status.phrase}\r\n"
        f"content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def frame(payload: str) -> bytes:
    """One server-sent event as one HTTP chunk."""
    data = f"data: {payload}\n\n".encode()
    return b"%x\r\n%b\r\n" % (len(data), data)


def delta(content: str, finish: str) -> bytes:
    """One chunk of a streamed answer."""
    return frame(
        HEAD % "chat.completion.chunk"
        + f'"choices":[{{"index":0,"delta":{{{content}}},"finish_reason":{finish}}}]}}'
    )


UNARY = reply(
    (
        HEAD % "chat.completion"
        + '"choices":[{"index":0,"message":{"role":"assistant","content":"'
        + WORDS
        + '"},"finish_reason":"stop"}],'
        + USAGE % (20, 1020)
    ).encode()
)
MODELS = reply(b'{"object":"list","data":[{"id":"bench","object":"model"}]}')
CHUNKS = [
    delta(f'"content":" {word}"', "null")
    for word in ("it", "runs", "well", "and", "says", "so", "in", "words")
]
FINISH = delta("", '"stop"')
TERMINAL = frame("[DONE]") + b"0\r\n\r\n"
FLOOD = delta('"content":"' + "word " * 3_200 + '"', "null")
FLOOD_BYTES = 200_000_000


class Ring:
    """The open streams, each with the chunks that it still has to send."""

    def __init__(self, loop: asyncio.AbstractEventLoop, rate: float) -> None:
        self._streams: deque[Stream] = deque()
        self._ticker = Ticker(loop, self._tick)
        self.rate = rate
        self.served = 0

    def add(self, stream: "Stream") -> None:
        """Take in a stream; the first one sets the timer, which lets more come."""
        if not self._streams:
            self._ticker.every(1 / self.rate, after=GATHER_SECONDS)
        self._streams.append(stream)

    def _tick(self, passed: int) -> None:
        for _ in range(min(passed, len(self._streams))):
            stream = self._streams.popleft()
            if stream.step():
                self._streams.append(stream)
        if not self._streams:
            self._ticker.stop()


class Stream:
    """One streamed answer in progress."""

    __slots__ = ("_last", "_left", "_transport")

    def __init__(
        self, transport: asyncio.Transport, chunks: int, *, usage: bool
    ) -> None:
        self._transport = transport
        self._left = chunks
        self._last = [TERMINAL, FINISH]
        if usage:
            payload = HEAD % "chat.completion.chunk" + '"choices":[],' + USAGE
            self._last.insert(1, frame(payload % (chunks, 1000 + chunks)))

    def step(self) -> bool:
        """Write the next chunk; False when there is none after it."""
        if self._transport.is_closing():
            return False
        if self._left:
            self._left -= 1
            # LiteLLM ends a stream whose chunks are all alike.
            self._transport.write(CHUNKS[self._left % len(CHUNKS)])
            return True
        self._transport.write(self._last.pop())
        return bool(self._last)


class Flood:
    """One streamed answer that goes on for as long as it is taken."""

    furthest: ClassVar[int] = 0
    """Bytes that one of them has sent."""
    total: ClassVar[int] = 0
    """And all of them, what waits here included."""

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self._left = FLOOD_BYTES
        self.paused = False

    def go_on(self) -> None:
        """Write until the transport has enough; others have their turn between."""
        self.paused = False
        for _ in range(16):
            if self.paused or self._left <= 0 or self._transport.is_closing():
                break
            self._left -= len(FLOOD)
            Flood.total += len(FLOOD)
            self._transport.write(FLOOD)
        else:
            asyncio.get_running_loop().call_soon(self.go_on)
        waiting = self._transport.get_write_buffer_size()
        sent = FLOOD_BYTES - self._left - waiting
        Flood.furthest = max(Flood.furthest, sent)


class Connection(asyncio.Protocol):
    """One connection of a gateway."""

    def __init__(self, ring: Ring) -> None:
        self._ring = ring
        self._parser = httptools.HttpRequestParser(self)
        self._body = b""
        self._url = b""
        self._rate = 0.0
        self._flood: Flood | None = None
        self._transport: asyncio.Transport

    @override
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    @override
    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    @override
    def pause_writing(self) -> None:
        if self._flood is not None:
            self._flood.paused = True

    @override
    def resume_writing(self) -> None:
        if self._flood is not None:
            self._flood.go_on()

    def on_url(self, url: bytes) -> None:
        self._url = url

    def on_body(self, body: bytes) -> None:
        self._body += body

    def on_message_complete(self) -> None:
        body, self._body = self._body, b""
        if self._parser.get_method() == b"GET":
            self._transport.write(self._get())
            return
        self._ring.served += 1
        if b'"stream":true' not in body and b'"stream": true' not in body:
            self._transport.write(UNARY)
            return
        self._transport.write(STREAM_HEAD)
        if b'"silent"' in body:
            self._transport.write(CHUNKS[0])
            return
        if b'"flood"' in body:
            self._flood = Flood(self._transport)
            self._flood.go_on()
            return
        found = MAX_TOKENS.search(body)
        chunks = int(found[1]) if found else 20
        usage = b"include_usage" in body
        self._ring.add(Stream(self._transport, chunks, usage=usage))

    def _get(self) -> bytes:
        """Answer a GET; `/rate/N` sets the chunks per second."""
        if self._url.startswith(b"/rate/"):
            self._ring.rate = float(self._url[6:])
        if self._url.endswith(b"/models"):
            return MODELS
        if self._url == b"/flooded":
            return reply(b"%d %d" % (Flood.furthest, Flood.total))
        return reply(b"%d" % self._ring.served)


async def serve(port: int, rate: float) -> None:
    """Listen until the process ends."""
    loop = asyncio.get_running_loop()
    ring = Ring(loop, rate)
    server = await loop.create_server(
        lambda: Connection(ring), "127.0.0.1", port, backlog=4096
    )
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(serve(int(sys.argv[1]), float(sys.argv[2])))

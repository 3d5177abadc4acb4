"""Clients that do not read, and many that only wait, scaled down.

What nobody takes stays with the provider: neither memory nor descriptors grow
with it. A client that takes nothing for too long is cut off, and pays for what it
was given. `make soak` does it with more of them, for longer.
"""

import asyncio
import socket
import time
from pathlib import Path

import pytest
from msgspec import json
from tests.fakes import openai
from tests.fakes.steps import Behaviour, Hang, Request, Send, Wait, chunk
from tests.fakes.upstream import FakeUpstream
from tests.faults import scripts
from tests.faults.asked import PATHS, body_of
from tests.faults.channels import channel
from tests.faults.probe import Memory, Probe
from tests.faults.station import (
    KEY,
    KEYS,
    Leaks,
    coarse_timers_made_fine,
    eventually,
    play,
    running,
)
from tests.faults.wire import Peer, request_bytes
from tests.support.posthouse import Posthouse

CLIENTS = 10
PUSHED = 40 << 20
"""Bytes that a provider has for each of them."""
MOST = 512 << 10
"""Bytes of a server's memory for each."""
FRAME = 32 << 10
WARMING = 4
"""Clients that come first: what a server needs once is not theirs."""


def _pushing(request: Request) -> Behaviour:
    """Words without end, as fast as they are taken."""
    choice = {"index": 0, "delta": {"content": "word " * (FRAME // 5)}}
    frame = Send(chunk(scripts.event({"choices": [choice]})))
    words = (frame,) * (PUSHED // FRAME)
    return Behaviour("pushing", (Send(openai.stream_head()), *words, Hang()))


def _deaf(port: int) -> socket.socket:
    """Ask for a stream and read nothing of it."""
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16_384)
    client.connect(("127.0.0.1", port))
    body = json.encode(body_of("chat", "m", stream=True))
    headers = [("Authorization", f"Bearer {KEY}"), ("Content-Type", "application/json")]
    client.sendall(request_bytes(PATHS["chat"], body, headers))
    return client


async def _at_rest(provider: FakeUpstream, count: int) -> int:
    """Wait until a provider pushes no further; give the most that it has pushed."""
    seen: list[int] = []
    quiet = 0
    end = time.monotonic() + 60
    while quiet < 5:
        assert time.monotonic() < end, "it is not made to wait"
        await asyncio.sleep(0.1)
        now = [served.sent for served in provider.served]
        quiet = quiet + 1 if len(now) == count and now == seen else 0
        seen = now
    return max(seen)


def test_what_nobody_reads_stays_with_the_provider(tmp_path: Path) -> None:
    """The provider waits, and then the client is cut off and charged what it had."""

    async def test() -> None:
        async with FakeUpstream(_pushing) as provider:
            text = KEYS + channel("a", provider.origin)
            async with running(tmp_path, text, stalled_client_seconds=1.5) as station:
                leaks = Leaks()
                clients = [
                    await asyncio.to_thread(_deaf, station.port) for _ in range(CLIENTS)
                ]
                # Buffers of four sockets and ours, for each of them.
                assert await _at_rest(provider, CLIENTS) < 16 << 20
                async with asyncio.timeout(60):
                    while provider.open:
                        await asyncio.sleep(0.05)
                records = await station.ended(CLIENTS)
                for record in records:
                    assert record.outcome == "abandoned"
                    assert record.usage_source == "estimated"
                    assert record.price > 0
                assert not any(served.completed for served in provider.served)
                for client in clients:
                    client.close()
                await station.settled()
                await leaks.assert_none()

    play(test)


async def test_what_nobody_reads_takes_little_of_a_server_s_memory(
    tmp_path: Path,
) -> None:
    """Measured of its process alone: at its peak, for each of them."""
    async with FakeUpstream(_pushing) as provider:
        text = KEYS + channel("a", provider.origin)
        with Posthouse(tmp_path, text) as posthouse:
            port = int(posthouse.url.rpartition(":")[2])

            clients: list[socket.socket] = []

            async def come(count: int) -> int:
                clients.extend(
                    [await asyncio.to_thread(_deaf, port) for _ in range(count)]
                )
                return await _at_rest(provider, len(clients))

            await come(WARMING)
            with Memory(posthouse.process.pid) as memory:
                most = await come(CLIENTS)
            assert most < PUSHED, "it was not made to wait"
            assert memory.grown <= CLIENTS * MOST, memory.grown / CLIENTS
            for client in clients:
                client.close()


STREAMS = 150


def _late(request: Request) -> Behaviour:
    """A stream that says nothing for two seconds, and then all of it."""
    start, *rest = tuple(openai.chat(request).steps)
    return Behaviour("late", (start, Wait(2.0), *rest))


def test_streams_that_wait_are_kept_and_cost_little(tmp_path: Path) -> None:
    """Each hears comments, none breaks off, and others are served meanwhile."""

    async def test() -> None:
        def behave(request: Request) -> Behaviour:
            late = request.json.get("stream")
            return _late(request) if late else openai.answer(request)

        async with FakeUpstream(behave) as provider:
            text = KEYS + channel("a", provider.origin)
            times = {"commit_seconds": 0.2, "heartbeat_seconds": 0.3}
            async with running(tmp_path, text, **times) as station:
                body = json.encode(body_of("chat", "m", stream=True))
                with Probe() as probe:
                    peers: list[Peer] = [
                        await station.begin(PATHS["chat"], body) for _ in range(STREAMS)
                    ]
                    await eventually(lambda: len(provider.served) == STREAMS, "begin")
                    spent = time.process_time()
                    for _ in range(10):
                        whole = json.encode(body_of("chat", "m"))
                        reply = await station.ask(PATHS["chat"], whole)
                        assert reply.status == 200
                        await asyncio.sleep(0.05)
                    assert time.process_time() - spent < 1
                # Client, server and provider of each are in this process.
                assert probe.grown < STREAMS * (150 << 10), probe.grown
                for peer in peers:
                    seen = await peer.reply()
                    assert (seen.status, seen.ended) == (200, True)
                    assert seen.comments >= 2
                    await peer.close()

    with coarse_timers_made_fine():
        play(test)


@pytest.mark.parametrize("key", ["sk-nobody-has-this-key-0123456789", KEY])
def test_a_key_is_judged_before_a_body_is_read(tmp_path: Path, key: str) -> None:
    """20 MB are announced and none sent: who may not call hears so at once."""

    async def test() -> None:
        async with running(tmp_path, KEYS, body_seconds=2) as station:
            peer = await Peer.connect(station.port)
            lines = [
                f"POST {PATHS['chat']} HTTP/1.1",
                "Host: relay.test",
                f"Authorization: Bearer {key}",
                "Content-Type: application/json",
                f"Content-Length: {20 << 20}",
            ]
            began = time.monotonic()
            peer.writer.write("\r\n".join([*lines, "", ""]).encode())
            reply = await peer.reply()
            took = time.monotonic() - began
            await peer.close()
            if key == KEY:
                assert (reply.status, took > 1.8) == (408, True)
            else:
                assert (reply.status, took < 1.5) == (401, True)

    play(test)

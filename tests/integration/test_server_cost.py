"""What a request and a streamed chunk cost the server in CPU time.

Measured in a process of its own, by its own process_time over raw loopback
sockets, kernel time included. `python -m tests.integration.test_server_cost`
prints the figures; the test only guards against losing an order of magnitude,
since machines differ and are shared.
"""

import multiprocessing
import os
import socket
import sys
import time

from posthouse.server.request import Request
from posthouse.server.routes import Route

BODY = b'{"model":"gpt-4o","messages":[{"role":"user","content":"%b"}]}' % (b"x" * 4000)
REPLY = b'{"id":"1","choices":[{"message":{"content":"%b"}}]}' % (b"y" * 600)
CHUNK = b'data: {"choices":[{"delta":{"content":"token"}}]}\n\n'
CHUNKS = 2000
HEAD = (
    b"POST %b HTTP/1.1\r\nHost: 127.0.0.1:3000\r\nAccept: application/json\r\n"
    b"Accept-Encoding: gzip, deflate\r\nConnection: keep-alive\r\n"
    b"User-Agent: OpenAI/Python 2.8.0\r\nAuthorization: Bearer sk-0123456789\r\n"
    b"X-Stainless-Lang: python\r\nX-Stainless-Runtime: CPython\r\n"
    b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n"
)
UNARY = HEAD % (b"/v1/chat/completions", len(BODY)) + BODY
STREAM = HEAD % (b"/v1/stream", len(BODY)) + BODY


async def unary(request: Request) -> None:
    request.presented_key()
    await request.body(1 << 20)
    headers = [(b"content-type", b"application/json"), (b"x-ratelimit-limit", b"5")]
    await request.client.respond(200, headers, REPLY)


async def stream(request: Request) -> None:
    import asyncio

    await request.body(1 << 20)
    await request.client.start(200, [(b"content-type", b"text/event-stream")])
    for _ in range(CHUNKS):
        await request.client.write(CHUNK)
        # A real stream's chunks come one per turn of the loop.
        await asyncio.sleep(0)
    await request.client.finish(b"data: [DONE]\n\n")


async def spent(request: Request) -> None:
    body = repr((time.process_time(), *os.times()[:2])).encode()
    await request.client.respond(200, [], body)


async def empty_turns(request: Request) -> None:
    import asyncio

    for _ in range(CHUNKS):
        await asyncio.sleep(0)
    await request.client.respond(200, [], b"")


def serve(addresses) -> None:
    from tests.unit.server.harness import RunningServer

    server = RunningServer(
        [
            Route(("POST",), "/v1/chat/completions", unary),
            Route(("POST",), "/v1/stream", stream),
            Route(("GET",), "/spent", spent),
            Route(("GET",), "/turns", empty_turns),
        ]
    )
    addresses.put(server.address)
    server._thread.join()


def cpu(address) -> float:
    with socket.create_connection(address) as peer:
        peer.sendall(b"GET /spent HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        data = b""
        while part := peer.recv(65536):
            data += part
    return float(data.rpartition(b"(")[2].split(b",")[0])


def exchange(peer: socket.socket, request: bytes, end: bytes) -> None:
    peer.sendall(request)
    tail = b""
    while not tail.endswith(end):
        tail = (tail + peer.recv(1 << 20))[-64:]


def measure(rounds: int) -> dict[str, float]:
    """Give microseconds of server CPU per unary exchange and per chunk."""
    context = multiprocessing.get_context("spawn")
    addresses = context.Queue()
    process = context.Process(target=serve, args=(addresses,), daemon=True)
    process.start()
    try:
        address = addresses.get(timeout=60)
        with socket.create_connection(address) as peer:
            for _ in range(200):
                exchange(peer, UNARY, REPLY[-32:])
            before = cpu(address)
            for _ in range(rounds):
                exchange(peer, UNARY, REPLY[-32:])
            unary_cost = (cpu(address) - before) / rounds
            turns = b"GET /turns HTTP/1.1\r\nHost: a\r\n\r\n"
            streams = max(1, rounds // 200)
            before = cpu(address)
            for _ in range(streams):
                exchange(peer, turns, b"\r\n\r\n")
            turn_cost = cpu(address) - before
            before = cpu(address)
            for _ in range(streams):
                exchange(peer, STREAM, b"0\r\n\r\n")
            stream_cost = cpu(address) - before - turn_cost
    finally:
        process.terminate()
        process.join()
    return {
        "unary": unary_cost * 1e6,
        "chunk": stream_cost / streams / CHUNKS * 1e6,
    }


def test_the_server_costs_tens_of_microseconds_per_request() -> None:
    """A unary exchange and a chunk stay within ten times their budgets."""
    costs = measure(1000)
    assert costs["unary"] < 250
    assert costs["chunk"] < 50


if __name__ == "__main__":
    figures = measure(int(sys.argv[1]) if len(sys.argv) > 1 else 20000)
    print({name: round(value, 1) for name, value in figures.items()}, "µs CPU")

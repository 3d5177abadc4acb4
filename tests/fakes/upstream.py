"""A fake provider, scriptable to the byte, that journals what it served.

In a test:

    async with FakeUpstream(openai.answer) as provider:
        …  # call provider.origin
    assert provider.served[0].script == "chat"

`behaviour` is a function from a request to a `Behaviour`, or a list that is used
up in order. As its own process, which outlives a killed gateway:

    python -m tests.fakes.upstream --port 0 --journal FILE --behaviour NAME

prints its port, then serves until SIGTERM. `--behaviour openai` (the default)
answers like a provider, and a model named after a fault ("fault-u14-...") or any
other entry of `BEHAVIOURS` chooses that one. It speaks raw bytes: no HTTP library
stands between a script and the socket. An answer costs no task; thousands of
streams share the loop's timers.
"""

import argparse
import asyncio
import contextlib
import os
import signal
import socket
import ssl
import struct
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, Self

from tests.fakes.journal import Journal, Served
from tests.fakes.steps import (
    Behave,
    Behaviour,
    Close,
    Hang,
    Request,
    Reset,
    Send,
    Step,
    Wait,
    json_reply,
)
from typing_extensions import override

_LINGER_NOTHING = struct.pack("ii", 1, 0)


class FakeUpstream:
    """The server; use it as an async context manager, or `start` and `stop`."""

    def __init__(
        self,
        behaviour: Behave | Iterable[Behaviour],
        *,
        journal: Path | None = None,
        tls: ssl.SSLContext | None = None,
        receive_buffer: int | None = None,
    ) -> None:
        self.journal = Journal(journal)
        self.connections = 0
        """How many connections were ever accepted."""
        self.open: set[_Player] = set()
        self._behave = behaviour if callable(behaviour) else _Queue(behaviour)
        self._tls = tls
        self._receive_buffer = receive_buffer
        self._requests = 0
        self._server: asyncio.Server | None = None
        self.port = 0

    @property
    def served(self) -> list[Served]:
        """What was served, in the order of arrival."""
        return self.journal.served

    @property
    def origin(self) -> str:
        """Where it listens."""
        return f"{'https' if self._tls else 'http'}://127.0.0.1:{self.port}"

    async def start(self, port: int = 0) -> None:
        """Listen on 127.0.0.1."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(
            lambda: _Player(self), "127.0.0.1", port, ssl=self._tls, backlog=4096
        )
        listener = self._server.sockets[0]
        self.port = listener.getsockname()[1]
        if self._receive_buffer is not None:
            # Those that are accepted have it of the one that listens.
            listener.setsockopt(
                socket.SOL_SOCKET, socket.SO_RCVBUF, self._receive_buffer
            )

    async def stop(self) -> None:
        """Close everything."""
        if self._server is not None:
            self._server.close()
            for player in tuple(self.open):
                player.abort()
            await self._server.wait_closed()
            self._server = None
        for _ in range(3):
            await asyncio.sleep(0)
        self.journal.close()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    def answer(self, request: Request) -> tuple[Behaviour, Served]:
        """Choose what to do with a request and note it."""
        behaviour = self._behave(request)
        served = Served(
            id=f"{os.getpid():x}-{request.number}",
            request=request,
            script=behaviour.name,
            usage=behaviour.usage,
        )
        self.journal.received(served)
        return behaviour, served

    def next_number(self) -> int:
        """Count a request."""
        self._requests += 1
        return self._requests

    def at_accept(self, connection: int) -> Behaviour | None:
        """Give what to do with a new connection before it asked for anything."""
        greet = getattr(self._behave, "at_accept", None)
        return None if greet is None else greet(connection)

    @property
    def answers_heads(self) -> bool:
        """Whether requests are answered before their bodies are there."""
        return hasattr(self._behave, "at_head")

    def at_head(self, request: Request) -> tuple[Behaviour, Served]:
        """Give what to do with a request whose body is still to come."""
        request, behaviour = self._behave.at_head(request)  # type: ignore[attr-defined]
        served = Served("early", request, behaviour.name, behaviour.usage)
        self.journal.received(served)
        return behaviour, served


class _Queue:
    """Behaviours that are used up in order."""

    def __init__(self, behaviours: Iterable[Behaviour]) -> None:
        self._left = deque(behaviours)

    def __call__(self, request: Request) -> Behaviour:
        if not self._left:
            raise AssertionError(f"no script is left for {request.target}")
        return self._left.popleft()

    def at_accept(self, _: int) -> Behaviour | None:
        """Give the next behaviour if it does not wait for a request."""
        if self._left and self._left[0].before_reading:
            return self._left.popleft()
        return None


class _Player(asyncio.Protocol):
    """One connection: reads requests, plays answers, one at a time."""

    def __init__(self, fake: FakeUpstream) -> None:
        self._fake = fake
        self._transport: Any = None
        self._number = 0
        self._buffer = bytearray()
        self._steps: Iterator[Step] | None = None
        self._served: Served | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._paused = False
        self._waiting = False

    @override
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        self._fake.connections += 1
        self._number = self._fake.connections
        self._fake.open.add(self)
        greeting = self._fake.at_accept(self._number)
        if greeting is not None:
            request = Request(0, self._number, "", "", [], b"")
            served = Served("", request, greeting.name, greeting.usage)
            self._fake.journal.served.append(served)
            self._begin(greeting, served)

    @override
    def data_received(self, data: bytes) -> None:
        self._buffer += data
        self._serve_next()

    @override
    def connection_lost(self, exc: Exception | None) -> None:
        self._fake.open.discard(self)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._served is not None:
            self._end(completed=False)

    @override
    def pause_writing(self) -> None:
        self._paused = True

    @override
    def resume_writing(self) -> None:
        self._paused = False
        if self._steps is not None and not self._waiting:
            self._resume()

    def abort(self) -> None:
        """Close at once."""
        self._transport.abort()

    def _serve_next(self) -> None:
        """Answer the next whole request in the buffer, unless one is playing."""
        while self._steps is None and not self._transport.is_closing():
            parsed = parse_request(self._buffer)
            if parsed is None:
                self._serve_early()
                return
            method, target, headers, body = parsed
            number = self._fake.next_number()
            request = Request(number, self._number, method, target, headers, body)
            try:
                behaviour, served = self._fake.answer(request)
            except AssertionError as error:
                failure = {"error": {"message": str(error)}}
                self._transport.write(json_reply(500, failure))
                return
            self._begin(behaviour, served)

    def _serve_early(self) -> None:
        """Answer a head whose body is not there, and read no more; mostly not."""
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0 or not self._fake.answers_heads:
            return
        method, target, headers = parse_head(bytes(self._buffer[:end]))
        number = self._fake.next_number()
        request = Request(number, self._number, method, target, headers, b"")
        self._transport.pause_reading()
        self._begin(*self._fake.at_head(request))

    def _begin(self, behaviour: Behaviour, served: Served) -> None:
        """Play an answer from its first step."""
        steps = behaviour.steps
        self._steps = _marked(steps) if isinstance(steps, tuple) else iter(steps)
        self._served = served
        self._play()

    def _play(self) -> None:
        """Carry out steps until one of them takes time."""
        self._waiting = False
        self._timer = None
        while self._steps is not None and not self._paused:
            step = next(self._steps, None)
            if isinstance(step, Send):
                self._send(step)
            elif isinstance(step, Wait):
                self._waiting = True
                loop = asyncio.get_running_loop()
                self._timer = loop.call_later(step.seconds, self._resume)
                return
            elif isinstance(step, Hang):
                self._waiting = True
                return
            else:
                self._end(completed=True)
                if isinstance(step, Close):
                    self._transport.close()
                elif isinstance(step, Reset):
                    self._reset()

    def _resume(self) -> None:
        """Go on after a wait, and with the request behind this one."""
        self._play()
        if self._steps is None and self._buffer:
            self._serve_next()

    def _send(self, step: Send) -> None:
        """Write bytes; those that complete the answer are journaled first."""
        served = self._served
        assert served is not None
        if step.terminal:
            self._fake.journal.terminal(served)
        served.sent += len(step.data)
        self._transport.write(step.data)

    def _reset(self) -> None:
        """Close with a reset instead of a FIN."""
        raw = self._transport.get_extra_info("socket")
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_NOTHING)
        self._transport.abort()

    def _end(self, *, completed: bool) -> None:
        """Note the end of the answer."""
        served, self._served, self._steps = self._served, None, None
        if served is not None and served.id:
            self._fake.journal.ended(served, completed=completed)


def _marked(steps: tuple[Step, ...]) -> Iterator[Step]:
    """Mark the last bytes of a tuple of steps as the terminal ones."""
    last = max(
        (index for index, step in enumerate(steps) if isinstance(step, Send)),
        default=-1,
    )
    for index, step in enumerate(steps):
        if isinstance(step, Send) and index == last:
            yield Send(step.data, terminal=True)
        else:
            yield step


Parsed = tuple[str, str, list[tuple[bytes, bytes]], bytes]


def parse_request(buffer: bytearray) -> Parsed | None:
    """Take one whole request off a buffer; None if it is not whole yet."""
    end = buffer.find(b"\r\n\r\n")
    if end < 0:
        return None
    method, target, headers = parse_head(bytes(buffer[:end]))
    fields = dict(headers)
    if fields.get(b"transfer-encoding") == b"chunked":
        taken = _take_chunks(buffer, end + 4)
        if taken is None:
            return None
        body, end = taken
    else:
        size = int(fields.get(b"content-length", b"0"))
        if len(buffer) < end + 4 + size:
            return None
        body = bytes(buffer[end + 4 : end + 4 + size])
        end += 4 + size
    del buffer[:end]
    return method, target, headers, body


def parse_head(data: bytes) -> tuple[str, str, list[tuple[bytes, bytes]]]:
    """Take a head apart."""
    start, *lines = data.split(b"\r\n")
    method, target, _ = start.decode("latin-1").split(" ")
    headers = []
    for line in lines:
        name, _, value = line.partition(b":")
        headers.append((name.lower(), value.strip()))
    return method, target, headers


def _take_chunks(buffer: bytearray, at: int) -> tuple[bytes, int] | None:
    """Join a chunked body that begins at `at`; give it and where it ends."""
    body = b""
    while (line := buffer.find(b"\r\n", at)) >= 0:
        size = int(bytes(buffer[at:line]).partition(b";")[0], 16)
        data, at = line + 2, line + 2 + size + 2
        if len(buffer) < at:
            return None
        if size == 0:
            return body, at
        body += buffer[data : data + size]
    return None


@contextlib.asynccontextmanager
async def running(*fakes: FakeUpstream) -> AsyncIterator[None]:
    """Start several fakes and stop them afterwards."""
    async with contextlib.AsyncExitStack() as stack:
        for fake in fakes:
            await stack.enter_async_context(fake)
        yield


@contextlib.contextmanager
def refusing_origin() -> Iterator[str]:
    """Give an origin whose port refuses connections."""
    with socket.socket() as holder:
        # Bound and not listening: nobody else can take the port meanwhile.
        holder.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{holder.getsockname()[1]}"


@contextlib.contextmanager
def silent_origin(host: str = "127.0.0.1", port: int = 0) -> Iterator[str]:
    """Give an origin that never completes a TCP connection."""
    with socket.socket() as listener, socket.socket() as filler:
        listener.bind((host, port))
        listener.listen(0)
        filler.connect(listener.getsockname())
        yield f"http://{host}:{listener.getsockname()[1]}"


def choose(name: str) -> Callable[[Request], Behaviour]:
    """Find a behaviour by the name that the command line takes."""
    from tests.fakes.behaviours import BEHAVIOURS

    return BEHAVIOURS[name]


async def serve(arguments: argparse.Namespace) -> None:
    """Serve until SIGTERM or SIGINT."""
    fake = FakeUpstream(choose(arguments.behaviour), journal=arguments.journal)
    await fake.start(arguments.port)
    print(fake.port, flush=True)
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    await stop.wait()
    await fake.stop()


def main() -> None:
    """Read the command line and serve."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--journal", type=Path, default=None)
    parser.add_argument("--behaviour", default="openai")
    import uvloop

    uvloop.run(serve(parser.parse_args()))


if __name__ == "__main__":
    main()

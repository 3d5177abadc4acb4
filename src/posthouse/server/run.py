"""The server's life: bind, serve, drain, stop.

uvicorn's `Server` opens the listeners; its signal handling and shutdown, which
wait for streams for ever and tell them nothing, are not used. A stop goes:

1. Readiness answers 503 and every reply says `Connection: close`; connections
   are still accepted for the grace that a load balancer needs.
2. Listeners are closed, and idle connections a moment later, for a request may be
   on its way; what is under way may finish.
3. Past the limit they are told (`Exchange.on_cut`) and have `settle` seconds to
   end their replies and their books; then their connections are closed, and
   they have as long again before they are cancelled.

A second signal goes to step 3 at once.
"""

import asyncio
import gc
import signal
import socket
from collections.abc import Callable
from functools import partial

import uvloop
from msgspec import Struct
from uvicorn import Config
from uvicorn import Server as Listener

from posthouse.server.context import ServerContext
from posthouse.server.dispatch import Dispatcher
from posthouse.server.limits import ServerLimits
from posthouse.server.memory import return_large_blocks
from posthouse.server.protocol import Connection

_LOOK_AGAIN = 0.02
_ACCEPTED_AT_ONCE = 32
"""Connections that one turn of the loop takes, of each address.

uvloop takes one for each handle. With one handle and turns of five milliseconds, who
connects to a busy process would wait behind all others at 200 a second. Each handle
costs an idle process less than a microsecond for each new connection.
"""
_GC_THRESHOLDS = (20_000, 10, 10)


class DrainTimes(Struct, frozen=True):
    """How long a stop waits, in seconds."""

    grace: float = 0.0
    """Accepting on, until load balancers have seen the readiness."""
    finish: float = 120.0
    """For requests under way."""
    settle: float = 2.0
    """For what was told to end; twice, the second time without a client."""


def _more(listener: socket.socket) -> list[socket.socket]:
    """Give the further handles of a listening socket."""
    return [listener.dup() for _ in range(_ACCEPTED_AT_ONCE - 1)]


def _nothing() -> None:
    pass


class RunOptions(Struct, frozen=True):
    """What `run` may be told."""

    limits: ServerLimits = ServerLimits()
    drain: DrainTimes = DrainTimes()
    supervised: bool = False
    """SIGTERM may come more than once and never hurries; SIGINT does."""
    started: "Callable[[Server], None]" = lambda _server: None
    """Called once connections are accepted: with its addresses and figures."""
    reload: Callable[[], None] = _nothing
    """Called on SIGHUP."""
    draining: Callable[[], None] = _nothing
    """Called when a stop begins."""


class Server:
    """A running server; `run` is it with signals."""

    def __init__(
        self,
        dispatcher: Dispatcher,
        limits: ServerLimits | None = None,
        drain: DrainTimes | None = None,
    ) -> None:
        """Serve `dispatcher`."""
        self.context = ServerContext(
            dispatcher.render_refusal, limits or ServerLimits(), gate=dispatcher.gate
        )
        self.addresses: list[tuple[str, int]] = []
        """Where it listens, once started."""
        self._dispatcher = dispatcher
        self._drain = drain or DrainTimes()
        self._hurried = False
        self._cutting = False
        self._listener: Listener | None = None

    @property
    def open_connections(self) -> int:
        """Clients that are connected."""
        return len(self.context.connections)

    @property
    def in_flight(self) -> int:
        """Requests whose handlers run."""
        return len(self.context.tasks)

    async def start(self, sockets: list[socket.socket]) -> None:
        """Accept connections on bound sockets."""
        self.addresses = [listener.getsockname()[:2] for listener in sockets]
        config = Config(
            self._dispatcher,
            http=partial(  # type: ignore[arg-type]  # uvicorn only calls it
                Connection, application=self._dispatcher, context=self.context
            ),
            ws="none",
            lifespan="off",
            interface="asgi3",
            log_config=None,
            access_log=False,
            proxy_headers=False,
        )
        config.load()
        self._listener = Listener(config)
        self._listener.lifespan = config.lifespan_class(config)
        self.context.start()
        # One for each handle that the loop's library accepts by.
        every = [one for listener in sockets for one in (listener, *_more(listener))]
        await self._listener.startup(sockets=every)

    def hurry(self) -> None:
        """Wait for nothing more: cut what is still under way.

        What is being cut keeps its time: it settles money.
        """
        self._hurried = not self._cutting

    async def stop(self) -> None:
        """Drain and stop, as the module says."""
        context = self.context
        context.draining = True
        if self._drain.grace:
            await self._wait(self._drain.grace, lambda: False)
        if self._listener is not None:
            for server in self._listener.servers:
                server.close()
        for connection in self._connections():
            connection.shutdown()
        await self._wait(self._drain.finish, self._is_idle)
        self._cutting = True
        self._hurried = False
        for connection in self._connections():
            connection.cut()
        await self._wait(self._drain.settle, self._is_idle)
        for connection in self._connections():
            connection.transport.abort()
        await self._wait(self._drain.settle, self._is_idle)
        await self._cancel()
        context.stop()

    def _connections(self) -> list[Connection]:
        return [c for c in self.context.connections if isinstance(c, Connection)]

    def _is_idle(self) -> bool:
        return not self.context.tasks and not self.context.connections

    async def _wait(self, seconds: float, done: Callable[[], bool]) -> None:
        loop = asyncio.get_running_loop()
        end = loop.time() + seconds
        # Three conditions, none of which is an event.
        while not done() and not self._hurried and loop.time() < end:  # noqa: ASYNC110
            await asyncio.sleep(_LOOK_AGAIN)

    async def _cancel(self) -> None:
        tasks = list(self.context.tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def run(
    dispatcher: Dispatcher,
    sockets: list[socket.socket],
    options: RunOptions | None = None,
) -> None:
    """Serve on listening sockets until SIGTERM or SIGINT, then drain."""
    options = options or RunOptions()
    server = Server(dispatcher, options.limits, options.drain)
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()

    def on_stop(number: int) -> None:
        if stop.is_set():
            if number != signal.SIGTERM or not options.supervised:
                server.hurry()
        else:
            server.context.draining = True
            options.draining()
            stop.set()

    await server.start(sockets)
    # What start-up has made stays; scanning it again and again, at the default
    # threshold every few dozen requests, costs each request some microseconds.
    gc.collect()
    gc.freeze()
    gc.set_threshold(*_GC_THRESHOLDS)
    return_large_blocks()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, on_stop, number)
    loop.add_signal_handler(signal.SIGHUP, options.reload)
    try:
        options.started(server)
        await stop.wait()
    finally:
        try:
            await server.stop()
        finally:
            for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
                loop.remove_signal_handler(number)


def new_event_loop() -> asyncio.AbstractEventLoop:
    """Make the loop that the server is meant for, e.g. for `asyncio.Runner`."""
    return uvloop.new_event_loop()

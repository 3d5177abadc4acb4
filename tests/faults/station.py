"""A whole Posthouse in the test's own loop: socket, database, journal and all.

What a test needs to know of the inside (health, holds, descriptors, tasks) is
read here and nowhere else.
"""

import asyncio
import os
import socket
from collections.abc import (
    AsyncIterator,
    Awaitable,
    Callable,
    Coroutine,
    Iterable,
    Iterator,
)
from contextlib import asynccontextmanager, contextmanager, nullcontext
from pathlib import Path
from typing import Any, TypeVar
from unittest.mock import patch

import structlog
from tests.faults.wire import Fields, Peer, Reply, request_bytes
from tests.support import store

from posthouse.app import Application, run_options
from posthouse.billing.tokenizer import count_tokens
from posthouse.cli.installation import Installation, open_installation
from posthouse.model.call import CallRecord
from posthouse.routing.health import ChannelHealth
from posthouse.server.run import Server, new_event_loop
from posthouse.server.sockets import bind
from posthouse.settings.environment import load_settings
from posthouse.settings.loader import load_file
from posthouse.storage.audit import audit
from posthouse.storage.ledger.queries import LedgerLine

KEY = "sk-application-0123456789abcdef"
REFUSED = "a provider refused a credential; it is not used"
"""What tests bring about on purpose, though it is an alert."""
SETTLING = 30.0
"""Seconds within which descriptors and tasks must be back to where they were, on a
machine that has others to serve."""

QUICK = {"drain_seconds": 5, "drain_grace_seconds": 0, "changes_seconds": 5}
"""Settings of every test: nobody changes anything, nobody is waited for."""

EVERYTHING = 100_000
"""More than a test's calls."""

T = TypeVar("T")

KEYS = f"""
[[keys]]
name = "app"
key = "{KEY}"
balance_usd = "1000"

[[prices]]
model = "*"
input = "2"
cached_input = "0.5"
output = "8"
"""
"""What most tests' configurations begin with. 2000 nano-dollars a token read,
500 if it was cached, 8000 a token written."""


def play(work: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Run a test on the loop that the server is meant for."""
    # The first count in a process reads the tokenizer's ranks for a second.
    count_tokens("warm")
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        return runner.run(work())


@contextmanager
def coarse_timers_made_fine(period: float = 0.02) -> Iterator[None]:
    """Let limits of a third of a second be noticed in time."""
    with (
        patch("posthouse.upstream.sweep.PERIOD", period),
        patch("posthouse.relay.keepalive.SWEEP_EVERY", period),
    ):
        yield


async def eventually(condition: Callable[[], object], what: str) -> None:
    """Wait until a condition holds; fail if it does not."""
    loop = asyncio.get_running_loop()
    end = loop.time() + SETTLING
    while not condition():
        assert loop.time() < end, what
        await asyncio.sleep(0.005)


def descriptors() -> set[str]:
    """What this process has open, but for files: those are the database's."""
    return _but_files(_all_descriptors())


def _all_descriptors() -> set[str]:
    # Paths would cost as much as all the rest of a test.
    return set(os.listdir("/proc/self/fd"))  # noqa: PTH208


def _but_files(names: Iterable[str]) -> set[str]:
    found = set()
    for name in names:
        try:
            target = os.readlink(f"/proc/self/fd/{name}")  # noqa: PTH115
        except FileNotFoundError:
            continue
        if not target.startswith("/"):
            found.add(name)
    return found


class Station:
    """The running application, as tests use it."""

    def __init__(
        self,
        installation: Installation,
        application: Application,
        server: Server,
        logs: list[Any],
    ) -> None:
        """Made by `running`."""
        self.installation = installation
        self.application = application
        self.server = server
        self.logs = logs
        """What was logged, as dictionaries."""

    @property
    def port(self) -> int:
        """Where it listens."""
        return self.server.addresses[0][1]

    # --- calls --------------------------------------------------------------------

    async def begin(
        self, path: str, body: bytes, headers: Fields = (), key: str = KEY
    ) -> Peer:
        """Send a request and leave its reply to be read."""
        peer = await Peer.connect(self.port)
        fields = [("Authorization", f"Bearer {key}")]
        fields += [("Content-Type", "application/json"), *headers]
        peer.writer.write(request_bytes(path, body, fields))
        return peer

    async def ask(
        self, path: str, body: bytes, headers: Fields = (), key: str = KEY
    ) -> Reply:
        """Make a call and read its reply to the end."""
        peer = await self.begin(path, body, headers, key)
        try:
            return await peer.reply()
        finally:
            await peer.close()

    # --- books --------------------------------------------------------------------

    async def books(self, call_id: str) -> tuple[CallRecord, LedgerLine]:
        """A call's record and its one ledger line."""
        await self.application.holds.drain()
        stored = await self.installation.ledger.call(call_id)
        assert stored is not None, f"the call {call_id} has no record"
        lines = await self.installation.ledger.lines(call_id=call_id)
        assert len(lines) == 1, f"the call {call_id} has {len(lines)} ledger lines"
        return stored.record, lines[0]

    async def all_books(self) -> dict[str, tuple[CallRecord, list[LedgerLine]]]:
        """Every call's record and its ledger lines, by the call's id."""
        await self.application.holds.drain()
        lines: dict[str, list[LedgerLine]] = {}
        for line in await self.installation.ledger.lines(limit=EVERYTHING):
            lines.setdefault(line.reference, []).append(line)
        calls = await self.installation.ledger.calls(limit=EVERYTHING)
        records = (call.record for call in calls)
        return {record.id: (record, lines.get(record.id, [])) for record in records}

    async def ended(self, count: int) -> list[CallRecord]:
        """The records of all calls so far, once there are so many; oldest first."""

        async def enough() -> list[CallRecord]:
            await self.application.holds.drain()
            calls = await self.installation.ledger.calls(limit=EVERYTHING)
            return [call.record for call in reversed(calls)]

        loop = asyncio.get_running_loop()
        end = loop.time() + SETTLING
        while len(found := await enough()) < count and loop.time() < end:
            await asyncio.sleep(0.01)
        assert len(found) == count, f"{len(found)} calls of {count} have ended"
        return found

    async def assert_nothing_held(self) -> None:
        """No hold is open, and the ledger takes what has ended."""
        await eventually(
            lambda: not self.application.holds.open_holds, "a hold is left open"
        )
        await self.application.holds.drain()

    # --- the inside ---------------------------------------------------------------

    def health(self, channel: str) -> ChannelHealth:
        """A channel's health."""
        return self.application._health._channels.get(channel, ChannelHealth())

    @property
    def upstream(self) -> Any:
        """The client of providers."""
        return self.application._upstream

    def assert_idle(self) -> None:
        """No load, budget, hold or exchange is left of calls that are over."""
        loop = self.application.relay.ports.attempts
        assert loop._budget._retries == {}
        assert self.application.relay.ports.keep_alive._streams == set()
        assert self.application.holds.open_holds == 0
        for entry in self.application._health._channels.values():
            assert not entry.trial
        for routes in self.application.relay.snapshot.table._routes.values():
            for tier in routes.tiers if routes is not None else ():
                assert tier.total == 0
                assert not any(tier.in_flight)

    async def settled(self) -> None:
        """Wait until the handlers of calls that were answered have ended."""
        await eventually(lambda: not self.server.context.tasks, "a call goes on")
        upstream = self.upstream
        await eventually(
            lambda: upstream.open_connections == upstream.idle_connections,
            "an exchange goes on",
        )
        self.assert_idle()

    def idle_at(self, origin: str) -> int:
        """How many connections to a provider are kept for the next request."""
        return len(self.upstream._http1._direct[origin].idle)

    def hang_up(self) -> None:
        """Close the idle connections to providers."""
        self.upstream._sweep.drop_all()

    def hang_up_idle(self) -> None:
        """Close those that wait for a request, and no other."""
        for site in self.upstream._http1._direct.values():
            for connection in tuple(site.idle):
                connection.drop()


class Leaks:
    """Remembers what is open and under way, to see whether it comes back to that."""

    def __init__(self) -> None:
        """Take stock."""
        self._descriptors = descriptors()
        self._tasks = asyncio.all_tasks()

    async def assert_none(self) -> None:
        """Wait until nothing is open or under way that was not before."""
        # Whoever is at the other end of what was closed has to see it first.
        await asyncio.sleep(0.002)
        await eventually(self._is_all_closed, "descriptors are left open")
        await eventually(
            lambda: not (asyncio.all_tasks() - self._tasks), "tasks are left behind"
        )

    def _is_all_closed(self) -> bool:
        """Whether no more is open; those that were are not looked at one by one.

        One of them may be a file by now: then too much is counted, never too little,
        and all are looked at.
        """
        before = len(self._descriptors)
        names = _all_descriptors()
        kept = names & self._descriptors
        most = len(kept) + len(_but_files(names - kept))
        return most <= before or len(descriptors()) <= before


@asynccontextmanager
async def running(
    directory: Path, configuration: str, **settings: Any
) -> AsyncIterator[Station]:
    """Run Posthouse for a configuration file's text.

    Afterwards its books must be in order, nothing may have failed unexpectedly,
    and its end must leave nothing behind.
    """
    directory.mkdir(parents=True, exist_ok=True)
    file = directory / "posthouse.toml"
    file.write_text(configuration)
    given = load_settings(
        data=directory / "data",
        config=file,
        **{**QUICK, **settings},
    )
    with (
        structlog.testing.capture_logs() as logs,
        # A process to count tokens in would be started in every test.
        patch("posthouse.app.application.counting_elsewhere", lambda _: nullcontext()),
    ):
        if not given.data.exists():
            store.lay_out(given.data)
        async with open_installation(given) as installation:
            await installation.apply(load_file(file))
            application = Application(
                given,
                installation.database,
                box=installation.box,
                pepper=installation.pepper,
            )
            await application.start()
            options = run_options(given, started=lambda _: None, reload=lambda: None)
            server = Server(application.dispatcher(), options.limits, options.drain)
            await server.start(_sockets())
            station = Station(installation, application, server, logs)
            try:
                yield station
                await station.assert_nothing_held()
            finally:
                await server.stop()
                await application.close()
            report = await audit(installation.database, installation.journals)
            faults = [check for check in report.checks if not check.passed]
            assert report.clean, faults
        unexpected = [
            entry
            for entry in logs
            if entry["log_level"] == "error" and entry["event"] != REFUSED
        ]
        assert not unexpected, unexpected


def _sockets() -> list[socket.socket]:
    return bind("127.0.0.1", 0)


async def together(work: Awaitable[T], *others: Awaitable[T]) -> list[T]:
    """Wait for several at once."""
    return list(await asyncio.gather(work, *others))

"""Host names to addresses, remembered for a short while.

Rules: an answer is fresh for 60 s; while look-ups fail, or take longer than a
second, the last answer serves for up to ten minutes; one look-up per name is
under way at a time, whoever waits for it and whoever gives up waiting. The loop
is never blocked: the look-up runs in its thread pool.
"""

import asyncio
import socket
import time
from collections.abc import Awaitable, Callable
from ipaddress import ip_address

from msgspec import Struct

Lookup = Callable[[str], Awaitable[tuple[str, ...]]]
"""Gives a name's addresses in the order to try them; raises OSError."""

FRESH_SECONDS = 60.0
STALE_SECONDS = 600.0
PATIENCE_SECONDS = 1.0
"""How long a look-up may take before an older answer is used."""
REMEMBERED_NAMES = 1024


class _Answer(Struct, frozen=True):
    """What a name resolved to, and when."""

    addresses: tuple[str, ...]
    at: float


async def look_up(host: str) -> tuple[str, ...]:
    """Ask the system's resolver; IPv4 and IPv6 in the order it prefers."""
    loop = asyncio.get_running_loop()
    try:
        found = await loop.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except UnicodeError as error:
        raise OSError(f"not a host name: {error}") from None
    return tuple(dict.fromkeys(str(entry[4][0]) for entry in found))


def _is_literal(host: str) -> bool:
    """Whether a host is an IP address already."""
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


class Resolver:
    """A cache in front of a look-up."""

    def __init__(
        self,
        lookup: Lookup = look_up,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Start empty.

        Args:
            lookup: what asks; the system's resolver by default.
            clock: monotonic seconds.
        """
        self._lookup = lookup
        self._clock = clock
        self._answers: dict[str, _Answer] = {}
        self._running: dict[str, asyncio.Task[tuple[str, ...]]] = {}

    async def addresses(self, host: str) -> tuple[str, ...]:
        """Give the addresses of a host, at least one; raises OSError."""
        if _is_literal(host):
            return (host,)
        answer = self._answers.get(host)
        age = self._clock() - answer.at if answer is not None else STALE_SECONDS
        if answer is not None and age < FRESH_SECONDS:
            return answer.addresses
        task = self._task(host)
        if answer is None or age >= STALE_SECONDS:
            return await asyncio.shield(task)
        await asyncio.wait({task}, timeout=PATIENCE_SECONDS)
        if task.done() and not task.cancelled() and task.exception() is None:
            return task.result()
        return answer.addresses

    async def close(self) -> None:
        """Give up the look-ups that are under way."""
        tasks = list(self._running.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _task(self, host: str) -> asyncio.Task[tuple[str, ...]]:
        """Join the look-up under way for a host, or begin one."""
        task = self._running.get(host)
        if task is None:
            task = asyncio.get_running_loop().create_task(self._ask(host))
            self._running[host] = task
            task.add_done_callback(lambda done: self._ended(host, done))
        return task

    async def _ask(self, host: str) -> tuple[str, ...]:
        """Ask and remember."""
        addresses = await self._lookup(host)
        if not addresses:
            raise OSError(f"no address for {host}")
        if len(self._answers) >= REMEMBERED_NAMES:
            del self._answers[next(iter(self._answers))]
        self._answers[host] = _Answer(addresses, self._clock())
        return addresses

    def _ended(self, host: str, task: asyncio.Task[tuple[str, ...]]) -> None:
        """Forget a look-up; its error counts as seen even if nobody waits."""
        self._running.pop(host, None)
        if not task.cancelled():
            task.exception()

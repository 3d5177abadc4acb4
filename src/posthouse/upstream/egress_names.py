"""Look-ups of names that users chose, on threads of their own.

A name's owner can let its look-up take as long as the system's resolver has
patience. On the loop's own threads a handful of such names would hold up the
look-ups of providers, and all other work there; here they hold up each other.
"""

import asyncio
import socket
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

THREADS = 4
WAITING = 64
"""Look-ups that may be under way or wait; a further one fails at once."""


ask_system = partial(socket.getaddrinfo, type=socket.SOCK_STREAM)


class NameThreads:
    """Looks names up; `look_up` is a resolver's `Lookup`."""

    def __init__(
        self,
        ask: Callable[..., Any] = ask_system,
        *,
        threads: int = THREADS,
        waiting: int = WAITING,
    ) -> None:
        """Start no thread yet.

        Args:
            ask: called in a thread with a name and None, as getaddrinfo.
            threads: look-ups at the same time.
            waiting: look-ups under way or in line at most.
        """
        self._ask = ask
        self._most = waiting
        self._under_way = 0
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="egress-names")

    async def look_up(self, host: str) -> tuple[str, ...]:
        """Give a name's addresses in the order to try them; raises OSError."""
        if self._under_way >= self._most:
            raise OSError("too many names are being looked up")
        self._under_way += 1
        loop = asyncio.get_running_loop()
        try:
            found = await loop.run_in_executor(self._pool, self._ask, host, None)
        except UnicodeError as error:
            raise OSError(f"not a host name: {error}") from None
        finally:
            self._under_way -= 1
        return tuple(dict.fromkeys(str(entry[4][0]) for entry in found))

    def close(self) -> None:
        """Begin no further look-up; those under way are left to end."""
        self._pool.shutdown(wait=False, cancel_futures=True)

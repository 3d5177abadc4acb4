"""A proxy in a thread of its own, for tests that are not in its event loop."""

import asyncio
import threading
from collections.abc import Callable, Coroutine
from typing import Any, Self

from tests.fakes.tcp_proxy import TCPProxy


class Door:
    """Leads to a port of this machine, as well or badly as its proxy is told to."""

    def __init__(self, port: int) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self.proxy = TCPProxy(port)

    @property
    def port(self) -> int:
        """Where it is."""
        return self.proxy.port

    def __enter__(self) -> Self:
        """Open it."""
        self._thread.start()
        self._run(self.proxy.open)
        return self

    def __exit__(self, *_: object) -> None:
        """Close it."""
        self._run(self.proxy.shut)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def slow(self, seconds: float) -> None:
        """Carry answers so late; 0 makes it well again, for new connections."""
        self.proxy.delay = seconds
        if not seconds:
            self._run(self.proxy.cut)

    def _run(self, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        asyncio.run_coroutine_threadsafe(work(), self._loop).result(10)

"""Ends a wait when the caller goes away, without a task per call.

Only waits that are wrapped can be ended, so a settlement is never cut short.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from posthouse.relay.ports import Client

T = TypeVar("T")


class ClientGone(Exception):
    """The caller has closed its connection."""


class ClientWatch:
    """Watches one call's client on behalf of the task that serves it."""

    __slots__ = ("_client", "_ended", "_task", "_waiting", "drain")

    def __init__(self, client: Client) -> None:
        """Watch `client` for the current task."""
        self._client = client
        self._task = asyncio.current_task()
        self._waiting = False
        self._ended = False
        self.drain = False
        """Go on although nobody listens (the channel's policy)."""
        client.on_gone(self._on_gone)

    @property
    def gone(self) -> bool:
        """Whether the client is away."""
        return self._client.gone

    async def wait(self, start: Callable[[], Awaitable[T]]) -> T:
        """Wait for what `start` begins; raises ClientGone, unless draining."""
        if self._client.gone and not self.drain:
            raise ClientGone
        self._waiting = True
        try:
            return await start()
        except asyncio.CancelledError:
            if self._ended and self._task is not None and not self._task.uncancel():
                self._ended = False
                raise ClientGone from None
            raise
        finally:
            self._waiting = False

    def _on_gone(self) -> None:
        if self._waiting and not self.drain and self._task is not None:
            self._ended = True
            self._task.cancel()

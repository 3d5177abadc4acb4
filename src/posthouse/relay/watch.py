"""Ends a wait when the caller goes away, without a task per call.

Only waits inside `with watch:` can be ended, so a settlement is never cut
short; `drain` goes on although nobody listens.
"""

import asyncio
from types import TracebackType
from typing import Any

from posthouse.model.exchange import Certainty
from posthouse.relay.ports import Client


class ClientGone(Exception):
    """The caller has closed its connection."""

    def __init__(self, *, sent: bool = True) -> None:
        """Remember whether any of the attempt's request may have left."""
        self.sent = sent
        self.status = 0
        """The provider's HTTP status, 0 when none had arrived."""
        super().__init__()

    code = ""
    """Nobody's error."""

    @property
    def free(self) -> bool:
        """The provider asks nothing: it never got the request."""
        return not self.sent


class ClientWatch:
    """Watches one call's client on behalf of the task that serves it."""

    __slots__ = ("_ended", "_task", "_waiting", "client", "drain")

    def __init__(self, client: Client, task: "asyncio.Task[Any] | None" = None) -> None:
        """Watch `client` for the task that serves it, or for another one."""
        self.client = client
        self._task = client.task if task is None else task
        self._waiting = False
        self._ended = False
        self.drain = False
        """Go on although nobody listens (the channel's policy)."""
        client.on_gone(self._on_gone)

    @property
    def gone(self) -> bool:
        """Whether the client is away."""
        return self.client.gone

    def __enter__(self) -> None:
        """Begin a wait that the client's leaving ends; raises ClientGone."""
        if self.client.gone and not self.drain:
            raise ClientGone
        self._waiting = True

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """End the wait; a cancellation of our own becomes ClientGone."""
        self._waiting = False
        if (
            self._ended
            and kind is asyncio.CancelledError
            and self._task is not None
            and not self._task.uncancel()
        ):
            self._ended = False
            unsent = error is not None and Certainty.NOT_SENT in error.args
            raise ClientGone(sent=not unsent) from None

    def _on_gone(self) -> None:
        if self._waiting and not self.drain and self._task is not None:
            self._ended = True
            self._task.cancel()

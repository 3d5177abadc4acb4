"""Ends a wait when the caller goes away, without a task per call.

Only waits inside `with watch:` can be ended, so a settlement is never cut
short; `drain` goes on although nobody listens.
"""

import asyncio
from types import TracebackType
from typing import Any

from msgspec import Struct

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


class ClientWatch(Struct, eq=False):
    """Watches one call's client on behalf of the task that serves it.

    Whoever makes it has the client call `left`.
    """

    client: Client
    task: "asyncio.Task[Any] | None" = None
    """What serves the call; None: the client's own task."""
    drain: bool = False
    """Go on although nobody listens (the channel's policy)."""
    _waiting: bool = False
    _ended: bool = False

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
        if not self._ended or kind is not asyncio.CancelledError:
            return
        task = self.task or self.client.task
        if task is not None and not task.uncancel():
            self._ended = False
            unsent = error is not None and Certainty.NOT_SENT in error.args
            raise ClientGone(sent=not unsent) from None

    def left(self) -> None:
        """The client has gone away."""
        task = self.task or self.client.task
        if self._waiting and not self.drain and task is not None:
            self._ended = True
            task.cancel()

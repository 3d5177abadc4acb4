"""What a realtime session asks of its client's side and of the process."""

from collections.abc import Awaitable, Callable
from typing import Protocol

from posthouse.access.principal import Principal
from posthouse.dialects.resources.names import Named
from posthouse.model.call import CallRecord
from posthouse.relay.call import Call
from posthouse.relay.ports import Headers
from posthouse.routing.plan import Target
from posthouse.upstream.ports import MessageSocket

CallEnded = Callable[[Call, CallRecord, tuple[str, ...]], None]
"""Told every call, its record, and what was suspicious about its usage."""


class Door(Protocol):
    """The client's wish for a session."""

    opening: bytes | None
    """The event that the session begins with, before the client's; None: none."""
    authorize: Callable[[], Awaitable[Principal]]
    """Who the client is now; raises what the authenticator does."""
    require_own: Callable[[Target, Named], Awaitable[None]]
    """Holds what an event names to the client's own; raises NotFound."""

    def accept(self, headers: Headers) -> MessageSocket:
        """Open the client's socket; `headers` go with the answer."""

    def on_gone(self, callback: Callable[[], None]) -> None:
        """Call `callback` once when the client's connection is gone."""

    def on_cut(self, callback: Callable[[], None]) -> None:
        """Call `callback` if the server, shutting down, gives up waiting."""

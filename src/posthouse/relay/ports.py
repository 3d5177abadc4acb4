"""What the relay asks of the client's connection. `server` implements it."""

import asyncio
from collections.abc import Callable
from typing import Protocol

Headers = tuple[tuple[bytes, bytes], ...]


class Client(Protocol):
    """The caller's side of one call."""

    gone: bool
    """Whether the caller has closed its connection."""
    task: "asyncio.Task[None] | None"
    """What serves the call."""

    extra: bytes
    """Header lines that the reply gets beside those it is given."""

    def on_gone(self, callback: Callable[[], None]) -> None:
        """Call `callback` once when the caller goes away (at once if it has)."""

    async def start(self, status: int, headers: Headers) -> None:
        """Send the status line and headers; the body follows in chunks."""

    async def write(self, data: bytes) -> None:
        """Send a part of the body; waits while the caller reads too slowly."""

    async def finish(self, data: bytes = b"") -> None:
        """Send the last part and end the body properly."""

    async def respond(self, status: int, headers: Headers, body: bytes) -> None:
        """Send a whole reply in one go."""

    def abort(self) -> None:
        """End a started body without its terminator, after what was written."""

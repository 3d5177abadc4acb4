"""A WebSocket to a provider inside this process, as values.

The provider is a state machine that is told what was sent and gives what it says,
with delays; `upstream` plays it.
"""

from typing import Protocol

from msgspec import Struct


class Saying(Struct, frozen=True):
    """After `delay` seconds a message, or the end where there is a `close_code`."""

    kind: int = 0
    payload: bytes = b""
    delay: float = 0.0
    close_code: int = 0


class Talker(Protocol):
    """A provider's side of one socket."""

    @property
    def waiting(self) -> int:
        """How many sayings it has ready."""

    def take(self, kind: int, payload: bytes) -> None:
        """Hear a message."""

    def next(self) -> Saying | None:
        """Give what it says next; None: nothing, until it has heard more."""


class HandshakeRefused(Exception):
    """A provider answered a wish for a WebSocket with something else."""

    def __init__(
        self, status: int, headers: list[tuple[bytes, bytes]], body: bytes
    ) -> None:
        """Keep the reply; names of `headers` are in lower case."""
        self.status = status
        self.headers = headers
        self.body = body
        super().__init__(f"status {status}")

"""A WebSocket to a provider inside this process: messages, without bytes.

The provider is a state machine that is told what was sent and gives what it
says, with delays (`Talker`). It has no wire whose faults could be played: those
of sockets are tried with real ones.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from typing import Protocol

from msgspec import Struct
from typing_extensions import override

from posthouse.model.exchange import UpstreamRequest
from posthouse.upstream.ports import MessageSocket
from posthouse.wire.websocket import Message
from posthouse.wire.websocket_end import Closing

WAITING = 4096
"""Steps that may wait to be taken, from which what is sent has to wait, too."""


class Saying(Struct, frozen=True):
    """After `delay` seconds, a message; or the end, where there is a `closing`."""

    kind: int = 0
    payload: bytes = b""
    delay: float = 0.0
    closing: Closing | None = None


class Talker(Protocol):
    """A provider's side of one socket."""

    def begin(self) -> Sequence[Saying]:
        """What it says before it is told anything."""

    def take(self, kind: int, payload: bytes) -> Sequence[Saying]:
        """What it says to a message."""


Talk = Callable[[UpstreamRequest], Talker]
"""Gives who answers a handshake; raises HandshakeRefused."""


class InProcessSocket(MessageSocket):
    """Our end of such a socket."""

    def __init__(self, talker: Talker) -> None:
        """Begin to listen."""
        self._talker = talker
        self._sayings: deque[Saying] = deque(talker.begin())
        self._changed = asyncio.Event()
        self.closing: Closing | None = None

    @override
    async def receive(self) -> Message | None:
        while self.closing is None:
            if not self._sayings:
                self._changed.clear()
                await self._changed.wait()
                continue
            saying = self._sayings[0]
            if saying.delay:
                await asyncio.sleep(saying.delay)
            if not self._sayings or self._sayings[0] is not saying:
                continue
            self._sayings.popleft()
            self._changed.set()
            if saying.closing is not None:
                self.closing = saying.closing
            elif self.closing is None:
                return saying.kind, saying.payload
        return None

    @override
    async def send(self, kind: int, payload: bytes) -> None:
        while len(self._sayings) > WAITING and self.closing is None:
            self._changed.clear()
            await self._changed.wait()
        if self.closing is None:
            self._sayings += self._talker.take(kind, payload)
            self._changed.set()

    @override
    def close(self, closing: Closing) -> None:
        if self.closing is None:
            self.closing = closing
        self._sayings.clear()
        self._changed.set()

    @override
    async def farewell(self) -> None:
        return

    @override
    def abort(self) -> None:
        self.close(Closing(1006))

    @override
    def look(self) -> None:
        return

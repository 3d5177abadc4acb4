"""A WebSocket to a provider inside this process: messages, without bytes.

The provider is a `Talker`. It has no wire whose faults could be played: those of
sockets are tried with real ones.
"""

import asyncio
from collections.abc import Callable

from typing_extensions import override

from posthouse.model.exchange import UpstreamRequest
from posthouse.model.sockets import Talker
from posthouse.upstream.ports import MessageSocket
from posthouse.wire.websocket import Message
from posthouse.wire.websocket_end import LOST, Closing

Talk = Callable[[UpstreamRequest], Talker]
"""Gives who answers a handshake; raises HandshakeRefused."""

WAITING = 1024
"""Sayings that may wait to be taken; beyond, what is sent has to wait as well."""


class InProcessSocket(MessageSocket):
    """Our end of such a socket."""

    def __init__(self, talker: Talker) -> None:
        """Begin to listen."""
        self._talker = talker
        self._heard = asyncio.Event()
        self._taken = asyncio.Event()
        self.closing: Closing | None = None

    @override
    async def receive(self) -> Message | None:
        while self.closing is None:
            saying = self._talker.next()
            self._taken.set()
            if saying is None:
                self._heard.clear()
                await self._heard.wait()
                continue
            if saying.delay:
                await asyncio.sleep(saying.delay)
            else:
                # Others have their turn, as between two reads of a wire.
                await asyncio.sleep(0)
            if self.closing is not None:
                break
            if saying.close_code:
                self.closing = Closing(saying.close_code)
                break
            return saying.kind, saying.payload
        return None

    @override
    async def send(self, kind: int, payload: bytes) -> None:
        while self._talker.waiting > WAITING and self.closing is None:
            self._taken.clear()
            await self._taken.wait()
        if self.closing is None:
            self._talker.take(kind, payload)
            self._heard.set()

    @override
    def close(self, closing: Closing) -> None:
        if self.closing is None:
            self.closing = closing
        self._heard.set()
        self._taken.set()

    @override
    async def farewell(self) -> None:
        return

    @override
    def abort(self) -> None:
        self.close(Closing(LOST))

    @override
    def look(self) -> None:
        return

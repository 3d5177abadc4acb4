"""A connection for one request whose body comes in pieces, as fast as it is taken.

It is never used again: a provider may answer before it has the whole body.
"""

import asyncio
from collections.abc import Callable

from typing_extensions import override

from posthouse.model.exchange import (
    Certainty,
    ExchangeFailure,
    FailureKind,
    Timeouts,
)
from posthouse.upstream.connection import Connection, closed_before
from posthouse.upstream.ports import Content
from posthouse.upstream.response import Response
from posthouse.upstream.sweep import Sweep


class PouringConnection(Connection):
    """The protocol behind one transport."""

    def __init__(self, sweep: Sweep, clock: Callable[[], float]) -> None:
        """Wait for a transport; `clock` gives monotonic seconds."""
        super().__init__(_Once(sweep), clock)

    async def pour(
        self, head: bytes, content: Content, timeouts: Timeouts, started: float
    ) -> Response:
        """Send a request and wait for its reply's head; raises ExchangeFailure.

        Args:
            head: up to the body.
            content: the body.
            timeouts: the limits of the exchange.
            started: when the exchange began, by the connection's clock.
        """
        response = self.begin((head,), timeouts, started)
        transport = self._transport
        if response is None or transport is None:
            raise closed_before()
        # It is not waited for yet.
        response.since = 0.0
        try:
            await self._pour(transport, content, response)
            while _is_waited_for(response):
                await response.arrival()
        except BaseException:
            response.abort()
            raise
        if not response.status and response.failure is not None:
            raise response.failure
        return response

    async def _pour(
        self, transport: asyncio.Transport, content: Content, response: Response
    ) -> None:
        """Write a body; stop where the provider has answered before its end."""
        left = content.size
        async for piece in content.pieces:
            left -= len(piece)
            if left < 0:
                break
            transport.write(piece)
            # The transport says only in the loop's next round that it is full.
            await asyncio.sleep(0)
            while self._writing and _is_waited_for(response):
                await self._room(response)
            if not _is_waited_for(response):
                return
        if left:
            raise ExchangeFailure(
                FailureKind.ABORTED,
                Certainty.POSSIBLY_ACCEPTED,
                "the body has another size than was said",
            )

    async def _room(self, response: Response) -> None:
        """Wait until the provider has taken what waits, or has something to say."""
        response.waiter = self.loop.create_future()
        try:
            await response.waiter
        finally:
            response.waiter = None

    @override
    def resume_writing(self) -> None:
        """Let more be written."""
        super().resume_writing()
        if self._response is not None:
            self._response.wake()


def _is_waited_for(response: Response) -> bool:
    return not response.status and response.failure is None


class _Once:
    """Owns a connection that nobody uses again."""

    def __init__(self, sweep: Sweep) -> None:
        self._sweep = sweep

    def released(self, connection: Connection) -> None:
        """Close."""
        connection.drop()

    def lost(self, connection: Connection) -> None:
        """Forget a closed connection."""
        self._sweep.discard(connection)

"""What the relay asks of an HTTP client. Any correct client may stand behind it."""

from collections.abc import AsyncIterator, Callable
from typing import Protocol

from msgspec import Struct

from posthouse.model.exchange import UpstreamRequest
from posthouse.wire.websocket import Message
from posthouse.wire.websocket_end import Closing

Resending = Callable[[], None]
"""Told that a request is about to be sent a second time."""


class UpstreamResponse(Protocol):
    """A reply whose status line and headers have arrived."""

    status: int

    @property
    def headers(self) -> list[tuple[bytes, bytes]]:
        """Names in lower case, in the order of arrival."""

    async def read(self) -> bytes:
        """Give the body's next bytes, whatever has arrived; b"" at its end.

        Reading paces the provider: what is not read is not buffered beyond a
        fixed amount. Raises ExchangeFailure.
        """

    async def read_all(self, limit: int) -> bytes:
        """Give the rest of the body; more than `limit` bytes is TOO_LARGE."""

    def release(self) -> None:
        """Let go of a reply whose remaining bytes are of no interest.

        They are discarded; where the body's end comes within a second or so
        the connection returns to the pool, else it is closed.
        """

    def abort(self) -> None:
        """Close at once; a waiting read ends with ABORTED. Safe to call twice.

        Needed unless read() has given b"": a reply that was read to its end
        has returned its connection to the pool by itself.
        """


class Sender(Protocol):
    """Sends requests to providers."""

    async def send(
        self, request: UpstreamRequest, resending: Resending | None = None
    ) -> UpstreamResponse:
        """Send and wait for the reply's head; raises ExchangeFailure.

        Never follows a redirect, never reads proxies or credentials from the
        environment, and asks for no compression. A request that failed on a
        kept-alive connection before any byte came back, where the provider
        had closed it first, is sent once more on a fresh connection; whether
        the provider has read it before, nobody knows, so `resending` is told.
        When it is cancelled before anything was sent, the CancelledError says
        so: its argument is Certainty.NOT_SENT.
        """

    async def close(self) -> None:
        """Close idle connections and abort the others."""


class Content(Struct, frozen=True):
    """A body that is never in memory as a whole."""

    size: int
    """Bytes that all pieces together have."""
    pieces: AsyncIterator[bytes]


class Uploader(Protocol):
    """Sends requests whose bodies are large."""

    async def upload(
        self, request: UpstreamRequest, content: Content
    ) -> UpstreamResponse:
        """Send a request with `content` in place of its body; as `Sender.send`.

        The body is read as fast as the provider takes it, and what reading raises is
        raised. Nothing is sent twice.
        """


class MessageSocket(Protocol):
    """An open WebSocket, a client's or a provider's."""

    closing: Closing | None
    """How it ended, as its other side has it; None while it is open."""

    async def receive(self) -> Message | None:
        """Give the next message; None: there will be none (see `closing`)."""

    async def send(self, kind: int, payload: bytes) -> None:
        """Send a message; waits while the other side takes nothing."""

    def close(self, closing: Closing) -> None:
        """Close; nothing more is received."""

    async def farewell(self) -> None:
        """Wait for the connection's end after `close`, but not for long."""

    def abort(self) -> None:
        """Drop the connection."""

    def look(self) -> None:
        """Hold the other side to its times; called every few seconds."""


class Opener(Protocol):
    """Opens WebSockets to providers."""

    async def open(self, request: UpstreamRequest) -> MessageSocket:
        """Shake hands; raises ExchangeFailure and HandshakeRefused.

        Of the request's limits `connect` and `first_byte` hold; its body is not
        sent. A proxy is gone through like any other request's.
        """

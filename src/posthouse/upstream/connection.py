"""One HTTP/1.1 connection to a provider, reused over many exchanges.

Bytes go from the transport through httptools' response parser straight into the
current `Response`; no task and no timer is made per exchange. Rules:

- The connection belongs to at most one exchange. It is handed back to its owner
  only when a reply was complete, keep-alive, followed by no further byte, and our
  own request had been written whole; in every other case it is closed.
- Bytes or EOF that arrive between exchanges close it.
- More than `HIGH_WATER` unread bytes pause the socket until the reader wants
  more, and from then on it is read in pieces.
- Deadlines are looked at by `check`, which a coarse sweep calls.

What the parser itself refuses: Content-Length beside Transfer-Encoding or twice,
bad chunk framing, folded headers, control bytes in headers, bare CR or LF. The
rest of the limits are here. Because of that strictness a head's lines are what
stands between its CRLFs, so no call per field is made: the head is kept as bytes,
and split only for who asks for its fields.
"""

import asyncio
from collections.abc import Callable
from typing import Any, Protocol

import httptools
from typing_extensions import override

from posthouse.model.exchange import (
    Certainty,
    ExchangeFailure,
    FailureKind,
    Timeouts,
)
from posthouse.upstream.head import cut_head, split_head
from posthouse.upstream.pace import Pace
from posthouse.upstream.pieces import InPieces
from posthouse.upstream.response import Response

HIGH_WATER = 64 * 1024
"""Unread bytes of a reply at which the socket is paused."""
SENT_TOGETHER = 64 * 1024
"""Bytes of a request up to which it may wait for the end of the loop's turn."""
HEAD_BYTES = 64 * 1024
HEAD_FIELDS = 128
INTERIM_REPLIES = 8
"""How many 1xx replies may come before the real one."""
BARREN_BYTES = 64 * 1024
"""How much framing, such as chunk extensions and trailers, may bring no body."""

RELEASE_SECONDS = 1.0
"""How long the rest of a reply that nobody wants may take."""


class Owner(Protocol):
    """Who keeps connections between exchanges."""

    def released(self, connection: "Connection") -> None:
        """An exchange ended well; the connection can serve another."""

    def lost(self, connection: "Connection") -> None:
        """The connection is gone."""


class Connection(asyncio.Protocol):
    """The protocol behind one transport."""

    def __init__(self, owner: Owner, clock: Callable[[], float]) -> None:
        """Wait for a transport; `clock` gives monotonic seconds."""
        self._owner = owner
        self.clock = clock
        # Kept, since asking for the running loop is a system call.
        self.loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._response: Response | None = None
        self._arrived: list[bytes] = []
        # Read by the parser's constructor: body bytes need no Python call.
        self.on_body = self._arrived.append
        self._parser: Any = httptools.HttpResponseParser(self)
        self._received: list[bytes] = []
        """What arrived up to the head's end, as it came."""
        self._head_bytes = 0
        self._barren_bytes = 0
        self._interims = 0
        self._status = 0
        self._end = -1
        self._keep_alive = False
        self._surplus = False
        self._until_eof = False
        self._broken = ""
        self._writing = False
        self._in_pieces = False
        """More has come than the reader took: what follows is read in pieces."""
        self._unsent = 0
        self.idle_since = clock()
        self.due = 0.0
        """When `check` is to be called next; at once after every change."""

    # What the owner calls.

    @property
    def usable(self) -> bool:
        """Whether a request can be sent now."""
        return self._transport is not None and not self._transport.is_closing()

    async def exchange(
        self,
        payload: tuple[bytes, ...],
        timeouts: Timeouts,
        started: float,
        *,
        body_less: bool,
    ) -> Response:
        """Send a request and wait for its reply's head.

        Args:
            payload: the request's bytes, written one after the other.
            timeouts: the limits of the exchange.
            started: when the exchange began, by the connection's clock.
            body_less: the method is HEAD, whose reply has no body.
        """
        transport = self._transport
        if transport is None or transport.is_closing():
            raise ExchangeFailure(
                FailureKind.CONNECT, Certainty.NOT_SENT, "closed before the request"
            )
        response = Response(self, timeouts, started)
        if body_less:
            response.body_less = True
        self._begin(response)
        for piece in payload:
            transport.write(piece)
        response.since = self.clock()
        response.waiter = self.loop.create_future()
        try:
            # Woken when the head is there or cannot come any more.
            await response.waiter
        except BaseException:
            response.abort()
            raise
        response.waiter = None
        if not response.status and response.failure is not None:
            raise response.failure
        return response

    def _begin(self, response: Response) -> None:
        """Forget the last exchange and point at the next."""
        self._response = response
        self._received.clear()
        self._head_bytes = self._barren_bytes = self._interims = self._status = 0
        self._end = -1
        self._keep_alive = self._until_eof = self._surplus = False
        self.due = 0.0
        self._broken = ""

    def check(self, now: float, keep_alive: float, pace: Pace) -> None:
        """Close what has passed a limit; set when to look again.

        Args:
            now: the clock's time.
            keep_alive: how long the connection may be idle, in seconds.
            pace: how slow a reply may be.
        """
        response = self._response
        if response is None:
            self.due = self.idle_since + keep_alive
            if now >= self.due:
                self.drop()
        elif response.released:
            self.due = response.released + RELEASE_SECONDS
            if now >= self.due:
                self.abort()
        else:
            self._check_exchange(response, now, pace)

    def _check_exchange(self, response: Response, now: float, pace: Pace) -> None:
        """End an exchange that has passed a limit.

        A silence that has not begun yet, begins now at the earliest: `due` is
        never later than the first limit that can be passed.
        """
        limits = response.timeouts
        if self._writing and self._upload_moved():
            response.since = now
        silence = limits.idle if response.status else limits.first_byte
        silent = (response.since or now) + silence
        over = response.started + limits.total
        slow = pace.ends(response, now) if response.status else over
        self.due = now if self._writing else min(silent, over, slow)
        if now >= over:
            self._fail(FailureKind.TOTAL_TIMEOUT, f"{limits.total:g} s in all")
        elif now >= slow:
            self._fail(FailureKind.IDLE_TIMEOUT, f"less than {pace.bytes} bytes")
        elif now < silent:
            return
        elif response.status:
            self._fail(FailureKind.IDLE_TIMEOUT, f"silent for {silence:g} s")
        else:
            self._fail(FailureKind.FIRST_BYTE_TIMEOUT, f"no reply in {silence:g} s")

    def _upload_moved(self) -> bool:
        """Whether the provider has taken request bytes since the last look."""
        unsent = self._transport.get_write_buffer_size() if self._transport else 0
        moved = unsent != self._unsent
        self._unsent = unsent
        return moved

    def abort(self) -> None:
        """Close at once; an exchange under way ends with ABORTED."""
        if self._response is not None:
            self._response.abort()
        else:
            self.drop()

    # What the response calls.

    def let_go(self) -> None:
        """Discard the rest of the reply, within a bound of time and bytes."""
        self.due = 0.0
        self.resume()

    def resume(self) -> None:
        """Read from the provider again, if it was made to wait."""
        response, transport = self._response, self._transport
        if response is not None and response.paused and transport is not None:
            response.paused = False
            # It could not be any faster until now.
            response.window_since = 0.0
            transport.resume_reading()

    def drop(self) -> None:
        """Close at once; the owner never sees this connection again."""
        self._response = None
        transport, self._transport = self._transport, None
        if transport is not None:
            transport.abort()
            self._owner.lost(self)

    # What the transport calls.

    @override
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        # uvloop's transports are not subclasses of asyncio's.
        self._transport = transport  # type: ignore[assignment]
        # What is larger is sent at once, and told when it waits. The usual request
        # leaves at the end of the loop's turn, with those of other calls: one that
        # is sent alone wakes a provider's process, or a card, for itself.
        transport.set_write_buffer_limits(high=SENT_TOGETHER, low=0)  # type: ignore[attr-defined]

    @override
    def pause_writing(self) -> None:
        """Note that request bytes wait in the transport."""
        self._writing = True
        self._unsent = -1
        self.due = 0.0

    @override
    def resume_writing(self) -> None:
        """Note that the request has left; the wait for a reply begins here."""
        self._writing = False
        response = self._response
        if response is not None and not response.status:
            response.since = self.clock()

    @override
    def data_received(self, data: bytes) -> None:
        """Parse, hand over what came, wake the reader."""
        response = self._response
        if response is None:
            self.drop()
            return
        headless = not response.status
        if headless:
            self._received.append(data)
            self._head_bytes += len(data)
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            if not self._broken:
                self._broken = str(error)
        if headless and self._status:
            self._publish_head(response)
        arrived = self._arrived
        if arrived:
            self._take_body(response, len(data))
        elif not headless:
            self._barren_bytes += len(data)
        if self._end >= 0 and response.status:
            self._finish(response)
        elif self._broken or self._barren_bytes > BARREN_BYTES or not response.status:
            self._judge()
        else:
            response.wake()

    def _publish_head(self, response: Response) -> None:
        """Give the reader the head that has just become whole."""
        received = self._received
        data = received[0] if len(received) == 1 else b"".join(received)
        received.clear()
        head = cut_head(data, self._interims)
        size = len(head)
        # Each field takes four bytes at least.
        if size > 4 * HEAD_FIELDS and (
            size > HEAD_BYTES or head.count(b"\r") > HEAD_FIELDS
        ):
            self._broken = "the head is too large"
            return
        fields = head.lower()
        # The usual reply names no coding, and tells its length.
        if fields.find(b"encoding:") >= 0:
            if not self._note_codings(response, head):
                self._broken = "unknown Transfer-Encoding"
                return
        elif self._end < 0 and fields.find(b"\ncontent-length:") < 0:
            self._until_eof = True
        response.head = head
        response.status = self._status
        response.since = self.due = 0.0
        if response.body_less:
            self._end = 0
            self._keep_alive = False

    def _note_codings(self, response: Response, head: bytes) -> bool:
        """Note how the body is framed and coded; false where that is not known."""
        fields = split_head(head)
        framing = [v.lower() for name, v in fields if name == b"transfer-encoding"]
        if framing:
            # Every coding but one plain `chunked` is refused.
            if framing != [b"chunked"]:
                return False
        elif b"content-length" not in dict(fields):
            self._until_eof = True
        response.encoding = b", ".join(
            value for name, value in fields if name == b"content-encoding"
        )
        return True

    def _take_body(self, response: Response, size: int) -> None:
        """Hand over the body's pieces that came in a read of `size` bytes."""
        arrived = self._arrived
        if self._end >= 0:
            del arrived[self._end :]
        response.chunks += arrived
        arrived.clear()
        response.since = 0.0
        response.received = received = response.received + size
        self._barren_bytes = 0
        if received - response.taken > HIGH_WATER and response.status and self._end < 0:
            self._hold_back(response)

    def _judge(self) -> None:
        """Decide what bytes mean that brought no usual piece of a reply."""
        if self._broken:
            self._fail(FailureKind.PROTOCOL, self._broken)
        elif self._barren_bytes > BARREN_BYTES:
            self._fail(FailureKind.PROTOCOL, "framing without a body")
        elif self._head_bytes > HEAD_BYTES:
            self._fail(FailureKind.PROTOCOL, "the head is too large")

    def _hold_back(self, response: Response) -> None:
        """Let the provider wait until the reader has caught up."""
        if response.released:
            response.abort()
        elif not response.paused and self._transport is not None:
            response.paused = True
            self._transport.pause_reading()
            if not self._in_pieces:
                self._in_pieces = True
                self._transport.set_protocol(InPieces(self))

    @override
    def eof_received(self) -> None:
        """End the reply; returning None lets the transport close itself."""
        self._over(None)

    @override
    def connection_lost(self, exc: Exception | None) -> None:
        """End the reply, if one was under way."""
        self._over(exc)
        # The parser holds bound methods of ours: break the circle.
        self._parser = None

    def _over(self, exc: Exception | None) -> None:
        """Judge what the end of the connection means for the reply."""
        response = self._response
        if response is None:
            self.drop()
        elif self._until_eof and response.status and exc is None:
            self._keep_alive = False
            self._finish(response)
        else:
            where = "inside the reply" if self._head_bytes else "before any reply"
            self._fail(FailureKind.RESET, f"closed {where}: {exc or 'EOF'}")

    def _finish(self, response: Response) -> None:
        """Let go of a complete reply; keep the connection if it is clean."""
        self._response = None
        response.source = None
        response.complete = True
        transport = self._transport
        clean = self._keep_alive and not (
            self._surplus
            or self._broken
            or response.paused
            or transport is None
            or transport.get_write_buffer_size()
        )
        if clean:
            self.idle_since = self.clock()
            self.due = 0.0
            self._owner.released(self)
        else:
            self.drop()
        response.wake()

    def _fail(self, kind: FailureKind, detail: str) -> None:
        """End the exchange with a failure and close."""
        response = self._response
        if response is not None:
            certainty = (
                Certainty.RESPONSE_STARTED
                if self._head_bytes
                else Certainty.POSSIBLY_ACCEPTED
            )
            response.failure = ExchangeFailure(kind, certainty, detail)
            response.source = None
            response.wake()
        self.drop()

    # What the parser calls; exceptions here stop it.

    def on_message_begin(self) -> None:
        """Notice bytes behind a complete reply."""
        if self._end >= 0:
            self._surplus = True

    def on_headers_complete(self) -> None:
        """Judge the framing of the reply."""
        if self._end >= 0:
            return
        parser = self._parser
        status = parser.get_status_code()
        if status < 200:
            self._interim(status)
            return
        self._status = status
        self._keep_alive = keep_alive = parser.should_keep_alive()
        if not keep_alive and parser.get_http_version() not in {"1.0", "1.1"}:
            self._refuse("the version is not HTTP/1.1")

    def _interim(self, status: int) -> None:
        """Skip a 1xx reply, a bounded number of times."""
        self._interims += 1
        if status < 100 or status == 101:
            # 101 answers an upgrade that we never ask for.
            self._refuse(f"status {status}")
        if self._interims > INTERIM_REPLIES:
            self._refuse("too many interim replies")

    def _refuse(self, reason: str) -> None:
        """Stop the parser with a reason of ours."""
        self._broken = reason
        self._status = 0
        raise ValueError(reason)

    def on_message_complete(self) -> None:
        """Mark where the body ends."""
        if self._status and self._end < 0:
            self._end = len(self._arrived)

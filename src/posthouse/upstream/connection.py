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
_SHORT_HEAD = 4 * HEAD_FIELDS
"""Bytes in which there cannot be more fields, for each takes four at least."""
INTERIM_REPLIES = 8
"""How many 1xx replies may come before the real one."""
BARREN_BYTES = 64 * 1024
"""How much framing, such as chunk extensions and trailers, may bring no body."""

_REPLY = (None, None)
"""What the parser tells of a reply without a call of ours: its begin and its end."""

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
        # Bound by the parser's constructor: what it tells most needs no Python call.
        # Body bytes are added to a list. Begins and ends of replies are counted down
        # from what a request was promised: one that nobody waits for stops the parser.
        self._arrived: list[bytes] = []
        self.on_body = self._arrived.append
        self._expected: list[None] = []
        self.on_message_begin = self.on_message_complete = self._expected.pop
        self._parser: Any = httptools.HttpResponseParser(self)
        self._received: list[bytes] = []
        """What arrived of a head that is not whole yet, as it came."""
        self._keep_alive = False
        self._broken = ""
        self._writing = False
        self._in_pieces = False
        """More has come than the reader took: what follows is read in pieces."""
        self._unsent = 0
        self.idle_since = clock()
        self.due = 0.0
        """When `check` is to be called next; at once after every change."""

    # What the owner calls.

    def begin(
        self, payload: tuple[bytes, ...], timeouts: Timeouts, started: float
    ) -> Response | None:
        """Send a request; None: the connection is closed, nothing was sent.

        Whoever waits for its head is woken when that is there or cannot come any more.

        Args:
            payload: the request's bytes, written one after the other.
            timeouts: the limits of the exchange.
            started: when the exchange began, by the connection's clock.
        """
        transport = self._transport
        if transport is None or transport.is_closing():
            return None
        self._response = response = Response(self, timeouts, started)
        self._expected += _REPLY
        self.due = 0.0
        for piece in payload:
            transport.write(piece)
        response.since = started
        return response

    async def exchange(
        self,
        payload: tuple[bytes, ...],
        timeouts: Timeouts,
        started: float,
        *,
        body_less: bool,
    ) -> Response:
        """Send a request and wait for its reply's head; raises ExchangeFailure.

        As `begin`; `body_less`: the method is HEAD, whose reply has no body.
        """
        response = self.begin(payload, timeouts, started)
        if response is None:
            raise closed_before()
        # It may have taken long to connect.
        response.since = self.clock()
        response.body_less = body_less
        waiter = response.waiter = self.loop.create_future()
        try:
            await waiter
        except BaseException:
            response.abort()
            raise
        response.waiter = None
        if not response.status and response.failure is not None:
            raise response.failure
        return response

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
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            self._broken = self._broken or str(error)
        if headless and not self._take_head(response, data):
            self._judge(response)
            return
        arrived = self._arrived
        if not self._expected:
            response.chunks += arrived
            arrived.clear()
            self._finish(response)
            return
        if arrived:
            response.chunks += arrived
            arrived.clear()
            response.received += len(data)
            response.since = 0.0
            response.barren = 0
        elif not headless:
            response.barren += len(data)
        if self._broken or response.barren > BARREN_BYTES:
            self._judge(response)
            return
        if response.received - response.taken > HIGH_WATER:
            self._hold_back(response)
        response.wake()

    def _take_head(self, response: Response, data: bytes) -> bool:
        """Give the reader the head if it is whole now; false if there is none."""
        if self._received or not response.status:
            data = self._collect(response, data)
            if not data:
                return False
        head = cut_head(data, response.interims)
        size = len(head)
        if size > _SHORT_HEAD and (
            size > HEAD_BYTES or head.count(b"\r") > HEAD_FIELDS
        ):
            return self._refuse_head(response, "the head is too large")
        fields = head.lower()
        # The usual reply names no coding, and tells its length.
        if fields.find(b"encoding:") >= 0:
            if not self._note_codings(response, head):
                return self._refuse_head(response, "unknown Transfer-Encoding")
        elif self._expected and fields.find(b"\ncontent-length:") < 0:
            response.until_eof = True
        response.head = head
        response.since = self.due = 0.0
        if response.body_less:
            self._arrived.clear()
            self._expected.clear()
            self._keep_alive = False
        return True

    def _refuse_head(self, response: Response, reason: str) -> bool:
        """Let nobody have the reply whose head has just come."""
        response.status = 0
        response.head_bytes += 1
        self._broken = reason
        return False

    def _collect(self, response: Response, data: bytes) -> bytes:
        """Keep what has come of a head; give all of it."""
        self._received.append(data)
        response.head_bytes += len(data)
        if not response.status:
            return b""
        data = b"".join(self._received)
        self._received.clear()
        return data

    def _note_codings(self, response: Response, head: bytes) -> bool:
        """Note how the body is framed and coded; false where that is not known."""
        fields = split_head(head)
        framing = [v.lower() for name, v in fields if name == b"transfer-encoding"]
        if framing:
            # Every coding but one plain `chunked` is refused.
            if framing != [b"chunked"]:
                return False
        elif self._expected and b"content-length" not in dict(fields):
            response.until_eof = True
        response.encoding = b", ".join(
            value for name, value in fields if name == b"content-encoding"
        )
        return True

    def _judge(self, response: Response) -> None:
        """Decide what bytes mean that brought no usual piece of a reply."""
        if self._broken:
            self._fail(FailureKind.PROTOCOL, self._broken)
        elif response.barren > BARREN_BYTES:
            self._fail(FailureKind.PROTOCOL, "framing without a body")
        elif response.head_bytes > HEAD_BYTES:
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
        elif response.until_eof and exc is None:
            self._keep_alive = False
            self._finish(response)
        else:
            where = "inside the reply" if response.begun else "before any reply"
            self._fail(FailureKind.RESET, f"closed {where}: {exc or 'EOF'}")

    def _finish(self, response: Response) -> None:
        """Let go of a complete reply; keep the connection if it is clean."""
        self._response = None
        response.source = None
        response.complete = True
        transport = self._transport
        if (
            self._keep_alive
            and not self._broken
            and not response.paused
            and transport is not None
            # Nothing of our own request waits any more.
            and not transport.get_write_buffer_size()
        ):
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
                if response.begun
                else Certainty.POSSIBLY_ACCEPTED
            )
            response.failure = ExchangeFailure(kind, certainty, detail)
            response.source = None
            response.wake()
        self.drop()

    # What the parser calls; exceptions here stop it.

    def on_headers_complete(self) -> None:
        """Judge the framing of the reply."""
        response, parser = self._response, self._parser
        if response is None:
            return
        response.status = status = parser.get_status_code()
        if status < 200:
            self._interim(response, status)
            return
        self._keep_alive = keep_alive = parser.should_keep_alive()
        if not keep_alive and parser.get_http_version() not in {"1.0", "1.1"}:
            self._refuse(response, "the version is not HTTP/1.1")

    def _interim(self, response: Response, status: int) -> None:
        """Skip a 1xx reply, a bounded number of times."""
        response.status = 0
        self._expected += _REPLY
        response.interims += 1
        if status < 100 or status == 101:
            # 101 answers an upgrade that we never ask for.
            self._refuse(response, f"status {status}")
        if response.interims > INTERIM_REPLIES:
            self._refuse(response, "too many interim replies")

    def _refuse(self, response: Response, reason: str) -> None:
        """Stop the parser with a reason of ours."""
        self._broken = reason
        response.status = 0
        raise ValueError(reason)


def closed_before() -> ExchangeFailure:
    """Build the failure of a request for which there is no connection any more."""
    return ExchangeFailure(
        FailureKind.CONNECT, Certainty.NOT_SENT, "closed before the request"
    )

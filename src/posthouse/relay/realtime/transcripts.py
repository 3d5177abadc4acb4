"""What the user says in a realtime session, written down: each piece is a call.

Rules. In a conversation transcripts come beside the answers, and are charged as they
come. Where a session does nothing else, sound has a hold as soon as it is sent, which
grows with it; a piece whose transcript has begun is charged by its length if the
session ends before the transcript does. A transcript that failed costs nothing.
"""

from typing import Any, Final

from msgspec import Struct, structs

from posthouse.billing.holds import Hold
from posthouse.billing.prices import charge
from posthouse.dialects.openai_realtime import HELD_SECONDS, transcribes
from posthouse.dialects.openai_realtime.meter import Meter
from posthouse.errors import InsufficientQuota, UpstreamFault
from posthouse.model.call import Operation, Outcome
from posthouse.relay.call import Call
from posthouse.relay.charging import (
    CLIENT_CLOSED,
    NOTHING_CHARGED,
    Charged,
    Ending,
    record_call,
)
from posthouse.relay.realtime.calls import SessionCalls
from posthouse.relay.realtime.usage import transcript_usage
from posthouse.relay.snapshot import Offer

LOOK_SECONDS: Final = 5.0
"""Of sound, between two looks at what remains of its hold."""


class _Piece(Struct):
    """Sound that waits to be written down."""

    call: Call
    hold: Hold
    looked: float = 0.0
    """At how many seconds its hold was last looked at."""
    begun: bool = False
    """The provider writes it down."""


class Transcripts:
    """The transcripts of one session."""

    model: tuple[str, Offer] | None = None
    """Who writes down what is said, as the client knows it; None: nobody was named."""

    def __init__(self, calls: SessionCalls) -> None:
        """Charge those of a session by `calls` of their own."""
        self._calls = calls
        self.alone = transcribes(calls.session.incoming.request)
        """Whether there is nothing else in the session."""
        self.exhausted = False
        """The account has nothing left for another one."""
        self._meter: Meter
        self._coming: _Piece | None = None
        """What is being said."""
        self._said: dict[str, _Piece] = {}
        """What has been said, by item."""

    def begin(self, meter: Meter) -> None:
        """The session is open; `meter` knows how much was said."""
        self._meter = meter

    @property
    def awaited(self) -> bool:
        """Whether transcripts are still to come."""
        return bool(self._said)

    async def sent(self) -> None:
        """The client has sent something; raises InsufficientQuota.

        Sound has a hold before the provider hears it.
        """
        seconds = self._meter.waiting
        if not self.alone or not seconds:
            return
        piece = self._coming
        if piece is None:
            piece = self._coming = await self._open()
        if seconds - piece.looked >= LOOK_SECONDS:
            await self._look(piece, seconds)

    async def _look(self, piece: _Piece, seconds: float) -> None:
        """Have a piece's hold grow with it; raises InsufficientQuota."""
        piece.looked = seconds
        _, offer = self._offer()
        price = offer.price
        if not await piece.hold.progress(
            charge(price, transcript_usage({}, price, seconds))
        ):
            raise InsufficientQuota

    def brought(self, item: str) -> None:
        """A piece of a transcript has come."""
        piece = self._said.get(item, self._coming)
        if piece is not None:
            self._begin(piece)

    def _begin(self, piece: _Piece) -> None:
        if not piece.begun:
            piece.begun = True
            piece.hold.answering(self._calls.target.member.channel.name)

    def committed(self, item: str) -> None:
        """The provider has taken what was said for a whole."""
        piece, self._coming = self._coming, None
        if piece is not None:
            self._said[item] = piece
            self._begin(piece)

    async def failed(self, item: str) -> None:
        """A piece could not be written down: it costs nothing."""
        self._meter.heard(item)
        piece = self._said.pop(item, None)
        if piece is not None:
            await self._void(
                piece, Ending(502, Outcome.FAILED, UpstreamFault.code), "upstream_fault"
            )

    async def transcribed(self, usage: dict[str, Any], item: str) -> None:
        """What the user said was written down: charge that as a call of its own.

        Args:
            usage: as the provider tells it.
            item: which piece it was.
        """
        _, offer = self._offer()
        found = transcript_usage(usage, offer.price, self._meter.heard(item))
        price = charge(offer.price, found)
        piece = self._said.pop(item, None)
        if piece is None:
            piece = await self._open_late(price)
        listed = charge(offer.listed, found) if offer.listed is not None else 0
        charged = Charged(found, price, listed, None, offer.price.version)
        calls, call = self._calls, piece.call
        calls.note_attempt(call, Outcome.SERVED)
        ending = Ending(200, Outcome.SERVED, "", None)
        record = record_call(call, calls.target, charged, ending)
        record = structs.replace(record, upstream_model="")
        await piece.hold.settle(record)
        calls.ended(call, record, ())

    async def close(self) -> None:
        """The session is over: charge what was begun by what was heard."""
        piece, self._coming = self._coming, None
        if piece is not None and piece.begun:
            self._said[""] = piece
            self._meter.note("", self._meter.waiting)
        elif piece is not None:
            ending = Ending(CLIENT_CLOSED, Outcome.ABANDONED, "client_closed")
            await self._void(piece, ending, "abandoned_unanswered")
        for item in list(self._said):
            await self.transcribed({}, item)

    # --- money ------------------------------------------------------------------------

    def _offer(self) -> tuple[str, Offer]:
        session = self._calls.session
        model = session.incoming.request.model
        return self.model or (model, session.offer(self._calls.target))

    def _call(self) -> Call:
        model, _ = self._offer()
        call = self._calls.begin(0)
        request = structs.replace(
            call.incoming.request, operation=Operation.TRANSCRIPTION, model=model
        )
        call.incoming = structs.replace(call.incoming, request=request)
        return call

    async def _open(self) -> _Piece:
        """Hold money for a piece that begins; raises InsufficientQuota."""
        calls, call = self._calls, self._call()
        _, offer = self._offer()
        amount = charge(offer.price, transcript_usage({}, offer.price, HELD_SECONDS))
        hold = await calls.holds.open(calls.opening(call, offer, amount, 0))
        return _Piece(call, hold)

    async def _open_late(self, price: int) -> _Piece:
        """Hold money for a transcript that is there."""
        calls, call = self._calls, self._call()
        _, offer = self._offer()
        try:
            hold = await calls.holds.open(calls.opening(call, offer, price, price))
        except InsufficientQuota:
            # It has been made: what the account lacks, the ledger finds.
            self.exhausted = True
            hold = await calls.holds.open(calls.opening(call, offer, 0, 0))
        return _Piece(call, hold)

    async def _void(self, piece: _Piece, ending: Ending, reason: str) -> None:
        calls, call = self._calls, piece.call
        calls.note_attempt(call, ending.outcome, ending.error_code)
        record = record_call(call, calls.target, NOTHING_CHARGED, ending)
        await piece.hold.void(record, reason)
        calls.ended(call, record, ())

"""The calls that are made within one realtime session: each has an id of its own."""

from msgspec import structs

from posthouse.billing.holds import HoldManager
from posthouse.billing.records import Opening
from posthouse.model.call import AttemptRecord, Outcome
from posthouse.model.money import MAX_AMOUNT
from posthouse.relay.attempt import AttemptLog
from posthouse.relay.call import Call
from posthouse.relay.realtime.ports import CallEnded
from posthouse.relay.snapshot import Offer
from posthouse.routing.plan import Target


class SessionCalls:
    """Begins the calls of a session, and writes down what was asked of whom."""

    target: Target
    """The provider that the session is open at."""

    def __init__(
        self, session: Call, holds: HoldManager, *, hold_max: int, ended: CallEnded
    ) -> None:
        """Count the calls of a session that was admitted.

        Args:
            session: its own call.
            holds: opens theirs.
            hold_max: the most that one may hold, nano-dollars.
            ended: told every call that is over.
        """
        self.session = session
        self.holds = holds
        self.ended = ended
        self._hold_max = hold_max
        self._number = 0

    def begin(self, prompt_tokens: int) -> Call:
        """Begin the next call of the session."""
        self._number += 1
        session = self.session
        call = session.fork()
        name = f"{session.incoming.id}-{self._number}"
        trace = session.incoming.trace
        if trace is not None:
            # Its span is the session's child.
            trace = structs.replace(trace, call_id=name, parent_id=trace.span_id)
        call.incoming = structs.replace(session.incoming, id=name, trace=trace)
        call.created_ms = session.created_ms + session.elapsed_ms()
        call.started = call.clock()
        call.attempts = AttemptLog(call.clock, call.started)
        call.prompt_tokens = prompt_tokens
        return call

    def opening(
        self, call: Call, offer: Offer, amount: int, prompt_charge: int
    ) -> Opening:
        """What is held for a call, as far as one may hold."""
        incoming = call.incoming
        highest = min(self._hold_max, MAX_AMOUNT)
        return Opening(
            incoming.id,
            incoming.principal.account_id,
            incoming.principal.key_id,
            incoming.request.operation,
            incoming.request.model,
            offer.price.version,
            call.created_ms,
            min(amount, highest),
            min(prompt_charge, highest),
            streamed=True,
            dialect=incoming.dialect.name,
        )

    def note_attempt(self, call: Call, outcome: Outcome, code: str = "") -> None:
        """Record the one attempt of a call: at the provider that the session has."""
        now = call.clock()
        member = self.target.member
        call.attempts.target = self.target
        call.attempts.spans.append((call.started, now))
        call.attempts.records.append(
            AttemptRecord(
                member.channel.name,
                member.credential,
                member.upstream_model,
                0,
                int((now - call.started) * 1000),
                outcome,
                code,
                200,
                None,
            )
        )

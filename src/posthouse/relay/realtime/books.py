"""The books of one realtime session: every answer in it is a call of its own.

Rules. The session itself is a call that costs nothing; what is held for it is a
reserve. An answer that the client asks for has a hold before the provider hears
of it; one that begins by itself has one as soon as it is known, and where the
account has no more, the reserve pays for it and the session ends. An answer is
settled before its last event is passed. What was not reported is estimated from
what was seen; an answer that failed with nothing costs nothing.
"""

from collections import deque
from typing import Any, Final

from msgspec import structs

from posthouse.access.ports import Limiter, Permit
from posthouse.billing.estimate import extension_amount
from posthouse.billing.holds import Hold, HoldManager
from posthouse.billing.prices import charge
from posthouse.billing.usage import NormalisedUsage, TokenEstimate, normalise
from posthouse.dialects.openai_realtime import USUAL_OUTPUT
from posthouse.dialects.openai_realtime.client_events import output_limit
from posthouse.dialects.openai_realtime.meter import Meter, Produced
from posthouse.dialects.openai_realtime.server_events import ToldUsage, usage_of
from posthouse.errors import InsufficientQuota, UpstreamFault, UpstreamInterrupted
from posthouse.model.call import Outcome
from posthouse.model.usage import Usage, UsageSource
from posthouse.relay.call import Call
from posthouse.relay.charging import (
    CLIENT_CLOSED,
    NOTHING_CHARGED,
    Ending,
    charge_usage,
    record_call,
)
from posthouse.relay.realtime.calls import SessionCalls
from posthouse.relay.realtime.ports import CallEnded
from posthouse.relay.realtime.transcripts import Transcripts
from posthouse.relay.realtime.usage import with_cached_audio
from posthouse.relay.served import Completion, Served
from posthouse.relay.snapshot import Offer
from posthouse.routing.plan import Target

PROGRESS_BYTES: Final = 4096
"""Of an answer, between two looks at what remains of its hold."""
RESERVED_AT_MOST: Final = 4
"""Answers that were asked for and have not begun; further ones share their holds."""
_SWITCHED = 101


class Answer:
    """One answer of the model, from the wish for it to its settlement."""

    __slots__ = (
        "_checked",
        "call",
        "event_id",
        "first_ms",
        "hold",
        "permit",
        "produced",
        "prompt",
        "prompt_charge",
    )

    def __init__(
        self, call: Call, hold: Hold, prompt: dict[str, int], prompt_charge: int
    ) -> None:
        """Take the hold that was opened for it.

        Args:
            call: its own.
            hold: what is set aside.
            prompt: about what it reads, in tokens.
            prompt_charge: what that costs, nano-dollars.
        """
        self.call = call
        self.hold = hold
        self.prompt = prompt
        self.prompt_charge = prompt_charge
        self.produced = Produced()
        self.first_ms = 0
        self.permit: Permit | None = None
        """Its place under the key's limit of tokens; None: there is none."""
        self.event_id: str | None = None
        """What the client has called its wish."""
        self._checked = 0

    def release(self, tokens: int) -> None:
        """It is over, and has taken so many tokens."""
        if self.permit is not None:
            self.permit.release(tokens)

    def is_due(self) -> bool:
        """Whether so much has come that its hold is to be looked at."""
        size = self.produced.text + self.produced.sound
        if size - self._checked < PROGRESS_BYTES:
            return False
        self._checked = size
        return True


class Books:
    """What the answers of one session cost."""

    def __init__(
        self,
        session: Call,
        reserve: Hold,
        holds: HoldManager,
        *,
        limits: Limiter,
        hold_max: int,
        ended: CallEnded,
    ) -> None:
        """Keep the books of a session that was admitted.

        Args:
            session: its call.
            reserve: what is held for it.
            holds: opens the answers' holds.
            limits: of keys; answers have a minute of tokens of their own.
            hold_max: the most that one may hold, nano-dollars.
            ended: told every call that is over.
        """
        self._session = session
        self._reserve: Hold | None = reserve
        self._holds = holds
        self._limits = limits
        self._calls = SessionCalls(session, holds, hold_max=hold_max, ended=ended)
        self.transcripts = Transcripts(self._calls)
        """What the user says, written down."""
        self._asked: deque[Answer] = deque()
        self._running: dict[str, Answer] = {}
        self.exhausted = False
        """The account has nothing left for another answer."""
        self._target: Target
        self.meter: Meter

    def begin(self, target: Target) -> None:
        """The session is open at a provider."""
        self._target = self._calls.target = target
        model = self._session.offer(target).model
        self.meter = Meter(model.context if model else 0)
        self.transcripts.begin(self.meter)

    @property
    def under_way(self) -> bool:
        """Whether answers are awaited."""
        return bool(self._running or self._asked)

    @property
    def awaited(self) -> bool:
        """Whether the provider has anything yet to tell that costs."""
        return self.under_way or self.transcripts.awaited

    # --- answers --------------------------------------------------------------------

    async def ask(self, response: Any, event_id: str | None) -> None:
        """The client wants an answer; raises PosthouseError if it cannot have it.

        Args:
            response: what it says about it; None: nothing.
            event_id: how it names its wish; None: not at all.
        """
        if len(self._asked) < RESERVED_AT_MOST:
            limit = output_limit(response)
            permit = await self._permit(limit)
            try:
                answer = await self._open(limit)
            except BaseException:
                if permit is not None:
                    permit.release(0)
                raise
            answer.event_id, answer.permit = event_id, permit
            self._asked.append(answer)

    async def begun(self, name: str) -> None:
        """An answer has begun; raises PosthouseError if it cannot be paid for.

        RateLimited says that the key's limit has no room for it; it is billed.
        """
        if self._asked:
            self._running[name] = self._asked.popleft()
            return
        answer = self._running[name] = await self._open(None)
        answer.permit = await self._permit(None)

    async def refused(self, event_id: Any) -> None:
        """The provider has refused an event; perhaps one that wanted an answer."""
        for answer in self._asked:
            if event_id is not None and answer.event_id == event_id:
                self._asked.remove(answer)
                ending = Ending(400, Outcome.REJECTED, "invalid_request_error")
                await self._void(answer, ending, "rejected")
                return

    async def brought(self, name: str, text: int, sound: int) -> bool:
        """An answer has brought so many bytes; False when its money ends here."""
        answer = self._running.get(name) or next(iter(self._running.values()), None)
        if answer is None:
            return True
        produced = answer.produced
        if not answer.first_ms:
            answer.first_ms = max(1, answer.call.elapsed_ms())
            answer.hold.answering(self._target.member.channel.name)
        produced.text += text
        produced.sound += sound
        if not answer.is_due():
            return True
        price = self._session.offer(self._target).price
        units = {**answer.prompt, **produced.units(self.meter.spoken_at)}
        so_far = charge(price, Usage(units, UsageSource.ESTIMATED))
        return await answer.hold.progress(max(so_far - answer.prompt_charge, 0))

    async def done(self, name: str, response: dict[str, Any]) -> None:
        """An answer is over: charge it. Returns when that is in the journal."""
        answer = self._running.pop(name, None)
        if answer is None:
            answer = self._asked.popleft() if self._asked else await self._open(None)
        told = usage_of(response)
        status = response.get("status")
        failed = status == "failed"
        if told is not None and response.get("conversation_id") is not None:
            self.meter.answered(told.usage)
        nothing = not (answer.produced.text or answer.produced.sound)
        if failed and nothing and (told is None or told.empty):
            ending = Ending(502, Outcome.FAILED, UpstreamFault.code)
            await self._void(answer, ending, "upstream_fault")
            return
        whole = Completion.INTERRUPTED if failed else Completion.WHOLE
        await self._settle(answer, told, whole, certain=status != "completed")

    async def close(self, completion: Completion) -> None:
        """The session is over: charge what is under way by what was seen."""
        running, self._running = list(self._running.values()), {}
        asked, self._asked = list(self._asked), deque()
        for answer in running:
            if answer.produced.text or answer.produced.sound:
                await self._settle(answer, None, completion)
            elif completion is Completion.INTERRUPTED:
                ending = Ending(502, Outcome.FAILED, UpstreamInterrupted.code)
                await self._void(answer, ending, "upstream_fault")
            else:
                # It was asked for and begun: its prompt was read.
                await self._settle(answer, None, completion)
        for answer in asked:
            ending = Ending(CLIENT_CLOSED, Outcome.ABANDONED, "client_closed")
            await self._void(answer, ending, "abandoned_unanswered")
        await self.transcripts.close()

    async def end_session(self, ending: Ending, void_reason: str) -> None:
        """End the session's own call, unless its reserve has paid for an answer.

        Args:
            ending: how it ended.
            void_reason: why it was none, if so; else it is settled with nothing.
        """
        reserve, self._reserve = self._reserve, None
        if reserve is None:
            return
        call = self._session
        charged = NOTHING_CHARGED
        if not void_reason:
            version = call.menu.first.price.version
            charged = structs.replace(charged, price_version=version)
        record = record_call(call, call.attempts.target, charged, ending)
        if void_reason:
            await reserve.void(record, void_reason)
        else:
            await reserve.settle(record)
        self._calls.ended(call, record, ())

    # --- money ------------------------------------------------------------------------

    async def _permit(self, limit: int | None) -> Permit | None:
        """Take a place under the key's limit of tokens; raises RateLimited."""
        principal = self._session.incoming.principal
        if principal.tpm is None:
            return None
        # Only its tokens count: a session is one request, however much is said.
        answers = structs.replace(
            principal,
            key_id=f"{principal.key_id}/answers",
            rpm=None,
            concurrency=None,
        )
        tokens = min(sum(self.meter.prompt().values()), principal.tpm)
        most = self._most(limit)
        return await self._limits.admit(answers, tokens, output_tokens=most)

    def _most(self, limit: int | None) -> int:
        """How many tokens an answer may have, as far as anybody has said."""
        offer = self._session.offer(self._target)
        most = limit or self.meter.output_limit or _usual_output(offer)
        if offer.model is not None and offer.model.max_output:
            most = min(most, offer.model.max_output)
        return most

    async def _open(self, limit: int | None) -> Answer:
        """Hold money for the next answer, if need be the session's reserve."""
        session, target = self._session, self._target
        offer = session.offer(target)
        prompt = self.meter.prompt()
        tokens = sum(prompt.values())
        call = self._calls.begin(tokens)
        estimated = Usage({u: n for u, n in prompt.items() if n}, UsageSource.ESTIMATED)
        prompt_charge = charge(offer.price, estimated)
        amount = prompt_charge + extension_amount(
            offer.price,
            session.incoming.request,
            prompt_tokens=tokens,
            tokens=self._most(limit),
        )
        try:
            hold = await self._holds.open(
                self._calls.opening(call, offer, amount, prompt_charge)
            )
        except InsufficientQuota:
            reserve, self._reserve = self._reserve, None
            self.exhausted = True
            if reserve is None:
                raise
            # The session's own call becomes this answer's.
            call.incoming = session.incoming
            call.attempts.records = list(session.attempts.records)
            return Answer(call, reserve, prompt, prompt_charge)
        return Answer(call, hold, prompt, prompt_charge)

    async def _settle(
        self,
        answer: Answer,
        told: ToldUsage | None,
        completion: Completion,
        *,
        certain: bool = False,
    ) -> None:
        """Charge an answer; `certain`: also where it says that it took nothing."""
        call, target = answer.call, self._target
        usage = None if told is None else told.usage
        found = self._judge(answer, told, certain=certain)
        served = Served(target, completion, usage, None, str)
        charged = charge_usage(call, served, found, call.way(target))
        outcome = _OUTCOMES[completion]
        status = CLIENT_CLOSED if completion is Completion.ABANDONED else 200
        code = UpstreamInterrupted.code if outcome is Outcome.INTERRUPTED else ""
        self._calls.note_attempt(call, outcome, code)
        ending = Ending(status, outcome, code, answer.first_ms or None)
        record = record_call(call, target, charged, ending)
        answer.release(sum(record.usage.values()))
        await answer.hold.settle(record)
        self._calls.ended(call, record, charged.suspicious)

    def _judge(
        self, answer: Answer, told: ToldUsage | None, *, certain: bool
    ) -> NormalisedUsage:
        """Give what is charged: as it was told, or as it was seen."""
        made = answer.produced.units(self.meter.spoken_at)
        if told is None:
            units = {u: n for u, n in {**answer.prompt, **made}.items() if n}
            return NormalisedUsage(Usage(units, UsageSource.ESTIMATED))
        own = TokenEstimate(sum(answer.prompt.values()), sum(made.values()))
        model = self._session.offer(self._target).model
        found = normalise(
            told.usage,
            estimate=TokenEstimate(0, 0) if certain else own,
            context=model.context if model else 0,
        )
        return with_cached_audio(found, told.cached_audio)

    async def _void(self, answer: Answer, ending: Ending, reason: str) -> None:
        self._calls.note_attempt(answer.call, ending.outcome, ending.error_code)
        record = record_call(answer.call, self._target, NOTHING_CHARGED, ending)
        answer.release(0)
        await answer.hold.void(record, reason)
        self._calls.ended(answer.call, record, ())


_OUTCOMES = {
    Completion.WHOLE: Outcome.SERVED,
    Completion.INTERRUPTED: Outcome.INTERRUPTED,
    Completion.ABANDONED: Outcome.ABANDONED,
    Completion.CUT_OFF: Outcome.SERVED,
}


def session_ending(code: str = "") -> Ending:
    """How a session ends that was open."""
    return Ending(_SWITCHED, Outcome.SERVED, code)


def _usual_output(offer: Offer) -> int:
    usual = offer.model.usual_output if offer.model is not None else 0
    return usual or USUAL_OUTPUT

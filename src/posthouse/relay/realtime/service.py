"""Realtime sessions: admitted like calls, then open at one provider.

The layers of a session: admission (its model, the key's limits, a reserve); the
attempt loop, which may try another channel until a provider has accepted the
handshake; the session itself, which lasts as long as the attempt; the end of
its own call. Until the client's handshake is answered errors are HTTP's.
"""

from collections.abc import Callable
from typing import Final
from urllib.parse import urlencode

from msgspec import Struct, structs
from typing_extensions import override

from posthouse.access.ports import Limiter, Permit
from posthouse.access.principal import Principal
from posthouse.billing.holds import HoldManager
from posthouse.dialects.openai_realtime import INTENT, TRANSCRIPTION, transcribes
from posthouse.errors import PosthouseError, UpstreamInterrupted, UpstreamUnavailable
from posthouse.model.call import Outcome
from posthouse.model.exchange import ExchangeFailure, UpstreamRequest
from posthouse.model.sockets import HandshakeRefused
from posthouse.relay.admission import Admission
from posthouse.relay.attempt import AttemptLoop
from posthouse.relay.call import Call, Incoming
from posthouse.relay.charging import CLIENT_CLOSED, Ending
from posthouse.relay.faults import AttemptFailed, exchange_failed, status_failed
from posthouse.relay.ports import Client
from posthouse.relay.prepare import Prepared
from posthouse.relay.realtime.books import Books, session_ending
from posthouse.relay.realtime.ports import CallEnded, Door
from posthouse.relay.realtime.session import Session, Sides
from posthouse.relay.secrecy import body_without_secrets
from posthouse.relay.snapshot import Snapshot
from posthouse.relay.watch import ClientGone
from posthouse.routing.health import HealthTable
from posthouse.routing.plan import Plan, Target
from posthouse.upstream.ports import MessageSocket, Opener

FIRST_BYTE: Final = 30.0
"""Seconds for a provider's answer to a handshake."""


class RealtimePorts(Struct, frozen=True):
    """What sessions work with; made once per process."""

    admission: Admission
    attempts: AttemptLoop
    health: HealthTable
    holds: HoldManager
    limits: Limiter
    opener: Opener
    call_ended: CallEnded
    hold_max: int
    """The most that one answer may hold, nano-dollars."""


class SessionLimits(Limiter):
    """The limits of keys as sessions meet them: a request that needs no tokens.

    Its answers will, and are counted by themselves.
    """

    def __init__(self, limits: Limiter) -> None:
        """Ask `limits`."""
        self._limits = limits

    @override
    def admit_now(
        self, principal: Principal, tokens: int, *, output_tokens: int = 0
    ) -> Permit | None:
        return self._limits.admit_now(principal, 0)

    @override
    async def admit(
        self, principal: Principal, tokens: int, *, output_tokens: int = 0
    ) -> Permit:
        return await self._limits.admit(principal, 0)

    @override
    def header_lines(self, principal: Principal) -> bytes:
        return self._limits.header_lines(principal)


class Realtime:
    """Serves the sessions of one process."""

    def __init__(self, ports: RealtimePorts, snapshot: Callable[[], Snapshot]) -> None:
        """Work with `ports`; `snapshot` gives the configuration of this moment."""
        self._ports = ports
        self._snapshot = snapshot
        self.sessions = 0
        """How many are open."""

    async def serve(self, incoming: Incoming, client: Client, door: Door) -> None:
        """Serve a session to its end; raises PosthouseError before it is open."""
        call = Call.begin(incoming, client, self._snapshot())
        try:
            permit, hold = await self._ports.admission.admit(call)
        except ClientGone:
            return
        books = Books(
            call,
            hold,
            self._ports.holds,
            limits=self._ports.limits,
            hold_max=self._ports.hold_max,
            ended=self._ports.call_ended,
        )
        try:
            client.extra += permit.header_lines()
            await self._run(call, books, door)
        finally:
            # Its answers' tokens were counted as they came.
            permit.release(0)

    async def _run(self, call: Call, books: Books, door: Door) -> None:
        """Find a provider and serve; then the session's own call is over."""
        opened = False

        async def perform(target: Target, _seconds: float) -> None:
            nonlocal opened
            upstream = await self._open(call, target)
            try:
                client = door.accept(call.headers(target))
            except BaseException:
                upstream.abort()
                raise
            opened = True
            channel = target.member.channel.name
            self._ports.health.answering(channel, call.attempts.trial)
            books.begin(target)
            sides = Sides(client, upstream)
            session = Session(call, target, sides, books=books, door=door)
            self.sessions += 1
            try:
                kept = await session.run()
            finally:
                self.sessions -= 1
            if not kept:
                raise AttemptFailed(UpstreamInterrupted(), status=101, delivered=True)

        incoming = call.incoming
        plan = Plan(
            call.menu.routes,
            (incoming.session or b"", incoming.principal.account_id.encode()),
            self._ports.health,
            stream=True,
        )
        ending = session_ending()
        reason = ""
        try:
            await self._ports.attempts.run(plan, call.attempts, perform)
        except ClientGone:
            ending = Ending(CLIENT_CLOSED, Outcome.ABANDONED, "client_closed")
            reason = "abandoned_before_dispatch"
        except PosthouseError as error:
            ending = session_ending(error.code)
            if not opened:
                ending = Ending(error.status, Outcome.FAILED, error.code)
                reason = "failed"
                raise
        except BaseException:
            ending = Ending(500, Outcome.FAILED, "internal_error")
            reason = "internal_error"
            raise
        finally:
            await books.end_session(ending, reason)

    async def _open(self, call: Call, target: Target) -> MessageSocket:
        """Open a socket to a target; raises AttemptFailed and ClientGone."""
        prepared = call.prepared(target)
        channel = target.member.channel
        if prepared.authorizer is not None:
            # No provider that signs its requests has sessions.
            raise AttemptFailed(UpstreamUnavailable(), sent=False)
        try:
            with call.watch:
                return await self._ports.opener.open(_request(call, prepared, target))
        except ExchangeFailure as failure:
            raise exchange_failed(failure, channel.name) from None
        except HandshakeRefused as refused:
            body = body_without_secrets(refused.body, channel)
            status = refused.status if refused.status >= 300 else 502
            error = prepared.dialect.parse_error(status, body)
            raise status_failed(error, status, refused.headers) from None


def _request(call: Call, prepared: Prepared, target: Target) -> UpstreamRequest:
    """Write the request for a session; it has no body, so it tells no type of one."""
    blank = prepared.whole
    headers = tuple(header for header in blank.headers if header[0] != b"content-type")
    trace = call.incoming.trace
    if trace is not None and trace.passed_on:
        headers += trace.headers(target.member.channel.name, target.member.credential)
    timeouts = structs.replace(
        blank.timeouts, first_byte=min(blank.timeouts.first_byte, FIRST_BYTE)
    )
    query = {"model": target.member.upstream_model}
    if transcribes(call.incoming.request):
        # Its model is named in the session, and in no address.
        query = {INTENT: TRANSCRIPTION}
    joint = "&" if "?" in blank.target else "?"
    return structs.replace(
        blank,
        method="GET",
        target=blank.target + joint + urlencode(query),
        headers=headers + call.incoming.forwarded,
        timeouts=timeouts,
    )

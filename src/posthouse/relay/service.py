"""The relay: takes a parsed call to a provider and its answer to the client.

The layers of a call, outermost first:
1. admission: the models it names, their prices, the key's limits, the hold;
2. the attempt loop over the plan's targets;
3. one exchange, whole or streamed;
4. the settlement, before the last byte leaves;
5. the record, the metrics and the release of the limits, whatever happened.
Errors before a reply has begun are raised and rendered by the handler; later
ones are told inside the stream.
"""

import asyncio
from collections.abc import Callable

from msgspec import Struct, structs

from posthouse.billing.estimate import extension_amount, held_output
from posthouse.billing.holds import Hold
from posthouse.billing.killpoints import ARMED, reach
from posthouse.errors import InternalFault, PosthouseError, UpstreamRejected
from posthouse.model.call import CallRecord, Outcome
from posthouse.relay.admission import Admission
from posthouse.relay.attempt import AttemptLoop, Chosen
from posthouse.relay.call import Call, Headers, Incoming, headers_of
from posthouse.relay.charging import (
    CLIENT_CLOSED,
    NOTHING_CHARGED,
    WITH_THE_REPLY,
    Ending,
    charge_usage,
    counted_usage,
    record_call,
    tokens_of,
    told_usage,
)
from posthouse.relay.choosing import likely_tokens
from posthouse.relay.counting import CountWords, OwnCount, ask_to_count
from posthouse.relay.hedging import Claim, Lane, Race
from posthouse.relay.keepalive import KeepAlive
from posthouse.relay.ports import Client
from posthouse.relay.served import Completion, Served
from posthouse.relay.snapshot import Snapshot
from posthouse.relay.stream import StreamExchange
from posthouse.relay.stream_writer import StreamTimes, StreamWriter
from posthouse.relay.unary import UnaryExchange
from posthouse.relay.waiting import FairQueue
from posthouse.relay.watch import ClientGone
from posthouse.routing.health import HealthTable
from posthouse.routing.plan import Plan, Target
from posthouse.upstream.ports import Sender
from posthouse.wire.multipart import JSON

JSON_HEADERS = ((b"content-type", JSON),)
BYTES_PER_TOKEN = 3
"""Delivered text is taken for at most one token in so many bytes, for holds."""
LONG_TOKEN = 16
"""Bytes of a token that is longer than nearly all."""


class Ports(Struct, frozen=True):
    """What the relay works with; made once per process."""

    admission: Admission
    attempts: AttemptLoop
    health: HealthTable
    sender: Sender
    keep_alive: KeepAlive
    stream_times: StreamTimes
    queue: FairQueue
    call_ended: Callable[[Call, CallRecord, tuple[str, ...]], None]
    """Told every call, its record, and what was suspicious about its usage."""


class Relay:
    """Serves the data plane's calls."""

    def __init__(self, ports: Ports, snapshot: Snapshot) -> None:
        """Begin with a configuration; `snapshot` may be replaced at any time."""
        self.ports = ports
        self.snapshot = snapshot

    async def serve(self, incoming: Incoming, client: Client) -> None:
        """Serve one call; raises PosthouseError while no reply has begun."""
        call = Call.begin(incoming, client, self.snapshot)
        try:
            admitted = self.ports.admission.admit_now(call)
            permit, hold = admitted if isinstance(admitted, tuple) else await admitted
        except ClientGone:
            # It waited for room and has left: there is nothing to tell anybody.
            return
        tokens = 0
        try:
            client.extra += permit.header_lines()
            if incoming.request.stream:
                record = await self._stream(call, hold, client)
            else:
                record = await self._unary(call, hold, client)
            tokens = tokens_of(record.usage)
        finally:
            permit.release(tokens)
            if self.ports.queue.waiting:
                self.ports.queue.room()

    async def count(
        self, incoming: Incoming, client: Client, words: CountWords, own: OwnCount
    ) -> bytes:
        """Have a prompt's tokens counted, for nothing; raises PosthouseError.

        Args:
            incoming: asks for it.
            client: who is told of limits.
            words: how providers of the dialect are asked.
            own: counts where none of them can say.
        """
        call = Call.begin(incoming, client, self.snapshot)
        permit = await self.ports.admission.admit_free(call)
        try:
            client.extra += permit.header_lines()
            plan = self._plan(call)
            answer = await ask_to_count(call, plan, self.ports.sender, words)
            return answer or await own(call.menu)
        finally:
            permit.release(0)
            if self.ports.queue.waiting:
                self.ports.queue.room()

    def judge(self, incoming: Incoming, client: Client) -> None:
        """Refuse a call for what it names; raises PosthouseError, and holds nothing."""
        self.ports.admission.judge(Call.begin(incoming, client, self.snapshot))

    def _plan(self, call: Call) -> Plan:
        incoming, menu = call.incoming, call.menu
        request = incoming.request
        return Plan(
            menu.routes,
            (
                incoming.session or request.affinity,
                incoming.principal.account_id.encode(),
            ),
            self.ports.health,
            stream=request.stream,
            tokens=_tokens(call) if menu.weighed else _NOT_WEIGHED,
        )

    async def _wait(self, call: Call) -> tuple[Plan, Chosen]:
        """Choose the first target as soon as a channel has room for it.

        Raises what choosing raises, and ClientGone.
        """

        async def choose() -> tuple[Plan, Chosen]:
            plan = self._plan(call)
            return plan, await self.ports.attempts.choose(plan, None)

        queue = self.ports.queue
        resource = ("channels", call.menu.routes[0].pattern)
        return await queue.take(call.waiter(resource, queue.longest), choose)

    # --- whole replies ------------------------------------------------------------

    async def _unary(self, call: Call, hold: Hold, client: Client) -> CallRecord:
        incoming = call.incoming
        try:
            if ARMED:
                reach("before_dispatch")
            plan, first = self._plan(call), None
            if incoming.wait:
                plan, first = await self._wait(call)
            if call.menu.hedge is None or call.attempts.once:
                exchange = UnaryExchange(call, self.ports.sender)
                served = await self.ports.attempts.run(
                    plan, call.attempts, exchange.attempt, first
                )
            else:
                served = await self._race_whole(call, plan, first)
            if incoming.keep_first is not None:
                await incoming.keep_first(served)
        except ClientGone as gone:
            return await self._abandoned(call, hold, gone, None)
        except BaseException as error:
            await self._void(call, hold, error)
            raise
        if client.gone:
            # Drained for a client that will never have it.
            served = structs.replace(served, completion=Completion.ABANDONED)
        record = await self._settle(call, hold, served, None)
        if not client.gone:
            await self._respond(call, served, client, record.translation)
        return record

    async def _respond(
        self, call: Call, served: Served, client: Client, translation: str
    ) -> None:
        """Give the client its reply, which is paid for."""
        if ARMED:
            reach("before_terminal")
        incoming = call.incoming
        if incoming.keeper is not None:
            await call.keep(served.target, served.body)
        if incoming.deliver is not None:
            served = await incoming.deliver(served.target, served)
        headers: Headers = JSON_HEADERS
        if served.content_type is not JSON:
            headers = ((b"content-type", served.content_type),)
        if translation or served.target.member.channel.sandbox:
            headers += headers_of(served.target, translation)
        if served.headers:
            headers += served.headers
        await client.respond(200, headers, served.body)
        if ARMED:
            reach("after_terminal")

    async def _race_whole(self, call: Call, plan: Plan, first: Chosen | None) -> Served:
        """Serve the call by attempts that may overlap."""

        def lane(_claim: Claim) -> Lane[Served]:
            fork = call.fork()
            exchange = UnaryExchange(fork, self.ports.sender)
            return Lane(fork.attempts, exchange.attempt, fork.enter)

        race = Race(self.ports.attempts, plan, call.attempts, lane)
        return await race.run(call.menu.hedge or 0.0, first)

    # --- streams --------------------------------------------------------------------

    async def _stream(self, call: Call, hold: Hold, client: Client) -> CallRecord:
        def answering(part: Call, target: Target) -> None:
            reach("before_first_content")
            channel = target.member.channel.name
            hold.answering(channel)
            if target.routes.choice is not None:
                part.attempts.content_at = call.clock()
            self.ports.health.answering(channel, part.attempts.trial)

        async def progress(target: Target, delivered: int) -> bool:
            reach("mid_stream")
            tokens = -(-delivered // BYTES_PER_TOKEN)
            return await hold.progress(
                _output_charge(call, target, tokens),
                covered=_is_covered(call, target, hold, delivered),
            )

        manners = call.incoming.dialect.manners
        writer = StreamWriter(client, manners, self.ports.stream_times, call.clock)
        exchange = StreamExchange(
            call,
            writer,
            self.ports.sender,
            progress=progress,
            answering=answering,
        )
        self.ports.keep_alive.add(writer)
        try:
            return await self._run_stream(call, hold, exchange)
        finally:
            self.ports.keep_alive.remove(writer)

    async def _run_stream(
        self, call: Call, hold: Hold, exchange: StreamExchange
    ) -> CallRecord:
        failure: PosthouseError | None = None
        try:
            reach("before_dispatch")
            plan, first = self._plan(call), None
            if call.incoming.wait:
                plan, first = await self._wait(call)
            if call.menu.hedge is None or call.attempts.once:
                served = await self.ports.attempts.run(
                    plan, call.attempts, exchange.attempt, first
                )
            else:
                served = await self._race(call, plan, exchange, first)
                exchange = exchange.winner or exchange
        except ClientGone as gone:
            exchange = exchange.winner or exchange
            return await self._abandoned(call, hold, gone, exchange.partial)
        except PosthouseError as error:
            exchange = exchange.winner or exchange
            if exchange.partial is None:
                begun = exchange.writer.started
                record = await self._void(call, hold, error, begun=begun)
                if not begun:
                    raise
                await exchange.fail(error)
                return record
            served, failure = exchange.partial, error
        except BaseException as error:
            await self._void(call, hold, error)
            raise
        record = await self._settle(
            call, hold, served, exchange.content_ms, failure=failure
        )
        if failure is not None:
            await exchange.fail(failure)
        else:
            await self._finish(call, served, exchange)
        return record

    async def _finish(
        self, call: Call, served: Served, exchange: StreamExchange
    ) -> None:
        """Give the client the end of its stream, which is paid for."""
        reach("before_terminal")
        if call.incoming.keeper is not None:
            await call.keep(served.target, exchange.terminal)
        await exchange.finish()
        reach("after_terminal")

    async def _race(
        self, call: Call, plan: Plan, exchange: StreamExchange, first: Chosen | None
    ) -> Served:
        """Serve the call by attempts that may overlap; one has the client."""

        def lane(claim: Claim) -> Lane[Served]:
            fork = call.fork()
            return Lane(fork.attempts, exchange.rival(fork, claim), fork.enter)

        race = Race(self.ports.attempts, plan, call.attempts, lane)
        return await race.run(call.menu.hedge or 0.0, first)

    # --- endings ----------------------------------------------------------------------

    async def _settle(
        self,
        call: Call,
        hold: Hold,
        served: Served,
        first_token_ms: int | None,
        *,
        failure: PosthouseError | None = None,
    ) -> CallRecord:
        """Charge what was served; returns when that is in the journal."""
        if ARMED:
            reach("after_usage")
        way = call.way(served.target)
        found = told_usage(call, served, way)
        if found is None:
            found = await counted_usage(call, served)
        charged = charge_usage(call, served, found, way)
        ending = WITH_THE_REPLY[served.completion]
        if failure is not None or first_token_ms is not None:
            code = "" if failure is None else failure.code
            ending = Ending(ending.status, ending.outcome, code, first_token_ms)
        record = record_call(call, served.target, charged, ending)
        durable = hold.end(record)
        if durable is not None:
            await durable
        self.ports.call_ended(call, record, charged.suspicious)
        return record

    async def _abandoned(
        self, call: Call, hold: Hold, gone: ClientGone, partial: Served | None
    ) -> CallRecord:
        """The client went away: charge the prompt and what it was given.

        Nothing is charged if it left before the last attempt had sent anything.
        """
        reach("client_gone")
        target = call.attempts.target
        if target is None or not gone.sent:
            return await self._void(call, hold, gone)
        if partial is None:
            partial = Served(
                target,
                Completion.ABANDONED,
                None,
                None,
                str,
                each=call.unknown_usages(target),
            )
        return await self._settle(call, hold, partial, 0)

    async def _void(
        self, call: Call, hold: Hold, error: BaseException, *, begun: bool = False
    ) -> CallRecord:
        """Charge nothing, and keep a record all the same.

        `begun` says that a stream's head is out, with its status.
        """
        ending, reason = _unserved(error)
        if begun:
            ending = structs.replace(ending, status=200)
        record = record_call(call, call.attempts.target, NOTHING_CHARGED, ending)
        await hold.void(record, reason)
        self.ports.call_ended(call, record, ())
        return record


_NOT_WEIGHED = (0, 0)


def _tokens(call: Call) -> tuple[int, int]:
    """How many the prompt and the answer are likely to have, for policies."""
    return likely_tokens(call.incoming.request, call.menu.first.model)


def _output_charge(call: Call, target: Target, tokens: int) -> int:
    """What so many tokens of answer cost at most, in nano-dollars."""
    return extension_amount(
        call.offer(target).price,
        call.incoming.request,
        prompt_tokens=call.prompt_tokens,
        tokens=tokens,
    )


def _is_covered(call: Call, target: Target, hold: Hold, delivered: int) -> bool:
    """Whether the answer ends at a limit of the client's that is held for.

    What is delivered is not counted, only measured; a provider that goes far
    beyond the limit does not know it.
    """
    request = call.incoming.request
    if request.output_limit is None:
        return False
    tokens = held_output(request, call.offer(target).model)
    if delivered > tokens * LONG_TOKEN:
        return False
    return hold.covers(_output_charge(call, target, tokens))


def _unserved(error: BaseException) -> tuple[Ending, str]:
    """How a call ends for which nothing is charged, and the void's reason."""
    if isinstance(error, ClientGone):
        ending = Ending(CLIENT_CLOSED, Outcome.ABANDONED, "client_closed")
        return ending, "abandoned_before_dispatch"
    if isinstance(error, UpstreamRejected):
        ending = Ending(error.upstream_status, Outcome.REJECTED, error.code)
        return ending, Outcome.REJECTED
    if isinstance(error, PosthouseError):
        return Ending(error.status, Outcome.FAILED, error.code), Outcome.FAILED
    if isinstance(error, asyncio.CancelledError):
        ending = Ending(CLIENT_CLOSED, Outcome.ABANDONED, "cancelled")
        return ending, "abandoned_unanswered"
    code = InternalFault.code
    return Ending(500, Outcome.FAILED, code), "internal_error"

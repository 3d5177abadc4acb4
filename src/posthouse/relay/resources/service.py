"""Requests about what providers keep for callers, relayed as they stand.

The steps: what the request names must be the caller's own, which decides on the
channel; the route must have a price, or be allowed without; then limits and a hold as
for every call, one exchange, the settlement, and the end of the answer. What the
answer tells of is the caller's from then on.
"""

from msgspec import structs

from posthouse.billing.holds import Hold
from posthouse.dialects.base import ParsedRequest, PromptSize
from posthouse.dialects.resources.routes import BEGINNINGS, LISTS, Cost, cost_of
from posthouse.errors import (
    InternalFault,
    NotFound,
    PosthouseError,
    RouteNotPriced,
    UpstreamCredential,
)
from posthouse.model.call import CallRecord, Operation, Outcome
from posthouse.relay.call import Call, Incoming
from posthouse.relay.charging import (
    CLIENT_CLOSED,
    NOTHING_CHARGED,
    Charged,
    Ending,
    record_call,
    tokens_of,
)
from posthouse.relay.ports import Client
from posthouse.relay.prepare import find_dialect
from posthouse.relay.resources.exchange import (
    Answer,
    Headers,
    ResourceExchange,
    Sent,
)
from posthouse.relay.resources.files import NamedFiles, at_place, find_files
from posthouse.relay.resources.learning import Learner
from posthouse.relay.resources.lists import Lists
from posthouse.relay.resources.lookup import Lookup, Place
from posthouse.relay.resources.models import body_for
from posthouse.relay.resources.money import (
    OPERATION,
    Money,
    charge_told,
    money_of,
    opening_of,
)
from posthouse.relay.resources.ports import Asked, ResourcePorts, plan_for
from posthouse.relay.snapshot import Snapshot
from posthouse.relay.watch import ClientGone
from posthouse.routing.plan import Target

BYTES_PER_TOKEN = 2
JSON_HEADERS = ((b"content-type", b"application/json"),)
DIALECTS = {"openai": "openai_chat", "anthropic": "anthropic_messages"}
"""By family, the dialect that its errors are in."""


class ResourceRelay:
    """Relays requests."""

    def __init__(self, ports: ResourcePorts) -> None:
        """Work with `ports`."""
        self._ports = ports

    @property
    def lookup(self) -> Lookup:
        """Finds whose things are, and where."""
        return self._ports.lookup

    async def serve(self, asked: Asked, client: Client, snapshot: Snapshot) -> None:
        """Relay one request; raises PosthouseError while no answer has begun."""
        path, caller = asked.path, asked.caller
        if path.is_administration:
            raise NotFound
        copies = self._ports.copies
        asked, files = await find_files(copies, asked)
        place = await self.lookup.find(snapshot.table, caller, asked.named)
        if files:
            asked, place = await at_place(
                copies, self.lookup, asked=asked, place=place, files=files
            )
        if not place.shared:
            _check_owned(asked)
        cost = cost_of(asked.method, path)
        if cost is Cost.UNPRICED and not self._is_allowed(place):
            raise RouteNotPriced
        call = Call.begin(_incoming(asked), client, snapshot)
        call.prompt_tokens = len(asked.body) // BYTES_PER_TOKEN
        money = money_of(call, cost)
        permit = await self._ports.limits.admit(
            caller.principal, call.prompt_tokens if money.offer else 0
        )
        tokens = 0
        try:
            client.extra += permit.header_lines()
            opening = opening_of(
                call, money, caller.family, hold_max=self._ports.hold_max
            )
            hold = await self._ports.holds.open(opening)
            named = NamedFiles(copies, caller, path.first, files)
            work = _Work(self._ports, call, asked, place, money=money, files=named)
            record = await work.do(hold)
            tokens = tokens_of(record.usage)
        finally:
            permit.release(tokens)

    def _is_allowed(self, place: Place) -> bool:
        """Whether nobody minds what is asked there: it costs nothing, or he said so."""
        channel = place.channels[0]
        return self._ports.unpriced or channel.sandbox or channel.provider.free


def _check_owned(asked: Asked) -> None:
    """Refuse what concerns more than the caller's own; raises NotFound."""
    path = asked.path
    if path.is_whole_account:
        raise NotFound
    known = BEGINNINGS if asked.method == "POST" else LISTS
    reading = asked.method == "GET" and path.names_things
    if not path.ids and not reading and path.template not in known:
        raise NotFound


def _incoming(asked: Asked) -> Incoming:
    models, caller = asked.named.models, asked.caller
    return Incoming(
        id=asked.id,
        principal=caller.principal,
        dialect=find_dialect(DIALECTS[caller.family]),
        request=ParsedRequest(
            operation=Operation.CHAT,
            envelope={},
            model=models[0] if models else "",
            stream=False,
            prompt=PromptSize(text_bytes=len(asked.body)),
            affinity=b"",
        ),
        session=None,
        trace=asked.trace,
    )


class _Work:
    """One admitted call."""

    def __init__(
        self,
        ports: ResourcePorts,
        call: Call,
        asked: Asked,
        place: Place,
        *,
        money: Money,
        files: NamedFiles,
    ) -> None:
        self._ports = ports
        self._files = files
        self._call = call
        self._caller = asked.caller
        self._asked = asked
        self._place = place
        self._money = money
        self._client = call.watch.client

    async def do(self, hold: Hold) -> CallRecord:
        """Do what is asked, and settle."""
        asked, place = self._asked, self._place
        is_list = (
            asked.method == "GET" and asked.path.template in LISTS and not place.shared
        )
        call = self._call
        # Who leaves shall not have for nothing what is paid by its result.
        money = self._money
        call.watch.drain = money.paid and money.offer is not None
        exchange = self._exchange(asked)
        try:
            if is_list:
                return await self._list(hold)
            answer = await self._ports.attempts.run(
                plan_for(
                    self._ports,
                    place.channels,
                    place.credential,
                    self._caller.principal.account_id,
                ),
                call.attempts,
                exchange.attempt,
            )
        except ClientGone as gone:
            return await self._gone(hold, exchange.answer, gone)
        except PosthouseError as error:
            return await self._failed(hold, exchange.answer, error)
        except BaseException:
            ending = Ending(500, Outcome.FAILED, InternalFault.code)
            await self._end(hold, ending, "internal_error")
            raise
        charged = charge_told(call, money, answer.target, answer.told)
        ending = Ending(answer.status, Outcome.SERVED)
        record = self._record(answer.target, charged, ending)
        await hold.settle(record)
        self._ports.call_ended(call, record, charged.suspicious)
        await self._forget()
        await self._respond(answer)
        return record

    def _exchange(self, asked: Asked) -> ResourceExchange:
        learner = Learner(
            self._ports.lookup, self._call, self._caller, (asked.method, asked.path)
        )
        sent = Sent(
            method=asked.method,
            path=asked.path,
            query=asked.query,
            family=self._caller.family,
            dialect=self._call.incoming.dialect,
            headers=self._headers(),
            body=lambda channel, names: body_for(
                channel,
                asked.content_type,
                asked.body,
                models=asked.named.models,
                things=names,
            ),
            content_type=asked.content_type,
            files=self._files,
        )
        return ResourceExchange(self._call, self._ports.sender, sent, learner.heed)

    def _headers(self) -> Headers:
        """What goes up; the sandbox is told the call's id, to make its own of it."""
        headers = self._asked.headers
        if self._place.channels[0].sandbox:
            return (*headers, (b"x-request-id", self._call.incoming.id.encode()))
        return headers

    async def _respond(self, answer: Answer) -> None:
        """Give the caller the end of the answer, or all of it."""
        client = self._client
        if client.gone:
            return
        if answer.started:
            await client.finish(answer.body)
            return
        headers = answer.headers + self._call.headers(answer.target)
        await client.respond(answer.status, headers, answer.body)

    async def _forget(self) -> None:
        """Forget what has been deleted."""
        asked = self._asked
        path = asked.path
        if asked.method != "DELETE" or len(path.ids) != 1 or path.last != "{}":
            return
        for thing in self._place.owned:
            if thing.id == path.ids[0]:
                await self._ports.lookup.store.forget(thing)
                await self._files.deleted(thing.channel, thing.id)

    # --- lists ------------------------------------------------------------------

    async def _list(self, hold: Hold) -> CallRecord:
        """Give the caller's own of a list."""
        lists = Lists(self._ports, self._call, self._caller, self._files)
        body = await lists.page(self._asked)
        record = self._record(None, NOTHING_CHARGED, Ending(200, Outcome.SERVED))
        await hold.settle(record)
        self._ports.call_ended(self._call, record, ())
        await self._client.respond(200, JSON_HEADERS, body)
        return record

    # --- endings ------------------------------------------------------------------

    async def _failed(
        self, hold: Hold, answer: Answer | None, error: PosthouseError
    ) -> CallRecord:
        """Tell what went wrong: in the provider's own words, where it has any."""
        if answer is not None and answer.ours:
            error, answer = UpstreamCredential(), None
        if answer is not None and answer.started:
            ending = Ending(answer.status, Outcome.INTERRUPTED, error.code)
            record = await self._end(hold, ending, "upstream_fault", answer)
            self._client.abort()
            return record
        if answer is not None and answer.status >= 400:
            rejected = answer.status < 500
            outcome = Outcome.REJECTED if rejected else Outcome.FAILED
            ending = Ending(answer.status, outcome, error.code)
            record = await self._end(hold, ending, outcome)
            await self._respond(answer)
            return record
        await self._end(
            hold, Ending(error.status, Outcome.FAILED, error.code), Outcome.FAILED
        )
        raise error

    async def _gone(
        self, hold: Hold, answer: Answer | None, gone: ClientGone
    ) -> CallRecord:
        """The caller has left."""
        ending = Ending(CLIENT_CLOSED, Outcome.ABANDONED, "client_closed")
        reason = "abandoned_unanswered" if gone.sent else "abandoned_before_dispatch"
        return await self._end(hold, ending, reason, answer)

    async def _end(
        self, hold: Hold, ending: Ending, reason: str, answer: Answer | None = None
    ) -> CallRecord:
        """Charge what was told before the end, and keep a record all the same."""
        charged = NOTHING_CHARGED
        if answer is not None:
            charged = charge_told(self._call, self._money, answer.target, answer.told)
        record = self._record(self._call.attempts.target, charged, ending)
        if charged.price:
            await hold.settle(record)
        else:
            await hold.void(record, reason)
        self._ports.call_ended(self._call, record, charged.suspicious)
        return record

    def _record(
        self, target: Target | None, charged: Charged, ending: Ending
    ) -> CallRecord:
        record = record_call(self._call, target, charged, ending)
        return structs.replace(record, operation=OPERATION, dialect=self._caller.family)

"""The calls of batches: the same handlers as for callers, without a connection.

Whose call it is was decided when the batch was made, so its key is looked up by its
id. Everything else is as for any call: the key's models, limits and money.
"""

from collections.abc import Awaitable, Callable, Sequence

from msgspec import structs
from typing_extensions import override

from posthouse.access.principal import Principal
from posthouse.api.calls import Calls, Complete, Parse
from posthouse.api.openai import render
from posthouse.billing.estimate import estimate_prompt
from posthouse.dialects.base import Dialect
from posthouse.errors import (
    AuthenticationFailed,
    InsufficientQuota,
    InternalFault,
    InvalidRequest,
    ModelNotFound,
    OperatorFault,
    Overloaded,
    PosthouseError,
    PriceMissing,
    RateLimited,
    Retry,
    StorageUnavailable,
    UnprocessableRequest,
    UnsupportedOperation,
    UpstreamFault,
    UpstreamRateLimited,
)
from posthouse.observe.logs import logger
from posthouse.relay.batches.lines import LineRelay
from posthouse.relay.call import Incoming
from posthouse.relay.ports import Client
from posthouse.relay.served import Served
from posthouse.relay.sought import Sought
from posthouse.server.address import TrustedProxies
from posthouse.server.context import ServerContext
from posthouse.server.inner import InnerExchange, inner_head
from posthouse.server.limits import ServerLimits
from posthouse.server.request import Request
from posthouse.server.routes import Entry, Route, RouteTable
from posthouse.tasks.ports import BatchLost, KeepAnswer, LineRunner
from posthouse.tasks.records import (
    BatchAPI,
    Bought,
    LineCall,
    LineError,
    LineReply,
    Place,
)

_ROOM = (RateLimited, UpstreamRateLimited, Overloaded, StorageUnavailable)
"""Errors that a call is not at fault for: it waits, however long that takes."""
_MONEY_SECONDS = 0.25
"""After which a line asks again for money that others hold."""
_FIELDS = {
    BatchAPI.OPENAI: {b"content-type": b"application/json"},
    BatchAPI.ANTHROPIC: {
        b"content-type": b"application/json",
        b"anthropic-version": b"2023-06-01",
    },
}

_ENDPOINTS = frozenset(
    {
        "/v1/chat/completions",
        "/v1/completions",
        "/v1/embeddings",
        "/v1/images/edits",
        "/v1/images/generations",
        "/v1/messages",
        "/v1/moderations",
        "/v1/rerank",
        "/v1/responses",
        "/v1/translations",
        "/v2/rerank",
        "/v2/translate",
        "/api/paas/v4/images/generations",
        "/api/v1/services/aigc/multimodal-generation/generation",
        "/api/v3/images/generations",
    }
)
"""Routes of calls that are asked and answered in JSON: nothing else, a form or a
sound, can stand in a line. A route that is not here is refused with its batch."""

FindPrincipal = Callable[[str], Awaitable[Principal | None]]

log = logger("posthouse.batches")


class LineExchange(InnerExchange):
    """The request of one line."""

    principal: Principal
    keep: KeepAnswer | None
    """None: the call is only judged."""
    bought: Bought | None = None
    """What a provider's batch has answered; None: nobody has."""
    sought: Sought | None = None
    """Where it could be answered is all that is asked."""


class LineCalls(Calls):
    """Takes the requests of lines to the relay."""

    @classmethod
    def over(cls, calls: Calls) -> "LineCalls":
        """Make what serves lines with all that serves callers."""
        lines = cls.__new__(cls)
        vars(lines).update(vars(calls))
        # Those of callers stay with callers.
        lines.deployments = {}
        lines.relay = LineRelay(calls.relay)
        return lines

    @override
    def _recalled(self, request: Request) -> Principal | None:
        return _line(request).principal

    @override
    async def serve(
        self,
        request: Request,
        dialect: Dialect,
        parse: Parse,
        *,
        client: Client | None = None,
        complete: Complete | None = None,
    ) -> None:
        exchange = _line(request)
        if exchange.keep is None and exchange.sought is None:
            self._look(await self._incoming(request, dialect, parse), exchange)
            await exchange.respond(200, (), b"{}")
            return

        async def completed(incoming: Incoming) -> Incoming:
            if exchange.bought is None:
                _judge(incoming)
            if complete is not None:
                incoming = await complete(incoming)
            return _as_line(incoming, exchange)

        await super().serve(request, dialect, parse, client=client, complete=completed)

    def _look(self, incoming: Incoming, exchange: LineExchange) -> None:
        """Refuse a call for the models that it names; raises PosthouseError."""
        try:
            self.relay.judge(incoming, exchange)
        except (ModelNotFound, UnsupportedOperation):
            errands = self.errands
            if errands is None or not errands.is_one(self.relay, incoming):
                raise


def _as_line(incoming: Incoming, exchange: LineExchange) -> Incoming:
    """Add what calls of lines have."""
    keep = exchange.keep

    async def keep_first(served: Served) -> None:
        if keep is not None:
            await keep(served.body)

    return structs.replace(
        incoming,
        keep_first=keep_first,
        off_peak=True,
        sought=exchange.sought,
        bought=exchange.bought,
    )


def _judge(incoming: Incoming) -> None:
    """Refuse what no batch can have; raises PosthouseError."""
    request = incoming.request
    if request.stream:
        raise InvalidRequest("A batch's calls are not streamed", param="stream")
    tpm = incoming.principal.tpm
    if tpm is not None and estimate_prompt(request, None) > tpm:
        # No minute will ever have room for it, however long it waits.
        raise UnprocessableRequest(
            "This request needs more tokens than the key may use per minute."
        )


def _line(request: Request) -> LineExchange:
    client = request.client
    if not isinstance(client, LineExchange):
        raise TypeError("this is no line of a batch")
    return client


class RoutedLines(LineRunner):
    """Makes the calls of lines by the routes that callers have."""

    def __init__(
        self, routes: Sequence[Route], find: FindPrincipal, *, buffered: int
    ) -> None:
        """Call handlers.

        Args:
            routes: whose handlers are over `LineCalls`.
            find: gives the principal of a key.
            buffered: bytes of bodies at one time.
        """
        self._table = RouteTable(routes)
        self._find = find
        self._proxies = TrustedProxies()
        self._context = ServerContext(
            lambda error: render(error, None), ServerLimits(buffered_bodies=buffered)
        )

    @override
    def takes(self, endpoint: str) -> bool:
        return self._entry(endpoint) is not None

    def _entry(self, endpoint: str) -> Entry | None:
        found = self._table.find(endpoint) if endpoint in _ENDPOINTS else None
        return None if found is None else found[0]

    @override
    async def judge(self, call: LineCall) -> LineError | None:
        try:
            await self._handle(call)
        except (ModelNotFound, PriceMissing, AuthenticationFailed) as error:
            return LineError(type(error).code, error.message, param=error.param)
        except PosthouseError:
            # What is wrong with one line's body is told where its answer would be.
            return None
        return None

    @override
    async def run(
        self, call: LineCall, keep: KeepAnswer, bought: Bought | None = None
    ) -> LineReply:
        try:
            exchange = await self._handle(call, keep=keep, bought=bought)
        except PosthouseError as error:
            return self._failed(call, error)
        except BatchLost:
            raise
        except Exception as error:
            log.exception("a batch's call failed", call=call.call_id, exc_info=error)
            return self._failed(call, InternalFault())
        return LineReply(exchange.status, exchange.reply)

    @override
    async def place(self, call: LineCall, without: frozenset[str]) -> Place | None:
        sought = Sought(call.batch_id.encode(), without)
        try:
            await self._handle(call, sought=sought)
        except PosthouseError:
            # Whatever it is, it is told where the line's answer would be.
            return None
        except Exception as error:
            log.exception("a line could not be placed", exc_info=error)
            return None
        return sought.found

    async def _handle(
        self,
        call: LineCall,
        *,
        keep: KeepAnswer | None = None,
        sought: Sought | None = None,
        bought: Bought | None = None,
    ) -> LineExchange:
        """Have a line's request answered; raises PosthouseError."""
        entry = self._entry(call.endpoint)
        principal = await self._find(call.key_id)
        if principal is None or entry is None:
            raise AuthenticationFailed("The key that made the batch is not valid now.")
        fields = dict(_FIELDS[call.api])
        head = inner_head(call.endpoint, fields, len(call.body))
        exchange = LineExchange(self._context, head, call.body)
        exchange.principal = principal
        exchange.keep, exchange.sought, exchange.bought = keep, sought, bought
        request = Request(
            exchange, self._proxies, call.call_id, entry.manners, entry.path
        )
        try:
            await entry.handlers["POST"](request)
        finally:
            self._context.budget.held -= request.held
        return exchange

    def _failed(self, call: LineCall, error: PosthouseError) -> LineReply:
        """Say what an error is to a line."""
        entry = self._entry(call.endpoint)
        head = inner_head(call.endpoint, {}, 0)
        exchange = LineExchange(self._context, head, b"")
        manners = entry.manners if entry is not None else None
        request = Request(exchange, self._proxies, call.call_id, manners)
        status, _, body = render(error, request)
        seconds = error.retry_after
        if isinstance(error, InsufficientQuota) and error.held:
            # It may come back: lines need less than they hold.
            return LineReply(status, body, _MONEY_SECONDS, waits_for_room=True)
        if isinstance(error, _ROOM):
            return LineReply(
                status, body, 1.0 if seconds is None else seconds, waits_for_room=True
            )
        passes = (
            isinstance(error, UpstreamFault) and error.retry is not Retry.NEVER
        ) or isinstance(error, OperatorFault)
        if passes and not isinstance(error, InsufficientQuota):
            return LineReply(status, body, 1.0 if seconds is None else seconds)
        return LineReply(status, body)

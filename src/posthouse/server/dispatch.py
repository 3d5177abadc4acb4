"""The application behind every connection: finds the handler, renders errors.

This is the boundary at which every exception ends: a `PosthouseError` becomes
the reply that `render_error` makes of it, anything else a 500 that is logged
once, with the request's id and never its content. After a reply has begun,
both can only break it off.
"""

import secrets
from collections.abc import Callable, Iterable, Sequence
from itertools import count

from posthouse.errors import (
    InternalFault,
    MethodNotAllowed,
    NotFound,
    Overloaded,
    PosthouseError,
    UpgradeRequired,
)
from posthouse.observe.logs import logger
from posthouse.server.address import TrustedProxies
from posthouse.server.context import Reply
from posthouse.server.cors import CORS
from posthouse.server.exchange import Exchange
from posthouse.server.gate import Gate
from posthouse.server.heads import Headers, render_constant, render_fields
from posthouse.server.marks import ConstantReply, Refused
from posthouse.server.request import Request
from posthouse.server.routes import Entry, Handler, Route, RouteTable

RenderError = Callable[[PosthouseError, Request | None], Reply]
"""Renders an error for the caller; without a request it was no valid HTTP."""

_RETRY_AFTER = (1, 2, 3)
"""Seconds after which those come back that are turned away: not all at once."""


class Dispatcher:
    """Answers exchanges."""

    def __init__(
        self,
        routes: Iterable[Route],
        render_error: RenderError,
        *,
        cors: CORS | None = None,
        proxies: TrustedProxies | None = None,
        node: str = "",
        gate: Gate | None = None,
    ) -> None:
        """Serve `routes`.

        Args:
            routes: of the whole service.
            render_error: makes replies of errors.
            cors: which origins may call from a browser; none by default.
            proxies: whose X-Forwarded-For is believed; none by default.
            node: what replies name as their process; nothing by default.
            gate: what requests pass before they come here.
        """
        self._table = RouteTable(routes)
        self._render_error = render_error
        self._cors = cors or CORS()
        self._proxies = proxies or TrustedProxies()
        # Unique over restarts and processes; no secret.
        self._id = f"req_{secrets.token_hex(8)}%08x"
        self._numbers = count(1)
        self._extra = b"x-request-id: %b\r\n" % self._id.encode()
        """Makes, of such a number, the lines that its reply has beside all others."""
        if node:
            name = node.encode().replace(b"%", b"%%")
            self._extra += b"x-posthouse-node: %b\r\n" % name
        self._log = logger("posthouse.server")
        self.gate = gate or Gate()
        self.gate.door = self
        self._refusals: dict[str, list[ConstantReply]] = {}
        """What those are told in turn that are turned away, by route."""

    def trust(self, cors: CORS, proxies: TrustedProxies) -> None:
        """Take other origins and proxies, from the next request on."""
        self._cors = cors
        self._proxies = proxies

    def render_refusal(self, error: PosthouseError) -> Reply:
        """Render the reply to what was no request."""
        return self._render_error(error, None)

    async def __call__(self, exchange: Exchange) -> None:
        """Answer one exchange and close it; raises nothing."""
        self.gate.young -= 1
        number = next(self._numbers)
        exchange.extra = self._extra % number
        request = Request(exchange, self._proxies, self._id % number)
        try:
            await self._handler(request)(request)
            if not (exchange.complete or exchange.gone):
                raise RuntimeError("the handler left its reply open")  # noqa: TRY301 - so that it is logged below
        except PosthouseError as error:
            await self._fail(request, error)
        except Exception as error:  # noqa: BLE001 - the boundary named above
            self._log.error(
                "request failed unexpectedly",
                request_id=request.request_id,
                route=request.route,
                exc_info=error,
            )
            await self._fail(request, InternalFault())
        finally:
            exchange.context.budget.held -= request.held
            exchange.close()

    def is_urgent(self, exchange: Exchange) -> bool:
        """Whether a request never waits for its turn: an operator's, on a look-out."""
        found = self._table.find(exchange.head.path)
        return found is not None and found[0].urgent

    def turn_away(self, exchange: Exchange, tenant: str) -> None:
        """Answer at once that the service is overloaded."""
        if exchange.is_choked:
            exchange.abort()
            return
        number = next(self._numbers)
        exchange.extra = self._extra % number
        head = exchange.head
        replies = self._overloaded(exchange)
        if b"origin" in head.fields:
            exchange.extra += render_fields(self._cors.headers(head.fields[b"origin"]))
        elif head.method == "POST":
            exchange.refused(Refused(tenant, replies))
        self.gate.uncounted += 1
        exchange.respond_now(*replies[number % len(replies)])

    def refusal(self, replies: Sequence[ConstantReply]) -> bytes:
        """Render the same, but for the status line and the date."""
        number = next(self._numbers)
        _, headers, body = replies[number % len(replies)]
        self.gate.uncounted += 1
        return b"%b%bcontent-length: %d\r\n\r\n%b" % (
            render_constant(headers),
            self._extra % number,
            len(body),
            body,
        )

    def _overloaded(self, exchange: Exchange) -> Sequence[ConstantReply]:
        """Render what is said to all who ask for the same."""
        found = self._table.find(exchange.head.path)
        path = "" if found is None else found[0].path
        replies = self._refusals.get(path)
        if replies is None:
            request = Request(exchange, self._proxies, "")
            if found is not None:
                request.manners = found[0].manners
            replies = []
            for seconds in _RETRY_AFTER:
                error = Overloaded(retry_after=seconds)
                status, headers, body = self._render_error(error, request)
                replies.append((status, tuple(headers), body))
            self._refusals[path] = replies
            # Who renders errors has counted these.
            self.gate.uncounted -= len(replies)
        return replies

    def _handler(self, request: Request) -> Handler:
        """Find who answers; raises NotFound, MethodNotAllowed, UpgradeRequired."""
        exchange = request.client
        head = exchange.head
        if b"origin" in head.fields:
            exchange.extra += render_fields(self._cors.headers(head.fields[b"origin"]))
        found = self._table.exact.get(head.path) or self._table.find(head.path)
        if exchange.upgrade is not None:
            return _for_socket(found, request)
        if found is not None:
            entry, request.tail = found
            request.route = entry.path
            request.manners = entry.manners
            handler = entry.handlers.get(head.method)
            if handler is not None:
                return handler
            exchange.extra += b"allow: %b\r\n" % entry.allow
        if head.method == "OPTIONS":
            return self._options
        raise NotFound if found is None else MethodNotAllowed

    async def _options(self, request: Request) -> None:
        fields = request.client.head.fields
        headers: Headers = []
        if b"origin" in fields and b"access-control-request-method" in fields:
            # Answered for every path: the browser shall then see the 404.
            headers = self._cors.preflight(
                fields[b"origin"], fields.get(b"access-control-request-headers")
            )
        elif not request.route and request.path != "*":
            raise NotFound
        await request.client.respond(204, headers, b"")

    async def _fail(self, request: Request, error: PosthouseError) -> None:
        exchange = request.client
        if exchange.started or exchange.gone:
            exchange.abort()
            return
        if isinstance(error, UpgradeRequired):
            exchange.extra += b"upgrade: %b\r\n" % error.to
        status, headers, body = self._render_error(error, request)
        await exchange.respond(status, headers, body)


def _for_socket(found: tuple[Entry, str] | None, request: Request) -> Handler:
    """Who takes a client that asks for a WebSocket; raises UpgradeRequired."""
    entry = None if found is None else found[0]
    if entry is None or entry.socket is None or request.method != "GET":
        raise UpgradeRequired
    request.route = entry.path
    request.manners = entry.manners
    return entry.socket

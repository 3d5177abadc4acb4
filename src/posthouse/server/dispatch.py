"""The application behind every connection: finds the handler, renders errors.

This is the boundary at which every exception ends: a `PosthouseError` becomes
the reply that `render_error` makes of it, anything else a 500 that is logged
once, with the request's id and never its content. After a reply has begun,
both can only break it off.
"""

import secrets
from collections.abc import Callable, Iterable
from itertools import count

from posthouse.errors import (
    InternalFault,
    MethodNotAllowed,
    NotFound,
    PosthouseError,
    UpgradeRequired,
)
from posthouse.observe.logs import logger
from posthouse.server.address import TrustedProxies
from posthouse.server.context import Reply
from posthouse.server.cors import CORS
from posthouse.server.exchange import Exchange
from posthouse.server.heads import Headers, render_fields
from posthouse.server.request import Request
from posthouse.server.routes import Handler, Route, RouteTable

RenderError = Callable[[PosthouseError, Request | None], Reply]
"""Renders an error for the caller; without a request it was no valid HTTP."""


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
    ) -> None:
        """Serve `routes`.

        Args:
            routes: of the whole service.
            render_error: makes replies of errors.
            cors: which origins may call from a browser; none by default.
            proxies: whose X-Forwarded-For is believed; none by default.
            node: what replies name as their process; nothing by default.
        """
        self._table = RouteTable(routes)
        self._render_error = render_error
        self._cors = cors or CORS()
        self._proxies = proxies or TrustedProxies()
        # Unique over restarts and processes; no secret.
        self._id = f"req_{secrets.token_hex(8)}%08x"
        self._numbers = count(1)
        self._extra = b"x-request-id: %b\r\n"
        if node:
            self._extra += b"x-posthouse-node: %b\r\n" % node.encode()
        self._log = logger("posthouse.server")

    def trust(self, cors: CORS, proxies: TrustedProxies) -> None:
        """Take other origins and proxies, from the next request on."""
        self._cors = cors
        self._proxies = proxies

    def render_refusal(self, error: PosthouseError) -> Reply:
        """Render the reply to what was no request."""
        return self._render_error(error, None)

    async def __call__(self, exchange: Exchange) -> None:
        """Answer one exchange and close it; raises nothing."""
        request_id = self._id % next(self._numbers)
        exchange.extra = self._extra % request_id.encode()
        request = Request(exchange, self._proxies, request_id)
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

    def _handler(self, request: Request) -> Handler:
        """Find who answers; raises NotFound, MethodNotAllowed, UpgradeRequired."""
        exchange = request.client
        head = exchange.head
        if b"origin" in head.fields:
            exchange.extra += render_fields(self._cors.headers(head.fields[b"origin"]))
        if exchange.websocket:
            raise UpgradeRequired
        found = self._table.find(head.path)
        if found is not None:
            entry, request.tail = found
            request.route = entry.path
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
            exchange.extra += b"upgrade: HTTP/1.1\r\n"
        status, headers, body = self._render_error(error, request)
        await exchange.respond(status, headers, body)

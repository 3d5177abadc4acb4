"""OpenAI's Realtime API over WebSocket: GET /v1/realtime, and Azure's way to it.

Browsers cannot set headers: their key comes among the subprotocols. It is never
echoed, sent on or logged; of what is offered only `realtime` is ever chosen.
What lies below the path (keys for browsers, calls by WebRTC) would lead around
this service's books, and is not there.
"""

import re
from collections.abc import Awaitable, Callable
from functools import partial
from urllib.parse import parse_qsl

from typing_extensions import override

from posthouse.access.authenticator import Authenticator
from posthouse.access.models import allows
from posthouse.access.principal import Principal
from posthouse.api.calls import FORWARDED, METADATA, Calls
from posthouse.dialects.openai_realtime import DIALECT, session_request
from posthouse.errors import (
    InvalidRequest,
    MethodNotAllowed,
    ModelNotFound,
    NotFound,
    RateLimited,
    UpgradeRequired,
)
from posthouse.relay.call import Incoming
from posthouse.relay.ports import Headers
from posthouse.relay.realtime import Realtime
from posthouse.relay.session_ports import Door
from posthouse.server.exchange import Exchange
from posthouse.server.request import Request
from posthouse.server.routes import Route
from posthouse.server.websocket import Upgrade, offered_subprotocols
from posthouse.upstream.ports import MessageSocket

PATHS = ("/v1/realtime", "/openai/v1/realtime", "/openai/realtime")
SUBPROTOCOL = "realtime"
_KEY = "openai-insecure-api-key."
_BETA = "openai-beta.realtime-v1"
_BETA_HEADER = (b"openai-beta", b"realtime=v1")
_KEY_TEXT = re.compile(r"[\x21-\x7e]{1,1024}")
_WORDS = re.compile(rb"[ -~]{0,512}")
_CREDENTIALS = (b"authorization", b"x-api-key", b"api-key", b"x-goog-api-key")
_METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")


class _Door(Door):
    """One client's wish for a session."""

    def __init__(
        self,
        exchange: Exchange,
        upgrade: Upgrade,
        subprotocol: str | None,
        authorize: Callable[[], Awaitable[Principal]],
    ) -> None:
        self._exchange = exchange
        self._upgrade = upgrade
        self._subprotocol = subprotocol
        self.authorize = authorize

    @override
    def accept(self, headers: Headers) -> MessageSocket:
        return self._upgrade.accept(self._exchange, self._subprotocol, headers)

    @override
    def on_cut(self, callback: Callable[[], None]) -> None:
        self._exchange.on_cut(callback)


class RealtimeRoutes:
    """The handlers, over what they need."""

    def __init__(
        self, calls: Calls, authenticator: Authenticator, realtime: Realtime
    ) -> None:
        """Serve sessions through `realtime`."""
        self._calls = calls
        self._authenticator = authenticator
        self._realtime = realtime

    def routes(self) -> list[Route]:
        """All of them."""
        return [
            *(Route(("GET",), path, _plain, socket=self.connect) for path in PATHS),
            Route(_METHODS, "/v1/realtime/", _below, prefix=True),
        ]

    async def connect(self, request: Request) -> None:
        """GET /v1/realtime as WebSocket: serve a session to its end."""
        exchange = request.client
        upgrade = exchange.upgrade
        if upgrade is None:
            raise UpgradeRequired
        offered = offered_subprotocols(exchange.head)
        authorize = partial(
            self._authenticator.authenticate,
            _presented(request, offered),
            request.client_address,
        )
        principal = await authorize()
        upgrade.judge(exchange.head)
        model = _model(request.query)
        if principal.models is not None and not allows(principal, model):
            raise ModelNotFound(param="model")
        incoming = _incoming(request, principal, model, offered)
        chosen = SUBPROTOCOL if SUBPROTOCOL in offered else None
        door = _Door(exchange, upgrade, chosen, authorize)
        try:
            await self._realtime.serve(incoming, exchange, door)
        except RateLimited:
            self._calls.tell_limits(request, principal)
            raise
        finally:
            if exchange.started:
                exchange.abort()


def _incoming(
    request: Request, principal: Principal, model: str, offered: list[str]
) -> Incoming:
    """Write the call that a session is; raises InvalidRequest."""
    fields = request.client.head.fields
    forwarded = tuple((n, fields[n]) for n in sorted(FORWARDED) if n in fields)
    if any(not _WORDS.fullmatch(value) for _, value in forwarded):
        raise InvalidRequest("A header of the request is malformed.")
    if _BETA in offered and b"openai-beta" not in fields:
        forwarded += (_BETA_HEADER,)
    return Incoming(
        id=request.request_id,
        principal=principal,
        dialect=DIALECT,
        request=session_request(model),
        session=fields.get(b"x-session-id"),
        forwarded=forwarded,
        metadata=fields.get(METADATA),
    )


def _presented(request: Request, offered: list[str]) -> str | None:
    """Find the key: where every request has it, else among the subprotocols."""
    fields = request.client.head.fields
    elsewhere = any(name in fields for name in _CREDENTIALS)
    keys = [name.removeprefix(_KEY) for name in offered if name.startswith(_KEY)]
    if elsewhere or not keys:
        return request.presented_key()
    return keys[0] if len(keys) == 1 and _KEY_TEXT.fullmatch(keys[0]) else None


def _model(query: bytes) -> str:
    """Read which model the session is with; raises InvalidRequest."""
    names = [
        value
        for name, value in parse_qsl(query.decode("latin-1"))
        if name in ("model", "deployment")
    ]
    if len(names) != 1:
        raise InvalidRequest(
            "The address must name one model: ?model=…",
            param="model",
            code="missing_required_parameter",
        )
    return names[0]


async def _plain(_request: Request) -> None:
    error = UpgradeRequired("This address speaks WebSocket only.")
    error.to = b"websocket"
    raise error


async def _below(request: Request) -> None:
    if request.method not in _METHODS:
        raise MethodNotAllowed
    raise NotFound(
        "Sessions are opened by WebSocket at /v1/realtime; keys for browsers and "
        "calls by WebRTC or SIP are not offered here."
    )

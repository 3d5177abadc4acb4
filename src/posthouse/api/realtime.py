"""OpenAI's Realtime API over WebSocket: GET /v1/realtime, and Azure's way to it.

Browsers cannot set headers: their key comes among the subprotocols. It is never
echoed, sent on or logged; of what is offered only `realtime` is ever chosen. Keys
for browsers are tickets of our own (POST /v1/realtime/client_secrets), for a
provider's would lead around this service's books, as would calls by WebRTC and
whatever else lies below the path: that is not there.
"""

import re
import secrets
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any
from urllib.parse import parse_qsl

from msgspec import structs
from typing_extensions import override

from posthouse.access.authenticator import Authenticator
from posthouse.access.models import allows
from posthouse.access.principal import Principal
from posthouse.access.tickets import LONGEST, PREFIX, Tickets
from posthouse.api.calls import FORWARDED, METADATA, Calls
from posthouse.dialects.openai_realtime import DIALECT, session_request
from posthouse.dialects.openai_realtime.client_events import models_of, read_client
from posthouse.dialects.resources.names import Named
from posthouse.errors import (
    InvalidRequest,
    MethodNotAllowed,
    ModelNotFound,
    NotFound,
    RateLimited,
    UpgradeRequired,
)
from posthouse.model.call import Operation
from posthouse.relay.call import Incoming
from posthouse.relay.ports import Headers
from posthouse.relay.realtime import Realtime
from posthouse.relay.session_ports import Door
from posthouse.routing.plan import Target
from posthouse.server.exchange import Exchange
from posthouse.server.request import Request
from posthouse.server.routes import Route
from posthouse.server.websocket import Upgrade, offered_subprotocols
from posthouse.upstream.ports import MessageSocket
from posthouse.wire import json
from posthouse.wire.json import MalformedJSON

PATHS = ("/v1/realtime", "/openai/v1/realtime", "/openai/realtime")
SUBPROTOCOL = "realtime"
_KEY = "openai-insecure-api-key."
_BETA = "openai-beta.realtime-v1"
_BETA_HEADER = (b"openai-beta", b"realtime=v1")
_KEY_TEXT = re.compile(rf"[\x21-\x7e]{{1,{LONGEST}}}")
_TICKET = re.compile(
    rb"[Bb][Ee][Aa][Rr][Ee][Rr] +(ek_[A-Za-z0-9_-]{1,%d})" % (LONGEST - 3)
)
BODY_LIMIT = 64 * 1024
SECONDS = (10, 7200)
USUAL_SECONDS = 600
"""For which a browser's key is good."""
_NO_STORE = (b"cache-control", b"no-store")
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
    ) -> None:
        self._exchange = exchange
        self._upgrade = upgrade
        self._subprotocol = subprotocol
        self.authorize: Callable[[], Awaitable[Principal]]
        self.require_own: Callable[[Target, Named], Awaitable[None]]
        self.opening: bytes | None = None

    @override
    def accept(self, headers: Headers) -> MessageSocket:
        return self._upgrade.accept(self._exchange, self._subprotocol, headers)

    @override
    def on_gone(self, callback: Callable[[], None]) -> None:
        self._exchange.on_gone(callback)

    @override
    def on_cut(self, callback: Callable[[], None]) -> None:
        self._exchange.on_cut(callback)


class RealtimeRoutes:
    """The handlers, over what they need."""

    def __init__(
        self,
        calls: Calls,
        authenticator: Authenticator,
        realtime: Realtime,
        tickets: Tickets,
    ) -> None:
        """Serve sessions through `realtime`; `tickets` are for browsers."""
        self._calls = calls
        self._authenticator = authenticator
        self._realtime = realtime
        self._tickets = tickets

    def routes(self) -> list[Route]:
        """All of them."""
        return [
            *(Route(("GET",), path, _plain, socket=self.connect) for path in PATHS),
            Route(("POST",), "/v1/realtime/client_secrets", self.issue),
            Route(_METHODS, "/v1/realtime/", _below, prefix=True),
        ]

    async def connect(self, request: Request) -> None:
        """GET /v1/realtime as WebSocket: serve a session to its end."""
        exchange = request.client
        upgrade = exchange.upgrade
        if upgrade is None:
            raise UpgradeRequired
        offered = offered_subprotocols(exchange.head)
        chosen = SUBPROTOCOL if SUBPROTOCOL in offered else None
        door = _Door(exchange, upgrade, chosen)
        model = self._enter(request, door, _presented(request, offered))
        principal = await door.authorize()
        door.require_own = partial(self._require_own, principal)
        upgrade.judge(exchange.head)
        _check_model(principal, model)
        incoming = structs.replace(
            _incoming(request, principal, model, offered),
            trace=self._calls.trace(request),
        )
        try:
            await self._realtime.serve(incoming, exchange, door)
        except RateLimited:
            self._calls.tell_limits(request, principal)
            raise
        finally:
            if exchange.started:
                exchange.abort()

    async def _require_own(
        self, principal: Principal, target: Target, named: Named
    ) -> None:
        """Hold what a session names to its client's own; raises NotFound."""
        if self._calls.guard is not None:
            await self._calls.guard.require_own(principal, target, "openai", named)

    def _enter(self, request: Request, door: _Door, presented: str | None) -> str:
        """Find who decides on the key, and the model; raises PosthouseError."""
        address = request.client_address
        model = _model(request.query)
        if presented is None or not presented.startswith(PREFIX):
            authenticate = self._authenticator.authenticate
            door.authorize = partial(authenticate, presented, address)
            return model
        ticket = self._tickets.read(presented)
        if model not in ("", ticket.model):
            raise ModelNotFound(param="model")
        door.authorize = partial(self._tickets.principal, ticket, address)
        door.opening = ticket.opening.encode()
        return ticket.model

    async def issue(self, request: Request) -> None:
        """POST /v1/realtime/client_secrets: a key of some minutes, for a browser."""
        principal = await self._calls.principal(request)
        presented = request.presented_key() or ""
        asked = _asked(await request.body(BODY_LIMIT))
        session, seconds = _settings(asked)
        model = session["model"]
        menu = None
        if principal.models is None or allows(principal, model):
            menu = self._calls.relay.snapshot.menu(
                model, Operation.REALTIME, sandbox=principal.sandbox
            )
        if menu is None:
            raise ModelNotFound(param="session.model")
        opening = json.encode({"type": "session.update", "session": session})
        models_of(read_client(opening))
        value, expires_at = self._tickets.issue(
            presented, model, seconds, opening.decode()
        )
        told = {
            "value": value,
            "expires_at": expires_at,
            "session": {
                "id": f"sess_{secrets.token_hex(12)}",
                "object": "realtime.session",
                **session,
            },
        }
        headers = [(b"content-type", b"application/json"), _NO_STORE]
        await request.client.respond(200, headers, json.encode(told))


def _check_model(principal: Principal, model: str) -> None:
    """Refuse a session without a model, or with one that the key may not use."""
    if not model:
        raise InvalidRequest(
            "The address must name one model: ?model=…",
            param="model",
            code="missing_required_parameter",
        )
    if principal.models is not None and not allows(principal, model):
        raise ModelNotFound(param="model")


def _asked(body: bytes) -> dict[str, Any]:
    try:
        return json.decode(body, dict[str, Any])
    except MalformedJSON:
        raise InvalidRequest("The body is not a JSON object.") from None


def _settings(asked: dict[str, Any]) -> tuple[dict[str, Any], int]:
    """Read a session's settings and for how long; raises InvalidRequest."""
    session = asked.get("session")
    if not isinstance(session, dict) or not isinstance(session.get("model"), str):
        raise InvalidRequest(
            "A session with a model is needed.",
            param="session.model",
            code="missing_required_parameter",
        )
    if session.setdefault("type", "realtime") != "realtime":
        raise InvalidRequest(
            "Only sessions of type 'realtime' are offered.", param="session.type"
        )
    after = asked.get("expires_after") or {}
    seconds = after.get("seconds", USUAL_SECONDS) if isinstance(after, dict) else None
    low, high = SECONDS
    if type(seconds) is not int or not low <= seconds <= high:
        raise InvalidRequest(
            f"A key may be good for {low} to {high} seconds.",
            param="expires_after.seconds",
            code="invalid_value",
        )
    return session, seconds


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
    keys = [name.removeprefix(_KEY) for name in offered if name.startswith(_KEY)]
    if any(name in fields for name in _CREDENTIALS):
        ticket = _TICKET.fullmatch(fields.get(b"authorization", b""))
        return request.presented_key() if ticket is None else ticket[1].decode()
    if not keys:
        return request.presented_key()
    return keys[0] if len(keys) == 1 and _KEY_TEXT.fullmatch(keys[0]) else None


def _model(query: bytes) -> str:
    """Read which model the session is with; "" if none is named.

    Raises InvalidRequest for several.
    """
    names = [
        value
        for name, value in parse_qsl(query.decode("latin-1"))
        if name in ("model", "deployment")
    ]
    if len(names) > 1:
        raise InvalidRequest("The address names several models.", param="model")
    return names[0] if names else ""


async def _plain(_request: Request) -> None:
    error = UpgradeRequired("This address speaks WebSocket only.")
    error.to = b"websocket"
    raise error


async def _below(request: Request) -> None:
    if request.method not in _METHODS:
        raise MethodNotAllowed
    raise NotFound(
        "Sessions are opened by WebSocket at /v1/realtime; calls by WebRTC or SIP, "
        "and what else belongs to them, are not offered here."
    )

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

from msgspec import Struct, structs
from typing_extensions import override

from posthouse.access.authenticator import Authenticator
from posthouse.access.models import allows
from posthouse.access.principal import Principal
from posthouse.access.tickets import LONGEST, PREFIX, Tickets
from posthouse.api.calls import FORWARDED, METADATA, Calls
from posthouse.api.realtime_settings import (
    Settings,
    read_object,
    read_older_settings,
    read_settings,
    transcribes_from,
)
from posthouse.dialects.openai_realtime import (
    DIALECT,
    INTENT,
    TRANSCRIPTION,
    session_request,
)
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
from posthouse.relay.realtime.ports import Door
from posthouse.relay.realtime.service import Realtime
from posthouse.routing.plan import Target
from posthouse.server.exchange import Exchange
from posthouse.server.request import Request
from posthouse.server.routes import Route
from posthouse.server.websocket import Upgrade, offered_subprotocols
from posthouse.upstream.ports import MessageSocket
from posthouse.wire import json

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
USUAL_TRANSCRIBER = "gpt-live-transcribe"
"""What writes down what is said, if it is there and nobody has named another."""
_NO_STORE = (b"cache-control", b"no-store")
_WORDS = re.compile(rb"[ -~]{0,512}")
_CREDENTIALS = (b"authorization", b"x-api-key", b"api-key", b"x-goog-api-key")
_METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")


class _Wanted(Struct, frozen=True):
    """The session that a client wants."""

    model: str
    """"" where the address names none."""
    transcribes: bool = False
    """What is said is written down, and never answered."""


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
            Route(("POST",), "/v1/realtime/transcription_sessions", self.issue_older),
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
        wanted = self._enter(request, door, _presented(request, offered))
        principal = await door.authorize()
        door.require_own = partial(self._require_own, principal)
        upgrade.judge(exchange.head)
        if wanted.transcribes and not wanted.model:
            wanted = structs.replace(wanted, model=self._transcriber(principal))
        _check_model(principal, wanted.model)
        incoming = structs.replace(
            _incoming(request, principal, wanted, offered),
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

    def _enter(self, request: Request, door: _Door, presented: str | None) -> _Wanted:
        """Find who decides on the key, and what is wanted; raises PosthouseError."""
        address = request.client_address
        wanted = _wanted(request.query)
        if presented is None or not presented.startswith(PREFIX):
            authenticate = self._authenticator.authenticate
            door.authorize = partial(authenticate, presented, address)
            return wanted
        ticket = self._tickets.read(presented)
        if wanted.model not in ("", ticket.model):
            raise ModelNotFound(param="model")
        door.authorize = partial(self._tickets.principal, ticket, address)
        door.opening = ticket.opening.encode()
        return _Wanted(ticket.model, transcribes_from(door.opening))

    def _transcriber(self, principal: Principal) -> str:
        """The model of a session that names it later; raises InvalidRequest.

        Every model at the same channel may be named then.
        """
        snapshot, sandbox = self._calls.relay.snapshot, principal.sandbox
        able = set(snapshot.made_for(Operation.TRANSCRIPTION, sandbox=sandbox))
        able &= set(snapshot.made_for(Operation.REALTIME, sandbox=sandbox))
        for name in sorted(able, key=lambda one: (one != USUAL_TRANSCRIBER, one)):
            if principal.models is None or allows(principal, name):
                return name
        return ""

    async def issue(self, request: Request) -> None:
        """POST /v1/realtime/client_secrets: a key of some minutes, for a browser."""
        principal = await self._calls.principal(request)
        presented = request.presented_key() or ""
        settings = read_settings(read_object(await request.body(BODY_LIMIT)))
        value, expires_at = self._issue(principal, presented, settings)
        told = {
            "value": value,
            "expires_at": expires_at,
            "session": {
                "id": f"sess_{secrets.token_hex(12)}",
                "object": settings.kind,
                **settings.session,
            },
        }
        await _tell(request, told)

    async def issue_older(self, request: Request) -> None:
        """POST /v1/realtime/transcription_sessions: the same, as it was in the beta."""
        principal = await self._calls.principal(request)
        presented = request.presented_key() or ""
        asked = read_object(await request.body(BODY_LIMIT))
        settings = read_older_settings(asked)
        value, expires_at = self._issue(principal, presented, settings)
        told = {
            "id": f"sess_{secrets.token_hex(12)}",
            "object": settings.kind,
            **asked,
            "client_secret": {"value": value, "expires_at": expires_at},
        }
        await _tell(request, told)

    def _issue(
        self, principal: Principal, presented: str, settings: Settings
    ) -> tuple[str, int]:
        """Issue a ticket, and say when it ends; raises PosthouseError."""
        model, menu = settings.model, None
        if principal.models is None or allows(principal, model):
            menu = self._calls.relay.snapshot.menu(
                model, Operation.REALTIME, sandbox=principal.sandbox
            )
        if menu is None:
            raise ModelNotFound(param=settings.param)
        opening = json.encode({"type": "session.update", "session": settings.session})
        models_of(read_client(opening))
        return self._tickets.issue(presented, model, settings.seconds, opening.decode())


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


def _incoming(
    request: Request, principal: Principal, wanted: _Wanted, offered: list[str]
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
        request=session_request(wanted.model, transcribes=wanted.transcribes),
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


def _wanted(query: bytes) -> _Wanted:
    """Read what an address asks for; raises InvalidRequest for several models."""
    said = parse_qsl(query.decode("latin-1"))
    names = [value for name, value in said if name in ("model", "deployment")]
    if len(names) > 1:
        raise InvalidRequest("The address names several models.", param="model")
    return _Wanted(names[0] if names else "", (INTENT, TRANSCRIPTION) in said)


async def _tell(request: Request, told: dict[str, Any]) -> None:
    headers = [(b"content-type", b"application/json"), _NO_STORE]
    await request.client.respond(200, headers, json.encode(told))


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

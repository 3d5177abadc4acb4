"""OpenAI's routes: chat, completions, embeddings, moderations, models.

Every handler authenticates before it reads a byte of the body, and raises what
goes wrong; the dispatcher renders it in OpenAI's shape.
"""

import asyncio
import re
from concurrent.futures import ThreadPoolExecutor

from msgspec import structs

from posthouse.access.authenticator import Authenticator
from posthouse.access.models import allows
from posthouse.access.ports import Limiter
from posthouse.access.principal import Principal
from posthouse.dialects.base import Dialect, ParsedRequest
from posthouse.dialects.openai.envelope import MODEL_NAME_LIMIT
from posthouse.dialects.openai.errors import render_error
from posthouse.errors import InvalidRequest, ModelNotFound, PosthouseError, RateLimited
from posthouse.observe.trace_context import Tracing
from posthouse.relay.call import Incoming
from posthouse.relay.prepare import find_dialect
from posthouse.relay.service import Relay
from posthouse.server.context import Reply
from posthouse.server.credentials import presented_key
from posthouse.server.exchange import Exchange
from posthouse.server.request import Request
from posthouse.server.routes import Handler, Route
from posthouse.wire import json

FORWARDED = frozenset({b"openai-beta"})
"""The only headers of a caller that a provider sees."""
METADATA = b"x-posthouse-metadata"
"""What rules of routing may ask for, as JSON; beside the body's `metadata`."""
WAIT = b"x-posthouse-wait"
"""Seconds that a caller would rather wait than be told that there is no room."""
_ACTED_ON = FORWARDED | {METADATA, WAIT}
_DECIMAL = re.compile(rb"[0-9]{1,6}(?:\.[0-9]{1,6})?")
_WORDS = re.compile(rb"[ -~]{0,256}")
"""What they may hold: names and versions."""

_LARGE_BODY = 256 * 1024
"""Bytes from which a body is judged in a thread, so that nobody waits for it."""
_JSON = (b"content-type", b"application/json")
_OPERATIONS = {
    "/v1/chat/completions": "openai_chat",
    "/v1/completions": "openai_completions",
    "/v1/embeddings": "openai_embeddings",
    "/v1/moderations": "openai_moderations",
}


def render(error: PosthouseError, _request: Request | None) -> Reply:
    """Render any error of these routes, and of those that nobody knows."""
    return render_error(error)


def tenant_of(authenticator: Authenticator, exchange: Exchange) -> str:
    """Name who waits in line for a turn: the account, where the key is remembered.

    All others of an address are one.
    """
    head = exchange.head
    presented = presented_key(head.fields, head.query)
    principal = authenticator.recall(presented) if presented else None
    return f"@{exchange.peer}" if principal is None else principal.account_id


class OpenAIRoutes:
    """The handlers, over what they need."""

    def __init__(
        self,
        authenticator: Authenticator,
        limits: Limiter,
        relay: Relay,
        *,
        max_body_bytes: int,
        tracing: Tracing | None = None,
    ) -> None:
        """Serve calls through `relay`; without `tracing` nothing is traced."""
        self._authenticator = authenticator
        self._limits = limits
        self._relay = relay
        self._max_body_bytes = max_body_bytes
        self._begin = None if tracing is None else tracing.begin
        # One at a time: they would only wait for each other's interpreter lock.
        self._judge = ThreadPoolExecutor(1, "posthouse-judge")

    def routes(self) -> list[Route]:
        """All of them."""
        return [
            *(
                Route(("POST",), path, self._operation(dialect))
                for path, dialect in _OPERATIONS.items()
            ),
            Route(("GET",), "/v1/models", self.list_models),
            Route(("GET",), "/v1/models/", self.get_model, prefix=True),
        ]

    def _recalled(self, request: Request) -> Principal | None:
        """Who calls, if the key is remembered and good wherever it is used."""
        presented = request.presented_key()
        principal = self._authenticator.recall(presented) if presented else None
        return None if principal is None or principal.networks else principal

    async def _principal(self, request: Request) -> Principal:
        """Who calls; raises what the authenticator does."""
        return await self._authenticator.authenticate(
            request.presented_key(), request.client_address
        )

    def _operation(self, name: str) -> Handler:
        """The handler of the operation that a dialect carries."""
        dialect = find_dialect(name)

        async def handle(request: Request) -> None:
            principal = self._recalled(request) or await self._principal(request)
            body = request.arrived_body(self._max_body_bytes)
            if body is None:
                body = await request.body(self._max_body_bytes)
            fields = request.client.head.fields
            incoming = Incoming(
                id=request.request_id,
                principal=principal,
                dialect=dialect,
                request=(
                    dialect.parse_request(body)
                    if len(body) < _LARGE_BODY
                    else await self._parsed_aside(dialect, body)
                ),
                session=fields.get(b"x-session-id"),
                trace=self._begin and self._begin(request.request_id, fields),
            )
            try:
                await self._relay.serve(_complete(incoming, fields), request.client)
            except RateLimited:
                request.client.extra += self._limits.header_lines(principal)
                raise

        return handle

    async def _parsed_aside(self, dialect: Dialect, body: bytes) -> ParsedRequest:
        """Judge a large body in a thread; raises InvalidRequest."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._judge, dialect.parse_request, body)

    async def list_models(self, request: Request) -> None:
        """GET /v1/models: those that this key may use."""
        principal = await self._principal(request)
        models = [
            _model(name, owner)
            for name, owner in self._relay.snapshot.table.listed(
                sandbox=principal.sandbox
            )
            if allows(principal, name)
        ]
        body = json.encode({"object": "list", "data": models})
        await request.client.respond(200, [_JSON], body)

    async def get_model(self, request: Request) -> None:
        """GET /v1/models/{id}; an id may contain slashes."""
        principal = await self._principal(request)
        name = request.tail
        table = self._relay.snapshot.table
        owner = table.owner(name, sandbox=principal.sandbox)
        if owner is None or not allows(principal, name):
            if len(name) > MODEL_NAME_LIMIT or not name.isprintable():
                # Not worth repeating.
                raise ModelNotFound(param="model")
            raise ModelNotFound(
                f"The model '{name}' does not exist or you do not have access to it.",
                param="model",
            )
        body = json.encode(_model(name, owner))
        await request.client.respond(200, [_JSON], body)


def _complete(incoming: Incoming, fields: dict[bytes, bytes]) -> Incoming:
    """Add what the rarer of a caller's headers say; raises InvalidRequest."""
    if _ACTED_ON.isdisjoint(fields):
        return incoming
    return structs.replace(
        incoming,
        forwarded=_forwarded(fields),
        metadata=fields.get(METADATA),
        wait=_seconds(fields[WAIT]) if WAIT in fields else 0.0,
    )


def _seconds(value: bytes) -> float:
    """Read for how long a caller would wait; raises InvalidRequest."""
    if not _DECIMAL.fullmatch(value):
        raise InvalidRequest(
            f"The {WAIT.decode()} header must be a number of seconds",
            code="invalid_wait",
        )
    return float(value)


def _forwarded(fields: dict[bytes, bytes]) -> tuple[tuple[bytes, bytes], ...]:
    """Pick the headers that go to the provider; raises InvalidRequest."""
    found = tuple((name, fields[name]) for name in sorted(FORWARDED) if name in fields)
    for name, value in found:
        if not _WORDS.fullmatch(value):
            raise InvalidRequest(f"The {name.decode()} header is malformed.")
    return found


def _model(name: str, owner: str) -> dict[str, str | int]:
    """A model in OpenAI's shape; its age is not known to a relay."""
    return {"id": name, "object": "model", "created": 0, "owned_by": owner}

"""OpenAI's routes: chat, completions, embeddings, moderations, models.

Azure's deployments lead to the same operations: there the path names the model.
"""

from collections.abc import Callable

from posthouse.access.authenticator import Authenticator
from posthouse.access.models import allows
from posthouse.api.calls import Calls
from posthouse.dialects.base import Dialect, ParsedRequest
from posthouse.dialects.openai.envelope import MODEL_NAME_LIMIT
from posthouse.dialects.openai.errors import render_error
from posthouse.errors import ModelNotFound, NotFound, PosthouseError
from posthouse.relay.prepare import find_dialect
from posthouse.server.context import Reply
from posthouse.server.credentials import presented_key
from posthouse.server.exchange import Exchange
from posthouse.server.request import Request
from posthouse.server.routes import Route
from posthouse.wire import json
from posthouse.wire.json import MalformedJSON

_JSON = (b"content-type", b"application/json")
_OPERATIONS = {
    "/v1/chat/completions": "openai_chat",
    "/v1/completions": "openai_completions",
    "/v1/embeddings": "openai_embeddings",
    "/v1/moderations": "openai_moderations",
}
_AZURE = "/openai/deployments/"


def render(error: PosthouseError, request: Request | None) -> Reply:
    """Render any error: as its route's dialect has it, else in OpenAI's shape."""
    if request is not None and request.manners is not None:
        return request.manners.render_error(error)
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

    def __init__(self, calls: Calls) -> None:
        """Serve calls."""
        self._calls = calls
        self._relay = calls.relay

    def routes(self) -> list[Route]:
        """All of them."""
        return [
            *(
                Route(("POST",), path, self._calls.operation(dialect))
                for path, dialect in _OPERATIONS.items()
            ),
            Route(("GET",), "/v1/models", self.list_models),
            Route(("GET",), "/v1/models/", self.get_model, prefix=True),
            Route(("POST",), _AZURE, self.deployment, prefix=True),
        ]

    async def deployment(self, request: Request) -> None:
        """POST /openai/deployments/{model}/{operation}: Azure's way to ask."""
        model, _, operation = request.tail.partition("/")
        name = _OPERATIONS.get(f"/v1/{operation}")
        if name is None or not model:
            raise NotFound
        dialect = find_dialect(name)
        await self._calls.serve(request, dialect, _for_model(dialect, model))

    async def list_models(self, request: Request) -> None:
        """GET /v1/models: those that this key may use."""
        principal = await self._calls.principal(request)
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
        principal = await self._calls.principal(request)
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


def _for_model(dialect: Dialect, model: str) -> Callable[[bytes], ParsedRequest]:
    """Judge bodies as if they named the model that the path names."""

    def parse(body: bytes) -> ParsedRequest:
        try:
            named = {**json.decode_envelope(body), "model": json.raw(model)}
        except MalformedJSON:
            return dialect.parse_request(body)
        return dialect.parse_request(json.encode(named))

    return parse


def _model(name: str, owner: str) -> dict[str, str | int]:
    """A model in OpenAI's shape; its age is not known to a relay."""
    return {"id": name, "object": "model", "created": 0, "owned_by": owner}

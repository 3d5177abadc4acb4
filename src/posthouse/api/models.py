"""GET /v1/models: the models of a key, in the shape that its caller expects.

One path is asked by the clients of several APIs. Who says `anthropic-version` is
Anthropic's, who brings its key as `x-goog-api-key` is Google's, everybody else is
OpenAI's. Codex is one of these: it says `client_version`, and looks for a list of its
own, whose entries bring the instructions that its agent works by. An empty one
leaves it its own.
"""

from typing import Any
from urllib.parse import parse_qsl

from posthouse.access.models import allows
from posthouse.access.principal import Principal
from posthouse.api.calls import Calls
from posthouse.dialects.anthropic_messages import DIALECT as ANTHROPIC
from posthouse.dialects.anthropic_messages import models as anthropic
from posthouse.dialects.gemini_generate import DIALECT as GEMINI
from posthouse.dialects.gemini_generate import models as gemini
from posthouse.dialects.openai.envelope import MODEL_NAME_LIMIT
from posthouse.errors import InvalidRequest, ModelNotFound
from posthouse.model.call import Operation
from posthouse.server.request import Request
from posthouse.server.routes import Route
from posthouse.wire import json

_JSON = (b"content-type", b"application/json")
_GOOGLES = "/v1beta/models"
_ENDPOINTS = {
    Operation.CHAT: ("openai", "openai-response", "anthropic", "gemini"),
    Operation.COMPLETION: ("completions",),
    Operation.EMBEDDING: ("embeddings",),
    Operation.MODERATION: ("moderations",),
    Operation.IMAGE: ("image-generation",),
    Operation.IMAGE_EDIT: ("image-edit",),
    Operation.IMAGE_VARIATION: ("image-variation",),
    Operation.SPEECH: ("audio-speech",),
    Operation.TRANSCRIPTION: ("audio-transcription",),
    Operation.AUDIO_TRANSLATION: ("audio-translation",),
    Operation.RERANK: ("jina-rerank",),
    Operation.TRANSLATION: ("translation",),
    Operation.REALTIME: ("realtime",),
}
"""What a model's operations can be asked by, in the words of panels and clients."""


class ModelRoutes:
    """The handlers, over what they need."""

    def __init__(self, calls: Calls) -> None:
        """Tell of the models that `calls` serve."""
        self._calls = calls

    def routes(self) -> list[Route]:
        """All of them."""
        return [
            Route(("GET",), "/v1/models", self.list_models),
            Route(("GET",), "/v1/models/", self.get_model, prefix=True),
            Route(("GET",), _GOOGLES, self.list_googles, manners=GEMINI.manners),
            Route(("GET",), f"{_GOOGLES}/", self.get_googles, prefix=True),
        ]

    async def list_models(self, request: Request) -> None:
        """GET /v1/models: those that this key may use."""
        if _is_googles(request):
            await self.list_googles(request)
            return
        if _is_anthropic(request):
            request.manners = ANTHROPIC.manners
            principal = await self._calls.principal(request)
            names = [name for name, _ in self._listed(principal)]
            body = anthropic.render_models(names, **_page(request.query))
        else:
            principal = await self._calls.principal(request)
            models = [self._model(*found) for found in self._listed(principal)]
            listed: dict[str, Any] = {"object": "list", "data": models}
            if b"client_version=" in request.query:
                listed["models"] = []
            body = json.encode(listed)
        await request.client.respond(200, [_JSON], body)

    async def get_model(self, request: Request) -> None:
        """GET /v1/models/{id}; an id may contain slashes."""
        if _is_googles(request):
            await self.get_googles(request)
            return
        if _is_anthropic(request):
            request.manners = ANTHROPIC.manners
        name = request.tail
        owner = self._owner(await self._calls.principal(request), name)
        if request.manners is ANTHROPIC.manners:
            body = anthropic.render_model(name)
        else:
            body = json.encode(self._model(name, owner))
        await request.client.respond(200, [_JSON], body)

    async def list_googles(self, request: Request) -> None:
        """GET /v1beta/models: the same, as Google's clients read it."""
        request.manners = GEMINI.manners
        principal = await self._calls.principal(request)
        asked = dict(parse_qsl(request.query.decode("latin-1")))
        body = gemini.render_models(
            [self._googles(name) for name, _ in self._listed(principal)],
            size=_number(asked.get("pageSize", "0"), "pageSize"),
            token=asked.get("pageToken", ""),
        )
        await request.client.respond(200, [_JSON], body)

    async def get_googles(self, request: Request) -> None:
        """GET /v1beta/models/{id}."""
        request.manners = GEMINI.manners
        self._owner(await self._calls.principal(request), request.tail)
        body = gemini.render_model(self._googles(request.tail))
        await request.client.respond(200, [_JSON], body)

    def _googles(self, name: str) -> gemini.ListedModel:
        snapshot = self._calls.relay.snapshot
        operations = snapshot.operations(name)
        row = snapshot.facts(name)
        return gemini.ListedModel(
            name,
            tuple(one for one in Operation if one in operations),
            0 if row is None else row.context,
            0 if row is None else row.max_output,
        )

    def _listed(self, principal: Principal) -> list[tuple[str, str]]:
        """The models of a key, each with its provider."""
        table = self._calls.relay.snapshot.table
        return [
            (name, owner)
            for name, owner in table.listed(sandbox=principal.sandbox)
            if allows(principal, name)
        ]

    def _owner(self, principal: Principal, name: str) -> str:
        """The provider of one of them; raises ModelNotFound."""
        table = self._calls.relay.snapshot.table
        owner = table.owner(name, sandbox=principal.sandbox)
        if owner is not None and allows(principal, name):
            return owner
        if len(name) > MODEL_NAME_LIMIT or not name.isprintable():
            # Not worth repeating.
            raise ModelNotFound(param="model")
        raise ModelNotFound(
            f"The model '{name}' does not exist or you do not have access to it.",
            param="model",
        )

    def _model(self, name: str, owner: str) -> dict[str, Any]:
        """A model in OpenAI's shape; its age is not known to a relay."""
        operations = self._calls.relay.snapshot.operations(name)
        return {
            "id": name,
            "object": "model",
            "created": 0,
            "owned_by": owner,
            "supported_endpoint_types": [
                endpoint
                for operation in Operation
                if operation in operations
                for endpoint in _ENDPOINTS[operation]
            ],
        }


def _is_anthropic(request: Request) -> bool:
    return request.header(b"anthropic-version") is not None


def _is_googles(request: Request) -> bool:
    return request.header(b"x-goog-api-key") is not None


def _number(text: str, name: str) -> int:
    """Read how much is wanted; raises InvalidRequest."""
    if not (text.isascii() and text.isdigit()):
        raise InvalidRequest(f"{name}: expected a number", param=name)
    return int(text[:6])


def _page(query: bytes) -> dict[str, Any]:
    """Read which part of a list is wanted; raises InvalidRequest."""
    asked = dict(parse_qsl(query.decode("latin-1")))
    limit = _number(asked.get("limit", str(anthropic.PAGE)), "limit")
    return {
        "limit": min(max(1, limit), anthropic.LARGEST_PAGE),
        "after": asked.get("after_id", ""),
        "before": asked.get("before_id", ""),
    }

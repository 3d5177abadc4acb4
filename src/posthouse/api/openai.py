"""OpenAI's routes: chat, completions, embeddings, moderations.

Azure's deployments lead to the same operations: there the path names the model.
"""

from functools import partial

from posthouse.api.calls import Calls
from posthouse.api.defaults import completing
from posthouse.api.deployments import parse_json
from posthouse.dialects.openai.errors import render_error
from posthouse.dialects.openai_moderations.request import DEFAULT_MODEL
from posthouse.errors import NotFound, PosthouseError
from posthouse.model.call import Operation
from posthouse.relay.prepare import find_dialect
from posthouse.server.context import Reply
from posthouse.server.request import Request
from posthouse.server.routes import Route

_OPERATIONS = {
    "/v1/chat/completions": "openai_chat",
    "/v1/completions": "openai_completions",
    "/v1/embeddings": "openai_embeddings",
    "/v1/moderations": "openai_moderations",
}
_MODERATIONS = "/v1/moderations"
_AZURE = "/openai/deployments/"


def render(error: PosthouseError, request: Request | None) -> Reply:
    """Render any error: as its route's dialect has it, else in OpenAI's shape."""
    if request is not None and request.manners is not None:
        return request.manners.render_error(error)
    return render_error(error)


class OpenAIRoutes:
    """The handlers, over what they need."""

    def __init__(self, calls: Calls) -> None:
        """Serve calls."""
        self._calls = calls
        self._moderator = completing(calls.relay, Operation.MODERATION, DEFAULT_MODEL)

    def routes(self) -> list[Route]:
        """All of them."""
        return [
            *(
                Route(("POST",), path, self._calls.operation(dialect))
                for path, dialect in _OPERATIONS.items()
                if path != _MODERATIONS
            ),
            Route(("POST",), _MODERATIONS, self.moderations),
            Route(("POST",), _AZURE, self.deployment, prefix=True),
        ]

    async def moderations(self, request: Request) -> None:
        """POST /v1/moderations, which need not name a model."""
        dialect = find_dialect(_OPERATIONS[_MODERATIONS])
        await self._calls.serve(
            request, dialect, dialect.parse_request, complete=self._moderator
        )

    async def deployment(self, request: Request) -> None:
        """POST /openai/deployments/{model}/{operation}: Azure's way to ask."""
        model, _, operation = request.tail.partition("/")
        if model and operation in self._calls.deployments:
            await self._calls.deployments[operation](request, model)
            return
        name = _OPERATIONS.get(f"/v1/{operation}")
        if name is None or not model:
            raise NotFound
        dialect = find_dialect(name)
        await self._calls.serve(request, dialect, partial(parse_json, dialect, model))

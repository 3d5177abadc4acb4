"""OpenAI's Responses: POST /v1/responses."""

from posthouse.api.calls import Calls
from posthouse.server.routes import Route


class ResponsesRoutes:
    """The handlers, over what they need."""

    def __init__(self, calls: Calls) -> None:
        """Serve calls."""
        self._calls = calls

    def routes(self) -> list[Route]:
        """All of them."""
        return [
            Route(("POST",), "/v1/responses", self._calls.operation("openai_responses"))
        ]

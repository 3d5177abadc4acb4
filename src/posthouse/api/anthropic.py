"""Anthropic's routes: messages, and the counting of their tokens."""

from collections.abc import Awaitable

from posthouse.api.calls import Calls
from posthouse.api.counting import Counting, answer_count
from posthouse.dialects.anthropic_messages import DIALECT
from posthouse.dialects.anthropic_messages.request import (
    is_count,
    parse_count_request,
    render_count,
    render_request,
)
from posthouse.relay.counting import CountWords
from posthouse.server.request import Request
from posthouse.server.routes import Route

_JSON = (b"content-type", b"application/json")
_COUNTING = Counting(DIALECT, CountWords(render_request, is_count), render_count)


class AnthropicRoutes:
    """The handlers, over what they need."""

    def __init__(self, calls: Calls) -> None:
        """Serve calls."""
        self._calls = calls

    def routes(self) -> list[Route]:
        """All of them."""
        manners = DIALECT.manners
        return [
            Route(("POST",), "/v1/messages", self.messages, manners=manners),
            Route(("POST",), "/v1/messages/count_tokens", self.count, manners=manners),
        ]

    def messages(self, request: Request) -> Awaitable[None]:
        """POST /v1/messages."""
        _name(request)
        return self._calls.serve(request, DIALECT, DIALECT.parse_request)

    async def count(self, request: Request) -> None:
        """POST /v1/messages/count_tokens: how long a prompt is, at no cost."""
        _name(request)
        body = await answer_count(self._calls, request, _COUNTING, parse_count_request)
        await request.client.respond(200, [_JSON], body)


def _name(request: Request) -> None:
    """Give the request's id under the name that Anthropic's SDKs read."""
    request.client.extra += b"request-id: %b\r\n" % request.request_id.encode()

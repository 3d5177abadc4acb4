"""Rerankings: POST /v1/rerank in Jina's and Cohere's forms, /v2/rerank in Cohere's.

At /v1/rerank both ask; Cohere's SDKs say who they are. A caller of Cohere's first
version who does not reads Jina's replies as well: they have all that it looks for.
"""

from posthouse.api.calls import Calls
from posthouse.relay.prepare import find_dialect
from posthouse.server.request import Request
from posthouse.server.routes import Route

_SDK_HEADERS = (b"x-fern-sdk-name", b"user-agent")
_SDK = b"cohere"


class RerankRoutes:
    """The handlers, over what they need."""

    def __init__(self, calls: Calls) -> None:
        """Serve calls."""
        self._calls = calls
        self._usual = find_dialect("jina_rerank")
        self._coheres = find_dialect("cohere_rerank")

    def routes(self) -> list[Route]:
        """All of them."""
        usual, coheres = self._usual.manners, self._coheres.manners
        return [
            Route(("POST",), "/v1/rerank", self.first, manners=usual),
            Route(("POST",), "/v2/rerank", self.second, manners=coheres),
        ]

    async def first(self, request: Request) -> None:
        """POST /v1/rerank."""
        if _is_coheres(request):
            await self.second(request)
            return
        dialect = self._usual
        await self._calls.serve(request, dialect, dialect.parse_request)

    async def second(self, request: Request) -> None:
        """POST /v2/rerank; the first version's members are taken as well."""
        dialect = self._coheres
        request.manners = dialect.manners
        await self._calls.serve(request, dialect, dialect.parse_request)


def _is_coheres(request: Request) -> bool:
    values = (request.header(name) for name in _SDK_HEADERS)
    return any(value is not None and value.startswith(_SDK) for value in values)

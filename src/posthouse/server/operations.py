"""The routes that operators and their machines ask: root, health, metrics."""

from collections.abc import Callable

from posthouse.server.request import Request
from posthouse.server.routes import Route

_JSON = (b"content-type", b"application/json")
_NO_STORE = (b"cache-control", b"no-store")


def operational_routes(
    is_ready: Callable[[], bool], metrics: Callable[[], tuple[bytes, bytes]]
) -> list[Route]:
    """Give the routes that are answered without a key.

    Args:
        is_ready: whether calls can be served; while draining it is not asked.
        metrics: gives content type and body of the exposition.
    """

    async def root(request: Request) -> None:
        await request.client.respond(200, [_JSON], b'{"service":"posthouse"}\n')

    async def live(request: Request) -> None:
        await request.client.respond(200, [_JSON, _NO_STORE], b'{"status":"live"}\n')

    async def ready(request: Request) -> None:
        if request.client.context.draining:
            status, word = 503, b"draining"
        elif is_ready():
            status, word = 200, b"ready"
        else:
            status, word = 503, b"starting"
        body = b'{"status":"%b"}\n' % word
        await request.client.respond(status, [_JSON, _NO_STORE], body)

    async def exposition(request: Request) -> None:
        content_type, body = metrics()
        headers = [(b"content-type", content_type), _NO_STORE]
        await request.client.respond(200, headers, body)

    return [
        Route(("GET",), "/", root),
        Route(("GET",), "/health/live", live, urgent=True),
        Route(("GET",), "/health/ready", ready, urgent=True),
        Route(("GET",), "/metrics", exposition, urgent=True),
    ]

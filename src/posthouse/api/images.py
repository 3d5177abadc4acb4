"""OpenAI's routes for pictures, those of their makers, and what was kept of them.

A maker's own routes stand under its name, and under the path that its own SDK asks
where nobody else has that. `/media/` is the one place that needs no key: its paths
are secrets, and what is given there no browser runs.
"""

from functools import partial

from posthouse.api.calls import Calls, Deployment
from posthouse.api.deployments import media_parser
from posthouse.api.stability_tasks import StabilityTasks
from posthouse.dialects.base import MediaDialect
from posthouse.dialects.openai.vendor_images import VendorImages
from posthouse.errors import NotFound, StorageUnavailable
from posthouse.relay.call import Incoming
from posthouse.relay.delivery import ImageDelivery
from posthouse.relay.media_store import PATH, MediaStore, MediaUnavailable
from posthouse.relay.prepare import find_dialect
from posthouse.relay.vendor_tasks import VendorTasks
from posthouse.server.request import Request
from posthouse.server.routes import Handler, Route
from posthouse.wire.media_types import media_type

_OPENAI = {
    "images/generations": "openai_images",
    "images/edits": "openai_image_edits",
    "images/variations": "openai_image_variations",
}
_SAME = {
    "/api/v3/images/generations": "ark_images",
    "/api/paas/v4/images/generations": "cogview",
    "/api/v1/services/aigc/multimodal-generation/generation": "qwen_image",
}
"""Paths of providers whose bodies name the model as OpenAI's do."""
_VENDORS = {
    "/ideogram/": ("ideogram_images", "/"),
    "/recraft/": ("recraft_images", "/"),
    "/recraftAI/": ("recraft_images", "/"),
    "/stability/": ("stability_images", "/"),
    "/v2beta/stable-image/": ("stability_images", "/v2beta/stable-image/"),
    "/v1/generation/": ("stability_images", "/v1/generation/"),
}
"""By prefix: whose routes these are, and what their paths begin with there."""
_SAFE_HEADERS = (
    (b"x-content-type-options", b"nosniff"),
    (b"content-security-policy", b"default-src 'none'; sandbox"),
    (b"cross-origin-resource-policy", b"cross-origin"),
    (b"cache-control", b"private, max-age=3600, immutable"),
    (b"referrer-policy", b"no-referrer"),
)


class ImageRoutes:
    """The handlers, over what they need."""

    def __init__(
        self,
        calls: Calls,
        delivery: ImageDelivery,
        store: MediaStore,
        tasks: VendorTasks,
    ) -> None:
        """Serve calls.

        Args:
            calls: takes them to the relay.
            delivery: how pictures are given.
            store: those that were kept.
            tasks: knows whose makers' tasks are.
        """
        self._calls = calls
        self._delivery = delivery
        self._store = store
        self._tasks = StabilityTasks(calls, tasks)
        for path, name in _OPENAI.items():
            calls.deployments[path] = self._deployment(name)

    def routes(self) -> list[Route]:
        """All of them."""
        return [
            *(
                Route(("POST",), f"/v1/{path}", self._openai(name))
                for path, name in _OPENAI.items()
            ),
            *(
                Route(("POST",), path, self._openai(name))
                for path, name in _SAME.items()
            ),
            *(
                Route(
                    ("POST",),
                    prefix,
                    self._vendor(name, begins),
                    prefix=True,
                    manners=find_dialect(name).manners,
                )
                for prefix, (name, begins) in _VENDORS.items()
            ),
            *self._tasks.routes(),
            Route(("GET",), PATH, self.media, prefix=True),
        ]

    def _openai(self, name: str) -> Handler:
        """The handler of a route at which the body names the model."""
        dialect = _media_dialect(name)

        async def handle(request: Request) -> None:
            await self._serve(request, dialect, model=None)

        return handle

    def _deployment(self, name: str) -> Deployment:
        """The handler of /openai/deployments/{model}/images/…: Azure's way to ask."""
        dialect = _media_dialect(name)

        async def handle(request: Request, model: str) -> None:
            await self._serve(request, dialect, model=model)

        return handle

    async def _serve(
        self, request: Request, dialect: MediaDialect, *, model: str | None
    ) -> None:
        kind = request.header(b"content-type") or b""
        parse = media_parser(dialect, kind, model)
        await self._calls.serve(request, dialect, parse, complete=self._delivery.chosen)

    def _vendor(self, name: str, begins: str) -> Handler:
        """The handler of a maker's own routes."""
        dialect = find_dialect(name)
        if not isinstance(dialect, VendorImages):
            raise TypeError(f"{name} has no routes of its own")

        async def handle(request: Request) -> None:
            raw = b"image/" in (request.header(b"accept") or b"").lower()
            parse = partial(
                dialect.parse_native,
                begins + request.tail,
                request.header(b"content-type") or b"",
                raw=raw,
            )
            await self._calls.serve(request, dialect, parse, complete=self._native)

        return handle

    async def _native(self, incoming: Incoming) -> Incoming:
        """Complete a call of a maker's own route."""
        return self._tasks.kept(await self._delivery.as_given(incoming))

    async def media(self, request: Request) -> None:
        """GET /media/{token}: what was made for a caller, while its URL is good."""
        try:
            data = await self._store.read(request.tail)
        except MediaUnavailable:
            raise StorageUnavailable from None
        if data is None:
            raise NotFound
        kind, ending = media_type(data)
        headers = [
            (b"content-type", kind.encode()),
            (b"content-disposition", f'inline; filename="made.{ending}"'.encode()),
            *_SAFE_HEADERS,
        ]
        await request.client.respond(200, headers, data)


def _media_dialect(name: str) -> MediaDialect:
    dialect = find_dialect(name)
    if not isinstance(dialect, MediaDialect):
        raise TypeError(f"{name} has no pictures")
    return dialect

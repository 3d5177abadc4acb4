"""Pictures made for callers, wired: their routes, how they are given, what is kept."""

import asyncio
from contextlib import suppress

from posthouse.api.calls import Calls
from posthouse.api.images import ImageRoutes
from posthouse.relay.delivery import ImageDelivery
from posthouse.relay.media import FetchURL
from posthouse.relay.media_store import MediaStore
from posthouse.relay.vendor_tasks import VendorTasks
from posthouse.settings.environment import Settings
from posthouse.storage.media import StoredMedia

TIDY_SECONDS = 600.0
_EVERY_ADDRESS = ("", "0.0.0.0", "::", "[::]")  # noqa: S104 - what is recognised


class Pictures:
    """One process's part in them."""

    def __init__(self, settings: Settings, fetch: FetchURL, tasks: VendorTasks) -> None:
        """Wire; nothing is opened before something is kept.

        Args:
            settings: of this process.
            fetch: fetches what providers' URLs lead to.
            tasks: knows whose makers' tasks are.
        """
        self._tasks = tasks
        self.store = MediaStore(
            StoredMedia(settings),
            public_url=settings.public_url or _own_url(settings),
            seconds=settings.media_seconds,
            quota_bytes=settings.media_quota_bytes,
        )
        self.delivery = ImageDelivery(
            fetch, self.store, rehost=settings.media_rehost == "on"
        )
        self._tidying: asyncio.Task[None] | None = None

    def routes(self, calls: Calls) -> ImageRoutes:
        """Give the handlers."""
        return ImageRoutes(calls, self.delivery, self.store, self._tasks)

    def start(self) -> None:
        """Begin to remove what has expired."""
        self._tidying = asyncio.create_task(self._tidy())

    async def close(self) -> None:
        """Stop."""
        if self._tidying is not None:
            self._tidying.cancel()
            with suppress(asyncio.CancelledError):
                await self._tidying

    async def _tidy(self) -> None:
        while True:
            await asyncio.sleep(TIDY_SECONDS)
            await self.store.tidy()


def _own_url(settings: Settings) -> str:
    """The address that is listened at, as a URL."""
    host = "127.0.0.1" if settings.host in _EVERY_ADDRESS else settings.host
    shown = f"[{host}]" if ":" in host else host
    return f"http://{shown}:{settings.port}"

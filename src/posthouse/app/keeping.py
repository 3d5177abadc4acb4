"""What is kept for callers, wired: files, uploads in parts, and batches."""

from posthouse.access.principal import Principal
from posthouse.api.calls import Calls
from posthouse.api.file_inputs import FileInputs
from posthouse.api.files import FileRoutes
from posthouse.api.uploads import UploadRoutes
from posthouse.app.batching import Batching, Plane
from posthouse.app.pictures import Pictures
from posthouse.billing.holds import HoldManager
from posthouse.files.service import FileLimits, Files
from posthouse.files.uploads import Uploads
from posthouse.observe.metrics import Metrics
from posthouse.relay.resources.lookup import SHARED, Lookup
from posthouse.relay.service import Relay
from posthouse.server.routes import Route
from posthouse.settings.environment import Settings
from posthouse.storage.blobs import ObjectBlobs
from posthouse.storage.database import Database
from posthouse.storage.files import StoredFiles, StoredRemovals
from posthouse.storage.secrets import SecretBox
from posthouse.storage.uploads import StoredUploads


class Keeping:
    """One process's part in it."""

    def __init__(
        self,
        settings: Settings,
        database: Database,
        pictures: Pictures,
        box: SecretBox,
    ) -> None:
        """Wire what needs no waiting.

        Args:
            settings: of this process.
            database: where rows are.
            pictures: those that are made for callers.
            box: seals what callers were answered.
        """
        self.pictures = pictures
        self._settings = settings
        limits = FileLimits(settings.files_quota_bytes, settings.file_max_bytes)
        self.files = Files(
            StoredFiles(database),
            StoredRemovals(database),
            ObjectBlobs(settings),
            limits=limits,
        )
        self._uploads = Uploads(StoredUploads(database), self.files)
        self._batching = Batching(settings, database, box=box, files=self.files)

    def start(self, metrics: Metrics) -> None:
        """Begin to sweep, in the running loop; every scrape looks at batches."""
        self.files.start()
        self._batching.export(metrics)
        self.pictures.start()

    async def close(self) -> None:
        """Stop."""
        await self.pictures.close()
        await self._batching.close()
        await self.files.close()

    def inputs(self, lookup: Lookup, relay: Relay) -> FileInputs:
        """What brings files into calls; `lookup` knows what providers keep."""

        async def elsewhere(principal: Principal, name: str) -> str | None:
            rows = await lookup.store.find([name])
            for row in rows:
                if row.account_id == principal.account_id:
                    return row.channel
            channels = relay.snapshot.table.channels.values()
            shared = any(channel.spec.resources == SHARED for channel in channels)
            return "" if shared and not rows else None

        return FileInputs(
            self.files, elsewhere, most_bytes=self._settings.file_input_bytes
        )

    def routes(self, calls: Calls, plane: Plane, holds: HoldManager) -> list[Route]:
        """The routes of all that is kept; work on batches begins with them."""

        def all_asked(lines: Calls) -> list[Route]:
            return [*plane(lines), *self.pictures.routes(lines).routes()]

        return [
            *self.pictures.routes(calls).routes(),
            *FileRoutes(calls, self.files).routes(),
            *UploadRoutes(calls, self._uploads).routes(),
            *self._batching.routes(calls, all_asked, holds),
        ]

"""What is kept for callers, wired: files, uploads in parts, and batches."""

from posthouse.api.calls import Calls
from posthouse.api.files import FileRoutes
from posthouse.api.uploads import UploadRoutes
from posthouse.app.batching import Batching, Plane
from posthouse.app.pictures import Pictures
from posthouse.billing.holds import HoldManager
from posthouse.files.service import FileLimits, Files
from posthouse.files.uploads import Uploads
from posthouse.relay.media import FetchURL
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
        self, settings: Settings, database: Database, fetch: FetchURL, box: SecretBox
    ) -> None:
        """Wire what needs no waiting.

        Args:
            settings: of this process.
            database: where rows are.
            fetch: follows URLs that others give.
            box: seals what callers were answered.
        """
        self.pictures = Pictures(settings, fetch)
        limits = FileLimits(settings.files_quota_bytes, settings.file_max_bytes)
        self.files = Files(
            StoredFiles(database),
            StoredRemovals(database),
            ObjectBlobs(settings),
            limits=limits,
        )
        self._uploads = Uploads(StoredUploads(database), self.files)
        self._batching = Batching(settings, database, box=box, files=self.files)

    def start(self) -> None:
        """Begin to sweep, in the running loop."""
        self.files.start()
        self.pictures.start()

    async def close(self) -> None:
        """Stop."""
        await self.pictures.close()
        await self._batching.close()
        await self.files.close()

    def routes(self, calls: Calls, plane: Plane, holds: HoldManager) -> list[Route]:
        """The routes of all that is kept; work on batches begins with them."""
        return [
            *self.pictures.routes(calls).routes(),
            *FileRoutes(calls, self.files).routes(),
            *UploadRoutes(calls, self._uploads).routes(),
            *self._batching.routes(calls, plane, holds),
        ]

"""What was made for callers, beside their files: in the same folder or bucket.

obstore is imported when the first picture is kept: most installations have none.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from typing_extensions import override

from posthouse.files.ports import BlobUnavailable
from posthouse.relay.media_store import Contents, MediaUnavailable
from posthouse.settings.environment import Settings
from posthouse.storage.blobs import failing, open_store

if TYPE_CHECKING:
    from obstore.store import ObjectStore

FOLDER: Final = "media"


class StoredMedia(Contents):
    """Keeps content where the settings say that files are kept."""

    def __init__(self, settings: Settings) -> None:
        """Take what says where; nothing is opened before the first use."""
        self._settings = settings
        self._opened: ObjectStore | None = None
        remote = settings.files is not None
        self._prefix = f"{FOLDER}/" if remote else ""
        self._folder = None if remote else settings.data / FOLDER

    def _store(self) -> "ObjectStore":
        if self._opened is None:
            self._opened = open_store(self._settings, self._folder)
        return self._opened

    @override
    async def put(self, key: str, data: bytes) -> None:
        import obstore  # noqa: PLC0415 - see above

        try:
            with failing():
                await obstore.put_async(self._store(), self._prefix + key, data)
        except BlobUnavailable as error:
            raise MediaUnavailable(str(error)) from None

    @override
    async def get(self, key: str) -> bytes | None:
        import obstore  # noqa: PLC0415 - see above

        try:
            with failing():
                try:
                    found = await obstore.get_async(self._store(), self._prefix + key)
                    return bytes(await found.bytes_async())
                except FileNotFoundError:
                    return None
        except BlobUnavailable as error:
            raise MediaUnavailable(str(error)) from None

    @override
    async def sizes(self) -> Sequence[tuple[str, int]]:
        import obstore  # noqa: PLC0415 - see above

        if self._folder is not None and not self._folder.exists():
            return ()
        try:
            with failing():
                found = obstore.list(self._store(), self._prefix or None)
                listed = [row async for rows in found for row in rows]
        except BlobUnavailable as error:
            raise MediaUnavailable(str(error)) from None
        return [(row["path"].rpartition("/")[2], row["size"]) for row in listed]

    @override
    async def remove(self, keys: Sequence[str]) -> None:
        import obstore  # noqa: PLC0415 - see above

        try:
            with failing():
                paths = [self._prefix + key for key in keys]
                await obstore.delete_async(self._store(), paths)
        except BlobUnavailable as error:
            raise MediaUnavailable(str(error)) from None

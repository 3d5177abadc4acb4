"""Content in a local folder or at a service that speaks as S3 does, by obstore.

obstore is imported when the first blob is made: most installations have none. It
writes in parts, so that no file is in memory; what is not finished never appears
under its name. In a folder, what a crash left of one has the name with a number
behind it, which `remove` looks for, too.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import unquote, urlsplit

from typing_extensions import override

from posthouse.files.ports import (
    BlobMissing,
    BlobStore,
    BlobUnavailable,
    BlobWriter,
)
from posthouse.settings.environment import Settings

if TYPE_CHECKING:
    from obstore.store import ObjectStore

FOLDER: Final = "files"
PART_BYTES: Final = 5 * 1024 * 1024
"""What is sent at a time; S3 takes no less but at the end."""
PIECE_BYTES: Final = 256 * 1024
"""Read at a time, about."""
WAITING_PIECES: Final = 4
"""Handed in and not yet taken."""
MOST_PARTS: Final = 4
"""Under way at one time, of one blob."""
_SECONDS: Final = "60s"


class ObjectBlobs(BlobStore):
    """Keeps content where the settings say."""

    def __init__(self, settings: Settings) -> None:
        """Take what says where; nothing is opened before the first use."""
        self._settings = settings
        self._opened: ObjectStore | None = None
        self._folder = folder_of(settings)

    def _store(self) -> "ObjectStore":
        """Open the store, within `failing`."""
        if self._opened is None:
            self._opened = open_store(self._settings, self._folder)
        return self._opened

    @override
    def writer(self, blob: str) -> BlobWriter:
        return _Writer(self, blob)

    def put(self, blob: str, pieces: AsyncIterator[bytes]) -> "Awaitable[object]":
        """Begin to write what comes, within `failing`."""
        import obstore  # noqa: PLC0415 - see above

        return obstore.put_async(
            self._store(),
            blob,
            pieces,
            chunk_size=PART_BYTES,
            max_concurrency=MOST_PARTS,
        )

    @override
    async def read(self, blob: str) -> AsyncIterator[bytes]:
        import obstore  # noqa: PLC0415 - see above

        with failing():
            found = await obstore.get_async(self._store(), blob)
            pieces = found.stream(min_chunk_size=PIECE_BYTES)
        while True:
            with failing():
                try:
                    piece = bytes(await anext(pieces))
                except StopAsyncIteration:
                    return
            yield piece

    @override
    async def read_part(self, blob: str, start: int, size: int) -> bytes:
        import obstore  # noqa: PLC0415 - see above

        with failing():
            part = obstore.get_range_async(
                self._store(), blob, start=start, length=size
            )
            return bytes(await part)

    @override
    async def remove(self, blob: str) -> None:
        import obstore  # noqa: PLC0415 - see above

        with failing(), suppress(FileNotFoundError):
            await obstore.delete_async(self._store(), blob)
        if self._folder is not None:
            await asyncio.to_thread(_remove_unfinished, self._folder / blob)


class _Writer(BlobWriter):
    """Writes one blob: obstore asks for the pieces that are handed in here.

    It gives up what it has sent of a blob, there too, if asking for more raises.
    """

    def __init__(self, store: ObjectBlobs, blob: str) -> None:
        self._store = store
        self._blob = blob
        self._pieces: asyncio.Queue[bytes | None] = asyncio.Queue(WAITING_PIECES)
        self._given_up = False
        self._writing: asyncio.Task[None] | None = None

    @override
    async def write(self, data: bytes) -> None:
        if self._writing is None:
            self._writing = asyncio.create_task(self._write())
        if self._writing.done():
            await self._writing
        if data:
            await self._pieces.put(data)

    @override
    async def finish(self) -> None:
        await self.write(b"")
        await self._pieces.put(None)
        if self._writing is not None:
            await self._writing

    @override
    async def abort(self) -> None:
        if self._writing is None or self._writing.done():
            return
        self._given_up = True
        while not self._pieces.empty():
            self._pieces.get_nowait()
        self._pieces.put_nowait(None)
        with suppress(BlobUnavailable):
            await self._writing

    async def _write(self) -> None:
        try:
            with failing():
                await self._store.put(self._blob, self._take())
        finally:
            # Nobody shall wait to hand in more.
            while not self._pieces.empty():
                self._pieces.get_nowait()

    async def _take(self) -> AsyncIterator[bytes]:
        while (piece := await self._pieces.get()) is not None:
            yield piece
        if self._given_up:
            raise OSError


@contextmanager
def failing() -> Iterator[None]:
    """Raise BlobUnavailable for whatever the store does not do.

    It says what kind of trouble it is: what obstore says may hold URLs and more.
    """
    import obstore  # noqa: PLC0415 - see above

    try:
        yield
    except FileNotFoundError:
        raise BlobMissing("it is not there") from None
    except (OSError, ValueError, obstore.exceptions.BaseError) as error:
        raise BlobUnavailable(type(error).__name__) from None


def folder_of(settings: Settings) -> Path | None:
    """Give the folder of a store that is one: ours, or one that nodes share."""
    if settings.files is None:
        return settings.data / FOLDER
    place = urlsplit(settings.files)
    return Path(unquote(place.path)) if place.scheme == "file" else None


def open_store(settings: Settings, folder: Path | None) -> "ObjectStore":
    """Open the folder, or without one what the settings name; within `failing`."""
    from obstore.store import LocalStore, from_url  # noqa: PLC0415 - see above

    folder = folder or folder_of(settings)
    if folder is not None:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        return LocalStore(folder)
    url = settings.files or ""
    client = {"timeout": _SECONDS}
    if not url.startswith("s3"):
        return from_url(url)
    named = {
        "endpoint": settings.files_endpoint,
        "region": settings.files_region,
        "access_key_id": settings.files_access_key_id,
        "secret_access_key": settings.files_secret_access_key,
    }
    chosen: Any = {name: value for name, value in named.items() if value is not None}
    options: Any = dict(client)
    if (settings.files_endpoint or "").startswith("http://"):
        options["allow_http"] = True
    return from_url(url, client_options=options, **chosen)


def _remove_unfinished(path: Path) -> None:
    """Remove what a crash has left of a blob that was being written."""
    for left in path.parent.glob(f"{path.name}#*"):
        left.unlink(missing_ok=True)

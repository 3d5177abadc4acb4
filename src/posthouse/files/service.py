"""Files: received, listed, read, deleted, and swept when they expire.

What an account may store is judged twice: when a file begins to arrive, so that
nobody sends for nothing, and in the transaction that makes it one, which counts.
"""

import asyncio
import secrets
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import suppress

from msgspec import Struct

from posthouse.errors import (
    InvalidRequest,
    NotFound,
    PayloadTooLarge,
    StorageUnavailable,
)
from posthouse.files.ports import (
    BlobMissing,
    BlobStore,
    BlobUnavailable,
    FileInUse,
    FileRows,
    QuotaExceeded,
    Removals,
)
from posthouse.files.records import FileDetails, Page, StoredFile, expiry
from posthouse.observe.logs import logger

WRITING_MS = 24 * 3_600_000
"""After which what is being written counts as given up."""
SWEEP_SECONDS = 30.0
"""Between two looks for what is to be removed."""
_SWEPT = 100
"""Blobs that one look removes."""

log = logger("posthouse.files")


class FileLimits(Struct, frozen=True):
    """How much is kept."""

    quota: int
    """Bytes of all files of an account."""
    largest: int
    """Bytes of a file."""


def new_blob() -> str:
    """Give a blob's name, which nobody can guess."""
    name = secrets.token_hex(16)
    return f"{name[:2]}/{name[2:]}"


def new_file_id() -> str:
    """Give a file's id."""
    return f"file-{secrets.token_hex(12)}"


class Room:
    """What may still come to one place, however many bring it at a time."""

    def __init__(self) -> None:
        self.arriving = 0
        """Bytes that have come and are not yet counted where they are kept."""
        self.users = 0


class Incoming:
    """A blob that arrives; `keep` or `abort` ends it."""

    def __init__(self, files: "Files", blob: str, limit: "Limit", place: str) -> None:
        """Begin; made by `Files.receive`."""
        self.blob = blob
        self.size = 0
        self._files = files
        self._writer = files.blobs.writer(blob)
        self._limit = limit
        self._place = place
        self._room = files.enter(place)
        self._left = False

    async def write(self, data: bytes) -> None:
        """Take the next bytes.

        Raises PayloadTooLarge, InvalidRequest for no room, StorageUnavailable.
        """
        self.size += len(data)
        self._room.arriving += len(data)
        if self.size > self._limit.largest:
            raise too_large(self._limit.largest)
        if self._limit.room is not None and self._room.arriving > self._limit.room:
            raise self._files.full()
        try:
            await self._writer.write(data)
        except BlobUnavailable as error:
            raise _unavailable(error) from None

    async def finish(self) -> None:
        """Make the blob be there; raises StorageUnavailable."""
        try:
            await self._writer.finish()
        except BlobUnavailable as error:
            raise _unavailable(error) from None

    async def abort(self) -> None:
        """Leave nothing behind: what fills the store would count for no quota."""
        self.leave()
        await self._writer.abort()
        await self._files.give_up(self.blob)

    def leave(self) -> None:
        """It is counted where it is kept, or not kept."""
        if not self._left:
            self._left = True
            self._room.arriving -= self.size
            self._files.leave(self._place)


class Limit(Struct, frozen=True):
    """How much may arrive."""

    largest: int
    """Bytes of the blob."""
    room: int | None = None
    """Bytes of all that arrive at the same place; None: any."""


class Files:
    """The files of all accounts."""

    def __init__(
        self,
        rows: FileRows,
        removals: Removals,
        blobs: BlobStore,
        *,
        limits: FileLimits,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Keep rows and content apart; `clock` gives Unix seconds."""
        self._rows = rows
        self._removals = removals
        self.blobs = blobs
        self.limits = limits
        self._clock = clock
        self._rooms: dict[str, Room] = {}
        """Where something arrives now."""
        self.on_removed: Callable[[], None] = _nobody
        """Told when somebody has deleted a file."""
        self._sweeper: asyncio.Task[None] | None = None

    def now_ms(self) -> int:
        """Give Unix time in milliseconds."""
        return int(self._clock() * 1000)

    async def receive(self, limit: Limit, place: str = "") -> Incoming:
        """Begin to write content; raises StorageUnavailable.

        `place` is what `limit.room` is the room of.
        """
        blob = new_blob()
        await self._removals.begin(blob, self.now_ms() + WRITING_MS)
        return Incoming(self, blob, limit, place)

    def enter(self, place: str) -> Room:
        """Count one more that brings something to a place."""
        room = self._rooms.setdefault(place, Room())
        room.users += 1
        return room

    def leave(self, place: str) -> None:
        """Count one less."""
        room = self._rooms[place]
        room.users -= 1
        if not room.users:
            del self._rooms[place]

    async def give_up(self, blob: str) -> None:
        """Have the sweep remove what nobody wants, soon rather than in a day.

        One that has become a file after all has no row to change any more.
        """
        with suppress(StorageUnavailable):
            await self._removals.hasten(blob, self.now_ms())

    async def check_room(self, account_id: str, size: int) -> Limit:
        """Say how much an account may bring, of a file of about this size.

        Raises PayloadTooLarge, and InvalidRequest for no room.
        """
        if size > self.limits.largest:
            raise too_large(self.limits.largest)
        room = self.limits.quota - await self._rows.used(account_id)
        if size > room:
            raise self.full()
        return Limit(self.limits.largest, room)

    def full(self) -> InvalidRequest:
        """Give the error for an account without room."""
        return InvalidRequest(
            f"Your files would have more than {self.limits.quota} bytes together; "
            "delete some first",
            code="storage_quota_exceeded",
        )

    def make(
        self, account_id: str, details: FileDetails, blob: str, size: int
    ) -> StoredFile:
        """Give what is known of a file whose blob is whole."""
        created = self.now_ms()
        return StoredFile(
            new_file_id(),
            account_id,
            details.filename,
            details.purpose,
            details.media_type,
            size,
            blob,
            created,
            expiry(details, created),
        )

    async def add(
        self, account_id: str, details: FileDetails, got: Incoming
    ) -> StoredFile:
        """Make a file of what has arrived; raises InvalidRequest for no room."""
        await got.finish()
        file = self.make(account_id, details, got.blob, got.size)
        try:
            await self._rows.add(file, self.limits.quota)
        except QuotaExceeded:
            raise self.full() from None
        got.leave()
        return file

    async def find(self, file_id: str, account_id: str) -> StoredFile:
        """Give one of an account's files; raises NotFound."""
        file = await self._rows.find(file_id, account_id)
        if file is None:
            raise NotFound(f"No such File object: {file_id[:64]}", param="id")
        return file

    async def page(self, account_id: str, page: Page) -> Sequence[StoredFile]:
        """Give a page of an account's files, and one more if there is more."""
        return await self._rows.page(account_id, page)

    async def remove(self, file_id: str, account_id: str) -> None:
        """Delete one of an account's files; raises NotFound and InvalidRequest."""
        try:
            found = await self._rows.remove(file_id, account_id)
        except FileInUse:
            raise InvalidRequest(
                "The file is the input of a batch that is not over; cancel that first",
                code="file_in_use",
            ) from None
        if not found:
            raise NotFound(f"No such File object: {file_id[:64]}", param="id")
        self.on_removed()

    async def pieces(self, blob: str) -> AsyncGenerator[bytes]:
        """Give a blob's content piece by piece.

        Raises StorageUnavailable, and NotFound if it is gone.
        """
        try:
            async for piece in self.blobs.read(blob):
                yield piece
        except BlobUnavailable as error:
            raise _unavailable(error) from None

    async def part(self, blob: str, start: int, size: int) -> bytes:
        """Give some of a blob; raises StorageUnavailable and NotFound."""
        try:
            return await self.blobs.read_part(blob, start, size)
        except BlobUnavailable as error:
            raise _unavailable(error) from None

    async def whole(self, file: StoredFile) -> bytes:
        """Give all of a file's content; raises StorageUnavailable and NotFound."""
        return b"".join([piece async for piece in self.pieces(file.blob)])

    # --- sweeping -------------------------------------------------------------------

    def start(self) -> None:
        """Begin to sweep, in the running loop."""
        self._sweeper = asyncio.create_task(self._sweep_always())

    async def close(self) -> None:
        """Stop sweeping."""
        if self._sweeper is not None:
            self._sweeper.cancel()
            with suppress(asyncio.CancelledError):
                await self._sweeper

    async def _sweep_always(self) -> None:
        while True:
            try:
                await self.sweep()
            except (StorageUnavailable, BlobUnavailable) as error:
                log.warning("expired files could not be removed", reason=str(error))
            except Exception as error:
                log.exception("files could not be swept", exc_info=error)
            await asyncio.sleep(SWEEP_SECONDS)

    async def sweep(self) -> int:
        """Remove what has expired and what nothing refers to; give how many blobs."""
        count = 0
        now = self.now_ms()
        await self._removals.expire(now)
        while blobs := await self._removals.due(now, _SWEPT):
            for blob in blobs:
                await self.blobs.remove(blob)
            await self._removals.removed(blobs)
            count += len(blobs)
        return count


def _nobody() -> None:
    """Tell nobody."""


def too_large(limit: int) -> PayloadTooLarge:
    """Give the error for a file of more than `limit` bytes."""
    return PayloadTooLarge(f"The file is larger than {limit} bytes.")


def _unavailable(error: BlobUnavailable) -> NotFound | StorageUnavailable:
    """Give the error for content that is gone, or cannot be had now."""
    if isinstance(error, BlobMissing):
        log.error("the content of a file is gone")
        return NotFound("The content of the file is gone.")
    log.warning("the store of files does not answer", reason=str(error))
    return StorageUnavailable()

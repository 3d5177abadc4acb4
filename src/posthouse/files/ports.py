"""What files ask of storage: rows in the database, content elsewhere.

A blob that is being written, and one that nothing refers to any more, has a row of
its own that says when it may be removed. So whatever dies when, in the end there is
a row for each whole blob that is wanted, and no blob without one.
"""

from collections.abc import AsyncIterator, Sequence
from typing import Protocol

from posthouse.files.records import Page, StoredFile, Upload, UploadPart, UploadState


class BlobUnavailable(Exception):
    """The content cannot be read or written now; str() tells operators why."""


class BlobMissing(BlobUnavailable):
    """There is no such content, now or later."""


class BlobWriter(Protocol):
    """Writes one blob; there is none until `finish` has returned."""

    async def write(self, data: bytes) -> None:
        """Take the next bytes; raises BlobUnavailable."""

    async def finish(self) -> None:
        """Make the blob be there, whole; raises BlobUnavailable."""

    async def abort(self) -> None:
        """Leave nothing behind, as far as that can be; raises nothing."""


class BlobStore(Protocol):
    """Keeps content; it takes no names but `new_blob`'s."""

    def writer(self, blob: str) -> BlobWriter:
        """Begin to write a blob."""

    def read(self, blob: str) -> AsyncIterator[bytes]:
        """Give a blob's content piece by piece; raises BlobUnavailable."""

    async def read_part(self, blob: str, start: int, size: int) -> bytes:
        """Give some of it; raises BlobUnavailable."""

    async def remove(self, blob: str) -> None:
        """Remove a blob, or what is there of it; raises BlobUnavailable."""


class QuotaExceeded(Exception):
    """An account's files would be larger than they may be."""


class FileInUse(Exception):
    """Something that is not over needs the file."""


class FileRows(Protocol):
    """Files in the database; raises StorageUnavailable where it does not answer."""

    async def add(self, file: StoredFile, quota: int | None) -> None:
        """Write down a file whose blob is whole; raises QuotaExceeded."""

    async def find(self, file_id: str, account_id: str) -> StoredFile | None:
        """Give one of an account's, unless it has expired."""

    async def page(self, account_id: str, page: Page) -> Sequence[StoredFile]:
        """Give a page of an account's, and one more if there is more."""

    async def remove(self, file_id: str, account_id: str) -> bool:
        """Delete one of an account's; False if there is none; raises FileInUse."""

    async def used(self, account_id: str) -> int:
        """Give the bytes of all of an account's, open uploads' too."""


class UploadRows(Protocol):
    """Uploads in the database; raises StorageUnavailable likewise."""

    async def add(self, upload: Upload, quota: int) -> None:
        """Write down an upload that begins; raises QuotaExceeded."""

    async def find(self, upload_id: str, account_id: str) -> Upload | None:
        """Give one of an account's."""

    async def add_part(self, part: UploadPart, size: int) -> bool:
        """Write down a part whose blob is whole.

        False where the upload is no longer open, or its parts would have more
        than `size` bytes.
        """

    async def parts(self, upload_id: str) -> Sequence[UploadPart]:
        """Give the parts of an upload, oldest first."""

    async def complete(
        self, upload: Upload, file: StoredFile, quota: int | None
    ) -> bool:
        """Make a file of it; False if it is no longer open; raises QuotaExceeded."""

    async def end(self, upload_id: str, state: UploadState) -> bool:
        """Close an upload without a file; False if it is no longer open."""


class Removals(Protocol):
    """What is to be removed; raises StorageUnavailable likewise."""

    async def begin(self, blob: str, due_ms: int) -> None:
        """Write down that a blob is being written, which is over by then."""

    async def hasten(self, blob: str, due_ms: int) -> None:
        """A blob that was being written is given up; unless it became a file."""

    async def expire(self, now_ms: int) -> None:
        """Delete what has expired, and have its blobs removed."""

    async def due(self, now_ms: int, limit: int) -> Sequence[str]:
        """Give blobs that nothing refers to."""

    async def removed(self, blobs: Sequence[str]) -> None:
        """Forget them: they are gone."""

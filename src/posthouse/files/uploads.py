"""Uploads: a file that comes in parts, in any order, and is put together at the end."""

import secrets
from collections.abc import Sequence
from hashlib import md5

from posthouse.errors import InvalidRequest, NotFound, PayloadTooLarge
from posthouse.files.ports import QuotaExceeded, UploadRows
from posthouse.files.records import (
    FileDetails,
    StoredFile,
    Upload,
    UploadPart,
    UploadState,
)
from posthouse.files.service import Files, Incoming, Limit, too_large

OPEN_MS = 3_600_000
"""For which an upload takes parts."""
PART_LIMIT = 64 * 1024 * 1024
"""Bytes of a part."""


class Uploads:
    """The uploads of all accounts."""

    def __init__(self, rows: UploadRows, files: Files) -> None:
        """Make files of parts."""
        self._rows = rows
        self._files = files

    async def begin(self, account_id: str, details: FileDetails, size: int) -> Upload:
        """Open an upload; raises PayloadTooLarge and InvalidRequest."""
        if size > self._files.limits.largest:
            raise too_large(self._files.limits.largest)
        created = self._files.now_ms()
        upload = Upload(
            f"upload_{secrets.token_hex(12)}",
            account_id,
            details,
            size,
            UploadState.PENDING,
            created,
            created + OPEN_MS,
        )
        try:
            await self._rows.add(upload, self._files.limits.quota)
        except QuotaExceeded:
            raise self._files.full() from None
        return upload

    async def find(self, upload_id: str, account_id: str) -> Upload:
        """Give one that is open; raises NotFound, and InvalidRequest if it is over."""
        upload = await self._rows.find(upload_id, account_id)
        if upload is None:
            raise NotFound(f"No such Upload object: {upload_id[:64]}", param="id")
        if upload.state is not UploadState.PENDING:
            raise _over(upload.state)
        if upload.expires_ms <= self._files.now_ms():
            raise _over(UploadState.EXPIRED)
        return upload

    async def receive(self, upload: Upload) -> Incoming:
        """Begin to take a part."""
        limit = Limit(min(PART_LIMIT, upload.size), upload.size)
        return await self._files.receive(limit, upload.id)

    async def add_part(self, upload: Upload, got: Incoming) -> UploadPart:
        """Take a part that has arrived; raises InvalidRequest."""
        await got.finish()
        part = UploadPart(
            f"part_{secrets.token_hex(12)}",
            upload.id,
            got.size,
            got.blob,
            self._files.now_ms(),
        )
        if not await self._rows.add_part(part, upload.size):
            raise PayloadTooLarge(
                f"The upload is over, or has more than its {upload.size} bytes."
            )
        got.leave()
        return part

    async def complete(
        self, upload: Upload, part_ids: Sequence[str], checksum: str | None
    ) -> StoredFile:
        """Put an upload together; raises InvalidRequest where it is not whole."""
        known = {part.id: part for part in await self._rows.parts(upload.id)}
        if len(set(part_ids)) != len(part_ids) or not known.keys() >= set(part_ids):
            raise InvalidRequest(
                "part_ids: must name parts of this upload, each once", param="part_ids"
            )
        parts = [known[part_id] for part_id in part_ids]
        size = sum(part.size for part in parts)
        if size != upload.size:
            raise InvalidRequest(
                f"The parts have {size} bytes, and the upload was to have "
                f"{upload.size}",
                param="part_ids",
                code="bytes_mismatch",
            )
        got = await self._files.receive(Limit(upload.size))
        try:
            _compare(await self._join(parts, got), checksum)
            await got.finish()
        except BaseException:
            await got.abort()
            raise
        file = self._files.make(upload.account_id, upload.details, got.blob, got.size)
        try:
            done = await self._rows.complete(upload, file, self._files.limits.quota)
        except QuotaExceeded:
            raise self._files.full() from None
        finally:
            got.leave()
        if not done:
            raise _over(UploadState.COMPLETED)
        return file

    async def _join(self, parts: Sequence[UploadPart], got: Incoming) -> str:
        """Write all parts one after the other; give the md5 of the whole."""
        digest = md5(usedforsecurity=False)
        for part in parts:
            async for piece in self._files.pieces(part.blob):
                digest.update(piece)
                await got.write(piece)
        return digest.hexdigest()

    async def cancel(self, upload: Upload) -> None:
        """Give an upload up; raises InvalidRequest if it is over."""
        if not await self._rows.end(upload.id, UploadState.CANCELLED):
            raise _over(UploadState.COMPLETED)


def _compare(found: str, wanted: str | None) -> None:
    """Raise InvalidRequest where the whole has another md5 than the caller says."""
    if wanted is not None and found != wanted.strip().lower():
        raise InvalidRequest(
            "The parts do not have that md5", param="md5", code="md5_mismatch"
        )


def _over(state: UploadState) -> InvalidRequest:
    return InvalidRequest(
        f"The upload is {state.value}; it cannot be changed any more",
        code="upload_not_pending",
    )

"""Uploads and their parts, in the database."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, delete, func, insert, select, update
from typing_extensions import override

from posthouse.files.ports import UploadRows
from posthouse.files.records import (
    FileDetails,
    StoredFile,
    Upload,
    UploadPart,
    UploadState,
)
from posthouse.storage.database import Database
from posthouse.storage.engine import AsyncConnection
from posthouse.storage.files import (
    give_up,
    keep_file,
    reading,
    require_room,
    writing,
)
from posthouse.storage.ownership import now_ms
from posthouse.storage.schema import blob_removals, upload_parts, uploads


class StoredUploads(UploadRows):
    """Keeps the rows of uploads."""

    def __init__(self, database: Database) -> None:
        """Write to this database."""
        self._database = database

    @override
    async def add(self, upload: Upload, quota: int) -> None:
        details = upload.details
        row = {
            "id": upload.id,
            "account_id": upload.account_id,
            "filename": details.filename,
            "purpose": details.purpose,
            "media_type": details.media_type,
            "size": upload.size,
            "state": upload.state.value,
            "keep_seconds": details.keep_seconds,
            "file_id": None,
            "created_ms": upload.created_ms,
            "expires_ms": upload.expires_ms,
        }
        async with writing(self._database) as connection:
            await require_room(connection, upload.account_id, upload.size, quota)
            await connection.execute(insert(uploads), [row])

    @override
    async def find(self, upload_id: str, account_id: str) -> Upload | None:
        wanted = select(uploads).where(
            uploads.c.id == upload_id, uploads.c.account_id == account_id
        )
        async with reading(self._database) as connection:
            row = (await connection.execute(wanted)).one_or_none()
        if row is None:
            return None
        return Upload(
            row.id,
            row.account_id,
            FileDetails(row.filename, row.purpose, row.media_type, row.keep_seconds),
            row.size,
            UploadState(row.state),
            row.created_ms,
            row.expires_ms,
            row.file_id,
        )

    @override
    async def add_part(self, part: UploadPart, size: int) -> bool:
        there = select(func.coalesce(func.sum(upload_parts.c.size), 0)).where(
            upload_parts.c.upload_id == part.upload_id
        )
        row = {
            "id": part.id,
            "upload_id": part.upload_id,
            "size": part.size,
            "blob": part.blob,
            "created_ms": part.created_ms,
        }
        async with writing(self._database) as connection:
            open_one = select(uploads.c.id).where(_is_open(part.upload_id))
            if (await connection.execute(open_one)).first() is None:
                return False
            if (await connection.execute(there)).scalar_one() + part.size > size:
                return False
            await connection.execute(insert(upload_parts), [row])
            await connection.execute(
                delete(blob_removals).where(blob_removals.c.blob == part.blob)
            )
        return True

    @override
    async def parts(self, upload_id: str) -> Sequence[UploadPart]:
        wanted = (
            select(upload_parts)
            .where(upload_parts.c.upload_id == upload_id)
            .order_by(upload_parts.c.created_ms, upload_parts.c.id)
        )
        async with reading(self._database) as connection:
            rows = (await connection.execute(wanted)).all()
        return [UploadPart(*row) for row in rows]

    @override
    async def complete(
        self, upload: Upload, file: StoredFile, quota: int | None
    ) -> bool:
        async with writing(self._database) as connection:
            values = {"state": UploadState.COMPLETED.value, "file_id": file.id}
            if not await _close(connection, upload.id, values):
                return False
            await keep_file(connection, file, quota)
        return True

    @override
    async def end(self, upload_id: str, state: UploadState) -> bool:
        async with writing(self._database) as connection:
            return await _close(connection, upload_id, {"state": state.value})


async def _close(
    connection: AsyncConnection, upload_id: str, values: dict[str, Any]
) -> bool:
    """End an upload, and have its parts removed."""
    closed = update(uploads).where(_is_open(upload_id)).values(values)
    if not (await connection.execute(closed)).rowcount:
        return False
    parts = delete(upload_parts).where(upload_parts.c.upload_id == upload_id)
    blobs = await connection.execute(parts.returning(upload_parts.c.blob))
    await give_up(connection, list(blobs.scalars()), now_ms())
    return True


def _is_open(upload_id: str) -> ColumnElement[bool]:
    return (uploads.c.id == upload_id) & (uploads.c.state == UploadState.PENDING.value)

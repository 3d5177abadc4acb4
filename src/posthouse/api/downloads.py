"""What callers stored, given back: never as anything that a browser would run."""

import re
from collections.abc import AsyncIterator
from urllib.parse import quote

from posthouse.files.records import StoredFile
from posthouse.files.service import Files
from posthouse.server.request import Request

_HARMLESS = frozenset(
    {
        "application/json",
        "application/jsonl",
        "application/pdf",
        "audio/mpeg",
        "audio/wav",
        "image/gif",
        "image/jpeg",
        "image/png",
        "image/webp",
        "text/csv",
        "text/plain",
        "video/mp4",
    }
)
"""Types that are told; everything else is bytes."""
_UNSAFE = re.compile(r"[^A-Za-z0-9._ ()-]")


def download_headers(filename: str, media_type: str) -> tuple[tuple[bytes, bytes], ...]:
    """Give the headers of a download; the name is the caller's, and quoted."""
    kind = media_type.partition(";")[0].strip().lower()
    told = kind if kind in _HARMLESS else "application/octet-stream"
    plain = _UNSAFE.sub("_", filename)
    named = f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(filename, '')}"
    return (
        (b"content-type", told.encode()),
        (b"content-disposition", named.encode()),
        (b"x-content-type-options", b"nosniff"),
        (b"cache-control", b"private, no-store"),
        (b"content-security-policy", b"default-src 'none'; sandbox"),
    )


async def send_file(request: Request, files: Files, file: StoredFile) -> None:
    """Give a file's content to its owner."""
    headers = download_headers(file.filename, file.media_type)
    await send_pieces(request, headers, files.pieces(file.blob))


async def send_pieces(
    request: Request,
    headers: tuple[tuple[bytes, bytes], ...],
    pieces: AsyncIterator[bytes],
) -> None:
    """Give content piece by piece, as fast as the caller reads.

    What cannot be read at all is an error; what breaks off, breaks the reply off.
    """
    client = request.client
    first = await anext(pieces, b"")
    await client.start(200, headers)
    await client.write(first)
    async for piece in pieces:
        if client.gone:
            return
        await client.write(piece)
    await client.finish()

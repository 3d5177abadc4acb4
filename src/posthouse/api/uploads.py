"""OpenAI's uploads: a file in parts."""

import re
from typing import Any

from posthouse.api.calls import Calls
from posthouse.api.files import JSON, describe, read_expiry, read_purpose
from posthouse.api.forms import receive_form
from posthouse.errors import InvalidRequest, NotFound
from posthouse.files.records import FileDetails, StoredFile, Upload, clean_name
from posthouse.files.uploads import PART_LIMIT, Uploads
from posthouse.server.request import Request
from posthouse.server.routes import Route
from posthouse.wire import json
from posthouse.wire.json import MalformedJSON

PATH = "/v1/uploads"
BODY_BYTES = 1024 * 1024
MOST_PARTS = 10_000
_CHECKSUM = re.compile(r"[0-9a-fA-F]{32}")


async def read_object(request: Request, limit: int = BODY_BYTES) -> dict[str, Any]:
    """Read a small body, which must be an object; raises InvalidRequest."""
    try:
        return json.decode(await request.body(limit) or b"{}", dict[str, Any])
    except MalformedJSON as error:
        raise InvalidRequest(f"The body is not a JSON object: {error}") from None


class UploadRoutes:
    """The handlers, over what they need."""

    def __init__(self, calls: Calls, uploads: Uploads) -> None:
        """Take uploads of those whom `calls` knows."""
        self._calls = calls
        self._uploads = uploads

    def routes(self) -> list[Route]:
        """All of them."""
        return [
            Route(("POST",), PATH, self.create),
            Route(("POST",), f"{PATH}/", self.act, prefix=True),
        ]

    async def create(self, request: Request) -> None:
        """POST /v1/uploads."""
        principal = await self._calls.principal(request)
        asked = await read_object(request)
        size = asked.get("bytes")
        if not isinstance(size, int) or isinstance(size, bool) or size < 0:
            raise InvalidRequest("bytes: must be a number of bytes", param="bytes")
        details = FileDetails(
            clean_name(_text(asked, "filename")),
            read_purpose(asked.get("purpose")),
            _text(asked, "mime_type")[:255],
            read_expiry(asked.get("expires_after")),
        )
        upload = await self._uploads.begin(principal.account_id, details, size)
        await _answer(request, _describe(upload))

    async def act(self, request: Request) -> None:
        """POST /v1/uploads/{id}/parts, /complete and /cancel."""
        principal = await self._calls.principal(request)
        upload_id, _, what = request.tail.partition("/")
        if what not in ("parts", "complete", "cancel"):
            raise NotFound
        upload = await self._uploads.find(upload_id, principal.account_id)
        if what == "parts":
            await self._part(request, upload)
        elif what == "complete":
            await self._complete(request, upload)
        else:
            await self._uploads.cancel(upload)
            await _answer(request, _describe(upload, "cancelled"))

    async def _part(self, request: Request, upload: Upload) -> None:
        form = await receive_form(
            request, "data", lambda: self._uploads.receive(upload), PART_LIMIT
        )
        try:
            part = await self._uploads.add_part(upload, form.content)
        except BaseException:
            await form.content.abort()
            raise
        await _answer(
            request,
            {
                "id": part.id,
                "object": "upload.part",
                "created_at": part.created_ms // 1000,
                "upload_id": upload.id,
            },
        )

    async def _complete(self, request: Request, upload: Upload) -> None:
        asked = await read_object(request)
        names = asked.get("part_ids")
        if (
            not isinstance(names, list)
            or len(names) > MOST_PARTS
            or not all(isinstance(name, str) for name in names)
        ):
            raise InvalidRequest("part_ids: must be a list of ids", param="part_ids")
        checksum = asked.get("md5")
        if checksum is not None and not (
            isinstance(checksum, str) and _CHECKSUM.fullmatch(checksum)
        ):
            raise InvalidRequest("md5: must have 32 hex digits", param="md5")
        file = await self._uploads.complete(upload, names, checksum)
        await _answer(request, _describe(upload, "completed", file))


def _describe(
    upload: Upload, status: str = "pending", file: StoredFile | None = None
) -> dict[str, Any]:
    return {
        "id": upload.id,
        "object": "upload",
        "bytes": upload.size,
        "created_at": upload.created_ms // 1000,
        "expires_at": upload.expires_ms // 1000,
        "filename": upload.details.filename,
        "purpose": upload.details.purpose,
        "status": status,
        "file": None if file is None else describe(file),
    }


async def _answer(request: Request, body: dict[str, Any]) -> None:
    await request.client.respond(200, [JSON], json.encode(body))


def _text(asked: dict[str, Any], name: str) -> str:
    """Read a text that must be there; raises InvalidRequest."""
    value = asked.get(name)
    if not isinstance(value, str) or not value:
        raise InvalidRequest(f"{name}: is required", param=name)
    return value

"""Files that callers store: OpenAI's `/v1/files`, and Anthropic's on the same path.

Whose file it is was decided when it came: to everybody else it does not exist.
Clients of Anthropic's are known by `anthropic-version`; both see the same files.
"""

import re
from collections.abc import Mapping
from typing import Any

from posthouse.api.anthropic_files import AnthropicFiles, is_anthropic
from posthouse.api.calls import Calls
from posthouse.api.downloads import send_file
from posthouse.api.forms import ReceivedForm, keep_file
from posthouse.api.paging import asked, listed, read_page
from posthouse.errors import InvalidRequest, NotFound
from posthouse.files.records import FileDetails, StoredFile, clean_name
from posthouse.files.service import Files
from posthouse.server.request import Request
from posthouse.server.routes import Route
from posthouse.wire import json

PATH = "/v1/files"
JSON = (b"content-type", b"application/json")
PAGE = 10_000
"""Files in a list, at most and unless fewer are asked for."""
SHORTEST, LONGEST = 3_600, 2_592_000
"""Seconds for which a file may be asked to be kept: an hour, thirty days."""
_PURPOSE = re.compile(r"[a-z][a-z0-9_-]{0,63}")


class FileRoutes:
    """The handlers, over what they need."""

    def __init__(self, calls: Calls, files: Files) -> None:
        """Keep files for those whom `calls` knows."""
        self._calls = calls
        self._files = files
        self._anthropic = AnthropicFiles(calls, files)

    def routes(self) -> list[Route]:
        """All of them."""
        below = f"{PATH}/"
        return [
            Route(("POST",), PATH, self.create),
            Route(("GET",), PATH, self.list),
            Route(("GET",), below, self.read, prefix=True),
            Route(("DELETE",), below, self.delete, prefix=True),
        ]

    async def create(self, request: Request) -> None:
        """POST /v1/files: a form with the file and its purpose."""
        if is_anthropic(request):
            await self._anthropic.create(request)
            return
        principal = await self._calls.principal(request)
        account_id = principal.account_id

        def details(form: ReceivedForm) -> FileDetails:
            return FileDetails(
                clean_name(form.head.filename or ""),
                read_purpose(form.fields.get("purpose")),
                form.content_type,
                read_expiry(_nested(form.fields, "expires_after")),
            )

        file = await keep_file(request, self._files, account_id, details)
        await request.client.respond(200, [JSON], json.encode(describe(file)))

    async def list(self, request: Request) -> None:
        """GET /v1/files: the caller's own."""
        if is_anthropic(request):
            await self._anthropic.list(request)
            return
        principal = await self._calls.principal(request)
        page = read_page(asked(request), PAGE, PAGE)
        files = await self._files.page(principal.account_id, page)
        body = json.encode(listed(page, files, describe))
        await request.client.respond(200, [JSON], body)

    async def read(self, request: Request) -> None:
        """GET /v1/files/{id} and /v1/files/{id}/content."""
        if is_anthropic(request):
            await self._anthropic.read(request)
            return
        principal = await self._calls.principal(request)
        file_id, _, what = request.tail.partition("/")
        if what not in ("", "content"):
            raise NotFound
        file = await self._files.find(file_id, principal.account_id)
        if what:
            await send_file(request, self._files, file)
        else:
            await request.client.respond(200, [JSON], json.encode(describe(file)))

    async def delete(self, request: Request) -> None:
        """DELETE /v1/files/{id}."""
        if is_anthropic(request):
            await self._anthropic.delete(request)
            return
        principal = await self._calls.principal(request)
        await self._files.remove(request.tail, principal.account_id)
        gone = {"id": request.tail, "object": "file", "deleted": True}
        await request.client.respond(200, [JSON], json.encode(gone))


def describe(file: StoredFile) -> dict[str, Any]:
    """Write a file as OpenAI's clients read it."""
    return {
        "id": file.id,
        "object": "file",
        "bytes": file.size,
        "created_at": file.created_ms // 1000,
        "expires_at": None if file.expires_ms is None else file.expires_ms // 1000,
        "filename": file.filename,
        "purpose": file.purpose,
        "status": "processed",
        "status_details": None,
    }


def read_purpose(value: Any) -> str:
    """Read what a file is for; raises InvalidRequest."""
    if not isinstance(value, str) or not _PURPOSE.fullmatch(value):
        raise InvalidRequest(
            "purpose: is required, such as user_data, vision, assistants or batch",
            param="purpose",
        )
    if value.endswith(("_output", "-results")):
        raise InvalidRequest("purpose: is for files that we make", param="purpose")
    return value


def read_expiry(value: Any, name: str = "expires_after") -> int | None:
    """Read for how many seconds a file is kept; raises InvalidRequest."""
    if value is None:
        return None
    try:
        anchor, seconds = value["anchor"], int(value["seconds"])
    except (KeyError, TypeError, ValueError):
        anchor, seconds = "", 0
    if anchor != "created_at" or not SHORTEST <= seconds <= LONGEST:
        raise InvalidRequest(
            f"{name}: needs the anchor created_at and from {SHORTEST} to {LONGEST} "
            "seconds",
            param=name,
        )
    return seconds


def _nested(fields: Mapping[str, str], name: str) -> dict[str, str] | None:
    """Gather the fields of a form that are named `name[…]`."""
    found = {
        field[len(name) + 1 : -1]: value
        for field, value in fields.items()
        if field.startswith(f"{name}[") and field.endswith("]")
    }
    return found or None

"""Files as Anthropic's clients ask for them, on the same path as OpenAI's."""

from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qsl

from posthouse.api.calls import Calls
from posthouse.api.downloads import send_file
from posthouse.api.forms import ReceivedForm, keep_file
from posthouse.api.paging import anthropic_listed, asked, read_anthropic_page
from posthouse.dialects.anthropic_messages import DIALECT
from posthouse.errors import InvalidRequest, NotFound
from posthouse.files.records import FileDetails, Page, StoredFile, clean_name
from posthouse.files.service import Files
from posthouse.server.request import Request
from posthouse.wire import json

JSON = (b"content-type", b"application/json")
PURPOSE = "user_data"
"""What a file is for to OpenAI's clients, if one of Anthropic's has stored it."""
PAGE, MOST = 20, 1000
_NAMED = 100
"""Files that a list may be asked for by their ids."""
_SHORTEST, _LONGEST = 60, 10 * 366 * 86_400


def is_anthropic(request: Request) -> bool:
    """Whether a client is Anthropic's; its errors are then Anthropic's, too."""
    if request.header(b"anthropic-version") is None:
        return False
    request.manners = DIALECT.manners
    request.client.extra += b"request-id: %b\r\n" % request.request_id.encode()
    return True


def rfc3339(time_ms: int) -> str:
    """Write a time as Anthropic's clients read it."""
    told = datetime.fromtimestamp(time_ms / 1000, UTC)
    return told.isoformat(timespec="milliseconds").replace("+00:00", "Z")


class AnthropicFiles:
    """The handlers, over what they need."""

    def __init__(self, calls: Calls, files: Files) -> None:
        """Keep files for those whom `calls` knows."""
        self._calls = calls
        self._files = files

    async def create(self, request: Request) -> None:
        """POST /v1/files: a form with the file."""
        account_id = (await self._calls.principal(request)).account_id

        def details(form: ReceivedForm) -> FileDetails:
            return FileDetails(
                clean_name(form.head.filename or ""),
                PURPOSE,
                form.content_type or "application/octet-stream",
                _seconds(form.fields.get("expires_in_seconds")),
            )

        file = await keep_file(request, self._files, account_id, details)
        await request.client.respond(200, [JSON], json.encode(describe(file)))

    async def list(self, request: Request) -> None:
        """GET /v1/files: the caller's own."""
        account_id = (await self._calls.principal(request)).account_id
        fields = asked(request)
        names = _names(request)
        if names:
            page = Page(len(names))
            files = []
            for name in names:
                try:
                    files.append(await self._files.find(name, account_id))
                except NotFound:
                    # A list leaves out what is not there.
                    continue
        else:
            page = read_anthropic_page(fields, PAGE, MOST)
            files = list(await self._files.page(account_id, page))
        body = json.encode(anthropic_listed(page, files, describe))
        await request.client.respond(200, [JSON], body)

    async def read(self, request: Request) -> None:
        """GET /v1/files/{id} and /v1/files/{id}/content."""
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
        principal = await self._calls.principal(request)
        await self._files.remove(request.tail, principal.account_id)
        gone = {"id": request.tail, "type": "file_deleted"}
        await request.client.respond(200, [JSON], json.encode(gone))


def describe(file: StoredFile) -> dict[str, Any]:
    """Write a file as Anthropic's clients read it."""
    return {
        "type": "file",
        "id": file.id,
        "filename": file.filename,
        "mime_type": file.media_type or "application/octet-stream",
        "size_bytes": file.size,
        "created_at": rfc3339(file.created_ms),
        "expires_at": None if file.expires_ms is None else rfc3339(file.expires_ms),
        "downloadable": True,
    }


def _names(request: Request) -> list[str]:
    """Read the ids that a list is asked for by; raises InvalidRequest."""
    found = dict.fromkeys(
        value
        for name, value in parse_qsl(request.query.decode("latin-1"))
        if name in ("ids", "ids[]")
    )
    if len(found) > _NAMED:
        raise InvalidRequest(f"ids: at most {_NAMED}", param="ids")
    return list(found)


def _seconds(text: str | None) -> int | None:
    """Read for how long a file is kept; raises InvalidRequest."""
    if text is None:
        return None
    if not (
        text.isascii() and text.isdigit() and _SHORTEST <= int(text[:12]) <= _LONGEST
    ):
        raise InvalidRequest(
            f"expires_in_seconds: must be from {_SHORTEST} to {_LONGEST}",
            param="expires_in_seconds",
        )
    return int(text)

"""OpenAI's batches: a file of requests, answered later, in a file."""

import secrets
from typing import Any

from msgspec import structs

from posthouse.api.calls import Calls
from posthouse.api.files import JSON, read_expiry
from posthouse.api.paging import asked, listed, read_page
from posthouse.api.uploads import read_object
from posthouse.errors import InvalidRequest, NotFound
from posthouse.files.service import Files
from posthouse.server.request import Request
from posthouse.server.routes import Route
from posthouse.tasks.batches import Desk
from posthouse.tasks.records import (
    DAY_MS,
    Batch,
    BatchAPI,
    BatchDetails,
    BatchState,
    LineError,
    time_of,
)
from posthouse.wire import json

PATH = "/v1/batches"
WINDOW = "24h"
PAGE, MOST = 20, 100
MOST_METADATA, KEY_LIMIT, VALUE_LIMIT = 16, 64, 512
INPUT_BYTES = 200 * 1024 * 1024


class BatchRoutes:
    """The handlers, over what they need."""

    def __init__(self, calls: Calls, files: Files, desk: Desk) -> None:
        """Take batches of those whom `calls` knows."""
        self._calls = calls
        self._files = files
        self._desk = desk

    def routes(self) -> list[Route]:
        """All of them."""
        below = f"{PATH}/"
        return [
            Route(("POST",), PATH, self.create),
            Route(("GET",), PATH, self.list),
            Route(("GET",), below, self.read, prefix=True),
            Route(("POST",), below, self.cancel, prefix=True),
        ]

    async def create(self, request: Request) -> None:
        """POST /v1/batches."""
        principal = await self._calls.principal(request)
        body = await read_object(request)
        endpoint = body.get("endpoint")
        if not isinstance(endpoint, str) or not self._desk.takes(endpoint):
            raise InvalidRequest(
                "endpoint: there are no batches of calls to that", param="endpoint"
            )
        if body.get("completion_window") != WINDOW:
            raise InvalidRequest(
                f"completion_window: must be {WINDOW}", param="completion_window"
            )
        name = body.get("input_file_id")
        if not isinstance(name, str) or not name:
            raise InvalidRequest("input_file_id: is required", param="input_file_id")
        metadata = read_metadata(body.get("metadata"))
        keep_seconds = read_expiry(
            body.get("output_expires_after"), "output_expires_after"
        )
        file = await self._files.find(name, principal.account_id)
        if file.purpose != "batch":
            raise InvalidRequest(
                "input_file_id: must be a file of the purpose batch",
                param="input_file_id",
            )
        if file.size > INPUT_BYTES:
            raise InvalidRequest(
                f"input_file_id: the file has more than {INPUT_BYTES} bytes",
                param="input_file_id",
            )
        now = self._files.now_ms()
        batch = Batch(
            id=f"batch_{secrets.token_hex(12)}",
            account_id=principal.account_id,
            key_id=principal.key_id,
            api=BatchAPI.OPENAI,
            endpoint=endpoint,
            state=BatchState.VALIDATING,
            input_file=file.id,
            input_blob=file.blob,
            completion_window=WINDOW,
            details=BatchDetails(metadata=metadata),
            created_ms=now,
            expires_ms=now + DAY_MS,
            keep_seconds=keep_seconds,
        )
        await self._desk.add(batch)
        await _answer(request, batch)

    async def list(self, request: Request) -> None:
        """GET /v1/batches: the caller's own, newest first."""
        principal = await self._calls.principal(request)
        page = read_page(asked(request), PAGE, MOST)
        rows = await self._desk.page(principal.account_id, BatchAPI.OPENAI, page)
        body = json.encode(listed(page, rows, describe))
        await request.client.respond(200, [JSON], body)

    async def read(self, request: Request) -> None:
        """GET /v1/batches/{id}."""
        await _answer(request, await self._find(request, request.tail))

    async def cancel(self, request: Request) -> None:
        """POST /v1/batches/{id}/cancel."""
        name, _, what = request.tail.partition("/")
        if what != "cancel":
            raise NotFound
        batch = await self._find(request, name)
        await _answer(request, await self._desk.cancel(batch))

    async def _find(self, request: Request, name: str) -> Batch:
        """One of the caller's own; raises NotFound."""
        principal = await self._calls.principal(request)
        batch = await self._desk.find(name, principal.account_id)
        if batch is None or batch.api is not BatchAPI.OPENAI:
            raise NotFound(f"No batch found with id '{name[:64]}'.", param="id")
        return batch


async def _answer(request: Request, batch: Batch) -> None:
    await request.client.respond(200, [JSON], json.encode(describe(batch)))


def describe(batch: Batch) -> dict[str, Any]:
    """Write a batch as OpenAI's clients read it."""
    details = batch.details
    errors = None
    if details.errors:
        errors = {"object": "list", "data": [_error(one) for one in details.errors]}
    times = {
        f"{state.value}_at": _seconds(time_of(batch, state))
        for state in BatchState
        if state is not BatchState.VALIDATING
    }
    return {
        "id": batch.id,
        "object": "batch",
        "endpoint": batch.endpoint,
        "model": details.model or None,
        "errors": errors,
        "input_file_id": batch.input_file,
        "completion_window": batch.completion_window,
        "status": batch.state.value,
        "output_file_id": batch.output_file,
        "error_file_id": batch.error_file,
        "created_at": batch.created_ms // 1000,
        "expires_at": batch.expires_ms // 1000,
        **times,
        "request_counts": {
            "total": batch.total,
            "completed": batch.completed,
            "failed": batch.failed,
        },
        "usage": _usage(details.usage) if details.usage else None,
        "metadata": details.metadata,
    }


def _error(error: LineError) -> dict[str, Any]:
    return structs.asdict(error)


def _seconds(time_ms: int | None) -> int | None:
    return None if time_ms is None else time_ms // 1000


def _usage(usage: dict[str, int]) -> dict[str, Any]:
    given, output = usage.get("input", 0), usage.get("output", 0)
    return {
        "input_tokens": given,
        "input_tokens_details": {"cached_tokens": usage.get("cached", 0)},
        "output_tokens": output,
        "output_tokens_details": {"reasoning_tokens": usage.get("reasoning", 0)},
        "total_tokens": given + output,
    }


def read_metadata(value: Any) -> dict[str, str] | None:
    """Read what a caller notes beside a batch; raises InvalidRequest."""
    if value is None:
        return None
    if (
        not isinstance(value, dict)
        or len(value) > MOST_METADATA
        or not all(_is_note(key, text) for key, text in value.items())
    ):
        raise InvalidRequest(
            f"metadata: must be at most {MOST_METADATA} texts of {VALUE_LIMIT} "
            f"characters, with names of {KEY_LIMIT}",
            param="metadata",
        )
    return value


def _is_note(key: str, text: Any) -> bool:
    return isinstance(text, str) and len(key) <= KEY_LIMIT and len(text) <= VALUE_LIMIT

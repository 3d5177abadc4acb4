"""OpenAI's batches: a file of requests, answered later, in a file."""

import secrets
from typing import Any

from msgspec import Struct, structs

from posthouse.api.calls import Calls
from posthouse.api.files import JSON, read_expiry
from posthouse.api.paging import asked, listed, read_page
from posthouse.api.uploads import read_object
from posthouse.errors import InvalidRequest, NotFound
from posthouse.files.records import StoredFile
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
        wanted = _read_wanted(await read_object(request))
        if not self._desk.takes(wanted.endpoint):
            raise InvalidRequest(
                f"endpoint: there are no batches of {wanted.endpoint[:64]}: they are "
                "of calls that are asked and answered in JSON",
                param="endpoint",
            )
        file = await self._files.find(wanted.file_id, principal.account_id)
        _judge_input(file)
        now = self._files.now_ms()
        batch = Batch(
            id=f"batch_{secrets.token_hex(12)}",
            account_id=principal.account_id,
            key_id=principal.key_id,
            api=BatchAPI.OPENAI,
            endpoint=wanted.endpoint,
            state=BatchState.VALIDATING,
            input_file=file.id,
            input_blob=file.blob,
            completion_window=WINDOW,
            details=BatchDetails(metadata=wanted.metadata),
            created_ms=now,
            expires_ms=now + DAY_MS,
            keep_seconds=wanted.keep_seconds,
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


class _Wanted(Struct):
    """What a caller asks for."""

    endpoint: str
    file_id: str
    metadata: dict[str, str] | None
    keep_seconds: int | None


def _read_wanted(body: dict[str, Any]) -> _Wanted:
    """Read a request for a batch; raises InvalidRequest."""
    for name in ("endpoint", "input_file_id"):
        if not isinstance(body.get(name), str) or not body[name]:
            raise InvalidRequest(f"{name}: is required", param=name)
    if body.get("completion_window") != WINDOW:
        raise InvalidRequest(
            f"completion_window: must be {WINDOW}", param="completion_window"
        )
    return _Wanted(
        body["endpoint"],
        body["input_file_id"],
        read_metadata(body.get("metadata")),
        read_expiry(body.get("output_expires_after"), "output_expires_after"),
    )


def _judge_input(file: StoredFile) -> None:
    """Refuse a file that cannot be a batch's input; raises InvalidRequest."""
    if file.purpose != "batch":
        raise InvalidRequest(
            "input_file_id: must be a file of the purpose batch", param="input_file_id"
        )
    if file.size > INPUT_BYTES:
        raise InvalidRequest(
            f"input_file_id: the file has more than {INPUT_BYTES} bytes",
            param="input_file_id",
        )


async def _answer(request: Request, batch: Batch) -> None:
    await request.client.respond(200, [JSON], json.encode(describe(batch)))


def describe(batch: Batch) -> dict[str, Any]:
    """Write a batch as OpenAI's clients read it."""
    details = batch.details
    return {
        "id": batch.id,
        "object": "batch",
        "endpoint": batch.endpoint,
        "model": details.model or None,
        "errors": _errors(details.errors),
        "input_file_id": batch.input_file,
        "completion_window": batch.completion_window,
        "status": batch.state.value,
        "output_file_id": batch.output_file,
        "error_file_id": batch.error_file,
        "created_at": batch.created_ms // 1000,
        "expires_at": batch.expires_ms // 1000,
        **_times(batch),
        "request_counts": {
            "total": batch.total,
            "completed": batch.completed,
            "failed": batch.failed,
        },
        "usage": _usage(details.usage) if details.usage else None,
        "metadata": details.metadata,
    }


def _errors(errors: tuple[LineError, ...]) -> dict[str, Any] | None:
    if not errors:
        return None
    return {"object": "list", "data": [structs.asdict(one) for one in errors]}


def _times(batch: Batch) -> dict[str, int | None]:
    """When each state began, in Unix seconds."""
    times = {}
    for state in BatchState:
        began = time_of(batch, state)
        if state is not BatchState.VALIDATING:
            times[f"{state.value}_at"] = None if began is None else began // 1000
    return times


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

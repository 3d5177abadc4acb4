"""Anthropic's message batches: many messages asked for at once, answered later."""

import re
import secrets
from typing import Any

from msgspec import Raw, Struct

from posthouse.api.anthropic_files import is_anthropic, rfc3339
from posthouse.api.calls import Calls
from posthouse.api.downloads import download_headers, send_pieces
from posthouse.api.paging import anthropic_listed, asked, read_anthropic_page
from posthouse.dialects.anthropic_messages import DIALECT
from posthouse.errors import InvalidRequest, NotFound
from posthouse.files.service import Files, Limit
from posthouse.server.request import Request
from posthouse.server.routes import Route
from posthouse.tasks.batches import Desk
from posthouse.tasks.records import (
    DAY_MS,
    ENDED,
    MOST_LINES,
    Batch,
    BatchAPI,
    BatchDetails,
    BatchState,
    time_of,
)
from posthouse.wire import json
from posthouse.wire.json import MalformedJSON

PATH = "/v1/messages/batches"
ENDPOINT = "/v1/messages"
WINDOW = "24h"
PAGE, MOST = 20, 1000
JSON = (b"content-type", b"application/json")
_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")


class _Asked(Struct):
    custom_id: Any = None
    params: Raw = Raw(b"")


class _Body(Struct):
    requests: list[_Asked]


class MessageBatchRoutes:
    """The handlers, over what they need."""

    def __init__(
        self, calls: Calls, files: Files, desk: Desk, *, max_body_bytes: int
    ) -> None:
        """Take batches of those whom `calls` knows."""
        self._calls = calls
        self._files = files
        self._desk = desk
        self._max_body_bytes = max_body_bytes

    def routes(self) -> list[Route]:
        """All of them."""
        manners = DIALECT.manners
        below = f"{PATH}/"
        return [
            Route(("POST",), PATH, self.create, manners=manners),
            Route(("GET",), PATH, self.list, manners=manners),
            Route(("GET",), below, self.read, prefix=True, manners=manners),
            Route(("POST",), below, self.cancel, prefix=True),
            Route(("DELETE",), below, self.delete, prefix=True),
        ]

    async def create(self, request: Request) -> None:
        """POST /v1/messages/batches."""
        is_anthropic(request)
        principal = await self._calls.principal(request)
        body = await request.body(self._max_body_bytes)
        try:
            wanted = json.decode(body, _Body).requests
        except MalformedJSON as error:
            raise InvalidRequest(str(error), param="requests") from None
        got = await self._files.receive(Limit(2 * self._max_body_bytes))
        try:
            for line in _lines(wanted):
                await got.write(line)
            await got.finish()
            batch = self._batch(principal.account_id, principal.key_id, got.blob)
            batch = await self._desk.add_counted(batch, len(wanted))
        except BaseException:
            await got.abort()
            raise
        got.leave()
        await _answer(request, batch)

    def _batch(self, account_id: str, key_id: str, blob: str) -> Batch:
        now = self._files.now_ms()
        return Batch(
            id=f"msgbatch_{secrets.token_hex(12)}",
            account_id=account_id,
            key_id=key_id,
            api=BatchAPI.ANTHROPIC,
            endpoint=ENDPOINT,
            state=BatchState.VALIDATING,
            input_file=None,
            input_blob=blob,
            completion_window=WINDOW,
            details=BatchDetails(),
            created_ms=now,
            expires_ms=now + DAY_MS,
        )

    async def list(self, request: Request) -> None:
        """GET /v1/messages/batches: the caller's own, newest first."""
        is_anthropic(request)
        principal = await self._calls.principal(request)
        page = read_anthropic_page(asked(request), PAGE, MOST)
        rows = await self._desk.page(principal.account_id, BatchAPI.ANTHROPIC, page)
        body = json.encode(anthropic_listed(page, rows, describe))
        await request.client.respond(200, [JSON], body)

    async def read(self, request: Request) -> None:
        """GET /v1/messages/batches/{id} and /v1/messages/batches/{id}/results."""
        name, _, what = request.tail.partition("/")
        if what not in ("", "results"):
            raise NotFound
        batch = await self._find(request, name)
        if not what:
            await _answer(request, batch)
            return
        if batch.state not in ENDED:
            raise InvalidRequest("The batch has not ended; it has no results yet")
        headers = download_headers(f"{batch.id}.jsonl", "application/octet-stream")
        if batch.output_blob is None:
            await request.client.respond(200, headers, b"")
            return
        await send_pieces(request, headers, self._files.pieces(batch.output_blob))

    async def cancel(self, request: Request) -> None:
        """POST /v1/messages/batches/{id}/cancel."""
        name, _, what = request.tail.partition("/")
        if what != "cancel":
            raise NotFound
        batch = await self._find(request, name)
        await _answer(request, await self._desk.cancel(batch))

    async def delete(self, request: Request) -> None:
        """DELETE /v1/messages/batches/{id}: one that has ended."""
        batch = await self._find(request, request.tail)
        if not await self._desk.forget(batch):
            raise InvalidRequest("The batch has not ended; cancel it first")
        gone = {"id": batch.id, "type": "message_batch_deleted"}
        await request.client.respond(200, [JSON], json.encode(gone))

    async def _find(self, request: Request, name: str) -> Batch:
        """One of the caller's own; raises NotFound."""
        is_anthropic(request)
        principal = await self._calls.principal(request)
        batch = await self._desk.find(name, principal.account_id)
        if batch is None or batch.api is not BatchAPI.ANTHROPIC:
            raise NotFound(f"There is no message batch {name[:64]}")
        return batch


def _lines(wanted: "list[_Asked]") -> "list[bytes]":
    """Write the requests as the lines of a batch's input; raises InvalidRequest."""
    if not 0 < len(wanted) <= MOST_LINES:
        raise InvalidRequest(
            f"requests: there must be from 1 to {MOST_LINES}", param="requests"
        )
    seen: set[str] = set()
    lines = []
    for number, one in enumerate(wanted):
        name = one.custom_id
        if not isinstance(name, str) or not _NAME.fullmatch(name) or name in seen:
            raise InvalidRequest(
                f"requests.{number}.custom_id: must be 1 to 64 letters, digits, _ or "
                "-, and no other request's",
                param="requests",
            )
        seen.add(name)
        if not bytes(one.params).startswith(b"{"):
            raise InvalidRequest(
                f"requests.{number}.params: must be an object", param="requests"
            )
        line = {
            "custom_id": name,
            "url": ENDPOINT,
            "body": Raw(json.compact(one.params)),
        }
        lines.append(json.encode(line) + b"\n")
    return lines


async def _answer(request: Request, batch: Batch) -> None:
    await request.client.respond(200, [JSON], json.encode(describe(batch)))


def describe(batch: Batch) -> dict[str, Any]:
    """Write a batch as Anthropic's clients read it."""
    ended = batch.state in ENDED
    status = "in_progress"
    if ended:
        status = "ended"
    elif batch.state is BatchState.CANCELLING:
        status = "canceling"
    cancelled = time_of(batch, BatchState.CANCELLING)
    results = f"{PATH}/{batch.id}/results" if ended and batch.output_blob else None
    return {
        "type": "message_batch",
        "id": batch.id,
        "processing_status": status,
        "request_counts": _counts(batch, ended=ended),
        "created_at": rfc3339(batch.created_ms),
        "expires_at": rfc3339(batch.expires_ms),
        "ended_at": rfc3339(time_of(batch, batch.state) or 0) if ended else None,
        "cancel_initiated_at": None if cancelled is None else rfc3339(cancelled),
        "archived_at": None,
        "results_url": results,
    }


def _counts(batch: Batch, *, ended: bool) -> dict[str, int]:
    """Count the requests; all of them are processing until the whole has ended."""
    counts = dict.fromkeys(
        ("processing", "succeeded", "errored", "canceled", "expired"), 0
    )
    if not ended:
        counts["processing"] = batch.total
        return counts
    left = batch.total - batch.completed - batch.failed
    counts["succeeded"], counts["errored"] = batch.completed, batch.failed
    counts["canceled" if batch.state is BatchState.CANCELLED else "expired"] = left
    return counts

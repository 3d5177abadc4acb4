"""Anthropic's way: all requests with the batch itself, and one list of results.

Its batches can be given no note. They are known by the names of their requests,
which are in the results.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from msgspec import Raw, Struct
from typing_extensions import override

from posthouse.dialects.batches.base import (
    Ask,
    BatchDialect,
    Remote,
    Result,
    Unreadable,
    count_of,
    name_of,
    object_of,
    read,
)
from posthouse.model.catalog import BatchRow
from posthouse.wire import json

_STATES = frozenset({"in_progress", "canceling", "ended"})
_STATUSES = {
    "invalid_request_error": 400,
    "authentication_error": 401,
    "billing_error": 402,
    "permission_error": 403,
    "not_found_error": 404,
    "request_too_large": 413,
    "rate_limit_error": 429,
    "timeout_error": 504,
    "overloaded_error": 529,
}
"""What the kinds of errors are where they are told with a status."""


class _Result(Struct):
    type: Any = None
    message: Raw = Raw(b"null")
    error: Raw = Raw(b"null")


class _Line(Struct):
    """A result; the answer in it stays as it came, to the byte."""

    result: _Result
    custom_id: Any = None


_line = json.decoder(_Line)


class AnthropicBatches(BatchDialect):
    """How Anthropic is spoken to about batches."""

    tells_marks = False
    cursor = "after_id"

    @override
    def line(self, custom_id: str, url: str, body: bytes) -> bytes:
        """Write one request."""
        return json.encode({"custom_id": custom_id, "params": Raw(body)})

    @override
    def upload(self, row: BatchRow, mark: str, lines: Sequence[bytes]) -> None:
        """Keep nothing: the requests go with the batch."""

    @override
    def create(
        self, row: BatchRow, mark: str, url: str, lines: Sequence[bytes] | str
    ) -> Ask:
        """Ask for a batch of requests."""
        requests = b",".join(line for line in lines if isinstance(line, bytes))
        return Ask("POST", row.path, b'{"requests":[' + requests + b"]}")

    @override
    def told(self, row: BatchRow, found: dict[str, Any]) -> Remote:
        """Take what is told of a batch; raises Unreadable."""
        status = found.get("processing_status")
        if status not in _STATES:
            raise Unreadable("its processing_status is none that is known")
        remote_id = name_of(found.get("id"), "its id")
        counts = found.get("request_counts")
        numbers = counts.values() if isinstance(counts, dict) else ()
        ended = status == "ended"
        # The address that it tells may be anybody's.
        results = (f"{row.path}/{remote_id}/results",) if ended else ()
        lines = sum(count_of(number) for number in numbers)
        created = _seconds(found.get("created_at"))
        return Remote(remote_id, ended, created, lines, results=results)

    @override
    def result(self, line: bytes) -> Result:
        """Read a line of the results; raises Unreadable."""
        found = read(_line, line)
        custom_id = name_of(found.custom_id, "custom_id")
        kind = found.result.type
        if kind == "succeeded":
            return Result(custom_id, 200, bytes(found.result.message))
        if kind in ("canceled", "expired"):
            return Result(custom_id, 0, b"")
        if kind != "errored":
            raise Unreadable("its type is none that is known")
        error = bytes(found.result.error)
        inner = object_of(error).get("error")
        named = inner.get("type") if isinstance(inner, dict) else None
        status = _STATUSES.get(named, 500) if isinstance(named, str) else 500
        return Result(custom_id, status, error)


def _seconds(text: Any) -> float:
    """Read a moment; what is none is long ago."""
    try:
        return datetime.fromisoformat(text).timestamp()
    except (TypeError, ValueError, OverflowError):
        return 0.0


BATCHES = AnthropicBatches()

"""OpenAI's way: a file of requests, a batch of it, files of answers and of errors."""

from collections.abc import Sequence
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
    read,
    word_of,
)
from posthouse.model.catalog import BatchRow
from posthouse.wire import json
from posthouse.wire.multipart import Form, Part, render_form

MARK = "posthouse"
"""The note that says by what a batch is known."""
WINDOW = "24h"
_OVER = frozenset({"completed", "failed", "expired", "cancelled"})
_STATES = _OVER | {"validating", "in_progress", "finalizing", "cancelling"}
_FILES = ("output_file_id", "error_file_id")


class _Response(Struct):
    status_code: Any = None
    body: Raw = Raw(b"null")


class _Line(Struct):
    """A result; the answer in it stays as it came, to the byte."""

    custom_id: Any = None
    response: _Response | None = None


_line = json.decoder(_Line)


class OpenAIBatches(BatchDialect):
    """How OpenAI, and who does as it does, is spoken to about batches."""

    tells_marks = True
    cursor = "after"

    @override
    def line(self, custom_id: str, url: str, body: bytes) -> bytes:
        """Write one request."""
        request = {
            "custom_id": custom_id,
            "method": "POST",
            "url": url,
            "body": Raw(body),
        }
        return json.encode(request)

    @override
    def upload(self, row: BatchRow, mark: str, lines: Sequence[bytes]) -> Ask:
        """Ask to keep the requests as a file."""
        content = b"\n".join(lines) + b"\n"
        file = Part("file", content, f"{mark}.jsonl", b"application/jsonl")
        payload = render_form(Form((Part("purpose", b"batch"), file)))
        return Ask("POST", row.files, payload.data, payload.content_type)

    @override
    def create(
        self, row: BatchRow, mark: str, url: str, lines: Sequence[bytes] | str
    ) -> Ask:
        """Ask for a batch of a file."""
        wanted = {
            "input_file_id": lines,
            "endpoint": url,
            "completion_window": WINDOW,
            "metadata": {MARK: mark},
        }
        return Ask("POST", row.path, json.encode(wanted))

    @override
    def told(self, row: BatchRow, found: dict[str, Any]) -> Remote:
        """Take what is told of a batch; raises Unreadable."""
        status = found.get("status")
        if status not in _STATES:
            raise Unreadable("its status is none that is known")
        notes = found.get("metadata")
        mark = notes.get(MARK) if isinstance(notes, dict) else None
        counts = found.get("request_counts")
        files = [found.get(name) for name in _FILES]
        return Remote(
            name_of(found.get("id"), "its id"),
            status in _OVER,
            count_of(found.get("created_at")),
            count_of(counts.get("total")) if isinstance(counts, dict) else 0,
            mark if isinstance(mark, str) else "",
            tuple(
                f"{row.files}/{name_of(one, 'a file')}/content" for one in files if one
            ),
            _reason(found.get("errors")),
        )

    @override
    def result(self, line: bytes) -> Result:
        """Read a line of either file; raises Unreadable."""
        found = read(_line, line)
        custom_id = name_of(found.custom_id, "custom_id")
        response = found.response
        if response is None:
            return Result(custom_id, 0, b"")
        status = response.status_code
        if type(status) is not int or not 100 <= status < 600:
            raise Unreadable("status_code is none")
        return Result(custom_id, status, bytes(response.body))


def _reason(errors: Any) -> str:
    """Give the code of what is first said of why a batch has failed."""
    data = errors.get("data") if isinstance(errors, dict) else None
    first = data[0] if isinstance(data, list) and data else None
    return word_of(first.get("code")) if isinstance(first, dict) else ""


BATCHES = OpenAIBatches()

"""What a batch brings: its answers in the lines that callers read."""

from typing import Any

from msgspec import Raw, Struct

from posthouse.files.records import FileDetails, StoredFile
from posthouse.files.service import Files, Incoming, Limit
from posthouse.tasks.ports import LineRows
from posthouse.tasks.records import Answered, Batch, BatchAPI, BatchState, as_usage
from posthouse.wire import json
from posthouse.wire.json import MalformedJSON

PURPOSE = "batch_output"
JSONL = "application/jsonl"
_PAGE = 16
"""Answers in memory at one time."""
_LARGEST = 64 * 1024**3
_EXPIRED = "This request could not be executed before the completion window expired."
_CANCELLED = "The batch was cancelled before this request was executed."
_LOST = "The call was made and charged, and its answer was lost; it is not made again."


class Written(Struct):
    """What was written of a batch."""

    output: StoredFile | None
    errors: StoredFile | None
    usage: dict[str, int]


class _Usage(Struct):
    usage: Any = None


_usage = json.decoder(_Usage)


async def write_output(
    batch: Batch, rows: LineRows, files: Files, ends_as: BatchState
) -> Written:
    """Write all lines of a batch into blobs; raises StorageUnavailable.

    The files are made known by whoever ends the batch, with that.
    """
    output = _File(batch, files, "output")
    errors = _File(batch, files, "error")
    usage: dict[str, int] = {}
    after = 0
    try:
        while lines := await rows.read(batch, after, _PAGE):
            after = lines[-1].number
            for line in lines:
                await _write_line(batch, line, ends_as, (output, errors))
                _add(usage, line)
        return Written(await output.close(), await errors.close(), usage)
    except BaseException:
        await output.abort()
        await errors.abort()
        raise


async def _write_line(
    batch: Batch, line: Answered, ends_as: BatchState, to: "tuple[_File, _File]"
) -> None:
    output, errors = to
    if batch.api is BatchAPI.ANTHROPIC:
        await output.write(_anthropic_line(line, ends_as))
    elif line.status == 200:
        await output.write(_openai_line(batch, line, ends_as))
    else:
        await errors.write(_openai_line(batch, line, ends_as))


def _openai_line(batch: Batch, line: Answered, ends_as: BatchState) -> bytes:
    response = None
    error = None
    if line.status:
        response = {
            "status_code": line.status,
            "request_id": line.call_id,
            "body": _body(line),
        }
    elif line.call_id:
        error = {"code": "result_lost", "message": _LOST}
    elif ends_as is BatchState.CANCELLED:
        error = {"code": "batch_cancelled", "message": _CANCELLED}
    else:
        error = {"code": "batch_expired", "message": _EXPIRED}
    return json.encode(
        {
            "id": f"batch_req_{batch.id.removeprefix('batch_')}_{line.number}",
            "custom_id": line.custom_id,
            "response": response,
            "error": error,
        }
    )


def _anthropic_line(line: Answered, ends_as: BatchState) -> bytes:
    result: dict[str, Any]
    if line.status == 200:
        result = {"type": "succeeded", "message": _body(line)}
    elif line.status:
        result = {"type": "errored", "error": _body(line)}
    elif line.call_id:
        fault = {"type": "api_error", "message": _LOST}
        result = {"type": "errored", "error": {"type": "error", "error": fault}}
    elif ends_as is BatchState.CANCELLED:
        result = {"type": "canceled"}
    else:
        result = {"type": "expired"}
    return json.encode({"custom_id": line.custom_id, "result": result})


def _body(line: Answered) -> Any:
    """Give an answer for a place within a line, which must not break."""
    try:
        return Raw(json.compact(line.body))
    except MalformedJSON:
        return line.body.decode(errors="replace")


def _add(usage: dict[str, int], line: Answered) -> None:
    """Count the tokens that a reply tells of."""
    if line.status != 200:
        return
    try:
        told = json.decode_with(_usage, line.body).usage
    except MalformedJSON:
        return
    for name, count in as_usage({"usage": told}).items():
        usage[name] = usage.get(name, 0) + count


class _File:
    """A file that comes of a batch, begun with its first line."""

    def __init__(self, batch: Batch, files: Files, kind: str) -> None:
        self._batch = batch
        self._files = files
        self._kind = kind
        self._content: Incoming | None = None

    async def write(self, line: bytes) -> None:
        if self._content is None:
            self._content = await self._files.receive(Limit(_LARGEST))
        await self._content.write(line + b"\n")

    async def close(self) -> StoredFile | None:
        """Make the blob whole; None if nothing was written."""
        content = self._content
        if content is None:
            return None
        await content.finish()
        content.leave()
        batch = self._batch
        name = f"{batch.id}_{self._kind}.jsonl"
        details = FileDetails(name, PURPOSE, JSONL, batch.keep_seconds)
        return self._files.make(batch.account_id, details, content.blob, content.size)

    async def abort(self) -> None:
        if self._content is not None:
            await self._content.abort()

"""What a batch asks for: the lines of its input, and whether they can be asked."""

from collections.abc import AsyncIterator
from typing import Any

import msgspec
from msgspec import Raw, Struct

from posthouse.tasks.ports import LineRunner
from posthouse.tasks.records import (
    MOST_ERRORS,
    MOST_LINES,
    Batch,
    BatchAPI,
    Line,
    LineCall,
    LineError,
)
from posthouse.wire import json
from posthouse.wire.json import MalformedJSON

LINE_LIMIT = 32 * 1024 * 1024
"""Bytes of a line."""
NAME_LIMIT = 512
"""Characters of a custom_id."""


class InputLine(Struct):
    """A line as callers write it."""

    custom_id: Any = None
    method: Any = "POST"
    url: Any = None
    body: Raw = Raw(b"")
    """Empty: there is none."""


class _Named(Struct):
    """What of a body is looked at before it is sent."""

    model: Any = None
    stream: Any = False


_line = json.decoder(InputLine)
_named = json.decoder(_Named)


class LineTooLong(Exception):
    """A line is longer than any may be."""


async def split_lines(
    pieces: AsyncIterator[bytes],
) -> AsyncIterator[tuple[int, int, bytes]]:
    """Give each line with its number and place; raises LineTooLong.

    A line without anything in it is counted and left out.
    """
    rest = bytearray()
    place, number = 0, 0
    async for piece in pieces:
        rest += piece
        start = 0
        while (end := rest.find(b"\n", start)) >= 0:
            number += 1
            line = bytes(rest[start:end])
            if line.strip():
                yield number, place, line
            place += end + 1 - start
            start = end + 1
        del rest[:start]
        if len(rest) > LINE_LIMIT:
            raise LineTooLong
    if rest.strip():
        yield number + 1, place, bytes(rest)


def body_of(line: bytes) -> bytes:
    """Give the body of a line that was judged before."""
    body = json.decode_with(_line, line).body
    return bytes(body) or b"{}"


class Judge:
    """Judges the lines of one batch, in order."""

    def __init__(self, batch: Batch, runner: LineRunner) -> None:
        """Ask `runner` whether what the lines name can be had."""
        self._batch = batch
        self._runner = runner
        self._custom_ids: set[str] = set()
        self._models: dict[str, LineError | None] = {}
        self.errors: list[LineError] = []
        self.model = ""
        """The first line's."""
        self.count = 0
        self.given_up = False
        """No more need be found out."""

    async def line(self, number: int, place: int, text: bytes) -> Line | None:
        """Judge a line; None if something is wrong with it."""
        found = await self._faults(number, text)
        if isinstance(found, LineError):
            self.errors.append(found)
            self.given_up = len(self.errors) >= MOST_ERRORS
            return None
        self.count += 1
        if self.count > MOST_LINES:
            message = f"There are more than {MOST_LINES} lines"
            self.errors = [LineError("too_many_tasks", message)]
            self.given_up = True
            return None
        return Line(number, found, place, len(text))

    async def _faults(self, number: int, text: bytes) -> LineError | str:
        """Give what is wrong with a line, or its custom_id."""
        try:
            line = json.decode_with(_line, text)
        except MalformedJSON as error:
            return LineError(
                "invalid_json_line", f"This line is not a JSON object: {error}", number
            )
        wrong = self._shape(line, number)
        if wrong is not None:
            return wrong
        body = bytes(line.body)
        try:
            named = json.decode_with(_named, body)
        except MalformedJSON:
            return LineError(
                "invalid_request", "body: must be an object", number, "body"
            )
        if named.stream is True:
            return LineError(
                "invalid_request", "stream: cannot be true in a batch", number, "stream"
            )
        if self._batch.api is BatchAPI.OPENAI:
            refused = await self._refused(str(named.model), body)
            if refused is not None:
                return msgspec.structs.replace(refused, line=number)
        self.model = self.model or str(named.model or "")
        custom_id = str(line.custom_id)
        self._custom_ids.add(custom_id)
        return custom_id

    def _shape(self, line: InputLine, number: int) -> LineError | None:
        """Say what is wrong with what stands around the body."""
        custom_id = line.custom_id
        if not isinstance(custom_id, str) or not 0 < len(custom_id) <= NAME_LIMIT:
            return LineError(
                "missing_required_parameter",
                f"custom_id: must be a text of 1 to {NAME_LIMIT} characters",
                number,
                "custom_id",
            )
        if custom_id in self._custom_ids:
            return LineError(
                "duplicate_custom_id",
                "The custom_id is that of another line",
                number,
                "custom_id",
            )
        if line.method != "POST":
            return LineError("invalid_method", "method: must be POST", number, "method")
        if line.url != self._batch.endpoint:
            return LineError(
                "mismatched_url",
                f"url: must be the batch's endpoint, {self._batch.endpoint}",
                number,
                "url",
            )
        if not bytes(line.body):
            return LineError(
                "missing_required_parameter", "body: is required", number, "body"
            )
        return None

    async def _refused(self, model: str, body: bytes) -> LineError | None:
        """Say why a model cannot be asked, once for all lines that name it."""
        if model not in self._models:
            batch = self._batch
            call = LineCall(batch.id, batch.key_id, batch.api, batch.endpoint, body)
            self._models[model] = await self._runner.judge(call)
        return self._models[model]

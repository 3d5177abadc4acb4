"""Errors that a provider tells in a way of its own, as its row declares them.

Rules: the row's own codes are judged before those that all providers share; a
code whose meaning the row does not give is a failure of the provider; what the
row does not declare is left to `dialects.openai.errors`.
"""

from typing import Any

from msgspec import structs

from posthouse.dialects.openai.errors import (
    ErrorObject,
    find_error,
    judge,
    judge_reply,
    read_error,
)
from posthouse.errors import UpstreamFault
from posthouse.model.catalog import ErrorCodes, ErrorKind
from posthouse.wire import json
from posthouse.wire.json import Envelope, MalformedJSON

_STATUS = {
    ErrorKind.BAD_REQUEST: 400,
    ErrorKind.CONTENT_FILTER: 400,
    ErrorKind.CONTEXT_LENGTH: 400,
    ErrorKind.NOT_FOUND: 404,
    ErrorKind.CREDENTIAL: 401,
    ErrorKind.BALANCE: 402,
    ErrorKind.RATE_LIMITED: 429,
    ErrorKind.OVERLOADED: 503,
    ErrorKind.TIMEOUT: 408,
}
_USUAL_CODES = {
    ErrorKind.CONTENT_FILTER: "content_filter",
    ErrorKind.CONTEXT_LENGTH: "context_length_exceeded",
    ErrorKind.NOT_FOUND: "model_not_found",
}
"""What clients know these by, in place of the provider's number."""
_FAILURE = 500

Path = tuple[str, ...]


class DeclaredErrors:
    """Judges by one provider's row."""

    __slots__ = (
        "_beginnings",
        "_code",
        "_kinds",
        "_message",
        "_success",
        "_usual_codes",
        "mark",
    )

    def __init__(self, codes: ErrorCodes) -> None:
        """Take what a row declares."""
        self._code = _path(codes.code)
        self._message = _path(codes.message)
        self._success = frozenset(codes.success)
        self._usual_codes = _texts(codes.success) if len(self._code) == 1 else set()
        self._kinds = codes.kinds
        self._beginnings = tuple(
            (name[:-1], kind) for name, kind in codes.kinds.items() if name[-1] == "*"
        )
        self.mark = f'"{self._code[0]}"'.encode() if self._code else b""
        """What stands in every reply that has a code; b"" if none has."""

    def told_in(self, envelope: Envelope) -> UpstreamFault | None:
        """Judge the code of a reply with status 200; None if it tells no error."""
        if not self._code or self._code[0] not in envelope:
            return None
        if bytes(envelope[self._code[0]]) in self._usual_codes:
            return None
        try:
            value = {
                name: json.decode_leniently(bytes(envelope[name]))
                for name in {self._code[0], *self._message[:1]} & envelope.keys()
            }
        except MalformedJSON:
            return None
        error = self._declared(value)
        return None if error is None else self._told(error)

    def told_by(self, data: bytes) -> UpstreamFault | None:
        """Judge an error that came with status 200; None adds nothing to it."""
        try:
            value = json.decode_leniently(data)
        except MalformedJSON:
            return None
        if not isinstance(value, dict):
            return None
        error = self._declared(value)
        if error is not None:
            return self._told(error)
        error = find_error(value)
        return None if error is None or not self._kind(error) else self._told(error)

    def parse_error(self, status: int, body: bytes) -> UpstreamFault | None:
        """Judge an error reply; None adds nothing to what its shape says."""
        try:
            value = json.decode_leniently(body)
        except MalformedJSON:
            return None
        declared = self._declared(value)
        error = declared or read_error(value)
        kind = self._kind(error)
        if kind is not None:
            return _fault(_STATUS[kind], kind, error)
        return None if declared is None else judge_reply(status, declared)

    def _declared(self, value: Any) -> ErrorObject | None:
        """Read code and message where the row says they are; None if it is no error."""
        code = _at(value, self._code)
        message = _at(value, self._message)
        if self._code and (code is None or str(code) in self._success):
            return None
        if code is None and message is None:
            return None
        return ErrorObject(message=message, code=code)

    def _kind(self, error: ErrorObject) -> ErrorKind | None:
        """What the row says of an error's code, or else of its type."""
        for name in (error.code, error.type):
            if not isinstance(name, str | int):
                continue
            text = str(name).lower()
            if text in self._kinds:
                return self._kinds[text]
            for beginning, kind in self._beginnings:
                if text.startswith(beginning):
                    return kind
        return None

    def _told(self, error: ErrorObject) -> UpstreamFault:
        """The error that came with status 200, as if it had come with its own."""
        kind = self._kind(error)
        status = _FAILURE if kind is None else _STATUS[kind]
        fault = _fault(status, kind, error)
        fault.stands_for = status
        return fault


def _fault(status: int, kind: ErrorKind | None, error: ErrorObject) -> UpstreamFault:
    usual = None if kind is None else _USUAL_CODES.get(kind)
    return judge(status, structs.replace(error, code=usual or error.code))


def _texts(codes: tuple[str, ...]) -> set[bytes]:
    """How codes stand in JSON, as numbers and as strings."""
    return {code.encode() for code in codes} | {json.encode(code) for code in codes}


def _path(text: str) -> Path:
    return tuple(text.split(".")) if text else ()


def _at(value: Any, path: Path) -> Any:
    """Follow members; None where there are none."""
    if not path:
        return None
    for name in path:
        if not isinstance(value, dict):
            return None
        value = value.get(name)
    return value

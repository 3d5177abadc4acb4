"""Dialects that only providers speak: nobody asks us in them.

A call to such a provider is always a translation, which takes the request from its
caller's dialect and needs of this one what reads a provider's errors and cuts its
streams.
"""

from collections.abc import Callable
from typing import Any, NoReturn

from typing_extensions import override

from posthouse.dialects.base import (
    Dialect,
    Edits,
    Frames,
    ParsedReply,
    ParsedRequest,
    StreamTap,
)
from posthouse.dialects.openai import splice
from posthouse.dialects.openai.errors import MANNERS, fault_in, parse_error
from posthouse.errors import UpstreamBadResponse, UpstreamFault
from posthouse.model.usage import ReportedUsage
from posthouse.wire import json
from posthouse.wire.json import MalformedJSON
from posthouse.wire.sse import SSEDecoder

ParseError = Callable[[int, bytes], UpstreamFault]


class UpstreamOnly(Dialect):
    """See `Dialect` for what a method promises; most are never asked for."""

    manners = MANNERS

    def __init__(
        self,
        name: str,
        parse_error: ParseError,
        frames: Callable[[], Frames] = SSEDecoder,
    ) -> None:
        """Make a dialect of its three parts."""
        self.name = name
        self.frames = frames
        self._parse_error = parse_error

    @override
    def parse_error(self, status: int, body: bytes) -> UpstreamFault:
        return self._parse_error(status, body)

    @override
    def parse_request(self, body: bytes) -> ParsedRequest:
        self._refuse()

    @override
    def render_request(self, request: ParsedRequest, edits: Edits) -> bytes:
        self._refuse()

    @override
    def parse_reply(
        self, request: ParsedRequest, body: bytes, public_model: str | None
    ) -> ParsedReply:
        self._refuse()

    @override
    def tap_stream(self, request: ParsedRequest, public_model: str | None) -> StreamTap:
        self._refuse()

    @override
    def prompt_text(self, request: ParsedRequest) -> str:
        self._refuse()

    def _refuse(self) -> NoReturn:
        raise LookupError(f"nobody asks in {self.name}")


class UpstreamObjects(UpstreamOnly):
    """One that is asked in JSON as it is written, and answers with one JSON object."""

    def __init__(
        self,
        name: str,
        answers: Callable[[dict[str, Any]], bool],
        usage_of: Callable[[dict[str, Any]], ReportedUsage | None],
    ) -> None:
        """Make a dialect of its two differences.

        Args:
            name: the dialect's.
            answers: whether an object is an answer; any other tells of an error.
            usage_of: reads the usage of an answer.
        """
        super().__init__(name, parse_error)
        self._answers = answers
        self._usage_of = usage_of

    @override
    def render_request(self, request: ParsedRequest, edits: Edits) -> bytes:
        return splice.render_request(request, edits)

    @override
    def parse_reply(
        self, request: ParsedRequest, body: bytes, public_model: str | None
    ) -> ParsedReply:
        try:
            value = json.decode_leniently(body)
        except MalformedJSON:
            raise UpstreamBadResponse from None
        if not isinstance(value, dict) or not self._answers(value):
            raise fault_in(value) or UpstreamBadResponse
        return ParsedReply(body, self._usage_of(value), None, str)


def refuse_asking() -> NoReturn:
    """Say that nobody asks in such a dialect, for its codec's other half."""
    raise LookupError("nobody asks in a language that is only a provider's")

"""Dialects that only providers speak: nobody asks us in them.

A call to such a provider is always a translation, which takes the request from its
caller's dialect and needs of this one what reads a provider's errors and cuts its
streams.
"""

from collections.abc import Callable
from typing import NoReturn

from typing_extensions import override

from posthouse.dialects.base import (
    Dialect,
    Edits,
    Frames,
    ParsedReply,
    ParsedRequest,
    StreamTap,
)
from posthouse.dialects.openai.errors import MANNERS
from posthouse.errors import UpstreamFault
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


def refuse_asking() -> NoReturn:
    """Say that nobody asks in such a dialect, for its codec's other half."""
    raise LookupError("nobody asks in a language that is only a provider's")

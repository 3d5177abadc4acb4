"""A dialect of pictures or sound as one provider's row declares its errors."""

from collections.abc import Callable, Sequence

from typing_extensions import override

from posthouse.dialects.base import (
    Answer,
    Edits,
    Frames,
    MediaDialect,
    ParsedReply,
    ParsedRequest,
    StreamTap,
)
from posthouse.dialects.openai.declared import DeclaredErrors
from posthouse.errors import UpstreamFault
from posthouse.model.catalog import ErrorCodes, Replies
from posthouse.wire.multipart import Payload


class CorrectedMedia(MediaDialect):
    """See `Dialect` and `MediaDialect` for what each method promises."""

    def __init__(
        self,
        plain: MediaDialect,
        replies: Replies | None,
        errors: ErrorCodes | None,
        *,
        model: str,  # noqa: ARG002 - see `Corrected`
        clock: Callable[[], float],  # noqa: ARG002
    ) -> None:
        """Speak as a row declares; see `Corrected`."""
        self.name = plain.name
        self.manners = plain.manners
        self.plain = plain
        self.replies = replies or Replies()
        self._errors = DeclaredErrors(errors or ErrorCodes())

    @override
    def parse_request(self, body: bytes) -> ParsedRequest:
        return self.plain.parse_request(body)

    @override
    def parse_form(self, content_type: bytes, body: bytes) -> ParsedRequest:
        return self.plain.parse_form(content_type, body)

    @override
    def render_body(self, request: ParsedRequest, edits: Edits) -> Payload:
        return self.plain.render_body(request, edits)

    @override
    def target_of(self, request: ParsedRequest) -> str:
        return self.plain.target_of(request)

    @override
    def frames_of(self, request: ParsedRequest) -> Frames:
        return self.plain.frames_of(request)

    @override
    def parse_answer(
        self, request: ParsedRequest, answer: Answer, public_model: str | None
    ) -> ParsedReply:
        try:
            return self.plain.parse_answer(request, answer, public_model)
        except UpstreamFault as fault:
            raise self._errors.told_by(answer.body) or fault from None

    @override
    def tap_answer(
        self,
        request: ParsedRequest,
        headers: Sequence[tuple[bytes, bytes]],
        public_model: str | None,
    ) -> StreamTap | None:
        return self.plain.tap_answer(request, headers, public_model)

    @override
    def parse_error(self, status: int, body: bytes) -> UpstreamFault:
        declared = self._errors.parse_error(status, body) if status >= 400 else None
        return declared or self.plain.parse_error(status, body)

    @override
    def prompt_text(self, request: ParsedRequest) -> str:
        return self.plain.prompt_text(request)

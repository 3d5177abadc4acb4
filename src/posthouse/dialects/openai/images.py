"""What OpenAI's dialects of pictures have in common."""

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
from posthouse.dialects.openai import errors
from posthouse.dialects.openai.declared import DeclaredErrors
from posthouse.dialects.openai.image_reply import parse_reply
from posthouse.dialects.openai.image_request import prompt_text, render_body
from posthouse.dialects.openai.image_stream import ImageFrames, ImageStreamTap
from posthouse.errors import UpstreamFault
from posthouse.model.catalog import ErrorCodes, Replies
from posthouse.wire.multipart import Payload


class OpenAIImages(MediaDialect):
    """See `Dialect` and `MediaDialect` for what each method promises."""

    manners = errors.MANNERS
    frames = ImageFrames
    parse_error = staticmethod(errors.parse_error)
    prompt_text = staticmethod(prompt_text)

    @override
    def render_body(self, request: ParsedRequest, edits: Edits) -> Payload:
        return render_body(request, edits)

    @override
    def parse_answer(
        self, request: ParsedRequest, answer: Answer, public_model: str | None
    ) -> ParsedReply:
        return parse_reply(request, answer.body, public_model)

    @override
    def tap_answer(
        self,
        request: ParsedRequest,
        headers: Sequence[tuple[bytes, bytes]],
        public_model: str | None,
    ) -> StreamTap | None:
        kind = next((value for name, value in headers if name == b"content-type"), b"")
        if kind.lower().startswith(b"application/json"):
            # A provider that has no streams gives it in one piece.
            return None
        return ImageStreamTap(request, public_model)


class CorrectedImages(MediaDialect):
    """A dialect of pictures as one provider's row declares its errors."""

    def __init__(
        self,
        plain: MediaDialect,
        replies: Replies | None,  # noqa: ARG002 - pictures have none to be mended
        errors: ErrorCodes | None,
        *,
        model: str,  # noqa: ARG002 - see `Corrected`
        clock: Callable[[], float],  # noqa: ARG002
    ) -> None:
        """Speak as a row declares; see `Corrected`."""
        self.name = plain.name
        self.manners = plain.manners
        self._plain = plain
        self._errors = DeclaredErrors(errors or ErrorCodes())

    @override
    def parse_request(self, body: bytes) -> ParsedRequest:
        return self._plain.parse_request(body)

    @override
    def render_body(self, request: ParsedRequest, edits: Edits) -> Payload:
        return self._plain.render_body(request, edits)

    @override
    def target_of(self, request: ParsedRequest) -> str:
        return self._plain.target_of(request)

    @override
    def frames_of(self, request: ParsedRequest) -> Frames:
        return self._plain.frames_of(request)

    @override
    def parse_answer(
        self, request: ParsedRequest, answer: Answer, public_model: str | None
    ) -> ParsedReply:
        try:
            return self._plain.parse_answer(request, answer, public_model)
        except UpstreamFault as fault:
            raise self._errors.told_by(answer.body) or fault from None

    @override
    def tap_answer(
        self,
        request: ParsedRequest,
        headers: Sequence[tuple[bytes, bytes]],
        public_model: str | None,
    ) -> StreamTap | None:
        return self._plain.tap_answer(request, headers, public_model)

    @override
    def parse_error(self, status: int, body: bytes) -> UpstreamFault:
        declared = self._errors.parse_error(status, body) if status >= 400 else None
        return declared or self._plain.parse_error(status, body)

    @override
    def prompt_text(self, request: ParsedRequest) -> str:
        return self._plain.prompt_text(request)

"""What OpenAI's dialects of pictures have in common."""

from collections.abc import Sequence

from typing_extensions import override

from posthouse.dialects.base import (
    Answer,
    Edits,
    MediaDialect,
    ParsedReply,
    ParsedRequest,
    StreamTap,
)
from posthouse.dialects.openai import errors
from posthouse.dialects.openai.corrected_media import CorrectedMedia
from posthouse.dialects.openai.image_reply import parse_reply
from posthouse.dialects.openai.image_request import prompt_text, render_body
from posthouse.dialects.openai.image_stream import ImageFrames, ImageStreamTap
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


CorrectedImages = CorrectedMedia
"""Pictures have no replies to be mended, only errors."""

"""What OpenAI's dialects of transcripts have in common."""

from collections.abc import Sequence

from msgspec import structs
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
from posthouse.dialects.openai.forms import render_form_request
from posthouse.dialects.openai.transcript_reply import (
    as_verbose,
    parse_reply,
    read_transcript,
)
from posthouse.dialects.openai.transcript_request import (
    parse_audio_form,
    parse_body,
    prompt_text,
    response_format,
)
from posthouse.dialects.openai.transcript_stream import TranscriptStreamTap
from posthouse.model.call import Operation
from posthouse.wire import json
from posthouse.wire.multipart import JSON, Payload

THREADED = 16 * 1024
"""Bytes from which a form is judged in a thread: measuring may take its time."""


class OpenAITranscripts(MediaDialect):
    """See `Dialect` and `MediaDialect` for what each method promises."""

    operation: Operation
    manners = errors.MANNERS
    judged_aside = THREADED
    parse_error = staticmethod(errors.parse_error)
    parse_request = staticmethod(parse_body)
    prompt_text = staticmethod(prompt_text)

    @override
    def parse_form(self, content_type: bytes, body: bytes) -> ParsedRequest:
        return parse_audio_form(self.operation, content_type, body)

    @override
    def render_body(self, request: ParsedRequest, edits: Edits) -> Payload:
        return render_form_request(request, edits)

    @override
    def parse_answer(
        self, request: ParsedRequest, answer: Answer, public_model: str | None
    ) -> ParsedReply:
        return parse_reply(request, answer)

    @override
    def tap_answer(
        self,
        request: ParsedRequest,
        headers: Sequence[tuple[bytes, bytes]],
        public_model: str | None,
    ) -> StreamTap | None:
        kind = next((value for name, value in headers if name == b"content-type"), b"")
        # Without a type it is the relay's own tap, before any provider has answered.
        if kind and not kind.lower().startswith(b"text/event-stream"):
            return None
        return TranscriptStreamTap(request)


class CorrectedTranscripts(CorrectedMedia):
    """A dialect of transcripts as one provider's row declares it.

    Forms of reply that the provider lacks are asked of it as `verbose_json`, or as
    `json` if it has nothing else, and written here.
    """

    @override
    def render_body(self, request: ParsedRequest, edits: Edits) -> Payload:
        form = self._asked_instead(request)
        if form and request.form is not None:
            request = structs.replace(
                request,
                envelope={**request.envelope, "response_format": json.raw(form)},
                form=request.form.with_text("response_format", form),
            )
        return super().render_body(request, edits)

    def _asked_instead(self, request: ParsedRequest) -> str:
        """The form that is asked of the provider; "" is the caller's own."""
        known = self.replies.formats
        if not known or response_format(request.envelope) in known:
            return ""
        return "verbose_json" if "verbose_json" in known else known[0]

    @override
    def parse_answer(
        self, request: ParsedRequest, answer: Answer, public_model: str | None
    ) -> ParsedReply:
        reply = super().parse_answer(request, answer, public_model)
        wanted = response_format(request.envelope)
        if (
            wanted != "verbose_json"
            or request.stream
            or not self._asked_instead(request)
        ):
            return reply
        body = as_verbose(read_transcript(request, answer.body), request)
        return structs.replace(reply, body=body, content_type=JSON)

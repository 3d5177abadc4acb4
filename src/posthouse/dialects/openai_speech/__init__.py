"""OpenAI's speech made from a text: POST /audio/speech.

Source: OpenAI's API description, schema `CreateSpeechRequest` and its replies
(openapi, 2026-08). Sound comes as it is made, so that the first of it is heard at
once; with `stream_format: "sse"` it comes in events.
"""

from collections.abc import Sequence
from functools import partial

from typing_extensions import override

from posthouse.dialects.base import (
    Answer,
    Edits,
    Frames,
    Manners,
    MediaDialect,
    ParsedReply,
    ParsedRequest,
    StreamTap,
)
from posthouse.dialects.neutral.raw_stream import RawFrames
from posthouse.dialects.openai import errors
from posthouse.dialects.openai.corrected_media import CorrectedMedia
from posthouse.dialects.openai_speech.codec import OpenAISpeechCodec
from posthouse.dialects.openai_speech.reply import (
    EVENT_STREAM,
    SoundEventTap,
    SoundTap,
    content_type_of,
    is_sound,
    parse_answer,
)
from posthouse.dialects.openai_speech.request import (
    parse_request,
    prompt_text,
    render_body,
    wants_events,
)
from posthouse.wire.multipart import Payload
from posthouse.wire.sse import SSEDecoder

_MANNERS = Manners(errors.render_error, errors.error_frame, keep_alive=b"")


class OpenAISpeech(MediaDialect):
    """The dialect's object; see `Dialect` for what each method promises."""

    name = "openai_speech"
    manners = _MANNERS
    parse_request = staticmethod(parse_request)
    parse_error = staticmethod(errors.parse_error)
    prompt_text = staticmethod(prompt_text)

    @override
    def render_body(self, request: ParsedRequest, edits: Edits) -> Payload:
        return render_body(request, edits)

    @override
    def frames_of(self, request: ParsedRequest) -> Frames:
        return SSEDecoder() if wants_events(request) else RawFrames()

    @override
    def parse_answer(
        self, request: ParsedRequest, answer: Answer, public_model: str | None
    ) -> ParsedReply:
        return parse_answer(request, answer)

    @override
    def tap_answer(
        self,
        request: ParsedRequest,
        headers: Sequence[tuple[bytes, bytes]],
        public_model: str | None,
    ) -> StreamTap | None:
        kind = next((value for name, value in headers if name == b"content-type"), b"")
        if wants_events(request):
            events = not kind or kind.lower().startswith(EVENT_STREAM)
            return SoundEventTap(request) if events else None
        if not is_sound(kind):
            return None
        return SoundTap(request, content_type_of(request, kind))


DIALECT = OpenAISpeech()
PLAIN_CODEC = OpenAISpeechCodec()
corrected = partial(CorrectedMedia, DIALECT)

"""Pictures of Gemini's own: `generateContent` of a model that answers with them.

Spoken behind us alone: Gemini's clients ask these models as they ask all others.

Source: https://ai.google.dev/gemini-api/docs/image-generation (2026-11).
"""

from typing_extensions import override

from posthouse.dialects.base import Answer, Edits, ParsedReply, ParsedRequest
from posthouse.dialects.gemini_image.codec import GeminiImageCodec
from posthouse.dialects.gemini_image.reply import parse_reply
from posthouse.dialects.google.errors import parse_error
from posthouse.dialects.neutral.edits import apply_edits
from posthouse.dialects.openai.vendor_images import VendorImages
from posthouse.wire import json
from posthouse.wire.multipart import JSON, Payload


class GeminiImages(VendorImages):
    """The dialect's object; see `Dialect` for what each method promises."""

    name = "gemini_image"
    parse_error = staticmethod(parse_error)

    @override
    def render_body(self, request: ParsedRequest, edits: Edits) -> Payload:
        envelope = dict(request.envelope)
        apply_edits(envelope, edits)
        return Payload(JSON, json.encode(envelope))

    @override
    def parse_answer(
        self, request: ParsedRequest, answer: Answer, public_model: str | None
    ) -> ParsedReply:
        return parse_reply(answer.body)


DIALECT = GeminiImages()
PLAIN_CODEC = GeminiImageCodec()

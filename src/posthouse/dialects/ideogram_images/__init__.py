"""Ideogram's pictures: its first paths (`/generate` …) and those of 3.0 and 4.0.

Source: https://developer.ideogram.ai/api-reference (2026-11).
"""

from functools import partial

from typing_extensions import override

from posthouse.dialects.base import Answer, Edits, ParsedReply, ParsedRequest
from posthouse.dialects.ideogram_images.codec import IdeogramCodec
from posthouse.dialects.ideogram_images.reply import parse_reply
from posthouse.dialects.ideogram_images.request import (
    parse_native,
    prompt_text,
    render_body,
)
from posthouse.dialects.openai.images import CorrectedImages
from posthouse.dialects.openai.vendor_images import VendorImages, manners
from posthouse.wire.multipart import Payload


class Ideogram(VendorImages):
    """The dialect's object; see `Dialect` for what each method promises."""

    name = "ideogram_images"
    manners = manners(lambda error: {"error": error.message})
    prompt_text = staticmethod(prompt_text)

    @override
    def parse_native(
        self, path: str, content_type: bytes, body: bytes, *, raw: bool = False
    ) -> ParsedRequest:
        return parse_native(path, content_type, body)

    @override
    def render_body(self, request: ParsedRequest, edits: Edits) -> Payload:
        return render_body(request, edits)

    @override
    def parse_answer(
        self, request: ParsedRequest, answer: Answer, public_model: str | None
    ) -> ParsedReply:
        return parse_reply(request, answer.body)


DIALECT = Ideogram()
PLAIN_CODEC = IdeogramCodec()
corrected = partial(CorrectedImages, DIALECT)

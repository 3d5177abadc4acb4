"""Recraft's pictures: OpenAI's generations with styles, and a path for each change.

Source: https://www.recraft.ai/docs/api-reference (2026-11).
"""

from functools import partial

from typing_extensions import override

from posthouse.dialects.base import Answer, ParsedReply, ParsedRequest
from posthouse.dialects.openai.envelope import optional_text
from posthouse.dialects.openai.images import CorrectedImages
from posthouse.dialects.openai.vendor_images import VendorImages, manners
from posthouse.dialects.recraft_images.codec import RecraftCodec
from posthouse.dialects.recraft_images.reply import parse_reply
from posthouse.dialects.recraft_images.request import parse_native
from posthouse.errors import PosthouseError


def _body(error: PosthouseError) -> dict[str, str]:
    return {"code": error.code, "message": error.message}


class Recraft(VendorImages):
    """The dialect's object; see `Dialect` for what each method promises."""

    name = "recraft_images"
    manners = manners(_body)

    @override
    def parse_native(
        self, path: str, content_type: bytes, body: bytes, *, raw: bool = False
    ) -> ParsedRequest:
        return parse_native(path, content_type, body)

    @override
    def prompt_text(self, request: ParsedRequest) -> str:
        return optional_text(request.envelope, "prompt") or ""

    @override
    def parse_answer(
        self, request: ParsedRequest, answer: Answer, public_model: str | None
    ) -> ParsedReply:
        return parse_reply(request, answer.body)


DIALECT = Recraft()
PLAIN_CODEC = RecraftCodec()
corrected = partial(CorrectedImages, DIALECT)

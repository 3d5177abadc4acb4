"""Stability's pictures: forms at `/v2beta/stable-image/…`, JSON at `/v1/generation/…`.

Its replies are asked for as JSON; a caller who accepts nothing but a picture is given
the bytes, with what Stability tells of them in the headers, as Stability does it.

Source: https://platform.stability.ai/docs/api-reference (2026-11).
"""

from functools import partial

from typing_extensions import override

from posthouse.dialects.base import Answer, ParsedReply, ParsedRequest
from posthouse.dialects.openai.images import CorrectedImages
from posthouse.dialects.openai.vendor_images import VendorImages, manners
from posthouse.dialects.stability_images.codec import StabilityCodec
from posthouse.dialects.stability_images.errors import error_body, parse_error
from posthouse.dialects.stability_images.reply import parse_reply
from posthouse.dialects.stability_images.request import (
    RESULTS,
    begins_task,
    parse_native,
    prompt_text,
)

__all__ = ["DIALECT", "PLAIN_CODEC", "RESULTS", "begins_task", "corrected"]


class Stability(VendorImages):
    """The dialect's object; see `Dialect` for what each method promises."""

    name = "stability_images"
    manners = manners(error_body)
    prompt_text = staticmethod(prompt_text)
    parse_error = staticmethod(parse_error)

    @override
    def parse_native(
        self, path: str, content_type: bytes, body: bytes, *, raw: bool = False
    ) -> ParsedRequest:
        return parse_native(path, content_type, body, raw=raw)

    @override
    def parse_answer(
        self, request: ParsedRequest, answer: Answer, public_model: str | None
    ) -> ParsedReply:
        return parse_reply(request, answer)


DIALECT = Stability()
PLAIN_CODEC = StabilityCodec()
corrected = partial(CorrectedImages, DIALECT)

"""Qwen's pictures: DashScope's multimodal generation, in one piece.

Source: https://help.aliyun.com/zh/model-studio/qwen-image-api (2026-11).
"""

from functools import partial

from typing_extensions import override

from posthouse.dialects.base import Answer, ParsedReply, ParsedRequest
from posthouse.dialects.openai.images import CorrectedImages
from posthouse.dialects.openai.vendor_images import VendorImages
from posthouse.dialects.qwen_image.codec import QwenImageCodec
from posthouse.dialects.qwen_image.reply import parse_reply
from posthouse.dialects.qwen_image.request import parse_request, prompt_text


class QwenImages(VendorImages):
    """The dialect's object; see `Dialect` for what each method promises."""

    name = "qwen_image"
    parse_request = staticmethod(parse_request)
    prompt_text = staticmethod(prompt_text)

    @override
    def parse_answer(
        self, request: ParsedRequest, answer: Answer, public_model: str | None
    ) -> ParsedReply:
        return parse_reply(answer.body)


DIALECT = QwenImages()
PLAIN_CODEC = QwenImageCodec()
corrected = partial(CorrectedImages, DIALECT)

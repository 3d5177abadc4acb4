"""Qwen's pictures, written from the neutral form and read into it.

The older models make one picture at a time, so every model is asked for one.
"""

from typing import Any

from typing_extensions import override

from posthouse.dialects.base import ParsedReply
from posthouse.dialects.neutral.codec import Losses
from posthouse.dialects.neutral.images import (
    ImageCodec,
    drop_unknown,
    reply_of,
    take,
    url_of,
)
from posthouse.dialects.neutral.plain import Written
from posthouse.dialects.qwen_image.reply import read
from posthouse.model.image import ImageReply, ImageRequest, MadePicture

_KNOWN = ("negative_prompt", "seed", "prompt_extend", "watermark")


class QwenImageCodec(ImageCodec):
    """See `ImageCodec`; spoken behind us alone."""

    most = 1

    @override
    def write_request(self, asked: ImageRequest, model: str, losses: Losses) -> Written:
        if asked.mask is not None:
            losses.refuse("mask", "This model takes no mask; say in words what changes")
        content: list[dict[str, str]] = [
            {"image": url_of(picture, losses)} for picture in asked.images
        ]
        content.append({"text": asked.prompt})
        parameters: dict[str, Any] = take(asked, _KNOWN, losses)
        pixels = asked.pixels
        if pixels is not None:
            parameters["size"] = f"{pixels[0]}*{pixels[1]}"
        drop_unknown(asked, (), losses)
        members: dict[str, Any] = {
            "model": model,
            "input": {"messages": [{"role": "user", "content": content}]},
        }
        if parameters:
            members["parameters"] = parameters
        return Written(members)

    @override
    def read_reply(self, reply: ParsedReply, asked: ImageRequest) -> ImageReply:
        return reply_of([MadePicture(url=url) for url in read(reply.body)])

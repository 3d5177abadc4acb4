"""Gemini's pictures, written from the neutral form and read into it."""

from typing import Any

from typing_extensions import override

from posthouse.dialects.base import ParsedReply
from posthouse.dialects.gemini_image.reply import read
from posthouse.dialects.neutral.codec import Losses
from posthouse.dialects.neutral.images import (
    ImageCodec,
    base64_of,
    drop_unknown,
    nearest_ratio,
    reply_of,
    take,
)
from posthouse.dialects.neutral.plain import Written
from posthouse.model.image import ImageReply, ImageRequest, MadePicture

_RATIOS = (*("1:1", "2:3", "3:2", "3:4", "4:3", "4:5", "5:4", "9:16", "16:9", "21:9"),)
_SIZES = (("4K", 3072), ("2K", 1536))
"""What a longer side of so many pixels is called at least."""
_ONE_SIZE = "gemini-2"
"""Models that make pictures of one size."""


class GeminiImageCodec(ImageCodec):
    """See `ImageCodec`; spoken behind us alone."""

    most = 1
    takes_urls = False

    @override
    def write_request(self, asked: ImageRequest, model: str, losses: Losses) -> Written:
        if asked.mask is not None:
            losses.refuse("mask", "This model takes no mask; say in words what changes")
        parts: list[dict[str, Any]] = []
        for picture in asked.images:
            kind, data = base64_of(picture, losses)
            parts.append({"inlineData": {"mimeType": kind, "data": data}})
        if asked.prompt:
            parts.append({"text": asked.prompt})
        config: dict[str, Any] = {"responseModalities": ["TEXT", "IMAGE"]}
        shape = _shape(asked, model)
        if shape:
            config["imageConfig"] = shape
        config |= take(asked, ("seed", "temperature"), losses)
        drop_unknown(asked, (), losses)
        contents = [{"role": "user", "parts": parts}]
        return Written({"contents": contents, "generationConfig": config})

    @override
    def read_reply(self, reply: ParsedReply, asked: ImageRequest) -> ImageReply:
        found, _ = read(reply.body)
        return reply_of([MadePicture(base64=one.data) for one in found])


def _shape(asked: ImageRequest, model: str) -> dict[str, str]:
    pixels = asked.pixels
    ratio = nearest_ratio(asked, _RATIOS)
    if pixels is None or ratio is None:
        return {}
    found = {"aspectRatio": ratio}
    longer = max(pixels)
    for name, least in _SIZES:
        if longer >= least and not model.startswith(_ONE_SIZE):
            found["imageSize"] = name
            break
    return found

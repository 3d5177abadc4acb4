"""Volcengine Ark's pictures, written from the neutral form.

Its watermark stays as it is unless the caller says otherwise (`watermark`).
"""

from math import isqrt
from typing import Any

from typing_extensions import override

from posthouse.dialects.neutral.codec import Losses
from posthouse.dialects.neutral.images import drop_unknown, take, url_of
from posthouse.dialects.neutral.plain import Written
from posthouse.dialects.openai.image_codec import OpenAIImageCodec
from posthouse.model.image import ImageRequest

KNOWN = (
    "seed",
    "guidance_scale",
    "sequential_image_generation",
    "sequential_image_generation_options",
    "optimize_prompt_options",
    "tools",
    "watermark",
)
_EDITORS = "seededit"
_LARGE = ("seedream-4-5", "seedream-5")
_LEAST_OF_LARGE = 3_686_400
"""Pixels that the newer models make at least."""


class ArkImageCodec(OpenAIImageCodec):
    """See `ImageCodec`; replies are OpenAI's."""

    most = 1

    @override
    def write_request(self, asked: ImageRequest, model: str, losses: Losses) -> Written:
        if asked.mask is not None:
            losses.refuse("mask", "This model takes no mask; say in words what changes")
        members: dict[str, Any] = {"model": model, "prompt": asked.prompt}
        if asked.images:
            urls = [url_of(one, losses) for one in asked.images]
            members["image"] = urls[0] if len(urls) == 1 else urls
        size = _size(asked, model, losses)
        if size is not None:
            members["size"] = size
        if asked.wants_base64 is not None:
            members["response_format"] = "b64_json" if asked.wants_base64 else "url"
        known = ("output_format",) if "seedream-5" in model else ()
        drop_unknown(asked, known, losses)
        if known and asked.output_format is not None:
            members["output_format"] = asked.output_format
        return Written({**members, **take(asked, KNOWN, losses)})


def _size(asked: ImageRequest, model: str, losses: Losses) -> str | None:
    """The size in the model's words; None leaves it to the model."""
    if _EDITORS in model:
        # It has no other.
        if asked.size not in (None, "auto", "adaptive"):
            losses.change("size")
        return "adaptive"
    if asked.size in (None, "auto"):
        return None
    pixels = asked.pixels
    if pixels is None or not any(name in model for name in _LARGE):
        return asked.size
    width, height = pixels
    if width * height >= _LEAST_OF_LARGE:
        return asked.size
    # The same shape, as large as the model makes it at least.
    losses.change("size")
    scale = isqrt(_LEAST_OF_LARGE * 1_000_000 // (width * height)) + 1
    return f"{-(-width * scale // 1000)}x{-(-height * scale // 1000)}"

"""Zhipu's pictures (CogView, GLM-Image): POST /images/generations.

OpenAI's but for names: one picture at a time, the end user in `user_id`, and
`content_filter` beside the pictures.

Source: https://docs.bigmodel.cn/api-reference (2026-11).
"""

from functools import partial
from typing import Any

from typing_extensions import override

from posthouse.dialects.neutral.codec import Losses
from posthouse.dialects.neutral.images import drop_unknown, take
from posthouse.dialects.neutral.plain import Written
from posthouse.dialects.openai.image_codec import OpenAIImageCodec
from posthouse.dialects.openai.image_request import parse_generation
from posthouse.dialects.openai.images import CorrectedImages, OpenAIImages
from posthouse.model.image import ImageRequest

_KNOWN = ("request_id", "watermark_enabled")
_SHORTEST_USER = 6
_QUALITIES = {"hd": "hd", "high": "hd"}


class CogView(OpenAIImages):
    """The dialect's object; see `Dialect` for what each method promises."""

    name = "cogview"
    parse_request = staticmethod(parse_generation)


class CogViewCodec(OpenAIImageCodec):
    """See `ImageCodec`; replies are OpenAI's."""

    most = 1

    @override
    def write_request(self, asked: ImageRequest, model: str, losses: Losses) -> Written:
        if asked.images:
            losses.refuse("image", "This model makes pictures of words alone")
        members: dict[str, Any] = {"model": model, "prompt": asked.prompt}
        if asked.size not in (None, "auto"):
            members["size"] = asked.size
        if asked.quality is not None:
            members["quality"] = _QUALITIES.get(asked.quality, "standard")
        user = asked.user or ""
        if len(user) >= _SHORTEST_USER:
            members["user_id"] = user[:128]
        elif user:
            losses.drop("user")
        drop_unknown(asked, ("quality", "user"), losses)
        return Written({**members, **take(asked, _KNOWN, losses)})


DIALECT = CogView()
PLAIN_CODEC = CogViewCodec()
corrected = partial(CorrectedImages, DIALECT)

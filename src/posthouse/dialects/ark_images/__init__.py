"""Volcengine Ark's pictures (Seedream, SeedEdit): POST /images/generations.

Nearly OpenAI's, but pictures to be changed are given in `image` at the same path,
there is no `n` but a group of pictures that the model decides the length of, and
pictures that failed stand in the reply beside the others.

Source: https://www.volcengine.com/docs/82379/1541523; the types of
volcengine-python-sdk, `volcenginesdkarkruntime/types/images` (2026-11).
"""

from functools import partial

from posthouse.dialects.ark_images.codec import ArkImageCodec
from posthouse.dialects.ark_images.request import parse_request
from posthouse.dialects.openai.images import CorrectedImages, OpenAIImages


class ArkImages(OpenAIImages):
    """The dialect's object; see `Dialect` for what each method promises."""

    name = "ark_images"
    parse_request = staticmethod(parse_request)


DIALECT = ArkImages()
PLAIN_CODEC = ArkImageCodec()
corrected = partial(CorrectedImages, DIALECT)

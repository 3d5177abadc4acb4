"""OpenAI's pictures of a text: POST /images/generations.

Source: OpenAI's API description, schema `CreateImageRequest` and its replies
(openapi, 2026-08).
"""

from functools import partial

from posthouse.dialects.openai.image_codec import OpenAIImageCodec
from posthouse.dialects.openai.image_request import parse_generation
from posthouse.dialects.openai.images import CorrectedImages, OpenAIImages


class OpenAIGenerations(OpenAIImages):
    """The dialect's object; see `Dialect` for what each method promises."""

    name = "openai_images"
    parse_request = staticmethod(parse_generation)


DIALECT = OpenAIGenerations()
PLAIN_CODEC = OpenAIImageCodec()
corrected = partial(CorrectedImages, DIALECT)

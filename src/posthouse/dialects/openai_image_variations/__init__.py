"""OpenAI's pictures like another one: POST /images/variations, a form.

Source: OpenAI's API description, schema `CreateImageVariationRequest` and its
replies (openapi, 2026-08).
"""

from functools import partial

from posthouse.dialects.openai.image_codec import OpenAIImageCodec
from posthouse.dialects.openai.image_request import (
    parse_variation,
    parse_variation_form,
)
from posthouse.dialects.openai.images import CorrectedImages, OpenAIImages


class OpenAIVariations(OpenAIImages):
    """The dialect's object; see `Dialect` for what each method promises."""

    name = "openai_image_variations"
    parse_request = staticmethod(parse_variation)
    parse_form = staticmethod(parse_variation_form)


DIALECT = OpenAIVariations()
PLAIN_CODEC = OpenAIImageCodec()
corrected = partial(CorrectedImages, DIALECT)

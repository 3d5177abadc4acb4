"""OpenAI's pictures of pictures and a text: POST /images/edits, a form or JSON.

Source: OpenAI's API description, schema `CreateImageEditRequest` and its replies
(openapi, 2026-08).
"""

from functools import partial

from posthouse.dialects.openai.image_codec import OpenAIImageCodec
from posthouse.dialects.openai.image_request import parse_edit, parse_edit_form
from posthouse.dialects.openai.images import CorrectedImages, OpenAIImages


class OpenAIEdits(OpenAIImages):
    """The dialect's object; see `Dialect` for what each method promises."""

    name = "openai_image_edits"
    parse_request = staticmethod(parse_edit)
    parse_form = staticmethod(parse_edit_form)


DIALECT = OpenAIEdits()
PLAIN_CODEC = OpenAIImageCodec()
corrected = partial(CorrectedImages, DIALECT)

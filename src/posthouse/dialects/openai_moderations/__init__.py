"""OpenAI's Moderations: POST /moderations.

Source: OpenAI's API description, schema `CreateModerationRequest` and its
replies (openapi, 2026-08).
"""

from functools import partial

from typing_extensions import override

from posthouse.dialects.base import (
    Dialect,
    ParsedReply,
    ParsedRequest,
    StreamTap,
)
from posthouse.dialects.openai import errors, splice
from posthouse.dialects.openai.corrected import CorrectedDialect
from posthouse.dialects.openai_moderations.codec import OpenAIModerationCodec
from posthouse.dialects.openai_moderations.reply import parse_reply
from posthouse.dialects.openai_moderations.request import parse_request, prompt_text


class OpenAIModerations(Dialect):
    """The dialect's object; see `Dialect` for what each method promises."""

    name = "openai_moderations"
    manners = errors.MANNERS
    parse_request = staticmethod(parse_request)
    render_request = staticmethod(splice.render_request)
    parse_error = staticmethod(errors.parse_error)
    prompt_text = staticmethod(prompt_text)

    @override
    def parse_reply(
        self, request: ParsedRequest, body: bytes, public_model: str | None
    ) -> ParsedReply:
        return parse_reply(body, public_model)

    @override
    def tap_stream(
        self, request: ParsedRequest, public_model: str | None
    ) -> StreamTap | None:
        return None


DIALECT = OpenAIModerations()
PLAIN_CODEC = OpenAIModerationCodec()
corrected = partial(CorrectedDialect, DIALECT)

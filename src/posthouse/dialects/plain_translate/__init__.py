"""Our own way to ask for translations: POST /v1/translations.

For applications that know neither DeepL's API nor Baidu's: a model, a text or
several, a language; the reply says who translated into what. No provider speaks it.
"""

from typing_extensions import override

from posthouse.dialects.base import (
    Dialect,
    Edits,
    ParsedReply,
    ParsedRequest,
    StreamTap,
)
from posthouse.dialects.openai import errors
from posthouse.dialects.openai.upstream_only import refuse_asking
from posthouse.dialects.plain_translate.codec import PlainTranslateCodec
from posthouse.dialects.plain_translate.request import parse_request, prompt_text

__all__ = ["DIALECT", "PLAIN_CODEC"]


class PlainTranslate(Dialect):
    """The dialect's object; see `Dialect` for what each method promises."""

    name = "plain_translate"
    manners = errors.MANNERS
    parse_request = staticmethod(parse_request)
    parse_error = staticmethod(errors.parse_error)
    prompt_text = staticmethod(prompt_text)

    @override
    def render_request(self, request: ParsedRequest, edits: Edits) -> bytes:
        refuse_asking()

    @override
    def parse_reply(
        self, request: ParsedRequest, body: bytes, public_model: str | None
    ) -> ParsedReply:
        refuse_asking()

    @override
    def tap_stream(
        self, request: ParsedRequest, public_model: str | None
    ) -> StreamTap | None:
        return None


DIALECT = PlainTranslate()
PLAIN_CODEC = PlainTranslateCodec()

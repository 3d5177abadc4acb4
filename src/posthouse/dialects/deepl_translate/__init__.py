"""DeepL's text translation: POST /v2/translate, as JSON or as a form.

Sources: https://github.com/DeepLcom/openapi (2026-11) and
https://developers.deepl.com/docs/api-reference/translate. Its requests name no
model; ours may. Providers are asked in JSON. Its SDKs know an exhausted quota by
status 456 and a refused key by 403.
"""

from typing_extensions import override

from posthouse.dialects.base import (
    Dialect,
    Edits,
    ParsedReply,
    ParsedRequest,
    StreamTap,
)
from posthouse.dialects.deepl_translate.codec import DeepLCodec
from posthouse.dialects.deepl_translate.reply import parse_error, parse_reply, status_of
from posthouse.dialects.deepl_translate.request import parse_request, prompt_text
from posthouse.dialects.neutral.edits import apply_edits
from posthouse.dialects.openai.plain_manners import manners_with
from posthouse.wire import json

__all__ = ["DIALECT", "PLAIN_CODEC"]


class DeepLTranslate(Dialect):
    """The dialect's object; see `Dialect` for what each method promises."""

    name = "deepl_translate"
    manners = manners_with("message", status_of)
    parse_request = staticmethod(parse_request)
    parse_error = staticmethod(parse_error)
    prompt_text = staticmethod(prompt_text)

    @override
    def render_request(self, request: ParsedRequest, edits: Edits) -> bytes:
        envelope = dict(request.envelope)
        apply_edits(envelope, edits)
        # No provider of it knows models.
        envelope.pop("model", None)
        return json.encode(envelope)

    @override
    def parse_reply(
        self, request: ParsedRequest, body: bytes, public_model: str | None
    ) -> ParsedReply:
        return parse_reply(request, body)

    @override
    def tap_stream(
        self, request: ParsedRequest, public_model: str | None
    ) -> StreamTap | None:
        return None


DIALECT = DeepLTranslate()
PLAIN_CODEC = DeepLCodec()

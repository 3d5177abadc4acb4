"""OpenAI's Embeddings: POST /embeddings.

Source: OpenAI's API description, schema `CreateEmbeddingRequest` and its
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
from posthouse.dialects.openai_embeddings.codec import OpenAIEmbeddingCodec
from posthouse.dialects.openai_embeddings.limited import LimitedEmbeddings
from posthouse.dialects.openai_embeddings.reply import parse_reply
from posthouse.dialects.openai_embeddings.request import parse_request, prompt_text
from posthouse.model.traits import Traits


class OpenAIEmbeddings(Dialect):
    """The dialect's object; see `Dialect` for what each method promises."""

    name = "openai_embeddings"
    manners = errors.MANNERS
    parse_request = staticmethod(parse_request)
    render_request = staticmethod(splice.render_request)
    parse_error = staticmethod(errors.parse_error)
    prompt_text = staticmethod(prompt_text)

    @override
    def parse_reply(
        self, request: ParsedRequest, body: bytes, public_model: str | None
    ) -> ParsedReply:
        return parse_reply(body, public_model, wants_base64=bool(request.wants_base64))

    @override
    def tap_stream(
        self, request: ParsedRequest, public_model: str | None
    ) -> StreamTap | None:
        return None


DIALECT = OpenAIEmbeddings()
PLAIN_CODEC = OpenAIEmbeddingCodec()
corrected = partial(CorrectedDialect, DIALECT)


def limited(plain: Dialect, traits: Traits) -> LimitedEmbeddings | None:
    """The dialect at a provider who does not take all of it; None: it does."""
    if traits.token_input and traits.dimensions:
        return None
    return LimitedEmbeddings(plain, traits)

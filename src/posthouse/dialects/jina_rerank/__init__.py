"""Jina's reranking: POST /rerank, which most other providers have taken over.

Sources: Jina's API description (https://api.jina.ai/openapi.json, 2026-11) and, of
those who speak it too, vLLM's and Xinference's servers and
https://docs.siliconflow.cn/cn/api-reference/rerank/create-rerank. Documents are
given back unless the request says otherwise, whatever a provider's own default is;
some give them as plain texts, which become objects.
"""

from functools import partial

from typing_extensions import override

from posthouse.dialects.base import (
    Dialect,
    Edits,
    ParsedReply,
    ParsedRequest,
    StreamTap,
)
from posthouse.dialects.jina_rerank.codec import JinaRerankCodec
from posthouse.dialects.openai import errors, reranking, splice
from posthouse.dialects.openai.corrected import CorrectedDialect
from posthouse.dialects.openai.plain_manners import manners_with

__all__ = ["DIALECT", "PLAIN_CODEC", "corrected"]


class JinaRerank(Dialect):
    """The dialect's object; see `Dialect` for what each method promises."""

    name = "jina_rerank"
    manners = manners_with("detail")
    parse_request = staticmethod(reranking.parse_rerank)
    parse_error = staticmethod(errors.parse_error)
    prompt_text = staticmethod(reranking.prompt_text)

    @override
    def render_request(self, request: ParsedRequest, edits: Edits) -> bytes:
        return splice.render_request(reranking.limited(request), edits)

    @override
    def parse_reply(
        self, request: ParsedRequest, body: bytes, public_model: str | None
    ) -> ParsedReply:
        return reranking.parse_results(
            request, body, public_model, return_documents=True
        )

    @override
    def tap_stream(
        self, request: ParsedRequest, public_model: str | None
    ) -> StreamTap | None:
        return None


DIALECT = JinaRerank()
PLAIN_CODEC = JinaRerankCodec()
corrected = partial(CorrectedDialect, DIALECT)

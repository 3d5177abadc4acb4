"""Cohere's reranking, both versions: POST /v2/rerank, and /v1/rerank of its clients.

Sources: https://docs.cohere.com/reference/rerank and `v2/raw_client.py` of cohere
7.3.1. The second version knows texts alone and never gives documents back: what the
first one has beyond that (objects, `rank_fields`, `return_documents`) is done here,
so that providers are only ever asked in the second one's way.
"""

from typing_extensions import override

from posthouse.dialects.base import (
    Dialect,
    Edits,
    ParsedReply,
    ParsedRequest,
    StreamTap,
)
from posthouse.dialects.cohere_rerank.codec import CohereRerankCodec
from posthouse.dialects.cohere_rerank.request import (
    as_second_version,
    parse_request,
)
from posthouse.dialects.openai import errors, reranking, splice
from posthouse.dialects.openai.plain_manners import manners_with

__all__ = ["DIALECT", "PLAIN_CODEC"]


class CohereRerank(Dialect):
    """The dialect's object; see `Dialect` for what each method promises."""

    name = "cohere_rerank"
    manners = manners_with("message")
    parse_request = staticmethod(parse_request)
    parse_error = staticmethod(errors.parse_error)
    prompt_text = staticmethod(reranking.prompt_text)

    @override
    def render_request(self, request: ParsedRequest, edits: Edits) -> bytes:
        limited = reranking.limited(as_second_version(request))
        return splice.render_request(limited, edits)

    @override
    def parse_reply(
        self, request: ParsedRequest, body: bytes, public_model: str | None
    ) -> ParsedReply:
        return reranking.parse_results(
            request, body, public_model, return_documents=False
        )

    @override
    def tap_stream(
        self, request: ParsedRequest, public_model: str | None
    ) -> StreamTap | None:
        return None


DIALECT = CohereRerank()
PLAIN_CODEC = CohereRerankCodec()

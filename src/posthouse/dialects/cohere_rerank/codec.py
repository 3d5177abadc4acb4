"""Cohere's reranking into the neutral form and out."""

from typing import Any

from msgspec import structs
from typing_extensions import override

from posthouse.dialects.base import ParsedReply, ParsedRequest
from posthouse.dialects.cohere_rerank.request import CHUNKS
from posthouse.dialects.neutral.codec import Losses
from posthouse.dialects.neutral.plain import PlainCodec, Written
from posthouse.dialects.openai.reranking import (
    DOCUMENTS_PER_SEARCH,
    read_rerank,
    read_results,
    texts_of,
    written_results,
)
from posthouse.model.rerank import KIND, RerankReply, RerankRequest
from posthouse.model.usage import Unit
from posthouse.wire import json
from posthouse.wire.multipart import Payload

NAME = "cohere_rerank"


class CohereRerankCodec(PlainCodec[RerankRequest, RerankReply]):
    """See `PlainCodec` for what each method promises."""

    kind = KIND

    @override
    def read_request(self, request: ParsedRequest) -> RerankRequest:
        asked = read_rerank(request, NAME, return_documents=False)
        # It has been told.
        extras = tuple(name for name in asked.extras if name != CHUNKS)
        return structs.replace(asked, extras=extras)

    @override
    def write_request(
        self, asked: RerankRequest, model: str, losses: Losses
    ) -> Written:
        query, documents = texts_of(asked, losses)
        written: dict[str, Any] = {
            "model": model,
            "query": query,
            "documents": documents,
        }
        if asked.top_n is not None:
            written["top_n"] = asked.top_n
        if asked.max_document_tokens is not None:
            written["max_tokens_per_doc"] = asked.max_document_tokens
        if asked.truncation is not None:
            losses.drop("truncation")
        if asked.instruction is not None:
            losses.drop("instruction")
        for name in asked.extras:
            losses.drop(name)
        return Written(written)

    @override
    def read_reply(self, reply: ParsedReply, asked: RerankRequest) -> RerankReply:
        return read_results(reply)

    @override
    def write_reply(
        self, answered: RerankReply, request: ParsedRequest, model: str
    ) -> Payload:
        asked = self.read_request(request)
        usage = answered.usage
        counted = {} if usage is None else usage.counted
        units = -(-len(asked.documents) // DOCUMENTS_PER_SEARCH)
        meta: dict[str, Any] = {
            "api_version": {"version": "2"},
            "billed_units": {"search_units": counted.get(Unit.SEARCH.value, units)},
        }
        if usage is not None and usage.input is not None:
            meta["tokens"] = {"input_tokens": usage.input, "output_tokens": 0}
        written: dict[str, Any] = {} if answered.id is None else {"id": answered.id}
        written |= {"results": written_results(answered, asked), "meta": meta}
        return Payload(b"application/json", json.encode(written))

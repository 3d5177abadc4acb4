"""Voyage's reranking from the neutral form and back."""

from typing import Any

from msgspec import Raw, Struct
from typing_extensions import override

from posthouse.dialects.base import ParsedReply, ParsedRequest
from posthouse.dialects.neutral.codec import Losses
from posthouse.dialects.neutral.plain import PlainCodec, Written
from posthouse.dialects.openai.reranking import texts_of
from posthouse.dialects.openai.upstream_only import refuse_asking
from posthouse.errors import UpstreamBadResponse
from posthouse.model.rerank import KIND, RerankReply, RerankRequest, RerankResult
from posthouse.wire import json
from posthouse.wire.json import MalformedJSON
from posthouse.wire.multipart import Payload


class _Result(Struct):
    index: int
    relevance_score: Raw


class _Reply(Struct):
    data: list[_Result]


_reply = json.decoder(_Reply)


class VoyageRerankCodec(PlainCodec[RerankRequest, RerankReply]):
    """See `PlainCodec` for what each method promises."""

    kind = KIND

    @override
    def read_request(self, request: ParsedRequest) -> RerankRequest:
        refuse_asking()

    @override
    def write_request(
        self, asked: RerankRequest, model: str, losses: Losses
    ) -> Written:
        query, documents = texts_of(asked, losses)
        if asked.instruction is not None:
            # Its models are told in the query what relevance is.
            query = f"{asked.instruction}\nQuery: {query}"
            losses.change("instruction")
        written: dict[str, Any] = {
            "model": model,
            "query": query,
            "documents": documents,
        }
        if asked.top_n is not None:
            written["top_k"] = asked.top_n
        if asked.truncation is not None:
            written["truncation"] = asked.truncation
        if asked.max_document_tokens is not None:
            losses.drop("max_tokens_per_doc")
        for name in asked.extras:
            losses.drop(name)
        return Written(written)

    @override
    def read_reply(self, reply: ParsedReply, asked: RerankRequest) -> RerankReply:
        try:
            found: _Reply = json.decode_with(_reply, reply.body)
        except MalformedJSON:
            raise UpstreamBadResponse from None
        return RerankReply(
            results=tuple(
                RerankResult(result.index, result.relevance_score)
                for result in found.data
            ),
            usage=reply.usage,
        )

    @override
    def write_reply(
        self, answered: RerankReply, request: ParsedRequest, model: str
    ) -> Payload:
        refuse_asking()

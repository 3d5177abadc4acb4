"""Jina's reranking into the neutral form and out."""

from typing import Any

from typing_extensions import override

from posthouse.dialects.base import ParsedReply, ParsedRequest
from posthouse.dialects.neutral.codec import Losses
from posthouse.dialects.neutral.plain import PlainCodec, Written
from posthouse.dialects.openai.reranking import (
    read_rerank,
    read_results,
    written_results,
)
from posthouse.model.rerank import KIND, RerankReply, RerankRequest
from posthouse.wire import json
from posthouse.wire.multipart import Payload

NAME = "jina_rerank"


class JinaRerankCodec(PlainCodec[RerankRequest, RerankReply]):
    """See `PlainCodec` for what each method promises."""

    kind = KIND

    @override
    def read_request(self, request: ParsedRequest) -> RerankRequest:
        return read_rerank(request, NAME, return_documents=True)

    @override
    def write_request(
        self, asked: RerankRequest, model: str, losses: Losses
    ) -> Written:
        written: dict[str, Any] = {
            "model": model,
            "query": asked.query.value,
            "documents": [
                document.value if document.text is None else document.text
                for document in asked.documents
            ],
            # They are put back from the request.
            "return_documents": False,
        }
        optional = {
            "top_n": asked.top_n,
            "truncation": asked.truncation,
            "max_doc_length": asked.max_document_tokens,
            "instruction": asked.instruction,
        }
        written |= {name: said for name, said in optional.items() if said is not None}
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
        results = written_results(answered, self.read_request(request))
        read = 0 if answered.usage is None else answered.usage.input or 0
        written = {
            "model": model,
            "object": "list",
            # Its clients read it unasked; who tells none has none counted here.
            "usage": {"prompt_tokens": read, "total_tokens": read},
            "results": results,
        }
        return Payload(b"application/json", json.encode(written))

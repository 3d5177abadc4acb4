"""Reranking by a model that embeds: the nearer a document is to the query, the better.

One request embeds the query and the documents; a score is the cosine of two vectors,
from -1 to 1. To the relay it is a `Dialect` like any other. This is the one place
that computes with what a model answers, and it is no money.
"""

from math import dist, hypot, isfinite

from msgspec import Raw
from typing_extensions import override

from posthouse.dialects.base import (
    ParsedRequest,
)
from posthouse.dialects.neutral.codec import Losses
from posthouse.dialects.neutral.plain import Led
from posthouse.dialects.openai.reranking import best_first, texts_of
from posthouse.errors import UpstreamBadResponse
from posthouse.model.call import Operation
from posthouse.model.embedding import (
    EmbeddingInput,
    EmbeddingReply,
    EmbeddingRequest,
)
from posthouse.model.rerank import RerankReply, RerankRequest, RerankResult
from posthouse.wire import json
from posthouse.wire.json import MalformedJSON

DOCUMENT_LIMIT = 128
"""The most documents whose vectors are compared within one call: of the longest
vectors so many take some fifty milliseconds to read and compare."""
_OWN_WORDS = frozenset({"-taskType"})
"""What no caller has said."""

_vector = json.decoder(list[float])


class ByEmbedding(Led[RerankRequest, RerankReply, EmbeddingRequest, EmbeddingReply]):
    """See `MediaDialect` for what each method promises."""

    operation = Operation.EMBEDDING

    @override
    def put(self, asked: RerankRequest, losses: Losses) -> EmbeddingRequest:
        query, documents = texts_of(asked, losses)
        if len(documents) > DOCUMENT_LIMIT:
            losses.refuse(
                "documents", f"This model ranks at most {DOCUMENT_LIMIT} documents."
            )
        _tell(asked, losses)
        task = "RETRIEVAL_DOCUMENT"
        return EmbeddingRequest(
            dialect=self._client.name,
            inputs=(
                EmbeddingInput(query, task="RETRIEVAL_QUERY"),
                *(EmbeddingInput(document, task=task) for document in documents),
            ),
        )

    @override
    def answered(self, got: EmbeddingReply, asked: RerankRequest) -> RerankReply:
        if len(got.vectors) != len(asked.documents) + 1:
            raise UpstreamBadResponse
        first, *others = map(_measured, got.vectors)
        results = [
            RerankResult(index, json.raw(_cosine(first, other)))
            for index, other in enumerate(others)
        ]
        return RerankReply(results=best_first(results, asked), usage=got.usage)

    @override
    def told(self, losses: Losses) -> tuple[str, ...]:
        return tuple(name for name in losses.told if name not in _OWN_WORDS)

    @override
    def prompt_text(self, request: ParsedRequest) -> str:
        query, documents = texts_of(self._read(request), Losses())
        return "\n".join((query, *documents))


def _tell(asked: RerankRequest, losses: Losses) -> None:
    losses.change("relevance_score")
    if asked.instruction is not None:
        losses.drop("instruction")
    if asked.max_document_tokens is not None:
        losses.drop("max_tokens_per_doc")
    if asked.truncation is not None:
        losses.drop("truncation")
    for name in asked.extras:
        losses.drop(name)


def _measured(vector: Raw) -> tuple[list[float], float]:
    """Read a vector, and its length; raises UpstreamBadResponse."""
    try:
        numbers: list[float] = json.decode_with(_vector, vector)
    except MalformedJSON:
        raise UpstreamBadResponse from None
    return numbers, hypot(*numbers)


def _cosine(one: tuple[list[float], float], other: tuple[list[float], float]) -> float:
    """The cosine of the angle between two vectors; raises UpstreamBadResponse.

    By the lengths of the triangle's sides, which are measured in C.
    """
    (first, width), (second, height) = one, other
    if len(first) != len(second) or not 0 < width * height < float("inf"):
        raise UpstreamBadResponse
    across = dist(first, second)
    cosine = (width / height + height / width - across * across / width / height) / 2
    if not isfinite(cosine):
        raise UpstreamBadResponse
    return round(min(max(cosine, -1.0), 1.0), 7)

"""Reranking by a model that embeds: the nearer a document is to the query, the better.

One request embeds the query and the documents; a score is the cosine of two vectors,
from -1 to 1. To the relay it is a `Dialect` like any other. This is the one place
that computes with what a model answers, and it is no money.
"""

from math import dist, hypot, isfinite

from msgspec import Raw, structs
from typing_extensions import override

from posthouse.dialects.base import (
    Answer,
    Dialect,
    Edits,
    MediaDialect,
    ParsedReply,
    ParsedRequest,
    read_answer,
    write_body,
)
from posthouse.dialects.neutral.codec import Losses
from posthouse.dialects.neutral.plain import PlainCodec
from posthouse.dialects.openai.reranking import best_first, texts_of
from posthouse.errors import UpstreamBadResponse, UpstreamFault
from posthouse.model.call import Operation
from posthouse.model.embedding import (
    EmbeddingInput,
    EmbeddingReply,
    EmbeddingRequest,
)
from posthouse.model.rerank import RerankReply, RerankRequest, RerankResult
from posthouse.wire import json
from posthouse.wire.json import MalformedJSON
from posthouse.wire.multipart import Payload

DOCUMENT_LIMIT = 128
"""The most documents whose vectors are compared within one call: of the longest
vectors so many take some fifty milliseconds to read and compare."""
_OWN_WORDS = frozenset({"-taskType"})
"""What no caller has said."""

_vector = json.decoder(list[float])


class ByEmbedding(MediaDialect):
    """See `MediaDialect` for what each method promises."""

    def __init__(
        self,
        client: tuple[Dialect, PlainCodec[RerankRequest, RerankReply]],
        upstream: tuple[Dialect, PlainCodec[EmbeddingRequest, EmbeddingReply]],
        model: str,
    ) -> None:
        """Lead rerankings to a provider of embeddings.

        Args:
            client: what is spoken before us.
            upstream: what is spoken behind us.
            model: the provider's name for the model.
        """
        self._client, self._client_codec = client
        self._upstream, self._upstream_codec = upstream
        self._model = model
        self.name = self._upstream.name
        self.manners = self._client.manners

    @override
    def parse_request(self, body: bytes) -> ParsedRequest:
        return self._client.parse_request(body)

    @override
    def render_body(self, request: ParsedRequest, edits: Edits) -> Payload:
        losses = Losses()
        asked = self._read(request)
        embedding = self._embedding(asked, losses)
        written = self._upstream_codec.write_request(embedding, self._model, losses)
        _tell(asked, losses)
        told = tuple(name for name in losses.told if name not in _OWN_WORDS)
        request.reading.losses[self.name] = told
        sent = structs.replace(
            request,
            operation=Operation.EMBEDDING,
            envelope={name: json.raw(value) for name, value in written.members.items()},
            target=written.target,
            wants_base64=False,
            kept=None,
        )
        request.reading.sent[self.name] = sent
        return write_body(self._upstream, sent, edits)

    @override
    def target_of(self, request: ParsedRequest) -> str:
        return request.reading.sent[self.name].target

    @override
    def parse_answer(
        self, request: ParsedRequest, answer: Answer, public_model: str | None
    ) -> ParsedReply:
        asked = self._read(request)
        sent = request.reading.sent[self.name]
        judged = read_answer(self._upstream, sent, answer, None)
        reply = self._upstream_codec.read_reply(
            judged, self._embedding(asked, Losses())
        )
        if len(reply.vectors) != len(asked.documents) + 1:
            raise UpstreamBadResponse
        first, *others = map(_measured, reply.vectors)
        results = [
            RerankResult(index, json.raw(_cosine(first, other)))
            for index, other in enumerate(others)
        ]
        answered = RerankReply(results=best_first(results, asked), usage=reply.usage)
        model = public_model or self._model
        written = self._client_codec.write_reply(answered, request, model)
        return ParsedReply(written.data, judged.usage, judged.service_tier, str)

    @override
    def parse_error(self, status: int, body: bytes) -> UpstreamFault:
        return self._upstream.parse_error(status, body)

    @override
    def prompt_text(self, request: ParsedRequest) -> str:
        query, documents = texts_of(self._read(request), Losses())
        return "\n".join((query, *documents))

    def wanted_media(self, request: ParsedRequest) -> tuple[str, ...]:  # noqa: ARG002 - as chats have it
        """Nothing must be fetched: texts alone are embedded."""
        return ()

    def _embedding(self, asked: RerankRequest, losses: Losses) -> EmbeddingRequest:
        query, documents = texts_of(asked, losses)
        if len(documents) > DOCUMENT_LIMIT:
            losses.refuse(
                "documents", f"This model ranks at most {DOCUMENT_LIMIT} documents."
            )
        task = "RETRIEVAL_DOCUMENT"
        return EmbeddingRequest(
            dialect=self._client.name,
            inputs=(
                EmbeddingInput(query, task="RETRIEVAL_QUERY"),
                *(EmbeddingInput(document, task=task) for document in documents),
            ),
        )

    def _read(self, request: ParsedRequest) -> RerankRequest:
        """Read the request, once for all attempts; raises InvalidRequest."""
        reading = request.reading
        if reading.asked is None:
            reading.asked = self._client_codec.read_request(request)
        asked: RerankRequest = reading.asked
        return asked


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

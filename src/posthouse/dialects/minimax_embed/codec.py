"""MiniMax's embeddings from the neutral form and back."""

from typing import Any

from msgspec import Raw, Struct
from typing_extensions import override

from posthouse.dialects.base import ParsedReply, ParsedRequest
from posthouse.dialects.neutral.codec import Losses
from posthouse.dialects.neutral.plain import PlainCodec, Written
from posthouse.dialects.openai.upstream_only import refuse_asking
from posthouse.errors import UpstreamBadResponse
from posthouse.model.embedding import KIND, EmbeddingReply, EmbeddingRequest
from posthouse.wire import json
from posthouse.wire.json import MalformedJSON
from posthouse.wire.multipart import Payload

_QUERIES = frozenset({"RETRIEVAL_QUERY", "QUESTION_ANSWERING"})


class _Reply(Struct):
    vectors: list[Raw]


_reply = json.decoder(_Reply)


class MiniMaxEmbeddingCodec(PlainCodec[EmbeddingRequest, EmbeddingReply]):
    """See `PlainCodec` for what each method promises."""

    kind = KIND

    @override
    def read_request(self, request: ParsedRequest) -> EmbeddingRequest:
        refuse_asking()

    @override
    def write_request(
        self, asked: EmbeddingRequest, model: str, losses: Losses
    ) -> Written:
        texts = []
        for one in asked.inputs:
            if one.text is None:
                losses.refuse("input", "This model embeds texts, not tokens.")
            texts.append(one.text)
        if any(one.tokens is not None for one in asked.inputs):
            losses.change("input")
        if any(one.title is not None for one in asked.inputs):
            losses.drop("title")
        if asked.dimensions is not None:
            losses.drop("dimensions")
        if asked.user is not None:
            losses.drop("user")
        for name in asked.extras:
            losses.drop(name)
        # One word for all: a search's words come alone.
        queries = all(one.task in _QUERIES for one in asked.inputs)
        written: dict[str, Any] = {
            "model": model,
            "texts": texts,
            "type": "query" if queries else "db",
        }
        return Written(written)

    @override
    def read_reply(self, reply: ParsedReply, asked: EmbeddingRequest) -> EmbeddingReply:
        try:
            found: _Reply = json.decode_with(_reply, reply.body)
        except MalformedJSON:
            raise UpstreamBadResponse from None
        vectors = found.vectors
        wanted = len(asked.inputs)
        if len(vectors) != wanted or not all(json.opens_with(v, b"[") for v in vectors):
            raise UpstreamBadResponse
        return EmbeddingReply(vectors=tuple(vectors), usage=reply.usage)

    @override
    def write_reply(
        self, answered: EmbeddingReply, request: ParsedRequest, model: str
    ) -> Payload:
        refuse_asking()

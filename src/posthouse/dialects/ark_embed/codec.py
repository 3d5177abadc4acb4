"""Ark's multimodal embeddings from the neutral form and back."""

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


class _Vector(Struct):
    embedding: Raw


class _Reply(Struct):
    data: _Vector


_reply = json.decoder(_Reply)


class ArkEmbeddingCodec(PlainCodec[EmbeddingRequest, EmbeddingReply]):
    """See `PlainCodec` for what each method promises."""

    kind = KIND

    @override
    def read_request(self, request: ParsedRequest) -> EmbeddingRequest:
        refuse_asking()

    @override
    def write_request(
        self, asked: EmbeddingRequest, model: str, losses: Losses
    ) -> Written:
        one = asked.inputs[0]
        if len(asked.inputs) > 1:
            losses.refuse("input", "This model embeds one text at a time.")
        if one.text is None:
            losses.refuse("input", "This model embeds texts, not tokens.")
        if one.tokens is not None:
            losses.change("input")
        if one.task is not None:
            losses.drop("taskType")
        if one.title is not None:
            losses.drop("title")
        if asked.user is not None:
            losses.drop("user")
        for name in asked.extras:
            losses.drop(name)
        written: dict[str, Any] = {
            "model": model,
            "input": [{"type": "text", "text": one.text}],
            "encoding_format": "float",
        }
        if asked.dimensions is not None:
            written["dimensions"] = asked.dimensions
        return Written(written)

    @override
    def read_reply(self, reply: ParsedReply, asked: EmbeddingRequest) -> EmbeddingReply:
        try:
            found: _Reply = json.decode_with(_reply, reply.body)
        except MalformedJSON:
            raise UpstreamBadResponse from None
        vector = found.data.embedding
        if not json.opens_with(vector, b"["):
            raise UpstreamBadResponse
        return EmbeddingReply(vectors=(vector,), usage=reply.usage)

    @override
    def write_reply(
        self, answered: EmbeddingReply, request: ParsedRequest, model: str
    ) -> Payload:
        refuse_asking()

"""OpenAI's embeddings into the neutral form and out.

Providers are asked for numbers: their text then passes to whoever wants them.

Source: OpenAI's API description, schema `CreateEmbeddingRequest` and its replies
(openapi, 2026-08).
"""

import struct
from typing import Any

from msgspec import Raw, Struct
from typing_extensions import override

from posthouse.dialects.base import ParsedReply, ParsedRequest
from posthouse.dialects.neutral.codec import Losses
from posthouse.dialects.neutral.embedding import embedding_reply
from posthouse.dialects.neutral.plain import PlainCodec, Written
from posthouse.dialects.openai.envelope import count, optional_text, read_entries
from posthouse.dialects.openai_embeddings.reply import packed
from posthouse.errors import UpstreamBadResponse
from posthouse.model.embedding import (
    KIND,
    EmbeddingInput,
    EmbeddingReply,
    EmbeddingRequest,
)
from posthouse.wire import json
from posthouse.wire.json import MalformedJSON
from posthouse.wire.multipart import JSON, Payload

NAME = "openai_embeddings"
_KNOWN = frozenset({"model", "input", "encoding_format", "dimensions", "user"})
_NULL = Raw(b"null")


class _Row(Struct):
    embedding: Raw
    index: int | None = None


class _Reply(Struct):
    data: list[_Row]


_reply = json.decoder(_Reply)


class OpenAIEmbeddingCodec(PlainCodec[EmbeddingRequest, EmbeddingReply]):
    """See `PlainCodec` for what each method promises."""

    kind = KIND

    @override
    def read_request(self, request: ParsedRequest) -> EmbeddingRequest:
        envelope = request.envelope
        return EmbeddingRequest(
            dialect=NAME,
            inputs=_inputs(read_entries(envelope, "input"), request.reading.texts),
            dimensions=count(envelope, "dimensions"),
            user=optional_text(envelope, "user"),
            extras=tuple(
                name
                for name, value in envelope.items()
                if name not in _KNOWN and value != _NULL
            ),
        )

    @override
    def write_request(
        self, asked: EmbeddingRequest, model: str, losses: Losses
    ) -> Written:
        inputs = asked.inputs
        written: dict[str, Any] = {
            "model": model,
            "input": [one.text if one.tokens is None else one.tokens for one in inputs],
            "encoding_format": "float",
        }
        if asked.dimensions is not None:
            written["dimensions"] = asked.dimensions
        if asked.user is not None:
            written["user"] = asked.user
        if any(one.task is not None for one in inputs):
            losses.drop("taskType")
        if any(one.title is not None for one in inputs):
            losses.drop("title")
        for name in asked.extras:
            losses.drop(name)
        return Written(written)

    @override
    def read_reply(self, reply: ParsedReply, asked: EmbeddingRequest) -> EmbeddingReply:
        try:
            found: _Reply = json.decode_with(_reply, reply.body)
        except MalformedJSON:
            raise UpstreamBadResponse from None
        rows = found.data
        if not all(json.opens_with(row.embedding, b"[") for row in rows):
            raise UpstreamBadResponse
        if all(row.index is not None for row in rows):
            rows = sorted(rows, key=lambda row: row.index or 0)
        return embedding_reply((row.embedding for row in rows), reply, asked)

    @override
    def write_reply(
        self, answered: EmbeddingReply, request: ParsedRequest, model: str
    ) -> Payload:
        vectors = answered.vectors
        if request.wants_base64:
            vectors = tuple(_packed(vector) for vector in vectors)
        tokens = 0 if answered.usage is None else answered.usage.input or 0
        written = {
            "object": "list",
            "data": [
                {"object": "embedding", "index": index, "embedding": vector}
                for index, vector in enumerate(vectors)
            ],
            "model": model,
            # Its clients read it unasked; who tells none has none counted here.
            "usage": {"prompt_tokens": tokens, "total_tokens": tokens},
        }
        return Payload(JSON, json.encode(written))


def _packed(vector: Raw) -> Raw:
    try:
        return packed(vector)
    except (MalformedJSON, OverflowError, struct.error):
        raise UpstreamBadResponse from None


def _inputs(
    entries: str | list[str | int | list[int]], texts: tuple[str, ...]
) -> tuple[EmbeddingInput, ...]:
    """Read one text or several, or tokens in their place.

    `texts` are what the tokens stand for, if that has been found out.
    """
    if isinstance(entries, str):
        return (EmbeddingInput(entries),)
    if isinstance(entries[0], int):
        entries = [[entry for entry in entries if isinstance(entry, int)]]
    inputs = []
    for index, entry in enumerate(entries):
        if isinstance(entry, str):
            inputs.append(EmbeddingInput(entry))
        elif isinstance(entry, list):
            text = texts[index] if texts else None
            inputs.append(EmbeddingInput(text, tuple(entry)))
    return tuple(inputs)

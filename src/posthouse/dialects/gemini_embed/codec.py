"""Google's embeddings into the neutral form and out.

What a text is embedded for (`taskType`, `title`) only Google's providers know.

Sources: https://ai.google.dev/api/embeddings (2026-11); `types.py` in google-genai
3.4.0.
"""

from typing import Any

from msgspec import Raw, Struct
from typing_extensions import override

from posthouse.dialects.base import ParsedReply, ParsedRequest
from posthouse.dialects.gemini_embed.request import BATCH, entries_of
from posthouse.dialects.google.envelope import listed, one_spelling
from posthouse.dialects.neutral.codec import Losses
from posthouse.dialects.neutral.embedding import embedding_reply
from posthouse.dialects.neutral.plain import PlainCodec, Written
from posthouse.dialects.openai.envelope import count, judged, optional_text
from posthouse.errors import InvalidRequest, UpstreamBadResponse
from posthouse.model.embedding import (
    KIND,
    EmbeddingInput,
    EmbeddingReply,
    EmbeddingRequest,
)
from posthouse.wire import json
from posthouse.wire.json import Envelope, MalformedJSON
from posthouse.wire.multipart import JSON, Payload

NAME = "gemini_embed"
_CONFIG = "embedContentConfig"
_SIZE = "outputDimensionality"
_OWN = frozenset({"model", "content", "taskType", "title", _SIZE, _CONFIG})
_NULL = Raw(b"null")
_object = json.decoder(dict[str, Raw] | None)
_Parts = list[dict[str, Raw]] | dict[str, Raw] | None


class _Content(Struct):
    parts: _Parts = None


class _Row(Struct):
    values: Raw


class _Reply(Struct):
    embeddings: list[_Row]


_content = json.decoder(_Content | None)
_text = json.decoder(str | None)
_reply = json.decoder(_Reply)


class GeminiEmbeddingCodec(PlainCodec[EmbeddingRequest, EmbeddingReply]):
    """See `PlainCodec` for what each method promises."""

    kind = KIND

    @override
    def read_request(self, request: ParsedRequest) -> EmbeddingRequest:
        inputs, sizes = [], set()
        extras: dict[str, None] = {}
        for entry in entries_of(request):
            told = _told(entry)
            inputs.append(
                EmbeddingInput(
                    _text_of(entry),
                    task=optional_text(told, "taskType"),
                    title=optional_text(told, "title"),
                )
            )
            sizes.add(count(told, _SIZE))
            extras |= dict.fromkeys(name for name in told if name not in _OWN)
        if len(sizes) > 1:
            raise InvalidRequest(
                f"This model gives all embeddings of a batch one '{_SIZE}'",
                param=BATCH,
            )
        others = (name for name in request.envelope if name not in {*_OWN, BATCH})
        extras |= dict.fromkeys(others)
        return EmbeddingRequest(
            dialect=NAME,
            inputs=tuple(inputs),
            dimensions=sizes.pop(),
            extras=tuple(extras),
        )

    @override
    def write_request(
        self, asked: EmbeddingRequest, model: str, losses: Losses
    ) -> Written:
        if asked.user is not None:
            losses.drop("user")
        for name in asked.extras:
            losses.drop(name)
        entries = [_entry(one, asked.dimensions, losses) for one in asked.inputs]
        return Written({BATCH: entries})

    @override
    def read_reply(self, reply: ParsedReply, asked: EmbeddingRequest) -> EmbeddingReply:
        try:
            found: _Reply = json.decode_with(_reply, reply.body)
        except MalformedJSON:
            raise UpstreamBadResponse from None
        vectors = tuple(row.values for row in found.embeddings)
        if not all(json.opens_with(vector, b"[") for vector in vectors):
            raise UpstreamBadResponse
        return embedding_reply(vectors, reply, asked)

    @override
    def write_reply(
        self, answered: EmbeddingReply, request: ParsedRequest, model: str
    ) -> Payload:
        values = [{"values": vector} for vector in answered.vectors]
        written: dict[str, Any] = (
            {"embeddings": values}
            if BATCH in request.envelope
            else {"embedding": values[0]}
        )
        usage = answered.usage
        if usage is not None and usage.input is not None:
            written["usageMetadata"] = {"promptTokenCount": usage.input}
        return Payload(JSON, json.encode(written))


def _told(entry: Envelope) -> Envelope:
    """Give what an entry says, by either of its places; what is null is not said."""
    told = {name: value for name, value in entry.items() if value != _NULL}
    if _CONFIG in told:
        inner = one_spelling(judged(told[_CONFIG], _CONFIG, _object) or {})
        told |= {name: value for name, value in inner.items() if value != _NULL}
    return told


def _text_of(entry: Envelope) -> str:
    """Read the words to embed; raises InvalidRequest for anything else."""
    value = entry.get("content")
    content: Any = None if value is None else judged(value, "content", _content)
    texts = []
    for part in listed(content and content.parts):
        if "text" not in part:
            raise InvalidRequest("This model embeds text alone", param="content")
        texts.append(judged(part["text"], "content.parts.text", _text) or "")
    if not texts:
        raise InvalidRequest("This model embeds text alone", param="content")
    return "\n".join(texts)


def _entry(
    one: EmbeddingInput, dimensions: int | None, losses: Losses
) -> dict[str, Any]:
    if one.text is None:
        losses.refuse("input", "This model embeds texts, not tokens.")
    if one.tokens is not None:
        losses.change("input")
    entry: dict[str, Any] = {"content": {"parts": [{"text": one.text}]}}
    if one.task is not None:
        entry["taskType"] = one.task
    if one.title is not None:
        entry["title"] = one.title
    if dimensions is not None:
        entry[_SIZE] = dimensions
    return entry

"""Google's embeddings by a provider of OpenAI's: bodies there, replies back.

What a text is embedded for (`taskType`, `title`) no provider of OpenAI's knows; it
only sharpens the answer, and is left out.

Sources: https://ai.google.dev/api/embeddings (2026-11); OpenAI's API description,
`CreateEmbeddingRequest` (openapi, 2026-08).
"""

from typing import Any

from msgspec import Raw, Struct

from posthouse.dialects.gemini_embed.request import (
    BATCH,
    content_of,
    entries_of,
    parse_request_for,
)
from posthouse.dialects.google.envelope import one_spelling
from posthouse.dialects.openai.envelope import count, judged
from posthouse.errors import InvalidRequest, UpstreamBadResponse
from posthouse.wire import json
from posthouse.wire.json import Envelope, MalformedJSON

_SIZE = "outputDimensionality"
_object = json.decoder(dict[str, Raw] | None)


class _Row(Struct):
    embedding: Raw
    index: int | None = None


class _Reply(Struct):
    data: list[_Row]
    usage: dict[str, Any] | None = None


_reply = json.decoder(_Reply)


def to_openai(body: bytes, model: str) -> bytes:
    """Write a request as OpenAI's; raises InvalidRequest.

    Args:
        body: one content, or a batch.
        model: what it is called in the body that is written.
    """
    # What a batch's entries name is of no matter here: the path has been judged.
    entries = entries_of(parse_request_for(_without_models(body), model))
    inputs = ["\n".join(_texts_of(entry)) for entry in entries]
    sizes = {_size(entry) for entry in entries}
    if len(sizes) > 1:
        raise InvalidRequest(
            f"This model gives all embeddings of a batch one '{_SIZE}'", param=BATCH
        )
    written: dict[str, Any] = {
        "model": model,
        "input": inputs,
        "encoding_format": "float",
    }
    size = sizes.pop()
    if size is not None:
        written["dimensions"] = size
    return json.encode(written)


def _without_models(body: bytes) -> bytes:
    """Leave the names of models out of a body and of its batch."""
    try:
        envelope = json.decode_envelope(body)
    except MalformedJSON:
        return body
    envelope.pop("model", None)
    batch = envelope.get(BATCH)
    entries = None if batch is None else judged(batch, BATCH, _objects)
    if entries is not None:
        for entry in entries:
            entry.pop("model", None)
        envelope[BATCH] = json.raw(entries)
    return json.encode(envelope)


_objects = json.decoder(list[dict[str, Raw]] | None)


def _texts_of(entry: Envelope) -> list[str]:
    content = content_of(entry)
    texts = content.texts()
    if not texts:
        raise InvalidRequest("This model embeds text alone", param="content")
    return texts


def _size(entry: Envelope) -> int | None:
    """Read how long an embedding shall be, by either of its places."""
    found = count(entry, _SIZE)
    if found is not None or "embedContentConfig" not in entry:
        return found
    inner = judged(entry["embedContentConfig"], "embedContentConfig", _object)
    return count(one_spelling(inner or {}), _SIZE)


def from_openai(reply: bytes, batch: bool) -> bytes:
    """Write a reply of OpenAI's as Google's; raises UpstreamBadResponse."""
    try:
        found: _Reply = json.decode_with(_reply, reply)
    except MalformedJSON:
        raise UpstreamBadResponse from None
    rows = found.data
    if not rows or any(not json.opens_with(row.embedding, b"[") for row in rows):
        raise UpstreamBadResponse
    if all(row.index is not None for row in rows):
        rows = sorted(rows, key=lambda row: row.index or 0)
    values = [{"values": row.embedding} for row in rows]
    written: dict[str, Any] = (
        {"embeddings": values} if batch else {"embedding": values[0]}
    )
    tokens = (found.usage or {}).get("prompt_tokens")
    if type(tokens) is int:
        written["usageMetadata"] = {"promptTokenCount": tokens}
    return json.encode(written)

"""What all dialects' embeddings have in common."""

from collections.abc import Iterable

from msgspec import Raw

from posthouse.dialects.base import ParsedReply
from posthouse.errors import UpstreamBadResponse
from posthouse.model.embedding import EmbeddingReply, EmbeddingRequest


def embedding_reply(
    vectors: Iterable[Raw], reply: ParsedReply, asked: EmbeddingRequest
) -> EmbeddingReply:
    """Put the answer together; raises UpstreamBadResponse if a vector is missing."""
    found = tuple(vectors)
    if len(found) != len(asked.inputs):
        raise UpstreamBadResponse
    return EmbeddingReply(vectors=found, usage=reply.usage)

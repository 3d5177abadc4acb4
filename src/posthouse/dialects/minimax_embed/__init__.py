"""MiniMax's embeddings: POST /embeddings in a form of its own, asked in by nobody.

Source: https://platform.minimaxi.com/document/embeddings (2025-08): `texts` and what
they are embedded for in, `vectors` and `total_tokens` out.
"""

from functools import partial
from typing import Any

from posthouse.dialects.minimax_embed.codec import MiniMaxEmbeddingCodec
from posthouse.dialects.openai.corrected import CorrectedDialect
from posthouse.dialects.openai.upstream_only import UpstreamObjects
from posthouse.model.usage import ReportedUsage

__all__ = ["DIALECT", "PLAIN_CODEC", "corrected"]


def _answers(value: dict[str, Any]) -> bool:
    return isinstance(value.get("vectors"), list)


def _usage(value: dict[str, Any]) -> ReportedUsage | None:
    read = value.get("total_tokens")
    return ReportedUsage(input=read) if type(read) is int else None


DIALECT = UpstreamObjects("minimax_embed", _answers, _usage)
PLAIN_CODEC = MiniMaxEmbeddingCodec()
corrected = partial(CorrectedDialect, DIALECT)

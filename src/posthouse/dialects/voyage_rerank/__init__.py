"""Voyage's reranking: POST /rerank, asked in by nobody.

Source: https://docs.voyageai.com/reference/reranker-api (2026-11): `top_k`, and
`data` where others have `results`.
"""

from typing import Any

from posthouse.dialects.openai.reranking import usage_of
from posthouse.dialects.openai.upstream_only import UpstreamObjects
from posthouse.dialects.voyage_rerank.codec import VoyageRerankCodec

__all__ = ["DIALECT", "PLAIN_CODEC"]


def _answers(value: dict[str, Any]) -> bool:
    return isinstance(value.get("data"), list)


DIALECT = UpstreamObjects("voyage_rerank", _answers, usage_of)
PLAIN_CODEC = VoyageRerankCodec()

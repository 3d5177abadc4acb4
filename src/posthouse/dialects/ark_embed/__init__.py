"""Ark's multimodal embeddings: POST /embeddings/multimodal, asked in by nobody.

Source: https://www.volcengine.com/docs/82379/1523520 (2025-11): `input` is a list of
parts that become one vector together, and `data` is one object. So it embeds one
text at a time.
"""

from typing import Any

from posthouse.dialects.ark_embed.codec import ArkEmbeddingCodec
from posthouse.dialects.openai.replies import reported_usage
from posthouse.dialects.openai.upstream_only import UpstreamObjects
from posthouse.model.usage import ReportedUsage

__all__ = ["DIALECT", "PLAIN_CODEC"]


def _answers(value: dict[str, Any]) -> bool:
    return "data" in value


def _usage(value: dict[str, Any]) -> ReportedUsage | None:
    return reported_usage(value.get("usage"))


DIALECT = UpstreamObjects("ark_embed", _answers, _usage)
PLAIN_CODEC = ArkEmbeddingCodec()

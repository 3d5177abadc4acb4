"""DashScope's own reranking (gte-rerank, qwen3-rerank), asked in by nobody.

Sources: https://www.alibabacloud.com/help/en/model-studio/text-rerank-api
(2026-03) and `rerank/text_rerank.py` of dashscope 2.0.2. Like all of its own API it
parts what is given from how it shall be answered; an error is a `code`.
"""

from typing import Any

from posthouse.dialects.dashscope_rerank.codec import DashScopeRerankCodec
from posthouse.dialects.openai.reranking import usage_of
from posthouse.dialects.openai.upstream_only import UpstreamObjects

__all__ = ["DIALECT", "PLAIN_CODEC"]


def _answers(value: dict[str, Any]) -> bool:
    return isinstance(value.get("output"), dict)


DIALECT = UpstreamObjects("dashscope_rerank", _answers, usage_of)
PLAIN_CODEC = DashScopeRerankCodec()

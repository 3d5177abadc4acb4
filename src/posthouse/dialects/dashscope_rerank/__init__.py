"""DashScope's own reranking (gte-rerank, qwen3-rerank), asked in by nobody.

Sources: https://www.alibabacloud.com/help/en/model-studio/text-rerank-api
(2026-03) and `rerank/text_rerank.py` of dashscope 2.0.2. Like all of its own API it
parts what is given from how it shall be answered; an error is a `code`.
"""

from typing_extensions import override

from posthouse.dialects.base import Edits, ParsedReply, ParsedRequest
from posthouse.dialects.dashscope_rerank.codec import DashScopeRerankCodec
from posthouse.dialects.openai import splice
from posthouse.dialects.openai.errors import fault_in, parse_error
from posthouse.dialects.openai.reranking import usage_of
from posthouse.dialects.openai.upstream_only import UpstreamOnly
from posthouse.errors import UpstreamBadResponse
from posthouse.wire import json
from posthouse.wire.json import MalformedJSON

__all__ = ["DIALECT", "PLAIN_CODEC"]


class DashScopeRerank(UpstreamOnly):
    """The dialect's object; see `Dialect` for what each method promises."""

    @override
    def render_request(self, request: ParsedRequest, edits: Edits) -> bytes:
        return splice.render_request(request, edits)

    @override
    def parse_reply(
        self, request: ParsedRequest, body: bytes, public_model: str | None
    ) -> ParsedReply:
        try:
            value = json.decode_leniently(body)
        except MalformedJSON:
            raise UpstreamBadResponse from None
        if not isinstance(value, dict) or not isinstance(value.get("output"), dict):
            raise fault_in(value) or UpstreamBadResponse
        return ParsedReply(body, usage_of(value), None, str)


DIALECT = DashScopeRerank("dashscope_rerank", parse_error)
PLAIN_CODEC = DashScopeRerankCodec()

"""Voyage's reranking: POST /rerank, asked in by nobody.

Source: https://docs.voyageai.com/reference/reranker-api (2026-11): `top_k`, and
`data` where others have `results`.
"""

from typing_extensions import override

from posthouse.dialects.base import Edits, ParsedReply, ParsedRequest
from posthouse.dialects.openai import splice
from posthouse.dialects.openai.errors import fault_in, parse_error
from posthouse.dialects.openai.reranking import usage_of
from posthouse.dialects.openai.upstream_only import UpstreamOnly
from posthouse.dialects.voyage_rerank.codec import VoyageRerankCodec
from posthouse.errors import UpstreamBadResponse
from posthouse.wire import json
from posthouse.wire.json import MalformedJSON

__all__ = ["DIALECT", "PLAIN_CODEC"]


class VoyageRerank(UpstreamOnly):
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
        if not isinstance(value, dict) or not isinstance(value.get("data"), list):
            raise fault_in(value) or UpstreamBadResponse
        return ParsedReply(body, usage_of(value), None, str)


DIALECT = VoyageRerank("voyage_rerank", parse_error)
PLAIN_CODEC = VoyageRerankCodec()

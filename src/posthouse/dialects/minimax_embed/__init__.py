"""MiniMax's embeddings: POST /embeddings in a form of its own, asked in by nobody.

Source: https://platform.minimaxi.com/document/embeddings (2025-08): `texts` and what
they are embedded for in, `vectors` and `total_tokens` out.
"""

from functools import partial
from typing import Any

from typing_extensions import override

from posthouse.dialects.base import Edits, ParsedReply, ParsedRequest
from posthouse.dialects.minimax_embed.codec import MiniMaxEmbeddingCodec
from posthouse.dialects.openai import splice
from posthouse.dialects.openai.corrected import CorrectedDialect
from posthouse.dialects.openai.errors import fault_in, parse_error
from posthouse.dialects.openai.upstream_only import UpstreamOnly
from posthouse.errors import UpstreamBadResponse
from posthouse.model.usage import ReportedUsage
from posthouse.wire import json
from posthouse.wire.json import MalformedJSON

__all__ = ["DIALECT", "PLAIN_CODEC", "corrected"]


class MiniMaxEmbeddings(UpstreamOnly):
    """The dialect's object; see `Dialect` for what each method promises."""

    @override
    def render_request(self, request: ParsedRequest, edits: Edits) -> bytes:
        return splice.render_request(request, edits)

    @override
    def parse_reply(
        self, request: ParsedRequest, body: bytes, public_model: str | None
    ) -> ParsedReply:
        try:
            value: Any = json.decode_leniently(body)
        except MalformedJSON:
            raise UpstreamBadResponse from None
        if not isinstance(value, dict) or not isinstance(value.get("vectors"), list):
            raise fault_in(value) or UpstreamBadResponse
        read = value.get("total_tokens")
        usage = ReportedUsage(input=read) if type(read) is int else None
        return ParsedReply(body, usage, None, str)


DIALECT = MiniMaxEmbeddings("minimax_embed", parse_error)
PLAIN_CODEC = MiniMaxEmbeddingCodec()
corrected = partial(CorrectedDialect, DIALECT)

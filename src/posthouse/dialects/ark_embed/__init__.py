"""Ark's multimodal embeddings: POST /embeddings/multimodal, asked in by nobody.

Source: https://www.volcengine.com/docs/82379/1523520 (2025-11): `input` is a list of
parts that become one vector together, and `data` is one object. So it embeds one
text at a time.
"""

from typing import Any

from typing_extensions import override

from posthouse.dialects.ark_embed.codec import ArkEmbeddingCodec
from posthouse.dialects.base import Edits, ParsedReply, ParsedRequest
from posthouse.dialects.openai import splice
from posthouse.dialects.openai.errors import fault_in, parse_error
from posthouse.dialects.openai.replies import reported_usage
from posthouse.dialects.openai.upstream_only import UpstreamOnly
from posthouse.errors import UpstreamBadResponse
from posthouse.wire import json
from posthouse.wire.json import MalformedJSON

__all__ = ["DIALECT", "PLAIN_CODEC"]


class ArkEmbeddings(UpstreamOnly):
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
        if not isinstance(value, dict) or "data" not in value:
            raise fault_in(value) or UpstreamBadResponse
        return ParsedReply(body, reported_usage(value.get("usage")), None, str)


DIALECT = ArkEmbeddings("ark_embed", parse_error)
PLAIN_CODEC = ArkEmbeddingCodec()

"""OpenAI's Completions: POST /completions.

Source: OpenAI's API description, schema `CreateCompletionRequest` and its
replies (openapi, 2026-08).
"""

from typing_extensions import override

from posthouse.dialects.base import (
    Dialect,
    Edits,
    ParsedReply,
    ParsedRequest,
    StreamTap,
)
from posthouse.dialects.openai import errors, splice
from posthouse.dialects.openai.stream import OpenAIStreamTap
from posthouse.dialects.openai_completions.reply import parse_reply
from posthouse.dialects.openai_completions.request import parse_request, prompt_text
from posthouse.dialects.openai_completions.stream import CHUNK
from posthouse.errors import UpstreamFault


class OpenAICompletions(Dialect):
    """The dialect's object; see `Dialect` for what each method promises."""

    name = "openai_completions"

    @override
    def parse_request(self, body: bytes) -> ParsedRequest:
        return parse_request(body)

    @override
    def render_request(self, request: ParsedRequest, edits: Edits) -> bytes:
        return splice.render_request(request, edits)

    @override
    def parse_reply(
        self, request: ParsedRequest, body: bytes, public_model: str | None
    ) -> ParsedReply:
        return parse_reply(body, public_model)

    @override
    def tap_stream(
        self, request: ParsedRequest, public_model: str | None
    ) -> StreamTap | None:
        return OpenAIStreamTap(CHUNK, "text_completion", request, public_model)

    @override
    def parse_error(self, status: int, body: bytes) -> UpstreamFault:
        return errors.parse_error(status, body)

    @override
    def prompt_text(self, request: ParsedRequest) -> str:
        return prompt_text(request)


DIALECT = OpenAICompletions()

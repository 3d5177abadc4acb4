"""OpenAI's Chat Completions: POST /chat/completions.

Source: OpenAI's API description, schema `CreateChatCompletionRequest` and its
replies (openapi, 2026-08).
"""

from functools import partial

from typing_extensions import override

from posthouse.dialects.base import (
    Dialect,
    ParsedRequest,
    StreamTap,
)
from posthouse.dialects.openai import errors, splice
from posthouse.dialects.openai.corrected import CorrectedDialect
from posthouse.dialects.openai.stream import OpenAIStreamTap
from posthouse.dialects.openai_chat.codec import CODEC
from posthouse.dialects.openai_chat.reply import parse_reply
from posthouse.dialects.openai_chat.request import parse_request, prompt_text
from posthouse.dialects.openai_chat.stream import CHUNK

__all__ = ["CODEC", "DIALECT", "OpenAIChat", "corrected"]


class OpenAIChat(Dialect):
    """The dialect's object; see `Dialect` for what each method promises."""

    name = "openai_chat"
    manners = errors.MANNERS
    parse_request = staticmethod(parse_request)
    render_request = staticmethod(splice.render_request)
    parse_error = staticmethod(errors.parse_error)
    parse_reply = staticmethod(parse_reply)
    prompt_text = staticmethod(prompt_text)

    @override
    def tap_stream(
        self, request: ParsedRequest, public_model: str | None
    ) -> StreamTap | None:
        return OpenAIStreamTap(CHUNK, "chat.completion.chunk", request, public_model)


DIALECT = OpenAIChat()
corrected = partial(CorrectedDialect, DIALECT)

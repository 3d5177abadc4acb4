"""Anthropic's Messages: POST /v1/messages, and its counting of tokens.

Source: the types of the SDK anthropic 2.12.0 (2026-11), which follow API version
2026-10-21; requests in that of 2023-06-01 are alike but for more freedom.
"""

from typing_extensions import override

from posthouse.dialects.anthropic_messages import errors, reply
from posthouse.dialects.anthropic_messages.caching import NAME
from posthouse.dialects.anthropic_messages.decoder import AnthropicDecoder
from posthouse.dialects.anthropic_messages.encoder import AnthropicEncoder
from posthouse.dialects.anthropic_messages.read_request import read_request
from posthouse.dialects.anthropic_messages.request import (
    parse_count_request,
    parse_request,
    prompt_text,
    render_count,
    render_request,
)
from posthouse.dialects.anthropic_messages.tap import AnthropicTap
from posthouse.dialects.anthropic_messages.write_request import write_request
from posthouse.dialects.base import Dialect, ParsedReply, ParsedRequest, StreamTap
from posthouse.dialects.neutral.codec import (
    ChatCodec,
    ChatDecoder,
    ChatEncoder,
    Identity,
)
from posthouse.model.chat import ChatRequest

__all__ = ["CODEC", "DIALECT", "parse_count_request", "render_count"]


class AnthropicMessages(Dialect):
    """The dialect's object; see `Dialect` for what each method promises."""

    name = NAME
    manners = errors.MANNERS
    parse_request = staticmethod(parse_request)
    render_request = staticmethod(render_request)
    parse_error = staticmethod(errors.parse_error)
    prompt_text = staticmethod(prompt_text)

    @override
    def parse_reply(
        self, request: ParsedRequest, body: bytes, public_model: str | None
    ) -> ParsedReply:
        return reply.parse_reply(body, public_model)

    @override
    def tap_stream(
        self, request: ParsedRequest, public_model: str | None
    ) -> StreamTap | None:
        return AnthropicTap(public_model)


class AnthropicCodec(ChatCodec):
    """The codec's object; see `ChatCodec` for what each method promises."""

    several = False
    strict_schemas = True
    read_request = staticmethod(read_request)
    write_request = staticmethod(write_request)
    read_reply = staticmethod(reply.read_reply)
    write_reply = staticmethod(reply.write_reply)

    @override
    def decoder(self) -> ChatDecoder:
        return AnthropicDecoder()

    @override
    def encoder(self, chat: ChatRequest, identity: Identity) -> ChatEncoder:
        return AnthropicEncoder(chat, identity)


DIALECT = AnthropicMessages()
CODEC = AnthropicCodec()

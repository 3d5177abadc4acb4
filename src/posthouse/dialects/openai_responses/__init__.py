"""OpenAI's Responses: POST /responses.

Sources: the types of OpenAI's Python SDK, 3.54 (2026-11); each module names its own.
"""

from typing import Any

from typing_extensions import override

from posthouse.dialects.base import (
    Dialect,
    ParsedReply,
    ParsedRequest,
    StreamTap,
)
from posthouse.dialects.neutral.codec import (
    ChatCodec,
    ChatDecoder,
    ChatEncoder,
    Identity,
    Losses,
)
from posthouse.dialects.openai_responses import errors, reply, request
from posthouse.dialects.openai_responses.decoder import ResponsesDecoder
from posthouse.dialects.openai_responses.encoder import ResponsesEncoder, write_reply
from posthouse.dialects.openai_responses.parts import NAME
from posthouse.dialects.openai_responses.passing import render_request
from posthouse.dialects.openai_responses.read_request import read_request
from posthouse.dialects.openai_responses.tap import ResponsesTap
from posthouse.dialects.openai_responses.write_request import write_request
from posthouse.model.chat import ChatReply, ChatRequest
from posthouse.model.traits import Traits


class OpenAIResponses(Dialect):
    """The dialect's object; see `Dialect` for what each method promises."""

    name = NAME
    manners = errors.MANNERS
    parse_request = staticmethod(request.parse_request)
    render_request = staticmethod(render_request)
    parse_error = staticmethod(errors.parse_error)
    prompt_text = staticmethod(request.prompt_text)

    @override
    def parse_reply(
        self, request: ParsedRequest, body: bytes, public_model: str | None
    ) -> ParsedReply:
        return reply.parse_reply(body, public_model)

    @override
    def tap_stream(self, request: ParsedRequest, public_model: str | None) -> StreamTap:
        return ResponsesTap(request, public_model)


class ResponsesCodec(ChatCodec):
    """The dialect's way into the neutral form and out; see `ChatCodec`."""

    several = False

    @override
    def read_request(self, request: ParsedRequest) -> ChatRequest:
        return read_request(request)

    @override
    def write_request(
        self, chat: ChatRequest, traits: Traits, losses: Losses
    ) -> dict[str, Any]:
        return write_request(chat, traits, losses)

    @override
    def read_reply(self, body: bytes) -> ChatReply:
        return reply.read_reply(body)

    @override
    def write_reply(
        self, reply: ChatReply, chat: ChatRequest, identity: Identity
    ) -> bytes:
        return write_reply(reply, chat, identity)

    @override
    def decoder(self) -> ChatDecoder:
        return ResponsesDecoder()

    @override
    def encoder(self, chat: ChatRequest, identity: Identity) -> ChatEncoder:
        return ResponsesEncoder(chat, identity)


DIALECT = OpenAIResponses()
CODEC = ResponsesCodec()

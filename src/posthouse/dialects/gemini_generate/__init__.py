"""Google's Gemini: POST /v1beta/models/{model}:generateContent and its stream.

Sources: https://ai.google.dev/api/generate-content (2026-11); google-genai 3.4.0
and @google/genai 2.32.0, whose types and readers are what clients have.
"""

from typing import Any

from typing_extensions import override

from posthouse.dialects.base import (
    Dialect,
    ParsedReply,
    ParsedRequest,
    StreamTap,
)
from posthouse.dialects.gemini_generate.decoder import GeminiDecoder
from posthouse.dialects.gemini_generate.encoder import GeminiEncoder
from posthouse.dialects.gemini_generate.media import is_own_place
from posthouse.dialects.gemini_generate.read_request import read_request
from posthouse.dialects.gemini_generate.reply import parse_reply, read_reply
from posthouse.dialects.gemini_generate.request import (
    parse_request,
    prompt_text,
    render_request,
)
from posthouse.dialects.gemini_generate.tap import GeminiTap
from posthouse.dialects.gemini_generate.write_reply import write_reply
from posthouse.dialects.gemini_generate.write_request import write_request
from posthouse.dialects.google import errors
from posthouse.dialects.neutral.codec import (
    ChatCodec,
    ChatDecoder,
    ChatEncoder,
    Identity,
    Losses,
)
from posthouse.model.chat import ChatReply, ChatRequest
from posthouse.model.traits import Traits


class GeminiGenerate(Dialect):
    """The dialect's object; see `Dialect` for what each method promises.

    `request.parse_request_for` reads a request whose path tells the model.
    """

    name = "gemini_generate"
    manners = errors.MANNERS
    parse_request = staticmethod(parse_request)
    render_request = staticmethod(render_request)
    parse_error = staticmethod(errors.parse_error)
    prompt_text = staticmethod(prompt_text)

    @override
    def parse_reply(
        self, request: ParsedRequest, body: bytes, public_model: str | None
    ) -> ParsedReply:
        return parse_reply(body, public_model)

    @override
    def tap_stream(
        self, request: ParsedRequest, public_model: str | None
    ) -> StreamTap | None:
        return GeminiTap(request.choices, public_model)


class GeminiCodec(ChatCodec):
    """The dialect's ways into the neutral form and out; see `ChatCodec`."""

    reads_url = staticmethod(is_own_place)
    strict_schemas = True

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
        return read_reply(body)

    @override
    def write_reply(
        self, reply: ChatReply, chat: ChatRequest, identity: Identity
    ) -> bytes:
        return write_reply(reply, chat, identity)

    @override
    def decoder(self) -> ChatDecoder:
        return GeminiDecoder()

    @override
    def encoder(self, chat: ChatRequest, identity: Identity) -> ChatEncoder:
        return GeminiEncoder(identity)


DIALECT = GeminiGenerate()
CODEC = GeminiCodec()

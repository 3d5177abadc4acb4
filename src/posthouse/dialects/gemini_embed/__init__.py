"""Google's embeddings: POST /v1beta/models/{model}:embedContent and batchEmbedContents.

Which of the two it is the path tells, and the body by its `requests`. Providers are
asked by `batchEmbedContents` whatever it was.

Sources: https://ai.google.dev/api/embeddings (2026-11); google-genai 3.4.0, which
asks for all embeddings by `batchEmbedContents`.
"""

from typing_extensions import override

from posthouse.dialects.base import (
    Dialect,
    ParsedReply,
    ParsedRequest,
    StreamTap,
)
from posthouse.dialects.gemini_embed.codec import GeminiEmbeddingCodec
from posthouse.dialects.gemini_embed.reply import parse_reply
from posthouse.dialects.gemini_embed.request import (
    parse_request,
    prompt_text,
    render_request,
)
from posthouse.dialects.google import errors


class GeminiEmbed(Dialect):
    """The dialect's object; see `Dialect` for what each method promises.

    `request.parse_request_for` reads a request whose path tells the model.
    """

    name = "gemini_embed"
    manners = errors.MANNERS
    parse_request = staticmethod(parse_request)
    render_request = staticmethod(render_request)
    parse_error = staticmethod(errors.parse_error)
    prompt_text = staticmethod(prompt_text)

    @override
    def parse_reply(
        self, request: ParsedRequest, body: bytes, public_model: str | None
    ) -> ParsedReply:
        return parse_reply(request, body)

    @override
    def tap_stream(
        self, request: ParsedRequest, public_model: str | None
    ) -> StreamTap | None:
        return None


DIALECT = GeminiEmbed()
PLAIN_CODEC = GeminiEmbeddingCodec()

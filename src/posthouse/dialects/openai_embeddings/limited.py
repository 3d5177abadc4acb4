"""OpenAI's embeddings at providers who do not take all of it.

Where tokens are no input they become the texts that they stand for, and where the
length of the vectors is no choice it is left out: the caller is told both.
"""

from msgspec import structs
from typing_extensions import override

from posthouse.dialects.base import (
    Dialect,
    Edits,
    ParsedReply,
    ParsedRequest,
    StreamTap,
)
from posthouse.dialects.neutral.codec import Losses
from posthouse.errors import InvalidRequest, UpstreamFault
from posthouse.model.traits import Traits
from posthouse.wire import json


class LimitedEmbeddings(Dialect):
    """See `Dialect` for what each method promises."""

    def __init__(self, plain: Dialect, traits: Traits) -> None:
        """Speak as a target's traits say.

        Args:
            plain: the dialect, as its provider speaks it.
            traits: of the target.
        """
        self.name = plain.name
        self.manners = plain.manners
        self._plain = plain
        self._traits = traits

    @override
    def parse_request(self, body: bytes) -> ParsedRequest:
        return self._plain.parse_request(body)

    @override
    def render_request(self, request: ParsedRequest, edits: Edits) -> bytes:
        return self._plain.render_request(self._fitting(request), edits)

    def _fitting(self, request: ParsedRequest) -> ParsedRequest:
        """Give the request as this provider takes it; raises InvalidRequest."""
        losses = Losses()
        envelope = request.envelope
        if request.token_input and not self._traits.token_input:
            texts = request.reading.texts
            if not texts:
                raise InvalidRequest(
                    "This model embeds texts, not tokens",
                    param="input",
                    code="unsupported_by_model",
                )
            envelope = {**envelope, "input": json.raw(texts)}
            losses.change("input")
        if "dimensions" in envelope and not self._traits.dimensions:
            envelope = {
                name: value for name, value in envelope.items() if name != "dimensions"
            }
            losses.drop("dimensions")
        if envelope is request.envelope:
            return request
        request.reading.losses[self.name] = losses.told
        return structs.replace(request, envelope=envelope)

    @override
    def parse_reply(
        self, request: ParsedRequest, body: bytes, public_model: str | None
    ) -> ParsedReply:
        return self._plain.parse_reply(request, body, public_model)

    @override
    def tap_stream(
        self, request: ParsedRequest, public_model: str | None
    ) -> StreamTap | None:
        return None

    @override
    def parse_error(self, status: int, body: bytes) -> UpstreamFault:
        return self._plain.parse_error(status, body)

    def wanted_media(self, request: ParsedRequest) -> tuple[str, ...]:  # noqa: ARG002 - as chats have it
        """Nothing must be fetched: texts alone are embedded."""
        return ()

    @override
    def prompt_text(self, request: ParsedRequest) -> str:
        return self._plain.prompt_text(request)

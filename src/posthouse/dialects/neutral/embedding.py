"""One dialect's embeddings at a provider who speaks another.

A dialect's package offers an `EMBEDDING_CODEC` object of the `EmbeddingCodec`
protocol; `EmbeddingTranslation` is to the relay a `Dialect` like any other. What is
written for a provider goes through its own dialect, and so does its reply: what a
row or a channel changes is changed there.
"""

from typing import Any, Protocol

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
from posthouse.errors import UpstreamBadResponse, UpstreamFault
from posthouse.model.embedding import EmbeddingReply, EmbeddingRequest
from posthouse.wire import json


class EmbeddingCodec(Protocol):
    """Reads and writes one dialect. Pure."""

    def read_request(self, request: ParsedRequest) -> EmbeddingRequest:
        """Read a client's request; raises InvalidRequest."""

    def write_request(
        self, embedding: EmbeddingRequest, model: str, losses: Losses
    ) -> dict[str, Any]:
        """Write a request's body for a provider; raises InvalidRequest.

        Args:
            embedding: what is asked.
            model: its name there.
            losses: told what is left out.
        """

    def read_reply(self, reply: ParsedReply) -> EmbeddingReply:
        """Read a provider's reply, which its dialect has judged.

        Raises UpstreamFault.
        """

    def write_reply(
        self, reply: EmbeddingReply, request: ParsedRequest, model: str
    ) -> bytes:
        """Write a reply for the client who asked; raises UpstreamFault."""


class EmbeddingTranslation(Dialect):
    """See `Dialect` for what each method promises."""

    def __init__(
        self,
        client: tuple[Dialect, EmbeddingCodec],
        upstream: tuple[Dialect, EmbeddingCodec],
        model: str,
    ) -> None:
        """Lead clients of one dialect to a provider of another.

        Args:
            client: what is spoken before us.
            upstream: what is spoken behind us.
            model: the provider's name for the model.
        """
        self._client, self._client_codec = client
        self._upstream, self._upstream_codec = upstream
        self._model = model
        self.name = self._upstream.name
        self.manners = self._client.manners

    @override
    def parse_request(self, body: bytes) -> ParsedRequest:
        return self._client.parse_request(body)

    @override
    def render_request(self, request: ParsedRequest, edits: Edits) -> bytes:
        losses = Losses()
        written = self._upstream_codec.write_request(
            self._read(request), self._model, losses
        )
        request.reading.losses[self.name] = losses.told
        envelope = {name: json.raw(value) for name, value in written.items()}
        sent = structs.replace(
            request, envelope=envelope, wants_base64=False, kept=None
        )
        request.reading.sent[self.name] = sent
        return self._upstream.render_request(sent, edits)

    @override
    def parse_reply(
        self, request: ParsedRequest, body: bytes, public_model: str | None
    ) -> ParsedReply:
        sent = request.reading.sent[self.name]
        judged = self._upstream.parse_reply(sent, body, None)
        reply = self._upstream_codec.read_reply(judged)
        if len(reply.vectors) != len(self._read(request).inputs):
            raise UpstreamBadResponse
        model = public_model or self._model
        return structs.replace(
            judged, body=self._client_codec.write_reply(reply, request, model)
        )

    @override
    def tap_stream(
        self, request: ParsedRequest, public_model: str | None
    ) -> StreamTap | None:
        return None

    @override
    def parse_error(self, status: int, body: bytes) -> UpstreamFault:
        return self._upstream.parse_error(status, body)

    @override
    def prompt_text(self, request: ParsedRequest) -> str:
        return self._client.prompt_text(request)

    def wanted_media(self, request: ParsedRequest) -> tuple[str, ...]:  # noqa: ARG002 - as chats have it
        """Nothing must be fetched: texts alone are embedded."""
        return ()

    def _read(self, request: ParsedRequest) -> EmbeddingRequest:
        """Read the request, once for all attempts; raises InvalidRequest."""
        reading = request.reading
        if reading.embedding is None:
            reading.embedding = self._client_codec.read_request(request)
        return reading.embedding

"""The way into the neutral form for replies that one provider's row has mended."""

from typing import Any

from typing_extensions import override

from posthouse.dialects.base import ParsedRequest
from posthouse.dialects.neutral.codec import (
    ChatCodec,
    ChatDecoder,
    ChatEncoder,
    Identity,
    Losses,
)
from posthouse.dialects.openai.declared import DeclaredErrors
from posthouse.dialects.openai.mending import Mender
from posthouse.errors import UpstreamFault
from posthouse.model.chat import ChatReply, ChatRequest
from posthouse.model.chat_events import ChatEvent
from posthouse.model.traits import Traits
from posthouse.wire.json import Envelope
from posthouse.wire.sse import with_data


class CorrectedCodec(ChatCodec):
    """Mends what is read of a provider; see `ChatCodec` for the rest."""

    def __init__(
        self, plain: ChatCodec, mender: Mender, errors: DeclaredErrors
    ) -> None:
        """Mend replies before `plain` reads them."""
        self.file_urls = plain.file_urls
        self._plain = plain
        self._mender = mender
        self._errors = errors

    @override
    def read_request(self, request: ParsedRequest) -> ChatRequest:
        return self._plain.read_request(request)

    @override
    def write_request(
        self, chat: ChatRequest, traits: Traits, losses: Losses
    ) -> dict[str, Any]:
        return self._plain.write_request(chat, traits, losses)

    @override
    def read_reply(self, body: bytes) -> ChatReply:
        try:
            return self._plain.read_reply(self._mender.mend(body, chunk=False))
        except UpstreamFault as fault:
            raise self._errors.told_by(body) or fault from None

    @override
    def write_reply(
        self, reply: ChatReply, chat: ChatRequest, identity: Identity
    ) -> bytes:
        return self._plain.write_reply(reply, chat, identity)

    @override
    def decoder(self) -> ChatDecoder:
        return _CorrectedDecoder(self._plain.decoder(), self._mender, self._errors)

    @override
    def encoder(self, chat: ChatRequest, identity: Identity) -> ChatEncoder:
        return self._plain.encoder(chat, identity)


class _CorrectedDecoder(ChatDecoder):
    """Mends the frames of one stream."""

    __slots__ = ("_errors", "_identity", "_mender", "_plain")

    def __init__(
        self, plain: ChatDecoder, mender: Mender, errors: DeclaredErrors
    ) -> None:
        self._plain = plain
        self._mender = mender
        self._errors = errors
        self._identity: Envelope = {}

    @override
    def feed(self, raw: bytes, data: bytes) -> list[ChatEvent]:
        try:
            raw, data = mended_frame(self._mender, raw, data, self._identity)
            return self._plain.feed(raw, data)
        except UpstreamFault as fault:
            raise self._errors.told_by(data or raw) or fault from None

    @override
    def close(self) -> list[ChatEvent]:
        return self._plain.close()


def mended_frame(
    mender: Mender, raw: bytes, data: bytes, identity: Envelope
) -> tuple[bytes, bytes]:
    """Mend a frame of a stream; raises UpstreamFault for an error in it.

    `identity` is what the stream's chunks have in common.
    """
    if data:
        mended = mender.mend(data, chunk=True, identity=identity)
        if mended is not data:
            return with_data(raw, mended), mended
    elif raw.lstrip()[:1] == b"{":
        # An error without the words that would make it an event.
        mender.mend(raw, chunk=True)
    return raw, data

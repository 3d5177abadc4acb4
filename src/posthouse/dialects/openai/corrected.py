"""A dialect of OpenAI's family as one provider speaks it: mended on arrival.

Wraps a plain dialect for a target whose row declares errors or replies of its
own. Requests are the plain dialect's affair, and so is every reply once it has
been mended; targets without such a row never come here.
"""

from collections.abc import Callable

from typing_extensions import override

from posthouse.dialects.base import (
    Dialect,
    Edits,
    ParsedReply,
    ParsedRequest,
    StreamTap,
    TappedFrame,
)
from posthouse.dialects.neutral.codec import ChatCodec
from posthouse.dialects.openai.corrected_codec import CorrectedCodec, mended_frame
from posthouse.dialects.openai.declared import DeclaredErrors
from posthouse.dialects.openai.mending import Mender
from posthouse.errors import PosthouseError, UpstreamFault
from posthouse.model.catalog import ErrorCodes, Replies
from posthouse.wire.json import Envelope


class CorrectedDialect(Dialect):
    """One provider's way of speaking; see `Dialect` for what each method promises."""

    def __init__(
        self,
        plain: Dialect,
        replies: Replies | None,
        errors: ErrorCodes | None,
        *,
        model: str,
        clock: Callable[[], float],
    ) -> None:
        """Speak as a row declares.

        Args:
            plain: the dialect that replies are mended to.
            replies: what is to be mended.
            errors: how errors are told.
            model: the target's model, by the provider's name.
            clock: seconds since 1970.
        """
        self.name = plain.name
        self.manners = plain.manners
        self._plain = plain
        self._errors = DeclaredErrors(errors or ErrorCodes())
        self._mender = Mender(
            replies or Replies(), self._errors, model=model, clock=clock
        )

    def codec(self, plain: ChatCodec) -> ChatCodec:
        """The way into the neutral form for what is spoken so."""
        return CorrectedCodec(plain, self._mender, self._errors)

    @override
    def parse_request(self, body: bytes) -> ParsedRequest:
        return self._plain.parse_request(body)

    @override
    def render_request(self, request: ParsedRequest, edits: Edits) -> bytes:
        return self._plain.render_request(request, edits)

    @override
    def parse_reply(
        self, request: ParsedRequest, body: bytes, public_model: str | None
    ) -> ParsedReply:
        mended = self._mender.mend(body, chunk=False)
        try:
            return self._plain.parse_reply(request, mended, public_model)
        except UpstreamFault as fault:
            raise self._errors.told_by(body) or fault from None

    @override
    def tap_stream(
        self, request: ParsedRequest, public_model: str | None
    ) -> StreamTap | None:
        plain = self._plain.tap_stream(request, public_model)
        if plain is None:
            return None
        return CorrectedTap(plain, self._mender, self._errors)

    @override
    def parse_error(self, status: int, body: bytes) -> UpstreamFault:
        declared = self._errors.parse_error(status, body) if status >= 400 else None
        return declared or self._plain.parse_error(status, body)

    @override
    def prompt_text(self, request: ParsedRequest) -> str:
        return self._plain.prompt_text(request)


class CorrectedTap(StreamTap):
    """Mends the frames of one stream and has the plain tap read them."""

    __slots__ = (
        "_errors",
        "_identity",
        "_mender",
        "_plain",
        "finished",
        "output_bytes",
        "service_tier",
        "usage",
    )

    def __init__(
        self, plain: StreamTap, mender: Mender, errors: DeclaredErrors
    ) -> None:
        """Start before the first frame."""
        self._plain = plain
        self._mender = mender
        self._errors = errors
        self._identity: Envelope = {}
        self.usage = plain.usage
        self.service_tier = plain.service_tier
        self.finished = plain.finished
        self.output_bytes = plain.output_bytes

    @override
    def feed(self, raw: bytes, data: bytes) -> TappedFrame:
        plain = self._plain
        try:
            raw, data = mended_frame(self._mender, raw, data, self._identity)
            return plain.feed(raw, data)
        except UpstreamFault as fault:
            raise self._errors.told_by(data or raw) or fault from None
        finally:
            self.usage = plain.usage
            self.service_tier = plain.service_tier
            self.finished = plain.finished
            self.output_bytes = plain.output_bytes

    @override
    def output_text(self) -> str:
        return self._plain.output_text()

    @override
    def compact(self) -> None:
        self._plain.compact()

    @override
    def close(self) -> TappedFrame | None:
        return self._plain.close()

    @override
    def error_frame(self, error: PosthouseError) -> bytes:
        return self._plain.error_frame(error)

    @override
    def cut_off_frames(self, error: PosthouseError) -> tuple[bytes, bytes]:
        return self._plain.cut_off_frames(error)

"""One dialect's clients at a provider who speaks another: through the neutral form.

A `Translation` is a `Dialect` to the relay. It reads a client's request once,
whatever number of attempts are made of it, and tells by `losses_of` what a
provider was not told.
"""

from collections.abc import Callable
from functools import partial

from msgspec import Struct
from typing_extensions import override

from posthouse.dialects.base import (
    Dialect,
    Edits,
    ParsedReply,
    ParsedRequest,
    StreamTap,
    TappedFrame,
)
from posthouse.dialects.neutral.codec import ChatCodec, ChatDecoder, Identity, Losses
from posthouse.dialects.neutral.edits import apply_edits
from posthouse.dialects.neutral.held_answers import held, schema_to_hold
from posthouse.dialects.neutral.media import urls_in, with_media
from posthouse.dialects.neutral.passing import PassingTap
from posthouse.errors import PosthouseError, UpstreamFault
from posthouse.model.chat import (
    Audio,
    ChatReply,
    ChatRequest,
    Extras,
    Finish,
    FinishReason,
    Refusal,
    Text,
    Thinking,
    ToolCall,
)
from posthouse.model.chat_events import ChatEvent, Ended, Finished, PartEnded
from posthouse.model.traits import Traits
from posthouse.wire import json


class Speaker(Struct, frozen=True):
    """A dialect with its way into the neutral form and out."""

    dialect: Dialect
    codec: ChatCodec


class Naming(Struct, frozen=True):
    """What replies are called whose providers give them no name."""

    new_id: Callable[[], str]
    clock: Callable[[], float]
    """Seconds since 1970."""

    def identity(self, model: str | None) -> Identity:
        """Name one reply."""
        return Identity(self.new_id(), int(self.clock()), model)


class Translation(Dialect):
    """See `Dialect` for what each method promises."""

    def __init__(
        self, client: Speaker, upstream: Speaker, traits: Traits, naming: Naming
    ) -> None:
        """Lead clients of one dialect to a provider of another.

        Args:
            client: what is spoken before us.
            upstream: what is spoken behind us.
            traits: of the target's model.
            naming: names replies.
        """
        self.name = upstream.dialect.name
        self.manners = client.dialect.manners
        self.frames = upstream.dialect.frames
        self._client = client
        self._upstream = upstream
        self._traits = traits
        self._naming = naming

    @override
    def parse_request(self, body: bytes) -> ParsedRequest:
        return self._client.dialect.parse_request(body)

    @override
    def render_request(self, request: ParsedRequest, edits: Edits) -> bytes:
        reading = request.reading
        chat = reading.chat or self._chat(request)
        if reading.media:
            chat = with_media(chat, reading.media)
        losses = Losses()
        written = self._upstream.codec.write_request(chat, self._traits, losses)
        if request.stream and self._schema(chat) is not None:
            losses.drop("response_format.strict")
        reading.losses[self.name] = losses.told
        if edits.model_only:
            return json.encode(written)
        envelope = {name: json.raw(value) for name, value in written.items()}
        apply_edits(envelope, edits)
        return json.encode(envelope)

    @override
    def parse_reply(
        self, request: ParsedRequest, body: bytes, public_model: str | None
    ) -> ParsedReply:
        chat = self._chat(request)
        reply = self._read(chat, body)
        identity = self._naming.identity(public_model)
        return ParsedReply(
            self._client.codec.write_reply(reply, chat, identity),
            reply.usage,
            reply.service_tier,
            partial(output_text, reply),
        )

    @override
    def tap_stream(self, request: ParsedRequest, public_model: str | None) -> StreamTap:
        return TranslatingTap(
            self._upstream.codec.decoder(),
            self._client,
            self._chat(request),
            self._naming.identity(public_model),
        )

    @override
    def parse_error(self, status: int, body: bytes) -> UpstreamFault:
        return self._upstream.dialect.parse_error(status, body)

    @override
    def prompt_text(self, request: ParsedRequest) -> str:
        return self._client.dialect.prompt_text(request)

    def wanted_media(self, request: ParsedRequest) -> tuple[str, ...]:
        """The URLs that must be fetched before the request can be rendered."""
        codec = self._upstream.codec
        pictures = not self._traits.image_urls
        if (codec.file_urls and not pictures) or not request.prompt.has_media:
            return ()
        return urls_in(self._chat(request), codec.reads_url, pictures=pictures)

    def _read(self, chat: ChatRequest, body: bytes) -> ChatReply:
        """Read a whole reply; raises UpstreamFault."""
        reply = self._upstream.codec.read_reply(body)
        if chat.output_format is None:
            return reply
        schema = self._schema(chat)
        return reply if schema is None else held(reply, schema)

    def _schema(self, chat: ChatRequest) -> Extras | None:
        """The schema that a model was only asked to keep to."""
        if self._traits.schema or chat.output_format is None:
            return None
        strict = self._client.codec.strict_schemas
        return schema_to_hold(chat, self._traits, strict=strict)

    def _chat(self, request: ParsedRequest) -> ChatRequest:
        """Read the request, once for all attempts; raises InvalidRequest."""
        reading = request.kept or request.reading
        if reading.chat is None:
            reading.chat = self._client.codec.read_request(request)
        return reading.chat


def output_text(reply: ChatReply) -> str:
    """Read what a reply says, for counting."""
    texts = []
    for choice in reply.choices:
        for part in choice.parts:
            match part:
                case Text() | Thinking() | Refusal():
                    texts.append(part.text)
                case ToolCall():
                    texts += (part.name, part.arguments)
                case Audio():
                    texts.append(part.transcript or "")
                case _:
                    pass
    return "\n".join(texts)


class TranslatingTap(PassingTap):
    """Reads one stream and writes another."""

    __slots__ = ("_encoder", "_manners")

    def __init__(
        self,
        decoder: ChatDecoder,
        client: Speaker,
        chat: ChatRequest,
        identity: Identity,
    ) -> None:
        """Start before the first frame.

        Args:
            decoder: of what the provider speaks.
            client: what the client speaks.
            chat: what was asked.
            identity: what the reply is called if it has no name.
        """
        super().__init__(decoder, chat.choices or 1)
        self._manners = client.dialect.manners
        self._encoder = client.codec.encoder(chat, identity)

    @override
    def feed(self, raw: bytes, data: bytes) -> TappedFrame:
        return self._translate(self._decoder.feed(raw, data))

    @override
    def close(self) -> TappedFrame | None:
        tapped = self._translate(self._decoder.close())
        return tapped if tapped.terminal else None

    def _translate(self, events: list[ChatEvent]) -> TappedFrame:
        out: list[bytes] = []
        content = terminal = False
        for event in events:
            content = self.take(event) or content
            out.append(self._encoder.feed(event))
            terminal = terminal or type(event) is Ended
        if terminal:
            out.append(self._encoder.close())
        return TappedFrame(b"".join(out), content, terminal)

    @override
    def error_frame(self, error: PosthouseError) -> bytes:
        return self._manners.error_frame(error)

    @override
    def cut_off_frames(self, error: PosthouseError) -> tuple[bytes, bytes]:
        told = {"posthouse": {"code": error.code, "message": error.message}}
        events: list[ChatEvent] = [PartEnded(*part) for part in self.open_parts]
        events += [
            Finished(choice, Finish(FinishReason.LENGTH), told)
            for choice in range(self._wanted)
            if choice not in self.ended_choices
        ]
        return self._translate(events).raw, self._encoder.close()

"""Questions with one answer in one piece, in one dialect, at a provider of another.

Embeddings, rerankings, pictures, speech …: a dialect's package offers a `PLAIN_CODEC`
object of the `PlainCodec` protocol, and dialects whose codecs are of one kind are led
into each other by it. `PlainTranslation` is to the relay a `Dialect` like any other;
so is whatever else is `Led` to a provider of another kind.
What is written for a provider goes through its own dialect, and so does its reply:
what a row or a channel changes is changed there.
"""

from typing import Any, Generic, Protocol, TypeVar

from msgspec import Struct, structs
from typing_extensions import override

from posthouse.dialects.base import (
    Answer,
    Dialect,
    Edits,
    MediaDialect,
    ParsedReply,
    ParsedRequest,
    StreamTap,
    read_answer,
    write_body,
)
from posthouse.dialects.neutral.codec import Losses
from posthouse.errors import UpstreamFault
from posthouse.model.call import Operation
from posthouse.wire import json
from posthouse.wire.multipart import Form, Payload

Asked = TypeVar("Asked")
Answered = TypeVar("Answered")
Put = TypeVar("Put")
Got = TypeVar("Got")


class Written(Struct, frozen=True):
    """A request as it is written for a provider."""

    members: dict[str, Any] = {}
    """Of the JSON body."""
    form: Form | None = None
    """The body, where it is a form."""
    target: str = ""
    """See `ParsedRequest.target`."""


class PlainCodec(Protocol[Asked, Answered]):
    """Reads and writes one dialect. Pure."""

    kind: str
    """What is asked in it; those of one kind share `Asked` and `Answered`."""

    def read_request(self, request: ParsedRequest) -> Asked:
        """Read a client's request; raises InvalidRequest."""

    def write_request(self, asked: Asked, model: str, losses: Losses) -> Written:
        """Write a request for a provider; raises InvalidRequest.

        Args:
            asked: what is asked.
            model: its name there.
            losses: told what is left out.
        """

    def read_reply(self, reply: ParsedReply, asked: Asked) -> Answered:
        """Read a provider's reply, which its dialect has judged.

        Raises UpstreamFault.
        """

    def write_reply(
        self, answered: Answered, request: ParsedRequest, model: str
    ) -> Payload:
        """Write a reply for the client who asked; raises UpstreamFault."""


class Led(MediaDialect, Generic[Asked, Answered, Put, Got]):
    """A question in one dialect, put to a provider of another, maybe as another one.

    See `Dialect` for what each method promises.
    """

    operation: Operation | None = None
    """What is asked of the provider; None: what the client asks."""

    def __init__(
        self,
        client: tuple[Dialect, PlainCodec[Asked, Answered]],
        upstream: tuple[Dialect, PlainCodec[Put, Got]],
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

    def put(self, asked: Asked, losses: Losses) -> Put:
        """What the provider is asked; raises InvalidRequest.

        `losses` is told what is left out of it, and what the answer means otherwise.
        """
        raise NotImplementedError

    def answered(self, got: Got, asked: Asked) -> Answered:
        """What the client is answered; raises UpstreamFault."""
        raise NotImplementedError

    def told(self, losses: Losses) -> tuple[str, ...]:
        """What of the losses the client is told."""
        return losses.told

    @override
    def parse_request(self, body: bytes) -> ParsedRequest:
        return self._client.parse_request(body)

    @override
    def render_body(self, request: ParsedRequest, edits: Edits) -> Payload:
        losses = Losses()
        asked = self.put(self._read(request), losses)
        written = self._upstream_codec.write_request(asked, self._model, losses)
        told = self.told(losses)
        request.reading.losses[self.name] = told
        sent = structs.replace(
            request,
            operation=self.operation or request.operation,
            envelope={name: json.raw(value) for name, value in written.members.items()},
            form=written.form,
            target=written.target,
            stream=False,
            wants_base64=False,
            kept=None,
        )
        request.reading.sent[self.name] = sent
        body = write_body(self._upstream, sent, edits)
        if sent.kept is not None:
            # What its own dialect has left out.
            more = sent.kept.losses.get(self.name, ())
            request.reading.losses[self.name] = (*told, *more)
        return body

    @override
    def target_of(self, request: ParsedRequest) -> str:
        return request.reading.sent[self.name].target

    @override
    def parse_answer(
        self, request: ParsedRequest, answer: Answer, public_model: str | None
    ) -> ParsedReply:
        sent = request.reading.sent[self.name]
        judged = read_answer(self._upstream, sent, answer, None)
        asked = self._read(request)
        got = self._upstream_codec.read_reply(judged, self.put(asked, Losses()))
        answered = self.answered(got, asked)
        model = public_model or self._model
        written = self._write_reply(answered, request, model)
        return structs.replace(
            judged, body=written.data, content_type=written.content_type
        )

    def _write_reply(
        self, answered: Answered, request: ParsedRequest, model: str
    ) -> Payload:
        """Write a reply for the client who asked; raises UpstreamFault."""
        return self._client_codec.write_reply(answered, request, model)

    @override
    def tap_answer(
        self, request: ParsedRequest, headers: Any, public_model: str | None
    ) -> StreamTap | None:
        return None

    @override
    def parse_error(self, status: int, body: bytes) -> UpstreamFault:
        return self._upstream.parse_error(status, body)

    @override
    def prompt_text(self, request: ParsedRequest) -> str:
        return self._client.prompt_text(request)

    def wanted_media(self, request: ParsedRequest) -> tuple[str, ...]:  # noqa: ARG002 - as chats have it
        """Nothing must be fetched before the request is written."""
        return ()

    def _read(self, request: ParsedRequest) -> Asked:
        """Read the request, once for all attempts; raises InvalidRequest."""
        reading = request.reading
        if reading.asked is None:
            reading.asked = self._client_codec.read_request(request)
        asked: Asked = reading.asked
        return asked


class PlainTranslation(Led[Asked, Answered, Asked, Answered]):
    """The same question, in another dialect."""

    @override
    def put(self, asked: Asked, losses: Losses) -> Asked:
        return asked

    @override
    def answered(self, got: Answered, asked: Asked) -> Answered:
        return got

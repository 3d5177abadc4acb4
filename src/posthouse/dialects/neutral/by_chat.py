"""Questions of other kinds, answered by a chat model that is told what to do.

Reranking, translation, moderation: where a model has no route for them, it is asked
by a prompt through the neutral form, and its answer is read as strictly as a
provider's would be. `ByChat` is to the relay a `Dialect` like any other. What
callers give stands in a message of its own, as JSON, and is never an instruction.
"""

from collections.abc import Mapping
from functools import partial
from typing import Any, Generic, Protocol, TypeVar

from msgspec import Struct, structs
from typing_extensions import override

from posthouse.dialects.base import (
    Dialect,
    Edits,
    ParsedReply,
    ParsedRequest,
    StreamTap,
)
from posthouse.dialects.neutral.codec import Losses
from posthouse.dialects.neutral.edits import apply_edits
from posthouse.dialects.neutral.media import urls_in, with_media
from posthouse.dialects.neutral.plain import PlainCodec
from posthouse.dialects.neutral.translation import Naming, Speaker, output_text
from posthouse.errors import UpstreamBadResponse, UpstreamFault
from posthouse.model.chat import (
    ChatReply,
    ChatRequest,
    Message,
    OutputFormat,
    OutputKind,
    Part,
    Role,
    Sampling,
    Text,
)
from posthouse.model.traits import ThinkingStyle, Traits
from posthouse.model.usage import ReportedUsage
from posthouse.wire import json
from posthouse.wire.json import MalformedJSON

THOUGHTS = 8_192
"""Tokens that a model which thinks is allowed beside its answer."""

Asked = TypeVar("Asked")
Answered = TypeVar("Answered")


class Prompt(Struct, frozen=True):
    """What a model is told."""

    system: str
    """What to do; "" says nothing."""
    parts: tuple[Part, ...]
    """What to do it with."""
    limit: int
    """Tokens of the answer."""
    schema: Mapping[str, Any] | None = None
    """What the answer looks like; None: it is plain text."""
    extras: Mapping[str, Any] = {}
    """Members of OpenAI's chat that say the rest."""


class Said(Struct, frozen=True):
    """What a model answered."""

    text: str
    usage: ReportedUsage | None
    id: str

    def object(self) -> dict[str, Any]:
        """Read the JSON object that it is; raises UpstreamBadResponse."""
        text = self.text.rpartition("</think>")[2]
        start, end = text.find("{"), text.rfind("}")
        try:
            value = json.decode_leniently(text[start : end + 1].encode())
        except MalformedJSON:
            value = None
        if start < 0 or not isinstance(value, dict):
            raise UpstreamBadResponse
        return value


_Put_contra = TypeVar("_Put_contra", contravariant=True)
_Got_co = TypeVar("_Got_co", covariant=True)


class Task(Protocol[_Put_contra, _Got_co]):
    """Has a chat model answer what it has no route for. Pure."""

    def ask(self, asked: _Put_contra, losses: Losses) -> Prompt:
        """Put the question; raises InvalidRequest.

        `losses` is told what is left out, and what the answer means differently.
        """

    def answer(self, said: Said, asked: _Put_contra) -> _Got_co:
        """Read the answer; raises UpstreamFault."""


class ByChat(Dialect, Generic[Asked, Answered]):
    """See `Dialect` for what each method promises."""

    def __init__(
        self,
        client: tuple[Dialect, PlainCodec[Asked, Answered]],
        upstream: Speaker,
        task: Task[Asked, Answered],
        *,
        traits: Traits,
        naming: Naming,
    ) -> None:
        """Lead a question to a model that chats.

        Args:
            client: what is spoken before us.
            upstream: what is spoken behind us.
            task: what the model is told.
            traits: of the model.
            naming: names replies.
        """
        self._client, self._codec = client
        self._upstream = upstream
        self._task = task
        self._traits = traits
        self._naming = naming
        self.name = upstream.dialect.name
        self.manners = self._client.manners

    @override
    def parse_request(self, body: bytes) -> ParsedRequest:
        return self._client.parse_request(body)

    @override
    def render_request(self, request: ParsedRequest, edits: Edits) -> bytes:
        losses = Losses()
        chat = self._chat(request, losses)
        if request.reading.media:
            chat = with_media(chat, request.reading.media)
        written = self._upstream.codec.write_request(chat, self._traits, losses)
        request.reading.losses[self.name] = losses.told
        envelope = {name: json.raw(value) for name, value in written.items()}
        apply_edits(envelope, edits)
        return json.encode(envelope)

    @override
    def parse_reply(
        self, request: ParsedRequest, body: bytes, public_model: str | None
    ) -> ParsedReply:
        reply = self._upstream.codec.read_reply(body)
        name = self._naming.identity(None).id
        said = Said(_text_of(reply), reply.usage, name)
        answered = self._task.answer(said, self._read(request))
        model = public_model or self._traits.model
        written = self._codec.write_reply(answered, request, model)
        return ParsedReply(
            written.data, reply.usage, reply.service_tier, partial(output_text, reply)
        )

    @override
    def tap_stream(
        self, request: ParsedRequest, public_model: str | None
    ) -> StreamTap | None:
        return None

    @override
    def parse_error(self, status: int, body: bytes) -> UpstreamFault:
        return self._upstream.dialect.parse_error(status, body)

    @override
    def prompt_text(self, request: ParsedRequest) -> str:
        messages = self._chat(request, Losses()).messages
        parts = (part for message in messages for part in message.parts)
        return "\n".join(part.text for part in parts if isinstance(part, Text))

    def wanted_media(self, request: ParsedRequest) -> tuple[str, ...]:
        """The URLs that must be fetched before the request can be rendered."""
        if self._traits.image_urls or not request.prompt.has_media:
            return ()
        chat = self._chat(request, Losses())
        return urls_in(chat, self._upstream.codec.reads_url, pictures=True)

    def _read(self, request: ParsedRequest) -> Asked:
        """Read the request, once for all attempts; raises InvalidRequest."""
        reading = request.reading
        if reading.asked is None:
            reading.asked = self._codec.read_request(request)
        asked: Asked = reading.asked
        return asked

    def _chat(self, request: ParsedRequest, losses: Losses) -> ChatRequest:
        """Write the prompt as a chat."""
        prompt = self._task.ask(self._read(request), losses)
        messages = [Message(Role.USER, prompt.parts)]
        if prompt.system:
            messages.insert(0, Message(Role.SYSTEM, (Text(prompt.system),)))
        chat = ChatRequest(
            dialect=self._client.name,
            model=self._traits.model,
            messages=tuple(messages),
            output_limit=self._limit(prompt.limit),
        )
        if self._traits.thinking is ThinkingStyle.NONE:
            # Others are only steady at the temperature that they were made for.
            chat = structs.replace(chat, sampling=Sampling(temperature=0.0))
        if prompt.schema is not None:
            wanted = OutputFormat(
                OutputKind.SCHEMA, dict(prompt.schema), "answer", strict=True
            )
            chat = structs.replace(chat, output_format=wanted)
        if prompt.extras:
            # They are that dialect's own.
            chat = structs.replace(
                chat, dialect="openai_chat", extras=dict(prompt.extras)
            )
        return chat

    def _limit(self, tokens: int) -> int:
        traits = self._traits
        if traits.thinking is not ThinkingStyle.NONE:
            tokens += THOUGHTS
        return min(tokens, traits.max_output) if traits.max_output else tokens


def _text_of(reply: ChatReply) -> str:
    """What the first answer says; raises UpstreamBadResponse where it says nothing."""
    parts = reply.choices[0].parts if reply.choices else ()
    text = "".join(part.text for part in parts if isinstance(part, Text))
    if not text.strip():
        raise UpstreamBadResponse
    return text

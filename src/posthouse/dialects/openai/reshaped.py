"""Languages that say what another dialect says, under other names.

What they mean is OpenAI's chat; only the shape differs. Such a package offers a
`SHAPE`, which turns a request's body, a reply and a chunk of a stream from one into
the other; whoever knows both joins it with the dialect that it names.
"""

from typing import Any, ClassVar, NoReturn, Protocol

from typing_extensions import override

from posthouse.dialects.base import ParsedRequest
from posthouse.dialects.neutral.codec import (
    ChatCodec,
    ChatDecoder,
    ChatEncoder,
    Identity,
    Losses,
)
from posthouse.dialects.neutral.collect import collect
from posthouse.errors import UpstreamBadResponse
from posthouse.model.chat import ChatReply, ChatRequest, Extras
from posthouse.model.chat_events import ChatEvent, Ended
from posthouse.model.traits import Traits
from posthouse.wire import json
from posthouse.wire.json import MalformedJSON
from posthouse.wire.sse import event_name

_DONE = b"[DONE]"


class Shape(Protocol):
    """Turns OpenAI's chat into a language and back. Pure."""

    of: str
    """The dialect whose shape is changed."""
    in_pieces: ClassVar[bool] = False
    """A whole reply comes as a stream does, a piece on each line."""

    def request(self, body: Extras, losses: Losses) -> Extras:
        """Write a request's body; raises InvalidRequest.

        Whatever is left out is told.
        """

    def reply(self, value: Extras) -> Extras:
        """Read a whole reply; raises UpstreamFault."""

    def chunk(self, value: Extras, event: bytes) -> Extras:
        """Read a frame of a stream; raises UpstreamFault.

        Args:
            value: its data.
            event: what the frame is called; b"" for nothing.
        """

    def ends(self, value: Extras) -> bool:  # noqa: ARG002 - for others
        """Whether a frame says that it is the stream's last."""
        return False


class ReshapedCodec(ChatCodec):
    """Reads and writes a language through the dialect that it is like."""

    def __init__(self, inner: ChatCodec, shape: Shape) -> None:
        """Join a shape with its dialect's codec."""
        self._inner = inner
        self._shape = shape

    @override
    def write_request(
        self, chat: ChatRequest, traits: Traits, losses: Losses
    ) -> dict[str, Any]:
        return self._shape.request(
            self._inner.write_request(chat, traits, losses), losses
        )

    @override
    def read_reply(self, body: bytes) -> ChatReply:
        if self._shape.in_pieces:
            return self._join(body)
        shaped = self._shape.reply(_object(body))
        return self._inner.read_reply(json.encode_leniently(shaped))

    def _join(self, body: bytes) -> ChatReply:
        decoder = self.decoder()
        events = [event for line in body.splitlines() for event in _fed(decoder, line)]
        events += decoder.close()
        if not events or not isinstance(events[-1], Ended):
            raise UpstreamBadResponse
        return collect(events)

    @override
    def decoder(self) -> ChatDecoder:
        return _Decoder(self._inner.decoder(), self._shape)

    @override
    def read_request(self, request: ParsedRequest) -> ChatRequest:
        _refuse()

    @override
    def write_reply(
        self, reply: ChatReply, chat: ChatRequest, identity: Identity
    ) -> bytes:
        _refuse()

    @override
    def encoder(self, chat: ChatRequest, identity: Identity) -> ChatEncoder:
        _refuse()


class _Decoder(ChatDecoder):
    """Reads one stream."""

    __slots__ = ("_inner", "_shape")

    def __init__(self, inner: ChatDecoder, shape: Shape) -> None:
        self._inner = inner
        self._shape = shape

    @override
    def feed(self, raw: bytes, data: bytes) -> list[ChatEvent]:
        if not data or data.startswith(_DONE):
            return self._inner.feed(raw, data)
        value = _object(data)
        shaped = self._shape.chunk(value, event_name(raw))
        events = self._inner.feed(b"", json.encode_leniently(shaped))
        return events + self._inner.close() if self._shape.ends(value) else events

    @override
    def close(self) -> list[ChatEvent]:
        return self._inner.close()


def _fed(decoder: ChatDecoder, line: bytes) -> list[ChatEvent]:
    return decoder.feed(line, line) if line.strip() else []


def _object(data: bytes) -> Extras:
    try:
        value = json.decode_leniently(data)
    except MalformedJSON:
        raise UpstreamBadResponse from None
    if not isinstance(value, dict):
        raise UpstreamBadResponse
    return value


def _refuse() -> NoReturn:
    raise LookupError("nobody asks in a language that is only a provider's")


# --- what several shapes do ---------------------------------------------------------


def objects(value: Any) -> list[Extras]:
    """The objects of a list; what is something else is passed over."""
    entries = value if isinstance(value, list) else ()
    return [entry for entry in entries if isinstance(entry, dict)]


def inner(value: Any) -> Extras:
    """An object, or an empty one."""
    return value if isinstance(value, dict) else {}


def refuse_several(body: Extras, losses: Losses) -> None:
    """Refuse to ask for more than one answer."""
    if body.get("n") not in (None, 1):
        losses.refuse("n", "This model gives one answer at a time.")


def plain_text(content: Any, losses: Losses) -> str:
    """The words of a message, which must be all there is of it."""
    if content is None or isinstance(content, str):
        return content or ""
    texts = []
    for part in objects(content):
        kind = part.get("type")
        if kind not in ("text", "refusal"):
            losses.refuse("messages.content", "This model takes text alone.")
        texts.append(str(part.get(kind) or ""))
    return "\n\n".join(texts)


def taken_apart(messages: list[Extras], losses: Losses) -> tuple[str, list[Extras]]:
    """Give what the system says, wherever it does, and the other messages."""
    said = []
    others: list[Extras] = []
    for message in messages:
        if message.get("role") in ("system", "developer"):
            if others:
                losses.change("messages.role")
            said.append(plain_text(message.get("content"), losses))
        else:
            others.append(message)
    return "\n\n".join(filter(None, said)), others


def tell_left_out(
    message: Extras, known: frozenset[str], losses: Losses, place: str = "messages"
) -> None:
    """Tell the members of an object that the language has no word for."""
    for name, value in message.items():
        if name not in known and value is not None:
            losses.drop(f"{place}.{name}")

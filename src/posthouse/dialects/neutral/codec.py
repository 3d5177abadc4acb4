"""What a chat dialect gives beside its `Dialect`: ways into the neutral form and out.

A dialect's package offers a `CODEC` object of the `ChatCodec` protocol. Readers
take what clients and providers really send, unknown members included, and raise
for what they cannot mean; writers write only what the dialect knows. A writer
of requests that must leave something out tells `Losses`, which refuses what
would change the meaning.
"""

from typing import Any, NoReturn, Protocol

from msgspec import Struct

from posthouse.dialects.base import ParsedRequest
from posthouse.dialects.neutral.media import ReadsURL, reads_none
from posthouse.errors import InvalidRequest
from posthouse.model.chat import ChatReply, ChatRequest
from posthouse.model.chat_events import ChatEvent
from posthouse.model.traits import Traits


class Identity(Struct, frozen=True):
    """What a reply is called where its provider has given it no name."""

    id: str
    """Letters and digits; each dialect puts its own prefix before it."""
    created: int
    """Unix seconds."""
    model: str | None = None
    """Replaces the provider's name for the model, where it is not None."""


NAME_LIMIT = 64
"""Characters of a name that is told."""


def _plain(name: str) -> str:
    """A name as a header may hold it: a caller may call a member anything."""
    if name.isascii() and name.isprintable() and " " not in name:
        return name[:NAME_LIMIT]
    plain = (one if "!" <= one <= "~" else "?" for one in name[:NAME_LIMIT])
    return "".join(plain)


class Losses:
    """What a writer has left out or changed, by the caller's names for it."""

    __slots__ = ("_told",)

    def __init__(self) -> None:
        """Nothing yet."""
        self._told: dict[str, None] = {}

    def drop(self, name: str) -> None:
        """Leave out what does no harm by its absence.

        Args:
            name: the guide's for what every dialect has (`docs/guide/dialects.md`);
                the caller's own, behind the guide's place, for what others lack.
        """
        self._told[f"-{_plain(name)}"] = None

    def change(self, name: str) -> None:
        """Write something else that means nearly the same."""
        self._told[f"~{_plain(name)}"] = None

    def refuse(self, name: str, reason: str) -> NoReturn:
        """Refuse what cannot be left out; raises InvalidRequest.

        Args:
            name: as above.
            reason: a sentence for the caller, which names the feature.
        """
        raise InvalidRequest(reason, param=name, code="unsupported_by_model")

    @property
    def told(self) -> tuple[str, ...]:
        """All of it, in order and each once: `-` was left out, `~` changed."""
        return tuple(self._told)


class ChatDecoder(Protocol):
    """Reads a provider's stream, frame by frame."""

    def feed(self, raw: bytes, data: bytes) -> list[ChatEvent]:
        """Read one frame; raises UpstreamFault for an error in it.

        Args:
            raw: the frame, whole.
            data: what its data lines hold; b"" for a comment.
        """

    def close(self) -> list[ChatEvent]:
        """The provider has closed: gives `Ended` if that is how a stream ends.

        Gives nothing if the stream should have gone on.
        """


class ChatEncoder(Protocol):
    """Writes a client's stream, event by event."""

    def feed(self, event: ChatEvent) -> bytes:
        """Give the frames that the event brings about; b"" for none."""

    def close(self) -> bytes:
        """Give the terminal frames, after `Ended` or an answer that was cut off."""


class ChatCodec(Protocol):
    """Reads and writes one dialect. Pure."""

    reads_url: ReadsURL = staticmethod(reads_none)
    """Asked where the target's traits say that it fetches no pictures."""
    file_urls: bool = True
    """Whether files and sounds may be URLs where pictures may."""

    several: bool = True
    """Whether one request can ask for several answers.

    Where it cannot, and where the target's traits say so, a writer asks for one and
    tells that `n` is changed: who sends it makes a request for each.
    """

    strict_schemas: bool = False
    """Whether answers are held to JSON schemas where a request does not say."""

    def read_request(self, request: ParsedRequest) -> ChatRequest:
        """Read a client's request; raises InvalidRequest."""

    def write_request(
        self, chat: ChatRequest, traits: Traits, losses: Losses
    ) -> dict[str, Any]:
        """Write a request's body for a provider; raises InvalidRequest.

        The model's name is `traits.model`, if the body holds it.
        """

    def read_reply(self, body: bytes) -> ChatReply:
        """Read a provider's whole reply; raises UpstreamFault."""

    def write_reply(
        self, reply: ChatReply, chat: ChatRequest, identity: Identity
    ) -> bytes:
        """Write a whole reply for the client who asked `chat`."""

    def decoder(self) -> ChatDecoder:
        """Begin to read a provider's stream."""

    def encoder(self, chat: ChatRequest, identity: Identity) -> ChatEncoder:
        """Begin to write a stream for the client who asked `chat`."""

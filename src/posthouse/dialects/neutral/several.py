"""Several answers of a provider who gives one at a time.

A call for so many answers becomes as many requests, each for one; what comes back
is numbered anew and joined in the neutral form. Every request has its own usage,
for each is billed on its own. Frames of streams come from one lane or another:
`Lanes` says from which, for whoever reads them next.
"""

from collections.abc import Callable, Sequence

from msgspec import structs
from typing_extensions import override

from posthouse.dialects.base import (
    Frames,
    ParsedReply,
    ParsedRequest,
    Reading,
)
from posthouse.dialects.neutral.codec import ChatDecoder, Identity
from posthouse.dialects.neutral.translation import (
    Speaker,
    TranslatingTap,
    Translation,
    output_text,
)
from posthouse.dialects.neutral.usage import merged_usage, summed_usage
from posthouse.errors import (
    InvalidRequest,
    UpstreamBadResponse,
    UpstreamInterrupted,
)
from posthouse.model.chat import ChatReply, ChatRequest
from posthouse.model.chat_events import (
    Beat,
    ChatEvent,
    Ended,
    PartStarted,
    Started,
    UsageTold,
)
from posthouse.model.usage import ReportedUsage
from posthouse.wire.sse import Frame

MOST_ANSWERS = 16
"""Requests that one call may become."""
_CLOSED = b"a lane has closed"
"""Stands for a frame where a lane's connection was closed; known by identity."""

Usages = Sequence[ReportedUsage | None]


class SeveralTranslation(Translation):
    """A translation for calls that ask for several answers."""

    def split(self, request: ParsedRequest) -> list[ParsedRequest]:
        """Make a request for each answer; raises InvalidRequest."""
        count = request.choices
        if count > MOST_ANSWERS:
            raise InvalidRequest(
                f"This model gives at most {MOST_ANSWERS} answers to one request",
                param="n",
                code="invalid_value",
            )
        chat, reading = self._chat(request), request.reading
        parts = []
        for number in range(count):
            part = chat
            seed = chat.sampling.seed
            if seed is not None and number:
                # With one seed all would be the same answer.
                sampling = structs.replace(chat.sampling, seed=seed + number)
                part = structs.replace(chat, sampling=sampling)
            kept = Reading(part, reading.media, reading.losses)
            parts.append(structs.replace(request, kept=kept))
        return parts

    def join(
        self, request: ParsedRequest, bodies: Sequence[bytes], public_model: str | None
    ) -> tuple[ParsedReply, Usages]:
        """Read the replies to all requests; raises UpstreamFault.

        Gives the one for the client, and the usage of each.
        """
        chat = self._chat(request)
        replies = [self._read(chat, body) for body in bodies]
        whole = joined(replies)
        identity = self._naming.identity(public_model)
        body = self._client.codec.write_reply(whole, chat, identity)
        reply = ParsedReply(
            body=body,
            usage=whole.usage,
            service_tier=whole.service_tier,
            output_text=lambda: output_text(whole),
        )
        return reply, [one.usage for one in replies]

    def merge(
        self, request: ParsedRequest, public_model: str | None
    ) -> "tuple[Lanes, SeveralTap]":
        """Begin to read the streams of all requests as one."""
        count = request.choices
        lanes = Lanes(self.frames, count)
        codec = self._upstream.codec
        tap = SeveralTap(
            SeveralDecoder(lanes, [codec.decoder() for _ in range(count)]),
            self._client,
            self._chat(request),
            self._naming.identity(public_model),
        )
        return lanes, tap


def joined(replies: Sequence[ChatReply]) -> ChatReply:
    """Put the choices of several replies into one, which is else the first."""
    count = len(replies)
    choices = [
        structs.replace(choice, index=number + count * choice.index)
        for number, reply in enumerate(replies)
        for choice in reply.choices
    ]
    return structs.replace(
        replies[0],
        choices=tuple(sorted(choices, key=lambda choice: choice.index)),
        usage=summed_usage([reply.usage for reply in replies]),
    )


# --- streams ------------------------------------------------------------------------


class Lanes(Frames):
    """Cuts several streams, of which one has the turn at a time."""

    def __init__(self, make: Callable[[], Frames], count: int) -> None:
        """Begin so many streams."""
        self._frames = [make() for _ in range(count)]
        self._closing = False
        self.turn = 0
        """Whose bytes come next."""
        self.over: set[int] = set()
        """Those that have told their last word."""

    def take_turn(self, lane: int, *, closing: bool) -> None:
        """Give a lane the turn: with its next bytes, or with its end."""
        self.turn = lane
        self._closing = closing

    @override
    def feed(self, data: bytes) -> list[Frame]:
        frames = self._frames[self.turn]
        if not self._closing:
            return frames.feed(data)
        return [*frames.close(), (_CLOSED, b"")]

    @override
    def close(self) -> list[Frame]:
        return []


class SeveralDecoder(ChatDecoder):
    """Reads several streams as one; a lane's choices get its number."""

    def __init__(self, lanes: Lanes, decoders: list[ChatDecoder]) -> None:
        """Read each lane with a decoder of its own."""
        self._lanes = lanes
        self._decoders = decoders
        self._started = False
        self._told = False
        self.usages: list[ReportedUsage | None] = [None] * len(decoders)
        """Of each lane, as far as it has been told."""

    @override
    def feed(self, raw: bytes, data: bytes) -> list[ChatEvent]:
        lane = self._lanes.turn
        if lane in self._lanes.over:
            return []
        decoder = self._decoders[lane]
        if raw is not _CLOSED:
            return self._moved(lane, decoder.feed(raw, data))
        events = self._moved(lane, decoder.close())
        if lane not in self._lanes.over:
            raise UpstreamInterrupted if self._told else UpstreamBadResponse
        return events

    @override
    def close(self) -> list[ChatEvent]:
        return []

    def _moved(self, lane: int, events: list[ChatEvent]) -> list[ChatEvent]:
        moved = (self._move(lane, event) for event in events)
        return [event for event in moved if event is not None]

    def _move(self, lane: int, event: ChatEvent) -> ChatEvent | None:
        """What a lane's event is to the whole; None: nothing."""
        match event:
            case Started():
                first, self._started = not self._started, True
                return event if first else None
            case UsageTold():
                return self._sum(lane, event)
            case Ended():
                self._lanes.over.add(lane)
                every = len(self._lanes.over) == len(self._decoders)
                return event if every else None
            case Beat():
                return event
            case _:
                self._told = self._told or isinstance(event, PartStarted)
                choice = lane + len(self._decoders) * event.choice
                return structs.replace(event, choice=choice)

    def _sum(self, lane: int, event: UsageTold) -> UsageTold:
        """Tell the usage of all, once all have told theirs."""
        self.usages[lane] = merged_usage(self.usages[lane], event.usage)
        usage = None if None in self.usages else summed_usage(self.usages)
        return UsageTold(usage, event.service_tier, {} if lane else event.extras)


class SeveralTap(TranslatingTap):
    """Reads several streams and writes one."""

    __slots__ = ("each",)

    def __init__(
        self,
        decoder: SeveralDecoder,
        client: Speaker,
        chat: ChatRequest,
        identity: Identity,
    ) -> None:
        """Start before the first frame; see `TranslatingTap`."""
        super().__init__(decoder, client, chat, identity)
        self.each = decoder.usages

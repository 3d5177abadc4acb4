"""From the events of a stream to the reply that it amounts to: the one assembler."""

from typing import Any

from msgspec import structs

from posthouse.dialects.neutral.usage import merged_usage
from posthouse.model.chat import (
    Audio,
    ChatReply,
    Choice,
    Citation,
    Extras,
    Finish,
    Foreign,
    Part,
    Refusal,
    Signature,
    Text,
    Thinking,
    ToolCall,
)
from posthouse.model.chat_events import (
    AudioTold,
    Beat,
    ChatEvent,
    Ended,
    Finished,
    LogprobsTold,
    PartCited,
    PartEnded,
    PartGrew,
    PartSigned,
    PartStarted,
    Started,
    UsageTold,
)
from posthouse.model.usage import ReportedUsage


class _Part:
    """A part that grows."""

    __slots__ = ("citations", "content", "expires_at", "extras", "pieces", "signature")

    def __init__(self, content: Part) -> None:
        self.content = content
        self.pieces: list[str] = []
        self.citations: list[Citation] = []
        self.signature: Signature | None = None
        self.expires_at: int | None = None
        self.extras: Extras = {}

    def whole(self, transcript: str) -> Part:
        part = self.content
        grown = "".join(self.pieces)
        changes: dict[str, Any] = {}
        if isinstance(part, Text | Thinking | Refusal):
            changes["text"] = part.text + grown
        elif isinstance(part, ToolCall):
            changes["arguments"] = part.arguments + grown
        elif isinstance(part, Audio):
            changes.update(self._sound(part, grown, transcript))
        if self.citations and isinstance(part, Text):
            changes["citations"] = (*part.citations, *self.citations)
        if self.signature is not None:
            changes["signature"] = self.signature
        if self.extras and not isinstance(part, Foreign):
            changes["extras"] = part.extras | self.extras
        return structs.replace(part, **changes) if changes else part

    def _sound(self, part: Audio, grown: str, transcript: str) -> dict[str, Any]:
        data = (part.source.data or "") + grown
        changes: dict[str, Any] = {
            "source": structs.replace(part.source, data=data or None)
        }
        if transcript:
            changes["transcript"] = (part.transcript or "") + transcript
        if self.expires_at is not None:
            changes["expires_at"] = self.expires_at
        return changes


class _Choice:
    """A choice that grows."""

    __slots__ = ("extras", "finish", "logprobs", "parts", "transcripts")

    def __init__(self) -> None:
        self.parts: dict[int, _Part] = {}
        self.transcripts: dict[int, list[str]] = {}
        self.logprobs: list[Extras] | None = None
        self.finish: Finish | None = None
        self.extras: Extras = {}

    def whole(self, index: int) -> Choice:
        parts = tuple(
            part.whole("".join(self.transcripts.get(number, ())))
            for number, part in sorted(self.parts.items())
        )
        logprobs = None if self.logprobs is None else tuple(self.logprobs)
        return Choice(index, parts, self.finish, logprobs, self.extras)


class Collector:
    """Takes a stream's events; gives the reply."""

    def __init__(self) -> None:
        """Begin before the first event."""
        self._started: Started | None = None
        self._choices: dict[int, _Choice] = {}
        self._usage: ReportedUsage | None = None
        self._tier: str | None = None
        self._extras: Extras = {}

    def feed(self, event: ChatEvent) -> None:
        """Take one event."""
        match event:
            case PartGrew(choice=choice, part=part, text=text):
                self._choice(choice).parts[part].pieces.append(text)
            case Started():
                self._started = event
                self._extras.update(event.extras)
            case UsageTold():
                self._usage = merged_usage(self._usage, event.usage)
                self._tier = event.service_tier or self._tier
                self._extras.update(event.extras)
            case Ended():
                self._extras.update(event.extras)
            case Beat():
                pass
            case _:
                self._feed_choice(self._choice(event.choice), event)

    def _choice(self, index: int) -> _Choice:
        return self._choices.setdefault(index, _Choice())

    def _feed_choice(
        self,
        choice: _Choice,
        event: PartStarted
        | PartSigned
        | PartCited
        | AudioTold
        | PartEnded
        | LogprobsTold
        | Finished,
    ) -> None:
        match event:
            case PartStarted():
                choice.parts[event.part] = _Part(event.content)
            case PartSigned():
                choice.parts[event.part].signature = event.signature
            case PartCited():
                choice.parts[event.part].citations.append(event.citation)
            case AudioTold():
                choice.transcripts.setdefault(event.part, []).append(event.transcript)
                if event.expires_at is not None:
                    choice.parts[event.part].expires_at = event.expires_at
            case PartEnded():
                choice.parts[event.part].extras.update(event.extras)
            case LogprobsTold():
                choice.logprobs = [*(choice.logprobs or ()), *event.tokens]
            case Finished():
                choice.finish = event.finish
                choice.extras.update(event.extras)

    def reply(self) -> ChatReply:
        """The reply so far."""
        started = self._started or Started("")
        return ChatReply(
            dialect=started.dialect,
            id=started.id,
            model=started.model,
            created=started.created,
            choices=tuple(
                choice.whole(index) for index, choice in sorted(self._choices.items())
            ),
            usage=self._usage,
            service_tier=self._tier,
            extras=self._extras,
        )


def collect(events: list[ChatEvent]) -> ChatReply:
    """Assemble a whole stream."""
    collector = Collector()
    for event in events:
        collector.feed(event)
    return collector.reply()

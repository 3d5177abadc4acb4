"""One choice of a stream as it grows; see `decoder`."""

from typing import Any

from msgspec import Struct

from posthouse.dialects.neutral.members import Members, unlike
from posthouse.dialects.neutral.seal import unseal
from posthouse.dialects.openai_chat.endings import read_finish
from posthouse.dialects.openai_chat.read_messages import (
    arguments_text,
    read_citations,
    read_image,
)
from posthouse.dialects.openai_chat.read_parts import read_part
from posthouse.dialects.openai_chat.read_reply import (
    call_id,
    optional_text,
    read_logprobs,
)
from posthouse.dialects.openai_chat.thoughts import NAME, read_details, take_signature
from posthouse.errors import UpstreamBadResponse
from posthouse.model.chat import (
    Audio,
    Extras,
    Image,
    Media,
    Refusal,
    Text,
    Thinking,
    ToolCall,
)
from posthouse.model.chat_events import (
    AudioTold,
    ChatEvent,
    Finished,
    LogprobsTold,
    PartCited,
    PartEnded,
    PartGrew,
    PartSigned,
    PartStarted,
)

MOST_CALLS = 1024
"""More are nobody's calls."""

_Spoken = type[Text] | type[Thinking] | type[Refusal]


class Delta(Struct, gc=False):
    """What a chunk adds to a choice."""

    content: Any = None
    reasoning_content: Any = None
    reasoning: Any = None
    reasoning_details: Any = None
    refusal: Any = None
    tool_calls: Any = None
    function_call: Any = None
    audio: Any = None
    images: Any = None
    annotations: Any = None
    extra_content: Any = None


class _Call(Struct, gc=False):
    """A call that grows."""

    part: int
    id: str


class Growing:
    """A choice that grows."""

    __slots__ = (
        "_audio",
        "_calls",
        "_detail",
        "_id",
        "_index",
        "_kind",
        "_last_call",
        "_parts",
        "_refused",
        "_spoken",
        "done",
    )

    def __init__(self, index: int, reply_id: str | None) -> None:
        """Begin before its first chunk.

        Args:
            index: the choice's.
            reply_id: the reply's, for calls that have no id.
        """
        self.done = False
        """It has told why it ended."""
        self._index = index
        self._id = f"{call_id(reply_id)}_{index}"
        self._parts = 0
        self._kind: _Spoken | None = None
        """Of the part that is being spoken."""
        self._spoken = 0
        """Its number."""
        self._detail: Any = None
        """The provider's number of the thought that is open."""
        self._audio: int | None = None
        self._calls: dict[int, _Call] = {}
        """By the provider's index, or below 0 where there is none."""
        self._last_call: _Call | None = None
        self._refused = False

    def read(self, delta: Delta, events: list[ChatEvent]) -> None:
        """Read what a chunk adds."""
        content = delta.content
        if content and self._kind is Text and isinstance(content, str):
            # Nearly every chunk is this and nothing else.
            events.append(PartGrew(self._index, self._spoken, content))
            content = None
        thought = delta.reasoning_content or delta.reasoning
        if thought or delta.reasoning_details:
            self._read_thoughts(thought, delta.reasoning_details, events)
        if content:
            self._read_content(content, events)
        if delta.refusal:
            self._refused = True
            self._speak(Refusal, delta.refusal, events)
        if delta.tool_calls or delta.function_call:
            self._read_calls(delta, events)
        if delta.audio or delta.images or delta.annotations or delta.extra_content:
            self._read_rare(delta, events)

    def read_logprobs(self, value: Any, events: list[ChatEvent]) -> None:
        """Read the probabilities of tokens."""
        tokens = read_logprobs(value)
        if tokens:
            events.append(LogprobsTold(self._index, tokens))

    def finish(self, reason: Any, met: Any, events: list[ChatEvent]) -> None:
        """Read why it ended; raises UpstreamFault if the provider has failed."""
        finish = read_finish(
            reason, met, called=bool(self._calls), refused=self._refused
        )
        if finish is None:
            return
        self.end_parts(events)
        self.done = True
        events.append(Finished(self._index, finish))

    def end_parts(self, events: list[ChatEvent]) -> None:
        """End all parts that are open."""
        self._end_spoken(events)
        if self._audio is not None:
            events.append(PartEnded(self._index, self._audio))
            self._audio = None
        if self._calls and not self.done:
            events += [
                PartEnded(self._index, call.part) for call in self._calls.values()
            ]

    # --- what is spoken -------------------------------------------------------------

    def _speak(self, kind: _Spoken, text: Any, events: list[ChatEvent]) -> None:
        """Add to the part of one kind; begin it where another one was open."""
        if not isinstance(text, str):
            raise UpstreamBadResponse
        if self._kind is not kind:
            self._end_spoken(events)
            self._kind = kind
            self._spoken = self._begin(kind(""), events)
        events.append(PartGrew(self._index, self._spoken, text))

    def _begin(
        self,
        part: Text | Thinking | Refusal | ToolCall | Audio | Image,
        events: list[ChatEvent],
    ) -> int:
        number = self._parts
        self._parts += 1
        events.append(PartStarted(self._index, number, part))
        return number

    def _end_spoken(self, events: list[ChatEvent]) -> None:
        if self._kind is not None:
            self._kind = None
            events.append(PartEnded(self._index, self._spoken))

    def _read_content(self, content: Any, events: list[ChatEvent]) -> None:
        if isinstance(content, str):
            self._speak(Text, content, events)
            return
        if not isinstance(content, list):
            raise UpstreamBadResponse
        for entry in content:
            part = read_part(entry, "content", unlike)
            if isinstance(part, Text | Thinking | Refusal) and part.text:
                self._speak(type(part), part.text, events)

    def _read_thoughts(
        self, thought: Any, details: Any, events: list[ChatEvent]
    ) -> None:
        pieces = read_details(details)
        if thought and not any(piece.text for _, piece in pieces):
            self._speak(Thinking, thought, events)
        for number, piece in pieces:
            if piece.redacted:
                self._end_spoken(events)
                part = self._begin(piece, events)
                events.append(PartEnded(self._index, part))
            else:
                self._read_detail(number, piece, events)

    def _read_detail(
        self, number: Any, piece: Thinking, events: list[ChatEvent]
    ) -> None:
        """Read a piece of a thought, which begins another one under a new number."""
        if self._kind is not Thinking or number != self._detail:
            if piece.text or self._kind is not Thinking:
                self._end_spoken(events)
                self._kind = Thinking
                begun = Thinking("", summary=piece.summary, id=piece.id)
                self._spoken = self._begin(begun, events)
            self._detail = number
        if piece.text:
            events.append(PartGrew(self._index, self._spoken, piece.text))
        if piece.signature is not None:
            events.append(PartSigned(self._index, self._spoken, piece.signature))
            # What is thought after it has another signature.
            self._end_spoken(events)

    # --- calls ----------------------------------------------------------------------

    def _read_calls(self, delta: Delta, events: list[ChatEvent]) -> None:
        self._end_spoken(events)
        calls = delta.tool_calls
        for entry in calls if isinstance(calls, list) else [calls]:
            if isinstance(entry, dict):
                self._read_call(entry, events)
        legacy = delta.function_call
        if isinstance(legacy, dict):
            self._read_legacy(legacy, events)

    def _read_call(self, entry: Extras, events: list[ChatEvent]) -> None:
        custom = entry.get("custom")
        called = custom if isinstance(custom, dict) else entry.get("function")
        if not isinstance(called, dict):
            called = {}
        name = optional_text(called.get("name"))
        known_id = optional_text(entry.get("id"))
        call = self._find_call(entry.get("index"), known_id, name)
        if call is None:
            members = Members(entry, "tool_calls", unlike)
            signature = unseal(take_signature(members), NAME)
            call = self._begin_call(
                entry.get("index"),
                ToolCall(
                    known_id or f"{self._id}_{len(self._calls)}",
                    name or "",
                    "",
                    custom=isinstance(custom, dict),
                    signature=signature,
                ),
                events,
            )
        elif "extra_content" in entry:
            members = Members(entry, "tool_calls", unlike)
            late = unseal(take_signature(members), NAME)
            if late is not None:
                events.append(PartSigned(self._index, call.part, late))
        self._last_call = call
        arguments = called.get("input" if isinstance(custom, dict) else "arguments")
        if arguments or arguments == {}:
            text = arguments_text(arguments)
            events.append(PartGrew(self._index, call.part, text))

    def _find_call(
        self, index: Any, known_id: str | None, name: str | None
    ) -> _Call | None:
        """The call that a fragment belongs to; None if it begins one."""
        if type(index) is int:
            call = self._calls.get(index)
            if call is None or not (known_id and name) or call.id == known_id:
                return call
            # All of them have one index: the ids tell them apart.
            return self._call_with(known_id)
        if known_id is not None:
            return self._call_with(known_id)
        return self._last_call if name is None else None

    def _call_with(self, known_id: str) -> _Call | None:
        return next(
            (call for call in self._calls.values() if call.id == known_id), None
        )

    def _begin_call(
        self, index: Any, content: ToolCall, events: list[ChatEvent]
    ) -> _Call:
        if len(self._calls) >= MOST_CALLS:
            raise UpstreamBadResponse
        call = _Call(self._begin(content, events), content.id)
        earlier = self._calls.pop(index, None) if type(index) is int else None
        if earlier is not None:
            # It is whole: what comes under its index now is the new one's.
            self._calls[-1 - earlier.part] = earlier
        self._calls[index if type(index) is int else -1 - call.part] = call
        return call

    def _read_legacy(self, value: Extras, events: list[ChatEvent]) -> None:
        call = self._last_call
        if call is None:
            name = optional_text(value.get("name")) or ""
            content = ToolCall(f"{self._id}_0", name, "", legacy=True)
            call = self._last_call = self._begin_call(0, content, events)
        arguments = arguments_text(value.get("arguments"))
        if arguments:
            events.append(PartGrew(self._index, call.part, arguments))

    # --- what is rare ---------------------------------------------------------------

    def _read_rare(self, delta: Delta, events: list[ChatEvent]) -> None:
        if isinstance(delta.audio, dict):
            self._read_audio(delta.audio, events)
        if isinstance(delta.images, list):
            self._read_images(delta.images, events)
        if delta.annotations:
            for citation in read_citations(delta.annotations):
                if self._kind is not Text:
                    self._speak(Text, "", events)
                events.append(PartCited(self._index, self._spoken, citation))
        if isinstance(delta.extra_content, dict):
            members = Members({"extra_content": delta.extra_content}, "delta", unlike)
            signature = unseal(take_signature(members), NAME)
            if signature is not None:
                if self._kind is not Text:
                    self._speak(Text, "", events)
                events.append(PartSigned(self._index, self._spoken, signature))

    def _read_audio(self, value: Extras, events: list[ChatEvent]) -> None:
        if self._audio is None:
            self._end_spoken(events)
            sound = Audio(Media(), id=optional_text(value.get("id")))
            self._audio = self._begin(sound, events)
        data = optional_text(value.get("data"))
        if data is not None:
            events.append(PartGrew(self._index, self._audio, data))
        transcript = optional_text(value.get("transcript")) or ""
        expires = value.get("expires_at")
        expires = expires if type(expires) is int else None
        if transcript or expires is not None:
            events.append(AudioTold(self._index, self._audio, transcript, expires))

    def _read_images(self, values: list[Any], events: list[ChatEvent]) -> None:
        for value in values:
            part = read_image(Members(value, "images", unlike), unlike)
            if isinstance(part, Image):
                self._end_spoken(events)
                number = self._begin(part, events)
                events.append(PartEnded(self._index, number))

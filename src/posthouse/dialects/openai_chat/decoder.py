"""Reading a provider's stream, chunk by chunk, into neutral events.

What is said, thought and declined grows in parts of its own, one after the
other; calls grow side by side until the choice ends. Only what must have a
certain shape has a type: whatever else stands in a field is passed over.

Sources: OpenAI's API description, `CreateChatCompletionStreamResponse` (openapi,
2026-08). Beyond it: calls without an index or an id, or all of index 0 (early
Gemini, Ollama, SGLang); usage in every chunk or in a choice (Moonshot); thoughts
by several names and pictures (OpenRouter); content that is a list (Mistral); a
last frame that repeats the whole message (MiniMax) and is not read.
"""

from typing import Any

from msgspec import Struct
from typing_extensions import override

from posthouse.dialects.neutral.codec import ChatDecoder
from posthouse.dialects.neutral.usage import merged_usage
from posthouse.dialects.openai.errors import fault_in
from posthouse.dialects.openai.replies import reported_usage, tier_of
from posthouse.dialects.openai_chat.decoding import Delta, Growing
from posthouse.dialects.openai_chat.read_reply import optional_text
from posthouse.dialects.openai_chat.thoughts import NAME
from posthouse.errors import UpstreamBadResponse
from posthouse.model.chat_events import Beat, ChatEvent, Ended, Started, UsageTold
from posthouse.model.usage import ReportedUsage
from posthouse.wire import json
from posthouse.wire.json import MalformedJSON
from posthouse.wire.sse import event_name

MOST_CHOICES = 1024
"""More are nobody's answers."""


class _Choice(Struct, gc=False):
    index: Any = 0
    delta: Delta | None = None
    finish_reason: Any = None
    logprobs: Any = None
    stop_reason: Any = None
    usage: Any = None


class _Chunk(Struct, gc=False):
    id: Any = None
    model: Any = None
    created: Any = None
    choices: list[_Choice] | None = None
    usage: Any = None
    error: Any = None
    service_tier: Any = None
    system_fingerprint: Any = None


_chunk = json.decoder(_Chunk)
_BEAT: list[ChatEvent] = [Beat()]


class Decoder(ChatDecoder):
    """Reads one stream; see `ChatDecoder`."""

    __slots__ = ("_choices", "_ended", "_halves", "_reply_id", "_tier", "_usage")

    def __init__(self) -> None:
        """Begin before the first frame."""
        self._choices: dict[int, Growing] = {}
        self._halves: dict[int, str] = {}
        """By choice, the first half of a character that a chunk ended with."""
        self._reply_id: str | None = None
        self._usage: ReportedUsage | None = None
        self._tier: str | None = None
        self._ended: bool | None = None
        """None: it has not begun."""

    @override
    def feed(self, raw: bytes, data: bytes) -> list[ChatEvent]:
        if not data:
            return _without_data(raw)
        try:
            chunk: _Chunk | None = json.decode_with(_chunk, data)
        except MalformedJSON:
            if data.startswith(b"[DONE]"):
                return self._end()
            chunk = self._oddity(data)
        if chunk is None or self._ended:
            return []
        choices = chunk.choices
        if chunk.error or not (choices or chunk.usage):
            _refuse_error(raw, data)
        events: list[ChatEvent] = []
        if self._ended is None:
            self._start(chunk, events)
        for choice in choices or ():
            self._read_choice(choice, events)
        if chunk.usage is not None or chunk.service_tier is not None:
            self._tell_usage(chunk.usage, chunk.service_tier, events)
        return events

    @override
    def close(self) -> list[ChatEvent]:
        # Some providers say no more after the last reason.
        if self._choices and all(choice.done for choice in self._choices.values()):
            return self._end()
        return []

    def _start(self, chunk: _Chunk, events: list[ChatEvent]) -> None:
        """Begin with the first chunk that says anything of the reply."""
        reply_id = optional_text(chunk.id)
        if reply_id is None and not chunk.choices:
            # Azure begins with what it thinks of the prompt.
            return
        self._ended = False
        self._reply_id = reply_id
        fingerprint = optional_text(chunk.system_fingerprint)
        events.append(
            Started(
                NAME,
                reply_id,
                optional_text(chunk.model),
                chunk.created if type(chunk.created) is int else None,
                {} if fingerprint is None else {"system_fingerprint": fingerprint},
            )
        )

    def _read_choice(self, choice: _Choice, events: list[ChatEvent]) -> None:
        index = choice.index if type(choice.index) is int else 0
        growing = self._choices.get(index)
        if growing is None:
            if len(self._choices) >= MOST_CHOICES:
                raise UpstreamBadResponse
            growing = self._choices[index] = Growing(index, self._reply_id)
        if choice.logprobs is not None:
            growing.read_logprobs(choice.logprobs, events)
        if choice.delta is not None and not growing.done:
            growing.read(choice.delta, events)
        if choice.finish_reason and not growing.done:
            growing.finish(choice.finish_reason, choice.stop_reason, events)
        if choice.usage is not None:
            self._tell_usage(choice.usage, None, events)

    def _tell_usage(self, usage: Any, tier: Any, events: list[ChatEvent]) -> None:
        """Tell what has changed: some report in every chunk."""
        merged = merged_usage(self._usage, reported_usage(usage))
        found = tier_of(tier) or self._tier
        if self._ended is None or (merged == self._usage and found == self._tier):
            return
        self._usage = merged
        self._tier = found
        events.append(UsageTold(merged, found))

    def _oddity(self, data: bytes) -> _Chunk | None:
        """Read what the decoder refused; None if it is unlike a chunk.

        Raises UpstreamFault for an error, and for what is no JSON object at all.
        """
        try:
            value = json.decode_mended(data)
            as_it_came = json.decode_leniently(data)
        except MalformedJSON:
            raise UpstreamBadResponse from None
        if not isinstance(value, dict):
            raise UpstreamBadResponse
        try:
            chunk = json.convert(value, _Chunk)
        except MalformedJSON:
            fault = fault_in(value)
            if fault is not None:
                raise fault from None
            return None
        for choice, odd in zip(
            chunk.choices or (), as_it_came.get("choices") or (), strict=True
        ):
            content = (odd.get("delta") or {}).get("content")
            if choice.delta is not None and isinstance(content, str):
                index = choice.index if type(choice.index) is int else 0
                choice.delta.content = self._joined(index, content)
        return chunk

    def _joined(self, index: int, text: str) -> str:
        """Join halves of a character that came in different chunks."""
        text = self._halves.pop(index, "") + text
        if "\ud800" <= text[-1:] <= "\udbff":
            self._halves[index] = text[-1]
            text = text[:-1]
        return json.mended(text)

    def _end(self) -> list[ChatEvent]:
        if self._ended is not False:
            if self._ended is None:
                raise UpstreamBadResponse
            return []
        self._ended = True
        events: list[ChatEvent] = []
        for choice in self._choices.values():
            if not choice.done:
                # Its stream has ended, and so has it.
                choice.finish("stop", None, events)
        events.append(Ended())
        return events


def _without_data(raw: bytes) -> list[ChatEvent]:
    """Read a comment; raises UpstreamFault for an error that is no event at all."""
    if raw.lstrip()[:1] == b"{":
        _refuse_error(raw, raw)
    return _BEAT


def _refuse_error(raw: bytes, data: bytes) -> None:
    """Raise UpstreamFault if a frame tells of an error."""
    try:
        value = json.decode_leniently(data)
    except MalformedJSON:
        return
    fault = fault_in(value, told=event_name(raw) == b"error")
    if fault is not None:
        raise fault

"""A provider's stream into events.

Source: `RawMessageStreamEvent` of anthropic 2.12.0 (2026-11) and
https://platform.claude.com/docs/en/build-with-claude/streaming: events may come that
nobody has heard of. Blocks never overlap; usage is cumulative. A block that only
Anthropic has is told whole when it ends.
"""

from collections.abc import Callable
from typing import Any

from msgspec import Raw, Struct
from typing_extensions import override

from posthouse.dialects.anthropic_messages.caching import NAME
from posthouse.dialects.anthropic_messages.citations import read_citation
from posthouse.dialects.anthropic_messages.errors import fault_in
from posthouse.dialects.anthropic_messages.finish import take_finish
from posthouse.dialects.anthropic_messages.read_parts import EMPTY_OBJECT, read_block
from posthouse.dialects.anthropic_messages.usage import (
    first_counts,
    merged_counts,
    reported_usage,
    tier_of,
    usage_extras,
)
from posthouse.dialects.neutral.codec import ChatDecoder
from posthouse.dialects.neutral.members import Members, unlike
from posthouse.dialects.neutral.seal import unseal
from posthouse.errors import UpstreamBadResponse
from posthouse.model.chat import Extras, Foreign, Part, ToolCall
from posthouse.model.chat_events import (
    Beat,
    ChatEvent,
    Ended,
    Finished,
    PartCited,
    PartEnded,
    PartGrew,
    PartSigned,
    PartStarted,
    Started,
    UsageTold,
)
from posthouse.wire import json
from posthouse.wire.json import MalformedJSON
from posthouse.wire.sse import event_name

FOREIGN_LIMIT = 8 * 1024 * 1024
"""Characters that a block may have which is told whole."""

_NONE = Raw()


class _Delta(Struct, gc=False):
    """The kinds of growth that are common."""

    type: str
    text: str | None = None
    thinking: str | None = None
    partial_json: str | None = None


class _Growth(Struct, gc=False):
    """A frame that only tells of growth, as nearly all do."""

    type: str
    index: int | None = None
    delta: _Delta | None = None


_growth = json.decoder(_Growth)
_MEMBERS = {
    "text_delta": "text",
    "thinking_delta": "thinking",
    "input_json_delta": "partial_json",
}


_ANY_TIME = ("message_start", "ping")
"""Events that need no beginning before them."""


class _Open:
    """A block that has begun."""

    __slots__ = ("foreign", "grown", "is_call", "part", "size", "value")

    def __init__(self, part: int, content: Part) -> None:
        self.part = part
        self.is_call = isinstance(content, ToolCall)
        self.grown = isinstance(content, ToolCall) and content.arguments != EMPTY_OBJECT
        self.foreign = isinstance(content, Foreign)
        self.value: Extras = dict(content.value) if isinstance(content, Foreign) else {}
        self.size = 0


class AnthropicDecoder(ChatDecoder):
    """Reads one stream."""

    __slots__ = (
        "_finished",
        "_half",
        "_open",
        "_parts",
        "_readers",
        "_started",
        "_usage",
    )

    def __init__(self) -> None:
        """Start before the first frame."""
        self._open: dict[int, _Open] = {}
        """By the index that the provider gave."""
        self._parts = 0
        self._finished = False
        self._started = False
        self._half = ""
        """The first half of a character that a frame ended with."""
        self._usage: Extras = {}
        """As the provider told it so far."""
        self._readers: dict[str, Callable[[Members], list[ChatEvent]]] = {
            "message_start": self._message_start,
            "content_block_start": self._block_start,
            "content_block_delta": self._block_delta,
            "content_block_stop": self._block_stop,
            "message_delta": self._message_delta,
            "message_stop": self._message_stop,
            "ping": self._ping,
        }

    @property
    def open_indexes(self) -> list[int]:
        """The blocks that have begun and not ended, as the provider counts them."""
        return list(self._open)

    @override
    def feed(self, raw: bytes, data: bytes) -> list[ChatEvent]:
        if not data:
            return []
        try:
            frame = _growth.decode(data)
        except json.DECODE_ERRORS:
            return self._feed_rare(raw, data)
        delta = frame.delta
        if frame.type == "content_block_delta" and delta is not None:
            name = _MEMBERS.get(delta.type)
            block = self._open.get(frame.index or 0)
            text = None if name is None else getattr(delta, name)
            if block is not None and text is not None and not block.foreign:
                return self._grow(block, text)
        return self._feed_rare(raw, data)

    def _grow(self, block: _Open, text: str) -> list[ChatEvent]:
        if not text:
            return []
        block.grown = True
        return [PartGrew(0, block.part, text)]

    def _feed_rare(self, raw: bytes, data: bytes) -> list[ChatEvent]:
        """Read any frame; raises UpstreamFault for an error in it."""
        try:
            value = json.decode_mended(data)
        except MalformedJSON:
            raise UpstreamBadResponse from None
        if not isinstance(value, dict):
            raise UpstreamBadResponse
        if b"\\u" in data:
            self._join_halves(value, json.decode_leniently(data))
        kind = value.get("type") or event_name(raw).decode(errors="replace")
        if kind == "error" or value.get("error"):
            raise fault_in(value | {"type": "error"}) or UpstreamBadResponse()
        reader = self._readers.get(kind) if isinstance(kind, str) else None
        if reader is None:
            return []
        if not self._started and kind not in _ANY_TIME:
            raise UpstreamBadResponse
        return reader(Members(value, "", unlike))

    def _join_halves(self, value: Extras, as_it_came: Extras) -> None:
        """Join the halves of a character that came in different frames."""
        delta, came = value.get("delta"), as_it_came.get("delta")
        if not isinstance(delta, dict) or not isinstance(came, dict):
            return
        for name in _MEMBERS.values():
            text = came.get(name)
            if isinstance(text, str):
                text, self._half = self._half + text, ""
                if "\ud800" <= text[-1:] <= "\udbff":
                    text, self._half = text[:-1], text[-1]
                delta[name] = json.mended(text)

    @override
    def close(self) -> list[ChatEvent]:
        return []

    # --- events -----------------------------------------------------------------

    def _message_start(self, frame: Members) -> list[ChatEvent]:
        message = frame.inner("message")
        if message is None:
            raise UpstreamBadResponse
        for name in ("type", "role", "content", "stop_reason", "stop_sequence"):
            message.take(name)
        message.take("stop_details")
        usage = first_counts(message.take("usage"))
        if self._started:
            return self._usage_told(usage)
        self._started = True
        identity, model = message.text("id"), message.text("model")
        started = Started(NAME, identity, model, extras=message.extras())
        return [started, *self._usage_told(usage)]

    def _block_start(self, frame: Members) -> list[ChatEvent]:
        index = frame.whole("index")
        content = frame.inner("content_block")
        if content is None or index in self._open:
            raise UpstreamBadResponse
        part = read_block(content)
        if isinstance(part, ToolCall) and part.arguments == EMPTY_OBJECT:
            started: Part = _without_arguments(part)
        else:
            started = part
        block = _Open(self._parts, part)
        self._parts += 1
        self._open[index or 0] = block
        return [] if block.foreign else [PartStarted(0, block.part, started)]

    def _block_delta(self, frame: Members) -> list[ChatEvent]:
        block = self._open.get(frame.whole("index") or 0)
        delta = frame.inner("delta")
        if block is None or delta is None:
            raise UpstreamBadResponse
        kind = delta.text("type")
        if block.foreign:
            return self._grow_foreign(block, delta)
        if kind == "signature_delta":
            signature = unseal(delta.text("signature"), NAME)
            return [] if signature is None else [PartSigned(0, block.part, signature)]
        if kind == "citations_delta":
            citation = delta.inner("citation")
            if citation is None:
                raise UpstreamBadResponse
            return [PartCited(0, block.part, read_citation(citation))]
        name = _MEMBERS.get(kind or "")
        text = None if name is None else delta.text(name)
        return [] if text is None else self._grow(block, text)

    def _grow_foreign(self, block: _Open, delta: Members) -> list[ChatEvent]:
        """Add what comes to the block's members; texts are joined."""
        for name, value in delta.extras().items():
            if isinstance(value, str):
                block.size += len(value)
                if block.size > FOREIGN_LIMIT:
                    raise UpstreamBadResponse
                pieces = block.value.setdefault(f"+{name}", [])
                pieces.append(value)
            else:
                block.value[name] = value
        return []

    def _block_stop(self, frame: Members) -> list[ChatEvent]:
        block = self._open.pop(frame.whole("index") or 0, None)
        return [] if block is None else self._end(block)

    def _end(self, block: _Open) -> list[ChatEvent]:
        ended = PartEnded(0, block.part)
        if block.foreign:
            return [PartStarted(0, block.part, _whole_foreign(block)), ended]
        if block.is_call and not block.grown:
            return [PartGrew(0, block.part, EMPTY_OBJECT), ended]
        return [ended]

    def _message_delta(self, frame: Members) -> list[ChatEvent]:
        delta = frame.inner("delta")
        usage = frame.take("usage")
        events: list[ChatEvent] = []
        finish = extras = None
        if delta is not None:
            finish, extras = take_finish(delta), delta.extras()
        if finish is not None and not self._finished:
            self._finished = True
            for block in self._open.values():
                events += self._end(block)
            self._open.clear()
            events.append(Finished(0, finish))
        told = self._usage_told(usage)
        if extras:
            told = [UsageTold(None, extras=extras), *told]
        return events + told

    def _usage_told(self, usage: Any) -> list[ChatEvent]:
        if usage is None:
            return []
        self._usage = usage = merged_counts(self._usage, usage)
        return [UsageTold(reported_usage(usage), tier_of(usage), usage_extras(usage))]

    def _message_stop(self, frame: Members) -> list[ChatEvent]:  # noqa: ARG002 - a reader
        return [Ended()]

    def _ping(self, frame: Members) -> list[ChatEvent]:  # noqa: ARG002 - a reader
        return [Beat()]


def _without_arguments(part: ToolCall) -> ToolCall:
    """A call whose arguments are still to come."""
    return ToolCall(part.id, part.name, "", cache=part.cache, extras=part.extras)


def _whole_foreign(block: _Open) -> Foreign:
    value: Extras = {}
    for name, found in block.value.items():
        if not name.startswith("+"):
            value[name] = found
    for name, found in block.value.items():
        if name.startswith("+"):
            _join(value, name[1:], "".join(found))
    kind = value["type"]
    harmless = read_foreign(value)
    return Foreign(kind, value, harmless)


def _join(value: Extras, name: str, text: str) -> None:
    """Put pieces together; those of arguments are JSON."""
    if name != "partial_json":
        before = value.get(name)
        value[name] = before + text if isinstance(before, str) else text
        return
    try:
        value["input"] = json.decode_leniently(text.encode(errors="replace"))
    except MalformedJSON:
        raise UpstreamBadResponse from None


def read_foreign(value: Extras) -> bool:
    """Whether a block is harmless to leave out."""
    part = read_block(Members(value, "", unlike))
    return isinstance(part, Foreign) and part.harmless

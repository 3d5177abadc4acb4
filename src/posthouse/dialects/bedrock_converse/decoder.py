"""A provider's stream into events.

Source: `ConverseStreamOutput` of botocore 1.44.5. Blocks of text and thoughts begin
without being announced; the usage comes after the reason, in the last event of all.
"""

from typing import Any

from msgspec import Struct
from typing_extensions import override

from posthouse.dialects.bedrock_converse.citations import read_citation
from posthouse.dialects.bedrock_converse.errors import judge_exception
from posthouse.dialects.bedrock_converse.frames import EXCEPTION
from posthouse.dialects.bedrock_converse.names import EMPTY_OBJECT, NAME, SIGNED_BY
from posthouse.dialects.bedrock_converse.reply import (
    ToolUse,
    foreign_call,
    read_finish,
    read_image,
)
from posthouse.dialects.bedrock_converse.usage import reported_usage, tier_of
from posthouse.dialects.neutral.codec import ChatDecoder
from posthouse.errors import UpstreamBadResponse
from posthouse.model.chat import Part, Signature, Text, Thinking, ToolCall
from posthouse.model.chat_events import (
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


class _Input(Struct, gc=False):
    input: str = ""


class _Reasoning(Struct, gc=False, rename="camel"):
    text: str | None = None
    signature: str | None = None
    redacted_content: str | None = None


class _Delta(Struct, gc=False, rename="camel"):
    text: str | None = None
    tool_use: _Input | None = None
    reasoning_content: _Reasoning | None = None
    citation: dict[str, Any] | None = None
    image: dict[str, Any] | None = None


class _BlockDelta(Struct, gc=False, rename="camel"):
    delta: _Delta
    content_block_index: int = 0


class _Start(Struct, gc=False, rename="camel"):
    tool_use: ToolUse | None = None
    image: dict[str, Any] | None = None


class _BlockStart(Struct, gc=False, rename="camel"):
    start: _Start
    content_block_index: int = 0


class _BlockStop(Struct, gc=False, rename="camel"):
    content_block_index: int = 0


class _Stop(Struct, gc=False, rename="camel"):
    stop_reason: str | None = None
    additional_model_response_fields: Any = None


class _Metadata(Struct, gc=False, rename="camel"):
    usage: Any = None
    service_tier: Any = None


class _Event(Struct, gc=False, rename="camel"):
    content_block_delta: _BlockDelta | None = None
    message_start: dict[str, Any] | None = None
    content_block_start: _BlockStart | None = None
    content_block_stop: _BlockStop | None = None
    message_stop: _Stop | None = None
    metadata: _Metadata | None = None


_event = json.decoder(_Event)
_exception = json.decoder(dict[str, Any])
_EXCEPTION = b'{"' + EXCEPTION.encode()


class _Open:
    """A block that has begun."""

    __slots__ = ("grown", "image", "is_call", "part")

    def __init__(self, part: int, *, is_call: bool, image: Any = None) -> None:
        self.part = part
        self.is_call = is_call
        self.grown = False
        self.image = image
        """The format of a picture that is still to come."""


class ConverseDecoder(ChatDecoder):
    """Reads one stream."""

    __slots__ = ("_begun", "_ended", "_finished", "_open", "_parts")

    def __init__(self) -> None:
        """Start before the first event."""
        self._begun = False
        self._finished = False
        self._ended = False
        self._open: dict[int, _Open] = {}
        """By the index that the provider gave."""
        self._parts = 0

    @override
    def feed(self, raw: bytes, data: bytes) -> list[ChatEvent]:
        if not data or self._ended:
            return []
        try:
            event: _Event = json.decode_with(_event, data)
        except MalformedJSON:
            raise UpstreamBadResponse from None
        if data.startswith(_EXCEPTION):
            _refuse(data)
        events: list[ChatEvent] = []
        if not self._begun:
            self._begun = True
            events.append(Started(NAME))
        if event.content_block_delta is not None:
            self._grow(event.content_block_delta, events)
        elif event.content_block_start is not None:
            self._start(event.content_block_start, events)
        elif event.content_block_stop is not None:
            self._stop(event.content_block_stop.content_block_index, events)
        elif event.message_stop is not None:
            self._finish(event.message_stop, events)
        elif event.metadata is not None:
            self._tell_usage(event.metadata, events)
        return events

    @override
    def close(self) -> list[ChatEvent]:
        if not self._finished or self._ended:
            return []
        self._ended = True
        return [Ended()]

    # --- blocks -----------------------------------------------------------------

    def _start(self, frame: _BlockStart, events: list[ChatEvent]) -> None:
        index, call = frame.content_block_index, frame.start.tool_use
        if index in self._open:
            raise UpstreamBadResponse
        if call is not None and call.type is None:
            part = ToolCall(call.tool_use_id, call.name, "")
            self._begin(index, part, events)
        elif call is not None:
            self._begin(index, foreign_call(call), events)
        elif frame.start.image is not None:
            # Its bytes come with the next event.
            image = frame.start.image.get("format")
            self._open[index] = _Open(-1, is_call=False, image=image)

    def _begin(self, index: int, part: Part, events: list[ChatEvent]) -> _Open:
        block = _Open(self._parts, is_call=isinstance(part, ToolCall))
        self._parts += 1
        self._open[index] = block
        events.append(PartStarted(0, block.part, part))
        return block

    def _grow(self, frame: _BlockDelta, events: list[ChatEvent]) -> None:
        index, delta = frame.content_block_index, frame.delta
        block = self._open.get(index)
        if delta.text is not None:
            block = block or self._begin(index, Text(""), events)
            self._add(block, delta.text, events)
        elif delta.reasoning_content is not None:
            self._think(index, block, delta.reasoning_content, events)
        elif delta.tool_use is not None:
            if block is None:
                raise UpstreamBadResponse
            if block.is_call:
                self._add(block, delta.tool_use.input, events)
        elif delta.citation is not None:
            block = block or self._begin(index, Text(""), events)
            events.append(PartCited(0, block.part, read_citation(delta.citation)))
        elif delta.image is not None:
            self._show(index, block, delta.image, events)

    def _add(self, block: _Open, text: str, events: list[ChatEvent]) -> None:
        if text:
            block.grown = True
            events.append(PartGrew(0, block.part, text))

    def _think(
        self,
        index: int,
        block: _Open | None,
        delta: _Reasoning,
        events: list[ChatEvent],
    ) -> None:
        if delta.redacted_content is not None:
            signature = Signature(NAME, delta.redacted_content)
            if block is None:
                withheld = Thinking(signature=signature, redacted=True)
                self._begin(index, withheld, events)
            return
        block = block or self._begin(index, Thinking(), events)
        self._add(block, delta.text or "", events)
        if delta.signature:
            signature = Signature(SIGNED_BY, delta.signature)
            events.append(PartSigned(0, block.part, signature))

    def _show(
        self,
        index: int,
        block: _Open | None,
        image: dict[str, Any],
        events: list[ChatEvent],
    ) -> None:
        kind = {} if block is None else {"format": block.image}
        part = read_image(kind | image)
        if part is not None:
            self._begin(index, part, events)

    def _stop(self, index: int, events: list[ChatEvent]) -> None:
        block = self._open.pop(index, None)
        if block is None or block.part < 0:
            return
        if block.is_call and not block.grown:
            events.append(PartGrew(0, block.part, EMPTY_OBJECT))
        events.append(PartEnded(0, block.part))

    # --- the end ----------------------------------------------------------------

    def _finish(self, frame: _Stop, events: list[ChatEvent]) -> None:
        finish = read_finish(frame.stop_reason, frame.additional_model_response_fields)
        if finish is None or self._finished:
            raise UpstreamBadResponse
        self._finished = True
        for index in list(self._open):
            self._stop(index, events)
        events.append(Finished(0, finish))

    def _tell_usage(self, frame: _Metadata, events: list[ChatEvent]) -> None:
        usage, tier = reported_usage(frame.usage), tier_of(frame.service_tier)
        if usage is not None or tier is not None:
            events.append(UsageTold(usage, tier))
        if self._finished:
            self._ended = True
            events.append(Ended())


def _refuse(data: bytes) -> None:
    """Raise what an exception in the stream means."""
    [(name, value)] = json.decode_with(_exception, data).items()
    raise judge_exception(name.removeprefix(EXCEPTION), value)

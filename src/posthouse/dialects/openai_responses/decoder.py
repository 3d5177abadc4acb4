"""A stream of Responses, read into events.

An item's parts are told as they grow; items that only OpenAI has are told whole,
when they are done. Servers differ in what they leave out: a part that was never
begun is begun by what it is given, one that never grew takes its text from the
event that ends it, and a stream whose last event alone tells the answer is read
from that. `response.completed` or `response.incomplete` ends a stream, and
nothing else does.

State is what is open: one entry per item that has begun and is not done.

Sources: `ResponseStreamEvent` of OpenAI's Python SDK, 3.54.
"""

from collections.abc import Callable
from typing import Any, ClassVar

from typing_extensions import override

from posthouse.dialects.neutral.codec import ChatDecoder
from posthouse.dialects.neutral.members import Members, unlike
from posthouse.dialects.openai.errors import fault_in
from posthouse.dialects.openai.replies import tier_of
from posthouse.dialects.openai_responses.errors import failure_in, failure_of
from posthouse.dialects.openai_responses.frames import (
    FRAME,
    Frame,
    OpenItem,
    OpenPart,
    decode_oddity,
)
from posthouse.dialects.openai_responses.names import Namespaces
from posthouse.dialects.openai_responses.parts import (
    NAME,
    read_citation,
    read_part,
)
from posthouse.dialects.openai_responses.read_items import read_call
from posthouse.dialects.openai_responses.read_output import (
    CALLS,
    message_extras,
    read_finish,
    read_item,
    read_logprobs,
)
from posthouse.dialects.openai_responses.reasoning import BREAK, open_signature
from posthouse.dialects.openai_responses.reply import read_created, reply_extras
from posthouse.dialects.openai_responses.usage import read_usage
from posthouse.errors import UpstreamBadResponse, UpstreamOverloaded
from posthouse.model.chat import Extras, Part, Refusal, Text, Thinking, ToolCall
from posthouse.model.chat_events import (
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
from posthouse.wire import json
from posthouse.wire.json import MalformedJSON
from posthouse.wire.sse import event_name

_BEAT: list[ChatEvent] = [Beat()]


class ResponsesDecoder(ChatDecoder):
    """Reads one stream."""

    __slots__ = (
        "_calls",
        "_ended",
        "_half",
        "_items",
        "_next",
        "_refused",
        "_started",
        "sequence",
    )

    def __init__(self) -> None:
        """Start before the first frame."""
        self.sequence = -1
        """The number of the last event that had one."""
        self._items: dict[int, OpenItem] = {}
        self._half = ""
        """Of a character: what a delta ended with."""
        self._next = 0
        self._started = self._ended = False
        self._calls = self._refused = False

    @override
    def feed(self, raw: bytes, data: bytes) -> list[ChatEvent]:
        if not data:
            return self._without_data(raw)
        if self._ended:
            return []
        try:
            found: Frame = FRAME.decode(data)
        except json.DECODE_ERRORS:
            if data.startswith(b"[DONE]"):
                return []
            found = decode_oddity(data)
            if isinstance(found.delta, str):
                found.delta = self._joined(found.delta)
        if type(found.sequence_number) is int:
            self.sequence = found.sequence_number
        reader = self._READERS.get(found.type) if type(found.type) is str else None
        if reader is not None:
            events = reader(self, found)
            return events if self._started else self._late(events)
        if found.error or found.type == "error" or event_name(raw) == b"error":
            self._fail(data)
        return _BEAT

    def _late(self, events: list[ChatEvent]) -> list[ChatEvent]:
        """Begin a response whose first event tells of something else."""
        self._started = True
        return [Started(NAME), *events]

    @override
    def close(self) -> list[ChatEvent]:
        return []

    def _nothing(self, _found: Frame) -> list[ChatEvent]:
        """Say nothing of what was said before."""
        return []

    def _without_data(self, raw: bytes) -> list[ChatEvent]:
        if raw.lstrip()[:1] == b"{":
            self._fail(raw)
        return _BEAT

    def _joined(self, text: str) -> str:
        """Join halves of a character that came in different frames."""
        text = self._half + text
        whole = not "\ud800" <= text[-1:] <= "\udbff"
        self._half = "" if whole else text[-1]
        return json.mended(text if whole else text[:-1])

    def _fail(self, data: bytes) -> None:
        """Raise UpstreamFault for what was told as an error."""
        try:
            value = json.decode_leniently(data)
        except MalformedJSON:
            raise UpstreamBadResponse from None
        raise failure_in(value) if isinstance(value, dict) else UpstreamBadResponse()

    # --- the response ---------------------------------------------------------------

    def _begin(self, found: Frame) -> list[ChatEvent]:
        if self._started:
            return []
        self._started = True
        response = found.response if isinstance(found.response, dict) else {}
        members = Members(response, "", unlike)
        response_id, model = members.text("id"), members.text("model")
        return [Started(NAME, response_id, model, read_created(response))]

    def _end(self, found: Frame) -> list[ChatEvent]:
        response = found.response
        if not isinstance(response, dict):
            raise UpstreamBadResponse
        fault = failure_of(response)
        if fault is not None:
            raise fault
        out = [] if self._started else self._begin(found)
        for index in list(self._items):
            out += self._end_parts(self._items.pop(index))
        if not self._next:
            out += self._whole_output(response.get("output"))
        finish = read_finish(
            {"status": "completed", **response},
            calls=self._calls,
            refused=self._refused,
        )
        if finish is not None:
            out.append(Finished(0, finish))
        tier = tier_of(response.get("service_tier"))
        usage = read_usage(response)
        if usage is not None or tier is not None:
            out.append(UsageTold(usage, tier))
        self._ended = True
        return [*out, Ended(reply_extras(response))]

    def _failed(self, found: Frame) -> list[ChatEvent]:
        response = found.response if isinstance(found.response, dict) else {}
        raise failure_of(response) or fault_in(response) or UpstreamOverloaded()

    def _whole_output(self, output: Any) -> list[ChatEvent]:
        """Read an answer that no other event has told of."""
        out: list[ChatEvent] = []
        for value in output if isinstance(output, list) else ():
            out += self._whole_item(value)
        return out

    def _whole_item(self, value: Any) -> list[ChatEvent]:
        parts, logprobs = read_item(value)
        out: list[ChatEvent] = []
        for part in parts:
            out += (PartStarted(0, self._next, part), PartEnded(0, self._next))
            self._note(part)
            self._next += 1
        if logprobs:
            out.append(LogprobsTold(0, tuple(logprobs)))
        return out

    # --- items ----------------------------------------------------------------------

    def _add_item(self, found: Frame) -> list[ChatEvent]:
        members = Members(found.item, "", unlike)
        kind, item_id = members.peek("type"), members.peek("id")
        item = OpenItem(
            kind if isinstance(kind, str) else "",
            item_id if isinstance(item_id, str) else None,
            message_extras(members) if kind == "message" else {},
        )
        self._items[_index(found.output_index)] = item
        if item.kind not in CALLS:
            return []
        call = read_call(
            members,
            CALLS[item.kind],
            Namespaces(),
            custom=item.kind == "custom_tool_call",
        )
        begun = ToolCall(call.id, call.name, call.arguments, call.custom)
        out = self._start(item, 0, begun)
        item.parts[0].grown = bool(call.arguments)
        return out

    def _end_item(self, found: Frame) -> list[ChatEvent]:
        item = self._items.pop(_index(found.output_index), None)
        if item is None or not item.told:
            return self._whole_item(found.item)
        members = Members(found.item, "", unlike)
        members.take("type")
        out: list[ChatEvent] = []
        if item.kind in CALLS and 0 in item.parts:
            part = item.parts[0]
            custom = item.kind == "custom_tool_call"
            call = read_call(members, CALLS[item.kind], Namespaces(), custom=custom)
            if not part.grown and call.arguments:
                out.append(PartGrew(0, part.number, call.arguments))
            out.append(PartEnded(0, part.number, call.extras))
            return out
        if item.kind == "reasoning" and 0 in item.parts:
            part = item.parts[0]
            signature, _ = open_signature(
                members.text("encrypted_content"), members.text("id")
            )
            if signature is not None:
                out.append(PartSigned(0, part.number, signature))
            for name in ("summary", "content", "status"):
                members.take(name)
            out.append(PartEnded(0, part.number, members.extras()))
            return out
        return self._end_parts(item)

    def _end_parts(self, item: OpenItem) -> list[ChatEvent]:
        """End what a server has left open."""
        return [PartEnded(0, part.number) for part in item.parts.values()]

    def _item(self, found: Frame, kind: str) -> OpenItem:
        """The item that an event is about, begun if it never was."""
        index = _index(found.output_index)
        item = self._items.get(index)
        if item is None:
            item = self._items[index] = OpenItem(kind, None, {})
        return item

    def _start(self, item: OpenItem, index: int, content: Part) -> list[ChatEvent]:
        if isinstance(content, Text | Refusal) and item.extras and not item.told:
            content = type(content)(content.text, extras=item.extras)
        self._note(content)
        item.told = True
        number = self._next
        self._next += 1
        item.parts[index] = OpenPart(number, content, 0)
        return [PartStarted(0, number, content)]

    def _note(self, part: Part) -> None:
        """Remember what decides how an answer has ended."""
        self._calls = self._calls or isinstance(part, ToolCall)
        self._refused = self._refused or isinstance(part, Refusal)

    # --- words ----------------------------------------------------------------------

    def _add_part(self, found: Frame) -> list[ChatEvent]:
        part = Members(found.part, "", unlike)
        if part.peek("type") == "reasoning_text":
            return []
        content = read_part(part)
        if isinstance(content, Text):
            content = Text(content.text)
        item = self._item(found, "message")
        return self._start(item, _index(found.content_index), content)

    def _words(
        self, found: Frame, kind: type[Text | Refusal]
    ) -> tuple[OpenPart, list[ChatEvent]]:
        """The words that an event is about, begun if they never were."""
        item = self._item(found, "message")
        index = _index(found.content_index)
        part = item.parts.get(index)
        if part is not None:
            return part, []
        out = self._start(item, index, kind(""))
        return item.parts[index], out

    def _grow_text(self, found: Frame) -> list[ChatEvent]:
        part, out = self._words(found, Text)
        if found.logprobs:
            out.append(LogprobsTold(0, read_logprobs(found.logprobs)))
            part.scored = True
        part.grown = True
        out.append(PartGrew(0, part.number, _text(found.delta)))
        return out

    def _grow_refusal(self, found: Frame) -> list[ChatEvent]:
        part, out = self._words(found, Refusal)
        part.grown = True
        out.append(PartGrew(0, part.number, _text(found.delta)))
        return out

    def _whole_text(self, found: Frame) -> list[ChatEvent]:
        part, out = self._words(found, Text)
        if found.logprobs and not part.scored:
            out.append(LogprobsTold(0, read_logprobs(found.logprobs)))
            part.scored = True
        return out + self._rest_of(part, found.text)

    def _whole_refusal(self, found: Frame) -> list[ChatEvent]:
        part, out = self._words(found, Refusal)
        return out + self._rest_of(part, found.refusal)

    def _rest_of(self, part: OpenPart, text: Any) -> list[ChatEvent]:
        """What a part that never grew has come to."""
        if part.grown or not isinstance(text, str) or not text:
            return []
        part.grown = True
        return [PartGrew(0, part.number, text)]

    def _cite(self, found: Frame) -> list[ChatEvent]:
        part, out = self._words(found, Text)
        part.cited += 1
        citation = read_citation(Members(found.annotation, "", unlike))
        return [*out, PartCited(0, part.number, citation)]

    def _end_part(self, found: Frame) -> list[ChatEvent]:
        item = self._item(found, "message")
        members = Members(found.part, "", unlike)
        if members.peek("type") == "reasoning_text":
            return []
        part = item.parts.pop(_index(found.content_index), None)
        if part is None:
            return []
        whole = read_part(members)
        out: list[ChatEvent] = []
        extras: Extras = {}
        if isinstance(whole, Text):
            out += self._rest_of(part, whole.text)
            out += [
                PartCited(0, part.number, citation)
                for citation in whole.citations[part.cited :]
            ]
            extras = whole.extras
        elif isinstance(whole, Refusal):
            out += self._rest_of(part, whole.text)
            extras = whole.extras
        return [*out, PartEnded(0, part.number, extras)]

    # --- thoughts -------------------------------------------------------------------

    def _thoughts(
        self, found: Frame, piece: int, *, summary: bool
    ) -> tuple[OpenPart, list[ChatEvent]]:
        """The thoughts that an event is about, and what begins a piece of them."""
        item = self._item(found, "reasoning")
        part = item.parts.get(0)
        out: list[ChatEvent] = []
        if part is not None and part.summary is not summary:
            # A summary ends where the thoughts themselves begin.
            out.append(PartEnded(0, part.number))
            part = None
        if part is None:
            out += self._start(item, 0, Thinking(summary=summary, id=item.id))
            part = item.parts[0]
            part.piece = piece
        elif piece > part.piece:
            # One break, whatever was left out: the number is only what one says.
            out.append(PartGrew(0, part.number, BREAK))
            part.piece = piece
            part.grown = False
        return part, out

    def _add_summary(self, found: Frame) -> list[ChatEvent]:
        piece = _index(found.summary_index)
        return self._thoughts(found, piece, summary=True)[1]

    def _grow_summary(self, found: Frame) -> list[ChatEvent]:
        return self._think(found, _index(found.summary_index), summary=True)

    def _grow_thoughts(self, found: Frame) -> list[ChatEvent]:
        return self._think(found, _index(found.content_index), summary=False)

    def _think(self, found: Frame, piece: int, *, summary: bool) -> list[ChatEvent]:
        part, out = self._thoughts(found, piece, summary=summary)
        part.grown = True
        return [*out, PartGrew(0, part.number, _text(found.delta))]

    def _whole_summary(self, found: Frame) -> list[ChatEvent]:
        piece = _index(found.summary_index)
        part, out = self._thoughts(found, piece, summary=True)
        return out + self._rest_of(part, found.text)

    def _whole_thoughts(self, found: Frame) -> list[ChatEvent]:
        piece = _index(found.content_index)
        part, out = self._thoughts(found, piece, summary=False)
        return out + self._rest_of(part, found.text)

    # --- calls ----------------------------------------------------------------------

    def _grow_call(self, found: Frame) -> list[ChatEvent]:
        part = self._call(found)
        part.grown = True
        return [PartGrew(0, part.number, _text(found.delta))]

    def _whole_call(self, found: Frame) -> list[ChatEvent]:
        given = found.input if found.arguments is None else found.arguments
        return self._rest_of(self._call(found), given)

    def _call(self, found: Frame) -> OpenPart:
        item = self._items.get(_index(found.output_index))
        part = None if item is None else item.parts.get(0)
        if part is None or not part.is_call:
            # Of a call that never began nobody knows the name.
            raise UpstreamBadResponse
        return part

    _READERS: ClassVar[
        dict[str, Callable[["ResponsesDecoder", Frame], list[ChatEvent]]]
    ] = {
        "response.output_text.delta": _grow_text,
        "response.function_call_arguments.delta": _grow_call,
        "response.custom_tool_call_input.delta": _grow_call,
        "response.reasoning_summary_text.delta": _grow_summary,
        "response.reasoning_text.delta": _grow_thoughts,
        "response.refusal.delta": _grow_refusal,
        "response.created": _begin,
        "response.queued": _begin,
        "response.in_progress": _begin,
        "response.output_item.added": _add_item,
        "response.output_item.done": _end_item,
        "response.content_part.added": _add_part,
        "response.content_part.done": _end_part,
        "response.output_text.done": _whole_text,
        "response.output_text.annotation.added": _cite,
        "response.refusal.done": _whole_refusal,
        "response.function_call_arguments.done": _whole_call,
        "response.custom_tool_call_input.done": _whole_call,
        "response.reasoning_summary_part.added": _add_summary,
        "response.reasoning_summary_part.done": _nothing,
        "response.reasoning_summary_text.done": _whole_summary,
        "response.reasoning_text.done": _whole_thoughts,
        "response.completed": _end,
        "response.incomplete": _end,
        "response.failed": _failed,
    }


def _index(value: Any) -> int:
    return value if type(value) is int else 0


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value
    raise UpstreamBadResponse

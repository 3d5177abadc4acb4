"""Events into a client's stream.

Source: the event order that anthropic 2.12.0's `accumulate_event` takes: one
`message_start`, then blocks without overlaps, counted from 0, then `message_delta`
and `message_stop`, which wait for the end. What a message has used is known last
from most providers: `message_start` says nothing of it, `message_delta` all.
"""

from typing import Any

from typing_extensions import override

from posthouse.dialects.anthropic_messages.caching import NAME
from posthouse.dialects.anthropic_messages.citations import write_citation
from posthouse.dialects.anthropic_messages.errors import event
from posthouse.dialects.anthropic_messages.finish import write_finish
from posthouse.dialects.anthropic_messages.reply import (
    carried_signature,
    message_head,
    spoken,
    written_blocks,
)
from posthouse.dialects.anthropic_messages.usage import write_usage
from posthouse.dialects.neutral.codec import ChatEncoder, Identity
from posthouse.dialects.neutral.seal import seal
from posthouse.dialects.neutral.sequence import Sequencer
from posthouse.dialects.neutral.usage import merged_usage
from posthouse.model.chat import (
    Audio,
    ChatRequest,
    Extras,
    Finish,
    Part,
    Refusal,
    Signature,
    Text,
    Thinking,
    ToolCall,
)
from posthouse.model.chat_events import (
    AudioTold,
    ChatEvent,
    Finished,
    PartCited,
    PartEnded,
    PartGrew,
    PartSigned,
    PartStarted,
    Started,
    UsageTold,
)
from posthouse.model.usage import ReportedUsage
from posthouse.wire import json

_STOP = event("message_stop", b'{"type":"message_stop"}')
_TEXT_BEGINS = '{"input":"'
_TEXT_ENDS = '"}'
"""Around the text of a custom tool's call, as `custom_tools.wrapped` has it."""
_DELTAS = {
    "text": ("text_delta", "text"),
    "thinking": ("thinking_delta", "thinking"),
    "tool_use": ("input_json_delta", "partial_json"),
}


class AnthropicEncoder(ChatEncoder):
    """Writes one stream."""

    __slots__ = (
        "_calls",
        "_chat",
        "_extras",
        "_finish",
        "_identity",
        "_index",
        "_kind",
        "_opened",
        "_own",
        "_part",
        "_refused",
        "_sequencer",
        "_signature",
        "_started",
        "_tier",
        "_told",
        "_usage",
    )

    def __init__(self, chat: ChatRequest, identity: Identity) -> None:
        """Start before the first event."""
        self._chat = chat
        self._identity = identity
        self._sequencer = Sequencer()
        self._started = False
        self._own = False
        self._index = 0
        """Of the next block."""
        self._part: Part | None = None
        """As the block's part began."""
        self._kind = ""
        self._opened = False
        """The block's start is written: it waits for something to say."""
        self._signature: Signature | None = None
        self._calls = self._refused = False
        self._finish: Finish | None = None
        self._told: Extras = {}
        """Of ours, beside why it ended."""
        self._usage: ReportedUsage | None = None
        self._tier: str | None = None
        self._extras: Extras = {}

    @override
    def feed(self, event: ChatEvent) -> bytes:
        return b"".join(map(self._write, self._sequencer.feed(event)))

    def _write(self, told: ChatEvent) -> bytes:
        match told:
            case PartGrew(text=text):
                out = self._grow(text)
            case PartStarted():
                out = self._begin(told.content)
            case PartEnded():
                out = self._end()
            case PartCited():
                citation = write_citation(told.citation, own=self._own)
                out = self._delta({"type": "citations_delta", "citation": citation})
            case AudioTold():
                out = self._say(told.transcript)
            case Started():
                out = self._start(told)
            case _:
                out = b""
                self._note(told)
        return out

    def _note(self, told: ChatEvent) -> None:
        """Keep what is written at an end: the block's, or the message's."""
        match told:
            case PartSigned():
                self._signature = told.signature
            case UsageTold():
                self._usage = merged_usage(self._usage, told.usage)
                self._tier = told.service_tier or self._tier
                self._extras |= told.extras if self._own else {}
            case Finished():
                self._finish = told.finish
                self._told = _ours(told.extras) | _ours(told.finish.extras)
            case _:
                pass

    # --- the message ------------------------------------------------------------

    def _start(self, started: Started) -> bytes:
        self._started = True
        self._own = started.dialect == NAME
        own_id = started.id if self._own else None
        extras = dict(started.extras) if self._own else {}
        self._extras = {"usage": extras.pop("usage")} if "usage" in extras else {}
        message = (
            message_head(own_id, started.model, self._chat, self._identity)
            | {"content": [], "stop_reason": None, "stop_sequence": None}
            | {"stop_details": None, "usage": write_usage(None)}
            | extras
        )
        return _event({"type": "message_start", "message": message})

    @override
    def close(self) -> bytes:
        begun = b"" if self._started else self._start(Started(""))
        begun += self._end()
        finish = write_finish(
            self._finish, own=self._own, calls=self._calls, refused=self._refused
        )
        extras = self._extras
        usage = write_usage(self._usage, self._tier, extras)
        rest = {name: value for name, value in extras.items() if name != "usage"}
        told = {"type": "message_delta", "delta": finish | rest, "usage": usage}
        return begun + _event(told | self._told) + _STOP

    # --- blocks -----------------------------------------------------------------

    def _begin(self, part: Part) -> bytes:
        """Begin a part; what may turn out to be empty waits for its first word."""
        self._part = part
        self._opened = False
        self._signature = carried_signature(part)
        match part:
            case ToolCall():
                self._calls = True
                self._kind = "tool_use"
                before = self._carry()
                head = {"type": "tool_use", "id": part.id, "name": part.name}
                start = self._open(head | {"input": {}})
                return before + start + self._say_arguments(part)
            case Thinking() if not part.redacted:
                self._kind = "thinking"
                self._signature = part.signature
                return self._say(part.text)
            case Text():
                self._kind = "text"
                said = self._say(part.text)
                return said + b"".join(self._cite(part))
            case Refusal():
                self._refused = True
                self._kind = "text"
                return self._say(part.text)
            case Audio():
                self._kind = "text"
                return self._say(spoken(part))
            case _:
                self._kind = ""
                return self._whole(part)

    def _say_arguments(self, part: ToolCall) -> bytes:
        """Begin what a call is given; text is put where JSON must be."""
        if not part.custom:
            return self._say(part.arguments)
        return self._say(_TEXT_BEGINS) + self._grow(part.arguments)

    def _cite(self, part: Text) -> list[bytes]:
        cited = [write_citation(found, own=self._own) for found in part.citations]
        return [
            self._delta({"type": "citations_delta", "citation": citation})
            for citation in cited
        ]

    def _grow(self, text: str) -> bytes:
        part = self._part
        if isinstance(part, ToolCall) and part.custom:
            text = json.encode_leniently(text)[1:-1].decode()
        # The base64 of a sound is nothing that could be shown.
        return b"" if isinstance(part, Audio) else self._say(text)

    def _say(self, text: str) -> bytes:
        """Write more of the block, after its start if that is still to come."""
        if not text or not self._kind:
            return b""
        kind, name = _DELTAS[self._kind]
        return self._delta({"type": kind, name: text})

    def _delta(self, delta: Extras) -> bytes:
        start = b"" if self._opened else self._open(_empty(self._kind))
        frame = {"type": "content_block_delta", "index": self._index, "delta": delta}
        return start + _event(frame)

    def _open(self, block: Extras) -> bytes:
        self._opened = True
        frame = {"type": "content_block_start", "index": self._index}
        return _event(frame | {"content_block": block})

    def _whole(self, part: Part) -> bytes:
        """Write blocks that come whole, such as pictures and thoughts withheld."""
        out = b""
        for block in written_blocks((part,), own=self._own):
            out += self._open(block) + self._stop()
        self._part = None
        self._signature = None
        return out

    def _end(self) -> bytes:
        """End the block, thoughts with their signature."""
        part, self._part = self._part, None
        if part is None:
            return b""
        if isinstance(part, ToolCall) and part.custom:
            return self._say(_TEXT_ENDS) + self._stop() + self._carry()
        if self._kind == "thinking":
            if not self._opened and self._signature is None:
                return b""
            signed = seal(self._signature, NAME)
            delta = self._delta({"type": "signature_delta", "signature": signed})
            return delta + self._stop()
        ended = self._stop() if self._opened else b""
        return ended + self._carry()

    def _stop(self) -> bytes:
        frame = {"type": "content_block_stop", "index": self._index}
        self._index += 1
        self._opened = False
        return _event(frame)

    def _carry(self) -> bytes:
        """Write a block for a signature that has no place in its own."""
        signature, self._signature = self._signature, None
        if signature is None:
            return b""
        carrier = Thinking(signature=signature)
        out = b""
        for block in written_blocks((carrier,), own=False):
            signed = {"type": "signature_delta", "signature": block["signature"]}
            out += self._open(block | {"signature": ""})
            out += self._delta(signed) + self._stop()
        return out


def _ours(extras: Extras) -> Extras:
    """What Posthouse itself has to say of an end."""
    found = extras.get("posthouse")
    return {"posthouse": found} if isinstance(found, dict) else {}


def _empty(kind: str) -> Extras:
    if kind == "thinking":
        return {"type": "thinking", "thinking": "", "signature": ""}
    return {"type": "text", "text": ""}


def _event(frame: dict[str, Any]) -> bytes:
    return event(frame["type"], json.encode(frame))

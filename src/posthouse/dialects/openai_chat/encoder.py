"""Writing a client's stream, event by event, as chunks.

The first chunk of a choice tells the role, calls are counted from 0 whatever
parts stand between them, one chunk tells why a choice ended, and the usage comes
last, with no choices, if it was asked for. `[DONE]` is the terminal frame.

Source: OpenAI's API description, `CreateChatCompletionStreamResponse` (openapi,
2026-08); see `thoughts` and `write_reply` for what clients know beside.
"""

from collections.abc import Callable
from typing import Any

from msgspec import Struct, structs
from typing_extensions import override

from posthouse.dialects.neutral.codec import ChatEncoder, Identity
from posthouse.dialects.neutral.custom_tools import unwrapped
from posthouse.dialects.neutral.seal import seal
from posthouse.dialects.openai_chat.endings import (
    finish_name,
    write_tier,
    write_usage,
)
from posthouse.dialects.openai_chat.thoughts import (
    NAME,
    write_detail,
    write_signature,
)
from posthouse.dialects.openai_chat.write_reply import (
    Calls,
    public_model,
    write_citations,
    write_image,
)
from posthouse.model.chat import (
    Audio,
    ChatRequest,
    Citation,
    Extras,
    Finish,
    FinishReason,
    Image,
    Part,
    Refusal,
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
from posthouse.wire import json
from posthouse.wire.sse import comment, data_frame

_DONE = data_frame(b"[DONE]")
_BEAT = comment(b"keep-alive")
_UNENDED = Finish(FinishReason.STOP)
_CUT_OFF = "posthouse"
"""The member that says why an answer was cut off; it stands beside the choices."""


class _Part(Struct, gc=False):
    """A part that is open."""

    content: Part
    call: int = 0
    """The number of a call among the calls."""
    detail: int = 0
    """The number of a thought among the thoughts."""
    start: int = 0
    """Where a text begins in the message."""
    told: bool = False
    """Some of a call's arguments have been."""
    waiting: list[str] | None = None
    """Arguments of a call that can only be told whole."""
    citations: list[Citation] | None = None


class _Choice(Struct):
    """What is counted of a choice."""

    parts: dict[int, _Part]
    calls: int = 0
    details: int = 0
    length: int = 0
    """Characters of its text."""
    refused: bool = False
    done: bool = False
    scores: list[Extras] | None = None
    """Probabilities of the next tokens; None if nobody told any."""


class Encoder(ChatEncoder):
    """Writes one stream; see `ChatEncoder`."""

    __slots__ = (
        "_calls",
        "_chat",
        "_choices",
        "_created",
        "_details",
        "_head",
        "_id",
        "_identity",
        "_model",
        "_own",
        "_tail",
        "_tier",
        "_usage",
    )

    def __init__(self, chat: ChatRequest, identity: Identity) -> None:
        """Begin before the first event.

        Args:
            chat: what was asked.
            identity: what the reply is called if it has no name.
        """
        self._chat = chat
        self._identity = identity
        self._calls = Calls(chat)
        self._choices: dict[int, _Choice] = {}
        self._usage: ReportedUsage | None = None
        self._tier: str | None = None
        self._own = False
        self._details = False
        """Thoughts may come with signatures."""
        self._head = self._head_of(Started(""))
        # What OpenAI's own say before the usage.
        self._tail = b',"usage":null}\n\n' if chat.include_usage else b"}\n\n"

    @override
    def feed(self, event: ChatEvent) -> bytes:
        return _FEEDS[type(event)](self, event)

    @override
    def close(self) -> bytes:
        return _DONE

    # --- the reply --------------------------------------------------------------------

    def _started(self, event: Started) -> bytes:
        self._own = event.dialect == NAME
        self._details = not self._own
        self._head = self._head_of(event)
        return self._role(0)

    def _head_of(self, event: Started) -> bytes:
        """Write what all chunks begin with."""
        identity = self._identity
        head: Extras = {
            "id": event.id or f"chatcmpl-{identity.id}",
            "object": "chat.completion.chunk",
            "created": identity.created if event.created is None else event.created,
            "model": public_model(event.model, self._chat, identity),
        }
        if self._own:
            head |= event.extras
        return b"data: " + json.encode(head)[:-1] + b',"choices":'

    def _usage_told(self, event: UsageTold) -> bytes:
        if event.usage is not None:
            self._usage = event.usage
        self._tier = event.service_tier or self._tier
        return b""

    def _beat(self, _: Beat) -> bytes:
        return _BEAT

    def _ended(self, _: Ended) -> bytes:
        out = [
            self._finish(index, _UNENDED)
            for index, choice in self._choices.items()
            if not choice.done
        ]
        if self._chat.include_usage:
            out.append(self._last_chunk())
        return b"".join(out)

    def _last_chunk(self) -> bytes:
        usage = None if self._usage is None else write_usage(self._usage)
        end: Extras = {"usage": usage}
        tier = write_tier(self._tier, own=self._own)
        if tier is not None:
            end["service_tier"] = tier
        return self._head + b"[]," + json.encode(end)[1:] + b"\n\n"

    def _chunk(
        self,
        index: int,
        delta: Extras,
        *,
        finish: str | None = None,
        logprobs: Extras | None = None,
        beside: Extras | None = None,
    ) -> bytes:
        """Write a chunk of one choice."""
        choice: Extras = {
            "index": index,
            "delta": delta,
            "logprobs": logprobs,
            "finish_reason": finish,
        }
        if beside:
            choice |= beside
        return self._head + b"[" + json.encode(choice) + b"]" + self._tail

    def _role(self, index: int) -> bytes:
        self._choices[index] = _Choice({})
        return self._chunk(index, {"role": "assistant", "content": "", "refusal": None})

    # --- parts ------------------------------------------------------------------------

    def _part_started(self, event: PartStarted) -> bytes:
        index = event.choice
        before = b"" if index in self._choices else self._role(index)
        choice = self._choices[index]
        content = event.content
        part = choice.parts[event.part] = _Part(content)
        match content:
            case Text():
                part.start = choice.length
                part.citations = list(content.citations)
                out = self._grow(index, choice, part, content.text)
                if content.signature is not None:
                    out += self._part_signed(
                        PartSigned(index, event.part, content.signature)
                    )
            case Thinking():
                part.detail = choice.details
                choice.details += 1
                out = self._begin_thought(index, choice, part, content)
            case Refusal():
                choice.refused = True
                out = self._grow(index, choice, part, content.text)
            case ToolCall():
                part.call = choice.calls
                choice.calls += 1
                out = self._begin_call(index, choice, part, content)
            case Audio():
                out = self._begin_audio(index, content)
            case Image():
                entry = write_image(content)
                delta = {"images": [entry | {"index": 0}]} if entry else {}
                out = self._chunk(index, delta) if entry else b""
            case _:
                out = b""
        return before + out

    def _part_grew(self, event: PartGrew) -> bytes:
        index = event.choice
        choice = self._choices[index]
        return self._grow(index, choice, choice.parts[event.part], event.text)

    def _grow(self, index: int, choice: _Choice, part: _Part, text: str) -> bytes:
        """Write more of a part."""
        if not text:
            return b""
        content = part.content
        delta: Extras
        if type(content) is Text:
            return self._say(index, choice, text)
        if type(content) is Thinking:
            delta = {"reasoning_content": text}
            if self._details or content.summary or content.id is not None:
                piece = Thinking(text, summary=content.summary, id=content.id)
                delta["reasoning_details"] = [write_detail(piece, part.detail)]
        elif type(content) is ToolCall:
            return self._add_arguments(index, part, content, text)
        elif type(content) is Refusal:
            delta = {"refusal": text}
        elif type(content) is Audio:
            delta = {"audio": {"data": text}}
        else:
            return b""
        if type(content) is Refusal:
            return self._scored(index, choice, delta)
        return self._chunk(index, delta)

    def _say(self, index: int, choice: _Choice, text: str) -> bytes:
        """Write more of a text, as nearly every chunk does."""
        choice.length += len(text)
        if choice.scores:
            return self._scored(index, choice, {"content": text})
        return (
            b'%b[{"index":%d,"delta":{"content":%b},"logprobs":null,'
            b'"finish_reason":null}]%b'
            % (self._head, index, json.encode(text), self._tail)
        )

    def _part_signed(self, event: PartSigned) -> bytes:
        index = event.choice
        part = self._choices[index].parts[event.part]
        signature = seal(event.signature, NAME)
        content = part.content
        delta: Extras
        if isinstance(content, Thinking):
            # The text has been told piece by piece.
            signed = structs.replace(content, text="", signature=event.signature)
            delta = {"reasoning_details": [write_detail(signed, part.detail)]}
        elif isinstance(content, ToolCall):
            extra = {"extra_content": write_signature(None, signature)}
            delta = {"tool_calls": [{"index": part.call} | extra]}
        elif isinstance(content, Text):
            delta = {"extra_content": write_signature(None, signature)}
        else:
            return b""
        return self._chunk(index, delta)

    def _part_cited(self, event: PartCited) -> bytes:
        # Told at the part's end, when it is known what they are for.
        part = self._choices[event.choice].parts[event.part]
        if part.citations is not None:
            part.citations.append(event.citation)
        return b""

    def _audio_told(self, event: AudioTold) -> bytes:
        audio: Extras = {}
        if event.transcript:
            audio["transcript"] = event.transcript
        if event.expires_at is not None:
            audio["expires_at"] = event.expires_at
        return self._chunk(event.choice, {"audio": audio}) if audio else b""

    def _part_ended(self, event: PartEnded) -> bytes:
        index = event.choice
        choice = self._choices[index]
        part = choice.parts.pop(event.part)
        content = part.content
        if isinstance(content, ToolCall):
            return self._end_call(index, part, content)
        if not part.citations:
            return b""
        told = write_citations(tuple(part.citations), part.start, choice.length)
        return self._chunk(index, {"annotations": told}) if told else b""

    # --- thoughts, sounds and calls ---------------------------------------------------

    def _begin_thought(
        self, index: int, choice: _Choice, part: _Part, content: Thinking
    ) -> bytes:
        if content.redacted:
            details = [write_detail(content, part.detail)]
            return self._chunk(index, {"reasoning_details": details})
        out = self._grow(index, choice, part, content.text)
        if content.signature is None:
            return out
        signed = structs.replace(content, text="")
        details = [write_detail(signed, part.detail)]
        return out + self._chunk(index, {"reasoning_details": details})

    def _begin_audio(self, index: int, content: Audio) -> bytes:
        audio: Extras = {"id": content.id or "audio"}
        if content.source.data:
            audio["data"] = content.source.data
        if content.transcript:
            audio["transcript"] = content.transcript
        if content.expires_at is not None:
            audio["expires_at"] = content.expires_at
        return self._chunk(index, {"audio": audio})

    def _begin_call(
        self, index: int, choice: _Choice, part: _Part, content: ToolCall
    ) -> bytes:
        if self._calls.legacy:
            if part.call > 0:
                # There is no word for a second one.
                return b""
            begun: Extras = {"name": content.name, "arguments": ""}
            out = self._chunk(index, {"function_call": begun})
            return out + self._grow(index, choice, part, content.arguments)
        if self._calls.is_wrapped(content):
            part.waiting = []
        entry = self._calls.entry(structs.replace(content, arguments=""))
        inner = entry[entry["type"]]
        inner["input" if "input" in inner else "arguments"] = ""
        out = self._chunk(index, {"tool_calls": [{"index": part.call} | entry]})
        return out + self._grow(index, choice, part, content.arguments)

    def _add_arguments(
        self, index: int, part: _Part, content: ToolCall, text: str
    ) -> bytes:
        part.told = True
        if part.waiting is not None:
            part.waiting.append(text)
            return b""
        delta: Extras
        if self._calls.legacy:
            if part.call > 0:
                return b""
            delta = {"function_call": {"arguments": text}}
        elif content.custom:
            delta = {"tool_calls": [{"index": part.call, "custom": {"input": text}}]}
        else:
            inner = {"arguments": text}
            delta = {"tool_calls": [{"index": part.call, "function": inner}]}
        return self._chunk(index, delta)

    def _end_call(self, index: int, part: _Part, content: ToolCall) -> bytes:
        if part.waiting is not None:
            text = unwrapped("".join(part.waiting))
            inner = {"index": part.call, "custom": {"input": text}}
            return self._chunk(index, {"tool_calls": [inner]})
        if part.told or content.custom:
            return b""
        # Clients parse what they have been told, and nothing is no JSON.
        return self._add_arguments(index, part, content, "{}")

    # --- the choice -------------------------------------------------------------------

    def _logprobs_told(self, event: LogprobsTold) -> bytes:
        index = event.choice
        before = b"" if index in self._choices else self._role(index)
        choice = self._choices[index]
        choice.scores = [*(choice.scores or ()), *event.tokens]
        return before

    def _finished(self, event: Finished) -> bytes:
        before = b"" if event.choice in self._choices else self._role(event.choice)
        out = before + self._finish(event.choice, event.finish)
        why = event.extras.get(_CUT_OFF)
        if why is None:
            return out
        told = b',"%b":' % _CUT_OFF.encode() + json.encode(why)
        return out[: -len(self._tail)] + told + self._tail

    def _finish(self, index: int, finish: Finish) -> bytes:
        choice = self._choices[index]
        choice.done = True
        before = b""
        if choice.scores:
            # Of what has been said already.
            before = self._scored(index, choice, {})
        legacy = self._calls.legacy and choice.calls > 0
        name = finish_name(finish, legacy=legacy, refused=choice.refused)
        told = finish.extras.get("finish_reason")
        if self._own and isinstance(told, str):
            name = told
        met = finish.stop_sequence
        beside = None if met is None else {"stop_reason": met}
        return before + self._chunk(index, {}, finish=name, beside=beside)

    def _scored(self, index: int, choice: _Choice, delta: Extras) -> bytes:
        """Write a chunk with the probabilities of what it says, if they are known."""
        if not choice.scores:
            return self._chunk(index, delta)
        tokens, choice.scores = choice.scores, []
        told: Extras = {"content": tokens, "refusal": None}
        if choice.refused:
            told = {"content": None, "refusal": tokens}
        return self._chunk(index, delta, logprobs=told)


_FEEDS: dict[type, Callable[[Encoder, Any], bytes]] = {
    Started: Encoder._started,  # noqa: SLF001 - the table of this class's methods
    PartStarted: Encoder._part_started,  # noqa: SLF001
    PartGrew: Encoder._part_grew,  # noqa: SLF001
    PartSigned: Encoder._part_signed,  # noqa: SLF001
    PartCited: Encoder._part_cited,  # noqa: SLF001
    AudioTold: Encoder._audio_told,  # noqa: SLF001
    PartEnded: Encoder._part_ended,  # noqa: SLF001
    LogprobsTold: Encoder._logprobs_told,  # noqa: SLF001
    Finished: Encoder._finished,  # noqa: SLF001
    UsageTold: Encoder._usage_told,  # noqa: SLF001
    Beat: Encoder._beat,  # noqa: SLF001
    Ended: Encoder._ended,  # noqa: SLF001
}

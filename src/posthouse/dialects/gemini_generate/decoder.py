"""Reading replies: a stream frame by frame, a whole one as its only frame.

Every frame is a whole `GenerateContentResponse` with the next pieces. Nothing but
the connection's end ends a stream, and after a candidate's finish reason there may
still come what it rests on, so that everything is finished at the end. The usage
so far stands on every frame. What a choice has beside its parts is kept, the last
of each name; its text is kept only as far as `grounding` needs it.

Sources: https://ai.google.dev/api/generate-content (2026-11);
`types.GenerateContentResponse` in google-genai 3.4.0.
"""

from typing import Any

from msgspec import Raw, structs

from posthouse.dialects.gemini_generate.calls import made_id
from posthouse.dialects.gemini_generate.endings import read_finish, read_logprobs
from posthouse.dialects.gemini_generate.grounding import (
    Ruler,
    count_queries,
    read_citations,
)
from posthouse.dialects.gemini_generate.read_parts import (
    Arguments,
    Given,
    argument_at,
    arguments_in_reply,
    joins,
    read_call,
    read_said,
    says_nothing,
)
from posthouse.dialects.gemini_generate.signatures import NAME
from posthouse.dialects.gemini_generate.usage import read_usage, with_searches
from posthouse.dialects.gemini_generate.usual import Piece, UsualFrames
from posthouse.dialects.google.errors import blocked, fault_in
from posthouse.dialects.google.names import canonical, inner, members_of
from posthouse.dialects.neutral.members import unlike
from posthouse.errors import UpstreamBadResponse
from posthouse.model.chat import (
    Audio,
    Extras,
    Finish,
    FinishReason,
    Part,
    Text,
    Thinking,
    ToolCall,
)
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
from posthouse.model.usage import ReportedUsage
from posthouse.wire import json
from posthouse.wire.json import MalformedJSON

MOST_CHOICES = 128

_value = json.decoder(Any)
_KNOWN = frozenset(
    {"candidates", "modelVersion", "promptFeedback", "responseId", "usageMetadata"}
)
_OF_CANDIDATE = frozenset(
    {"content", "finishMessage", "finishReason", "index", "logprobsResult"}
)


class _Choice:
    """A candidate that grows."""

    __slots__ = (
        "called",
        "extras",
        "index",
        "message",
        "number",
        "open",
        "reason",
        "ruler",
    )

    def __init__(self, index: int) -> None:
        self.index = index
        self.open: Part | None = None
        """The part that grows: as it began, or as its newest piece was."""
        self.number = -1
        """The newest part's."""
        self.called = False
        self.reason: str | None = None
        self.message: str | None = None
        self.extras: Extras = {}
        self.ruler = Ruler()

    @property
    def goes_on(self) -> bool:
        """Whether words that come are more of a text."""
        part = self.open
        return isinstance(part, Text) and not (part.signature or part.extras)

    def end_part(self, out: list[ChatEvent]) -> None:
        if self.open is not None:
            out.append(PartEnded(self.index, self.number))
            self.open = None

    def take(self, part: Part, out: list[ChatEvent]) -> None:
        """Take the next piece."""
        if says_nothing(part):
            return
        if self.open is not None and joins(self.open, part):
            self._grow(part, out)
            return
        self.end_part(out)
        self.number += 1
        out.append(PartStarted(self.index, self.number, part))
        if isinstance(part, Text):
            self.ruler = Ruler()
            self.ruler.add(part.text)
        if isinstance(part, Text | Thinking | Audio):
            self.open = part
        else:
            out.append(PartEnded(self.index, self.number))

    def _grow(self, part: Part, out: list[ChatEvent]) -> None:
        if isinstance(part, Audio):
            out.append(PartGrew(self.index, self.number, part.source.data or ""))
            self.open = part
            return
        if not isinstance(part, Text | Thinking):
            return
        if part.text:
            out.append(PartGrew(self.index, self.number, part.text))
            self.ruler.add(part.text)
        if part.signature is not None:
            out.append(PartSigned(self.index, self.number, part.signature))
            self.open = part

    def finish(self, out: list[ChatEvent]) -> None:
        """Everything has been said."""
        if isinstance(self.open, Text):
            citations = read_citations(
                self.extras.get("groundingMetadata"),
                self.extras.get("citationMetadata"),
                self.ruler,
            )
            out += [PartCited(self.index, self.number, one) for one in citations]
        self.end_part(out)
        if self.reason is not None:
            finish = read_finish(self.reason, self.message, called=self.called)
            out.append(Finished(self.index, finish, self.extras))


class GeminiDecoder:
    """Reads one reply."""

    __slots__ = (
        "_calls",
        "_choices",
        "_extras",
        "_id",
        "_later",
        "_model",
        "_passing",
        "_started",
        "_told",
        "_usage",
        "_usual",
        "blocked",
    )

    def __init__(self, *, passing: bool = False) -> None:
        """Begin before the first frame.

        Args:
            passing: a client of Google's own reads the reply beside us: that the
                prompt was blocked is an answer and no error.
        """
        self._passing = passing
        self._choices: dict[int, _Choice] = {}
        self._calls = 0
        self._started = False
        self._id: str | None = None
        self._model: str | None = None
        self._extras: Extras = {}
        self._later: Extras = {}
        """What was told beside, after the beginning."""
        self._told: Any = None
        """The newest usage, as it stood."""
        self._usage: ReportedUsage | None = None
        self._usual = UsualFrames()
        self.blocked = False
        """The prompt is not answered."""

    def feed(self, raw: bytes, data: bytes) -> list[ChatEvent]:
        """Read one frame; raises UpstreamFault for an error in it."""
        if not data:
            return self._without_data(raw)
        piece = self._usual.read(data)
        if piece is not None and (said := self._said(piece)) is not None:
            return said
        value = _decoded(data)
        if value is None:
            return []
        out: list[ChatEvent] = []
        self._read(canonical(value, "", unlike), data, out)
        return out

    def _said(self, piece: Piece) -> list[ChatEvent] | None:
        """Go on with a text; None if it is not one that goes on."""
        choice = self._choices.get(piece.choice)
        if choice is None or not choice.goes_on:
            return None
        out: list[ChatEvent] = []
        if piece.text:
            choice.ruler.add(piece.text)
            out.append(PartGrew(piece.choice, choice.number, piece.text))
        if piece.usage != self._usage:
            self._told = None
            self._usage = piece.usage
            out.append(UsageTold(piece.usage, extras=self._usual.extras))
        return out

    def finished(self, wanted: int) -> bool:
        """Whether as many choices as were asked for have told why they end."""
        if self.blocked:
            return True
        ended = sum(choice.reason is not None for choice in self._choices.values())
        return ended >= min(wanted, max(1, len(self._choices)))

    @property
    def is_empty(self) -> bool:
        """Whether nothing was told: no answer, no reason for none, no usage."""
        return not (self._choices or self.blocked or self._usage)

    def close(self, *, whole: bool = False) -> list[ChatEvent]:
        """The provider has closed.

        Args:
            whole: the frame was a whole reply: an end without a reason is one.
        """
        ended = self.blocked or (
            bool(self._choices)
            and all(choice.reason is not None for choice in self._choices.values())
        )
        if not self._started or not (ended or whole):
            return []
        out: list[ChatEvent] = []
        queries = 0
        for choice in self._choices.values():
            queries += count_queries(choice.extras.get("groundingMetadata"))
            choice.finish(out)
        if not (self._choices or self.blocked):
            out.append(Finished(0, Finish(FinishReason.OTHER)))
        usage = with_searches(self._usage, queries, self._model)
        if usage is not self._usage:
            out.append(UsageTold(usage))
        out.append(Ended(self._later))
        return out

    # --- frames -----------------------------------------------------------------

    def _without_data(self, raw: bytes) -> list[ChatEvent]:
        """Pass a comment; raises UpstreamFault for an error that is no event."""
        text = raw.strip()
        if text[:1] in (b"{", b"["):
            try:
                fault = fault_in(json.decode_leniently(text))
            except MalformedJSON:
                fault = None
            if fault is not None:
                raise fault
        return [Beat()]

    def _read(self, frame: Extras, data: bytes, out: list[ChatEvent]) -> None:
        if frame.get("error"):
            fault = fault_in(frame)
            if fault is not None:
                raise fault
        candidates = frame.get("candidates") or []
        if not isinstance(candidates, list):
            raise UpstreamBadResponse
        self._read_head(frame, answered=bool(candidates), out=out)
        arguments = arguments_in_reply(data) if candidates else []
        for position, candidate in enumerate(candidates):
            self._candidate(candidate, position, arguments, out)
        told = frame.get("usageMetadata")
        if told is not None and told != self._told:
            self._told = told
            self._usage, beside = read_usage(told)
            extras = {"usageMetadata": beside} if beside else {}
            self._usual.learn(data, self._usage, extras)
            out.append(UsageTold(self._usage, extras=extras))

    def _read_head(
        self, frame: Extras, *, answered: bool, out: list[ChatEvent]
    ) -> None:
        """Read what stands around the candidates."""
        extras = {}
        if not frame.keys() <= _KNOWN or "promptFeedback" in frame:
            extras = {
                name: value
                for name, value in frame.items()
                if value is not None and (name not in _KNOWN or name[0] == "p")
            }
            feedback = frame.get("promptFeedback")
            if isinstance(feedback, dict):
                self._judge(feedback, answered=answered or bool(self._choices))
        if self._started:
            self._later |= extras
            return
        self._started = True
        self._id = _text(frame.get("responseId"))
        self._model = _text(frame.get("modelVersion"))
        out.append(Started(NAME, self._id, self._model, extras=extras))

    def _judge(self, feedback: Extras, *, answered: bool) -> None:
        """Raise UpstreamRejected for a prompt that is not answered."""
        known = canonical(feedback, "promptFeedback", unlike)
        reason = known.get("blockReason")
        if answered or not reason or reason == "BLOCKED_REASON_UNSPECIFIED":
            return
        if not self._passing:
            raise blocked(reason, known.get("blockReasonMessage"))
        self.blocked = True

    # --- candidates -------------------------------------------------------------

    def _choice(self, value: Any, position: int) -> _Choice:
        index = value if type(value) is int else position
        choice = self._choices.get(index)
        if choice is None:
            if not 0 <= index < MOST_CHOICES:
                raise UpstreamBadResponse
            choice = self._choices[index] = _Choice(index)
        return choice

    def _candidate(
        self, value: Any, position: int, arguments: Arguments, out: list[ChatEvent]
    ) -> None:
        if not isinstance(value, dict):
            raise UpstreamBadResponse
        candidate = canonical(value, "candidates", unlike)
        choice = self._choice(candidate.get("index"), position)
        content = candidate.get("content") or {}
        parts = content.get("parts") if isinstance(content, dict) else content
        if isinstance(parts, dict):
            parts = [parts]
        if not isinstance(parts, list | None):
            raise UpstreamBadResponse
        # Told before the tokens that they are of.
        tokens = read_logprobs(candidate.get("logprobsResult"))
        if tokens:
            out.append(LogprobsTold(choice.index, tokens))
        for index, part in enumerate(parts or ()):
            raw = argument_at(arguments, position, index)
            self._part(choice, part, raw, out)
        if candidate.keys() <= {"content", "index"}:
            return
        choice.reason = _reason(candidate.get("finishReason")) or choice.reason
        choice.message = _text(candidate.get("finishMessage")) or choice.message
        for name, member in candidate.items():
            if name not in _OF_CANDIDATE and member is not None:
                choice.extras[name] = member

    def _part(
        self, choice: _Choice, value: Any, raw: Raw | None, out: list[ChatEvent]
    ) -> None:
        members = members_of(value, "parts", unlike)
        given = Given(unlike, raw)
        call = inner(members, "functionCall", unlike)
        if call is None:
            part = read_said(members, given)
        else:
            part = self._call(read_call(call, call.text("id") or "", given, members))
            choice.called = True
        if part is not None:
            choice.take(part, out)

    def _call(self, call: ToolCall) -> ToolCall:
        ordinal, self._calls = self._calls, self._calls + 1
        if call.id:
            return call
        return structs.replace(call, id=made_id(self._id or "", ordinal))


def _decoded(data: bytes) -> Extras | None:
    """Read a frame's object; None for what old relays end a stream with.

    Raises UpstreamBadResponse for anything else.
    """
    try:
        value = json.decode_with(_value, data)
    except MalformedJSON:
        if data.startswith(b"[DONE]"):
            return None
        try:
            value = json.decode_mended(data)
        except MalformedJSON:
            raise UpstreamBadResponse from None
    if isinstance(value, list) and len(value) == 1:
        # Errors come so, and whole streams without `alt=sse`.
        value = value[0]
    if not isinstance(value, dict):
        raise UpstreamBadResponse
    return value


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None


def _reason(value: Any) -> str | None:
    reason = _text(value)
    return None if reason == "FINISH_REASON_UNSPECIFIED" else reason

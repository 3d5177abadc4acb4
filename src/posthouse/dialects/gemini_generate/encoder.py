"""Writing a stream for clients of this dialect, event by event.

Pieces of text go out as they come. A call is whole here: its arguments wait until
it has ended. Why the candidates end, what they rest on and what they have used
stand in the last frame, which `close` gives: the connection's end follows it. It
has an empty text, for SDKs forget a turn with a content that has no part.
"""

from posthouse.dialects.gemini_generate.endings import write_finish, write_logprobs
from posthouse.dialects.gemini_generate.grounding import Cited, Ruler, write_grounding
from posthouse.dialects.gemini_generate.signatures import (
    NAME,
    sign_thought,
    write_signature,
)
from posthouse.dialects.gemini_generate.usage import write_usage
from posthouse.dialects.gemini_generate.write_reply import (
    content_of,
    encoded,
    write_call,
    write_part,
)
from posthouse.dialects.google.framing import KEEP_ALIVE, event
from posthouse.dialects.neutral.codec import Identity
from posthouse.dialects.neutral.usage import merged_usage
from posthouse.model.chat import (
    Audio,
    Extras,
    Image,
    Media,
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
from posthouse.wire import json

_Key = tuple[int, int]
_USAGE = "usageMetadata"


class _Open:
    """A part that grows."""

    __slots__ = ("content", "pieces", "ruler", "said", "signature")

    def __init__(self, content: Part) -> None:
        self.content = content
        self.pieces: list[str] = []
        """Of arguments, which wait."""
        self.said = ""
        """A sound's base64 that is no whole number of bytes yet."""
        self.signature: Signature | None = None
        self.ruler = Ruler()


class GeminiEncoder:
    """Writes one stream."""

    __slots__ = (
        "_before",
        "_cited",
        "_extras",
        "_finishes",
        "_identity",
        "_open",
        "_own",
        "_tail",
        "_usage",
        "_usage_extras",
    )

    def __init__(self, identity: Identity) -> None:
        """Begin before the first event."""
        self._identity = identity
        self._own = False
        self._open: dict[_Key, _Open] = {}
        self._finishes: dict[int, Extras] = {}
        """By choice, what its last candidate says."""
        self._cited: dict[int, list[Cited]] = {}
        self._usage: ReportedUsage | None = None
        self._usage_extras: Extras = {}
        self._extras: Extras = {}
        self._before: dict[int, tuple[bytes, bytes]] = {}
        """By choice, what a frame has around its part."""
        self._tail = self._named(None, None)

    def _named(self, model: str | None, reply: str | None) -> bytes:
        """Write what every frame ends with."""
        names = {
            "modelVersion": self._identity.model or model or "",
            "responseId": reply or self._identity.id,
        }
        return json.encode(names)[1:]

    def feed(self, event_: ChatEvent) -> bytes:  # noqa: PLR0911 - a table
        """Give the frames that the event brings about; b"" for none."""
        match event_:
            case PartGrew():
                return self._grown(event_)
            case PartStarted():
                return self._begun(event_)
            case PartEnded():
                return self._ended(event_)
            case PartSigned() | PartCited() | AudioTold():
                return self._told(event_)
            case LogprobsTold():
                return self._frame(
                    event_.choice, {"text": ""}, write_logprobs(event_.tokens)
                )
            case Finished() | UsageTold() | Ended() | Started():
                self._keep(event_)
                return b""
            case Beat():
                return KEEP_ALIVE

    # --- the whole reply ------------------------------------------------------------

    def _keep(self, told: Finished | UsageTold | Ended | Started) -> None:
        match told:
            case Started():
                self._own = told.dialect == NAME
                self._tail = self._named(told.model, told.id)
                self._before.clear()
            case Finished():
                found = write_finish(told.finish, own=self._own)
                beside = told.extras
                message = beside.get("posthouse")
                if isinstance(message, dict):
                    # Why an answer ends before its end.
                    found["finishMessage"] = message.get("message")
                    self._extras["posthouse"] = message
                elif self._own:
                    found |= beside
                self._finishes[told.choice] = found
            case UsageTold():
                self._usage = merged_usage(self._usage, told.usage)
                if self._own:
                    self._usage_extras = told.extras or self._usage_extras
            case Ended():
                pass
        if self._own and isinstance(told, Started | Ended):
            extras = dict(told.extras)
            beside = extras.pop(_USAGE, None)
            if beside:
                self._usage_extras = {_USAGE: beside}
            self._extras |= extras

    def close(self) -> bytes:
        """Give the last frame."""
        candidates = []
        for choice, finish in sorted(self._finishes.items()):
            found = {"content": content_of([]), **finish, "index": choice}
            grounding = write_grounding(self._cited.get(choice, []))
            if grounding and not self._own:
                found["groundingMetadata"] = grounding
            candidates.append(found)
        body: Extras = {"candidates": candidates}
        if self._usage is not None:
            beside = self._usage_extras.get(_USAGE, {})
            body[_USAGE] = write_usage(self._usage, beside)
        head = json.encode(body | self._extras)
        return event(head[:-1] + b"," + self._tail)

    # --- parts ----------------------------------------------------------------------

    def _begun(self, started: PartStarted) -> bytes:
        part = started.content
        found = self._open[started.choice, started.part] = _Open(part)
        if isinstance(part, Text):
            found.ruler.add(part.text)
            self._cite(started.choice, found, started.part, part)
        if isinstance(part, ToolCall):
            found.pieces.append(part.arguments)
            return b""
        if isinstance(part, Text | Thinking | Refusal):
            signed = getattr(part, "signature", None)
            if not (part.text or signed or (self._own and part.extras)):
                return b""
        if isinstance(part, Audio) and part.source.data is None:
            return b""
        written = write_part(part, own=self._own)
        return b"" if written is None else self._frame(started.choice, written)

    def _cite(self, choice: int, opened: _Open, number: int, part: Text) -> None:
        for citation in part.citations:
            cited = Cited(number, citation, opened.ruler)
            self._cited.setdefault(choice, []).append(cited)

    def _grown(self, grew: PartGrew) -> bytes:
        found = self._open.get((grew.choice, grew.part))
        if found is None or not grew.text:
            return b""
        match found.content:
            case ToolCall():
                found.pieces.append(grew.text)
                return b""
            case Thinking():
                return self._frame(grew.choice, {"text": grew.text, "thought": True})
            case Audio():
                return self._sounds(found, grew)
            case Text():
                found.ruler.add(grew.text)
            case _:
                pass
        before, after = self._around(grew.choice)
        words = encoded(grew.text)
        return before + b'{"text":' + words + b"}" + after + self._tail + b"\r\n\r\n"

    def _sounds(self, found: _Open, grew: PartGrew) -> bytes:
        """Write more of a sound, in pieces that are base64 of their own."""
        data = found.said + grew.text
        whole = len(data) - len(data) % 4
        found.said = data[whole:]
        return self._sound(found, grew.choice, data[:whole])

    def _sound(self, found: _Open, choice: int, data: str) -> bytes:
        content = found.content
        if not data or not isinstance(content, Audio):
            return b""
        media_type = content.source.media_type
        written = write_part(
            Audio(Media(data=data, media_type=media_type)), own=self._own
        )
        return b"" if written is None else self._frame(choice, written)

    def _told(self, told: PartSigned | PartCited | AudioTold) -> bytes:
        found = self._open.get((told.choice, told.part))
        if found is None:
            return b""
        match told:
            case PartSigned():
                found.signature = told.signature
            case PartCited():
                cited = Cited(told.part, told.citation, found.ruler)
                self._cited.setdefault(told.choice, []).append(cited)
            case AudioTold():
                # What is heard has no words beside it here.
                pass
        return b""

    def _ended(self, ended: PartEnded) -> bytes:
        found = self._open.pop((ended.choice, ended.part), None)
        if found is None:
            return b""
        content, signature = found.content, found.signature
        match content:
            case ToolCall():
                if signature is not None:
                    content = ToolCall(
                        content.id,
                        content.name,
                        "",
                        custom=content.custom,
                        signature=signature,
                        extras=content.extras,
                    )
                call = write_call(content, "".join(found.pieces), own=self._own)
                return self._frame(ended.choice, call)
            case Audio():
                return self._sound(found, ended.choice, found.said)
            case Thinking() if signature is not None:
                thought = Thinking(
                    "", signature, redacted=content.redacted, id=content.id
                )
                written: Extras = {"text": "", "thought": True}
                written["thoughtSignature"] = sign_thought(thought)
                return self._frame(ended.choice, written)
            case Text() | Image() if signature is not None:
                written = {"text": "", "thoughtSignature": write_signature(signature)}
                return self._frame(ended.choice, written)
            case _:
                return b""

    # --- frames ---------------------------------------------------------------------

    def _around(self, choice: int) -> tuple[bytes, bytes]:
        """What a frame with one part of a choice has around it."""
        found = self._before.get(choice)
        if found is None:
            found = (
                b'data: {"candidates":[{"content":{"parts":[',
                b'],"role":"model"},"index":%d}],' % choice,
            )
            self._before[choice] = found
        return found

    def _frame(
        self, choice: int, part: Extras, logprobs: Extras | None = None
    ) -> bytes:
        """Write a frame with one part."""
        if logprobs is not None:
            candidate = {
                "content": content_of([part]),
                "index": choice,
                "logprobsResult": logprobs,
            }
            head = json.encode({"candidates": [candidate]})
            return event(head[:-1] + b"," + self._tail)
        before, after = self._around(choice)
        return before + encoded(part) + after + self._tail + b"\r\n\r\n"

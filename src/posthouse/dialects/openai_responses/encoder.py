"""A stream of Responses, written from events.

Order: `created`, `in_progress`; then item after item, each added, its parts added,
grown and done, itself done; at the end, and only from `close`, `completed` or
`incomplete` with the whole response. Parts do not overlap; words that follow each
other stand in one message. The events that end a part, an item and the response
say again all that was said before, so an encoder keeps the answer.

Thoughts are told as their summary, which clients send back; those of OpenAI's own
servers as what they were. A call's signature travels in an item of reasoning
before it. Calls of custom tools whose provider has only functions come as what
they are, once they are whole. Of sound, what was said is told.

Sources: `ResponseStreamEvent` of OpenAI's Python SDK, 3.54, and its accumulator
(`lib/streaming/responses`); codex-rs, `codex-api/src/sse/responses.rs` (2026).
"""

from collections.abc import Callable
from typing import Any, ClassVar

from typing_extensions import override

from posthouse.dialects.neutral.codec import ChatEncoder, Identity
from posthouse.dialects.neutral.events_of import events_of
from posthouse.dialects.neutral.sequence import Sequencer
from posthouse.dialects.neutral.usage import merged_usage
from posthouse.dialects.openai_responses.echo import echo_of, head_of, status_of
from posthouse.dialects.openai_responses.encoding import encoded
from posthouse.dialects.openai_responses.growing import (
    GrowingCall,
    GrowingImage,
    GrowingItem,
    GrowingMessage,
    GrowingThought,
    Scribe,
    signature_item,
)
from posthouse.dialects.openai_responses.names import called, pairs_of
from posthouse.dialects.openai_responses.parts import NAME
from posthouse.dialects.openai_responses.usage import write_tier, write_usage
from posthouse.model.chat import (
    Audio,
    ChatReply,
    ChatRequest,
    CustomTool,
    Extras,
    Finish,
    Foreign,
    Image,
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
from posthouse.wire.sse import comment

Body = dict[str, Any]
_BEAT = comment(b"keep-alive")


class ResponsesEncoder(ChatEncoder):
    """Writes one stream."""

    def __init__(
        self, chat: ChatRequest, identity: Identity, *, silent: bool = False
    ) -> None:
        """Begin.

        Args:
            chat: what was asked, which the response says again.
            identity: what the response is called if it has no name.
            silent: no events are written; only the response is wanted.
        """
        self._chat = chat
        self._identity = identity
        self._scribe = Scribe(silent=silent)
        self._sequencer = Sequencer()
        self._head: Body | None = None
        self._own = False
        """The answer was read from this dialect."""
        self._pairs = pairs_of(chat)
        self._custom = {t.name for t in chat.tools if isinstance(t, CustomTool)}
        self._output: list[GrowingItem] = []
        self._message: GrowingMessage | None = None
        """The last item, if it is a message that may go on."""
        self._open: GrowingItem | None = None
        """What the part belongs to that is open."""
        self._scores: tuple[Extras, ...] = ()
        """Of tokens whose text has not begun."""
        self._spoken = False
        """The open part is sound, of which what is said is told."""
        self._refused = False
        self._finish: Finish | None = None
        self._usage: ReportedUsage | None = None
        self._tier: str | None = None
        self._extras: Extras = {}

    @override
    def feed(self, event: ChatEvent) -> bytes:
        if type(event) is Beat:
            return _BEAT
        for ready in self._sequencer.feed(event):
            writer = self._WRITERS.get(type(ready))
            if writer is not None:
                writer(self, ready)
        return self._scribe.written()

    @override
    def close(self) -> bytes:
        response = self.response()
        # The three ways to end have their states' names.
        self._scribe.tell(f"response.{response['status']}", {"response": response})
        return self._scribe.written()

    def response(self) -> Body:
        """The whole response, at its end."""
        self._begin()
        self._end_words("completed")
        status = status_of(self._finish, refused=self._refused)
        return {
            **self._state(status),
            "output": [growing.item for growing in self._output],
            "usage": write_usage(self._usage),
            **self._extras,
        }

    # --- the response ---------------------------------------------------------------

    def _start(self, event: Started) -> None:
        if self._head is not None:
            return
        self._own = event.dialect == NAME
        if self._own:
            self._extras.update(event.extras)
        self._head = {
            **head_of(
                self._chat,
                self._identity,
                own_id=event.id if self._own else None,
                model=event.model,
                created=event.created,
            ),
            **echo_of(self._chat),
        }
        status = {"status": "in_progress", "incomplete_details": None}
        response = {**self._state(status), "output": [], "usage": None}
        self._scribe.tell("response.created", {"response": response})
        self._scribe.tell("response.in_progress", {"response": response})

    def _begin(self) -> Body:
        """Begin the response, if it has not."""
        if self._head is None:
            self._start(Started(""))
        return self._head or {}

    def _state(self, status: Body) -> Body:
        tier = write_tier(self._tier, own=self._own) or self._chat.service_tier
        return {**self._begin(), "service_tier": tier, **status}

    def _finished(self, event: Finished) -> None:
        self._finish = event.finish
        self._extras.update(event.extras)
        cut = status_of(event.finish, refused=self._refused)["status"]
        self._end_words(cut)

    def _use(self, event: UsageTold) -> None:
        self._usage = merged_usage(self._usage, event.usage)
        self._tier = event.service_tier or self._tier

    # --- parts ----------------------------------------------------------------------

    def _start_part(self, event: PartStarted) -> None:
        self._begin()
        part = event.content
        starter = self._STARTERS.get(type(part))
        self._spoken = False
        self._open = None
        if starter is not None:
            starter(self, part)

    def _start_words(self, part: Text | Refusal) -> None:
        phase = part.extras.get("phase") if self._own else None
        self._refused = self._refused or isinstance(part, Refusal)
        message = self._message
        if message is None or phase is not None:
            self._end_words("completed")
            message = GrowingMessage(*self._next("msg"), phase)
            self._output.append(message)
            self._message = message
        self._open = message
        scores, self._scores = self._scores, ()
        message.start_part(part, scores, own=self._own)

    def _start_thought(self, part: Thinking) -> None:
        scribe, index, item_id = self._next("rs")
        if self._own and part.id is not None:
            item_id = part.id
        self._add(GrowingThought(scribe, index, item_id, part, own=self._own))

    def _sign_next(self, signature: Signature | None) -> None:
        """Let a signature travel before what it is of, which has no place for it."""
        if signature is not None:
            scribe, index, item_id = self._next("rs")
            self._add(GrowingItem(scribe, index, signature_item(item_id, signature)))
            self._output[-1].end()

    def _start_call(self, part: ToolCall) -> None:
        self._sign_next(part.signature)
        custom = part.custom or part.name in self._custom
        scribe, index, item_id = self._next("ctc" if custom else "fc")
        item = {
            "id": item_id,
            "call_id": part.id or f"call_{self._identity.id}_{index}",
            **called(self._pairs, part.name),
            **(part.extras if self._own else {}),
        }
        self._add(GrowingCall(scribe, index, item, part=part, custom=custom))

    def _start_image(self, part: Image) -> None:
        if part.source.data is None:
            text = f"![image]({part.source.url})" if part.source.url else ""
            self._start_words(Text(text))
            return
        self._sign_next(part.signature)
        made = part if self._own else Image(part.source)
        self._add(GrowingImage(*self._next("ig"), made))

    def _start_sound(self, part: Audio) -> None:
        self._start_words(Text(part.transcript or ""))
        self._spoken = True

    def _start_foreign(self, part: Foreign) -> None:
        if not self._own:
            return
        scribe, index, item_id = self._next("item")
        self._add(GrowingItem(scribe, index, {"id": item_id, **part.value}))

    def _add(self, item: GrowingItem) -> None:
        """Open an item that is no message."""
        self._output.append(item)
        self._open = item

    def _next(self, prefix: str) -> tuple[Scribe, int, str]:
        """What the next item begins with; ends the message before it."""
        self._end_words("completed")
        index = len(self._output)
        return self._scribe, index, f"{prefix}_{self._identity.id}_{index}"

    def _end_words(self, status: str) -> None:
        """End the message that may have gone on."""
        if self._message is not None:
            self._message.end(status)
            self._message = None

    def _grow(self, event: PartGrew) -> None:
        if self._open is not None and not self._spoken:
            self._open.grow(event.text)

    def _say(self, event: AudioTold) -> None:
        if self._open is not None and event.transcript:
            self._open.grow(event.transcript)

    def _sign(self, event: PartSigned) -> None:
        if self._open is not None:
            self._open.sign(event.signature)

    def _cite(self, event: PartCited) -> None:
        if self._open is not None:
            self._open.cite(event.citation, own=self._own)

    def _score(self, event: LogprobsTold) -> None:
        if self._message is not None and self._open is self._message:
            self._message.score(event.tokens)
        elif self._message is None or not self._message.score_last(event.tokens):
            self._scores += event.tokens

    def _end_part(self, event: PartEnded) -> None:
        if self._open is not None:
            self._open.end_part(event.extras if self._own else {})
        self._open = None

    _WRITERS: ClassVar[dict[type, Callable[..., None]]] = {
        Started: _start,
        PartStarted: _start_part,
        PartGrew: _grow,
        PartSigned: _sign,
        PartCited: _cite,
        AudioTold: _say,
        PartEnded: _end_part,
        LogprobsTold: _score,
        Finished: _finished,
        UsageTold: _use,
    }
    _STARTERS: ClassVar[dict[type, Callable[..., None]]] = {
        Text: _start_words,
        Refusal: _start_words,
        Thinking: _start_thought,
        ToolCall: _start_call,
        Image: _start_image,
        Audio: _start_sound,
        Foreign: _start_foreign,
    }


def write_reply(reply: ChatReply, chat: ChatRequest, identity: Identity) -> bytes:
    """Write a whole response, as the stream of it would end."""
    encoder = ResponsesEncoder(chat, identity, silent=True)
    events = list(events_of(reply))
    # Probabilities belong to the words that follow.
    events.sort(key=lambda event: _ORDER.get(type(event), 2))
    for event in events:
        encoder.feed(event)
    return encoded(encoder.response())


_ORDER = {Started: 0, LogprobsTold: 1}

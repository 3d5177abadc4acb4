"""A stream that passes untouched while a decoder rides along.

For dialects whose clients and providers speak the same. Frames keep their bytes,
whatever they hold: nothing is written anew but what carries the model's name,
where that must be another one. What the events tell is kept for money and for
the record; text that nobody may have to count is sampled.
"""

from typing import ClassVar

from typing_extensions import override

from posthouse.dialects.base import TappedFrame
from posthouse.dialects.neutral.codec import ChatDecoder
from posthouse.dialects.neutral.kept_text import KeepsText
from posthouse.dialects.neutral.usage import merged_usage
from posthouse.model.chat import Part, Refusal, Text, Thinking, ToolCall
from posthouse.model.chat_events import (
    AudioTold,
    ChatEvent,
    Ended,
    Finished,
    PartEnded,
    PartGrew,
    PartStarted,
    UsageTold,
)
from posthouse.model.usage import ReportedUsage

_SPOKEN = (Text, Thinking, Refusal)
_COUNTED = (*_SPOKEN, ToolCall)
_DROPPED = TappedFrame(b"")


class PassingTap(KeepsText):
    """Reads one stream along.

    A dialect's own tap says how an error is told (`error_frame`), how an answer
    is ended before its end (`cut_off_frames`) and, if its frames carry the
    model's name, what they are under another one (`renamed`).
    """

    __slots__ = (
        "_decoder",
        "_held",
        "_wanted",
        "ended_choices",
        "finished",
        "open_parts",
        "service_tier",
        "usage",
    )

    ends_by_closing: ClassVar[bool] = False
    """No frame ends a stream but the last one before the connection closes.

    From the finish on the newest frame is held back, to be the terminal one.
    """

    def __init__(self, decoder: ChatDecoder, choices: int = 1) -> None:
        """Start before the first frame.

        Args:
            decoder: of the dialect, at its start.
            choices: how many answers were asked for.
        """
        super().__init__()
        self.usage: ReportedUsage | None = None
        self.service_tier: str | None = None
        self.finished = False
        self.open_parts: dict[tuple[int, int], Part] = {}
        """By choice and number, as they began; what is open, and no more."""
        self.ended_choices: set[int] = set()
        self._decoder = decoder
        self._wanted = choices
        self._held: TappedFrame | None = None

    # --- frames -----------------------------------------------------------------

    @override
    def feed(self, raw: bytes, data: bytes) -> TappedFrame:
        content = terminal = False
        for event in self._decoder.feed(raw, data):
            content = self.take(event) or content
            terminal = terminal or type(event) is Ended
        tapped = TappedFrame(self.renamed(raw, data), content, terminal)
        if not (self.ends_by_closing and self.finished):
            return tapped
        before, self._held = self._held, tapped
        return before or _DROPPED

    @override
    def close(self) -> TappedFrame | None:
        ended = False
        for event in self._decoder.close():
            ended = ended or type(event) is Ended
            self.take(event)
        if not ended:
            return None
        held = self._held or _DROPPED
        return TappedFrame(held.raw, held.content, terminal=True)

    def renamed(self, raw: bytes, data: bytes) -> bytes:  # noqa: ARG002 - for others
        """Give the frame under the model's public name."""
        return raw

    def take(self, event: ChatEvent) -> bool:
        """Keep what an event tells; say whether it is content."""
        if type(event) is PartGrew:
            if self._is_counted(event):
                self._produced(event.text)
            return True
        match event:
            case UsageTold():
                self.usage = merged_usage(self.usage, event.usage)
                self.service_tier = event.service_tier or self.service_tier
            case PartStarted():
                self.open_parts[event.choice, event.part] = event.content
                return self._begun(event.content)
            case PartEnded():
                self.open_parts.pop((event.choice, event.part), None)
            case AudioTold():
                self._produced(event.transcript)
            case Finished():
                self.ended_choices.add(event.choice)
                self.finished = len(self.ended_choices) >= self._wanted
                return True
            case _:
                pass
        return False

    def _begun(self, part: Part) -> bool:
        """Count what a part begins with; tell whether it is content."""
        if isinstance(part, _SPOKEN):
            self._produced(part.text)
            return bool(part.text)
        if isinstance(part, ToolCall):
            self._produced(part.name)
            self._produced(part.arguments)
        return True

    def _is_counted(self, event: PartGrew) -> bool:
        """Whether it is text; a sound's base64 is none."""
        part = self.open_parts.get((event.choice, event.part))
        return isinstance(part, _COUNTED)

    # --- what it has come to ----------------------------------------------------

    def _produced(self, text: str) -> None:
        """Keep what the model wrote."""
        # Most text is ASCII, whose length needs no encoding.
        size = len(text) if text.isascii() else len(text.encode(errors="replace"))
        self.output_bytes += size
        self._texts.append(text)

"""Putting the parts of a stream one after the other.

Tool calls of some dialects grow side by side; in others a part must have ended
before the next one begins. What belongs to a later part waits until those before
it have ended. Only the first choice passes where a dialect has but one.
"""

from posthouse.model.chat_events import (
    AudioTold,
    ChatEvent,
    Finished,
    LogprobsTold,
    PartCited,
    PartEnded,
    PartGrew,
    PartSigned,
    PartStarted,
)

_OF_A_PART = (PartStarted, PartGrew, PartSigned, PartCited, AudioTold, PartEnded)
_OF_A_CHOICE = (*_OF_A_PART, LogprobsTold, Finished)


class Sequencer:
    """Gives the events of one stream in an order without overlaps."""

    __slots__ = ("_current", "_waiting")

    def __init__(self) -> None:
        """Begin before the first event."""
        self._current: int | None = None
        """The part of the first choice that is open."""
        self._waiting: dict[int, list[ChatEvent]] = {}
        """By part, of those that were opened meanwhile."""

    def feed(self, event: ChatEvent) -> list[ChatEvent]:
        """Take one event; give those whose turn it is."""
        if isinstance(event, _OF_A_CHOICE) and event.choice != 0:
            return []
        if not isinstance(event, _OF_A_PART):
            return [event]
        if self._current is None and isinstance(event, PartStarted):
            self._current = event.part
        if event.part != self._current:
            self._waiting.setdefault(event.part, []).append(event)
            return []
        if not isinstance(event, PartEnded):
            return [event]
        self._current = None
        return [event, *self._next()]

    def _next(self) -> list[ChatEvent]:
        """Let those go whose turn has come."""
        out: list[ChatEvent] = []
        while self._waiting and self._current is None:
            part = next(iter(self._waiting))
            events = self._waiting.pop(part)
            out += events
            if not isinstance(events[-1], PartEnded):
                self._current = part
        return out

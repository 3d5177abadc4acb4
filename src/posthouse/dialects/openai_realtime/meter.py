"""How much a realtime session's next answer will have to read, by what was seen.

The provider reads the whole conversation anew for each answer. Its own count of
the last one is where the estimate begins; what has come since is added: text by
its bytes, sound by its length. With voice detection silence is not counted, only
what the provider says that it has heard.
"""

from collections.abc import Mapping
from typing import Any

from msgspec import Struct

from posthouse.dialects.openai_realtime.client_events import ClientEvent, output_limit
from posthouse.dialects.openai_realtime.server_events import (
    CLEARED,
    COMMITTED,
    SESSIONS,
    SPEECH_STARTED,
    SPEECH_STOPPED,
    ServerEvent,
)
from posthouse.model.usage import ReportedUsage, Unit

BYTES_PER_TOKEN = 2
"""Of what is sent, for holds, which err upwards."""
HEARD_PER_SECOND = 10
SPOKEN_PER_SECOND = 20
"""Tokens of a second of sound: the user's, and the model's."""
MOST_PIECES = 256
"""Pieces of what the user says that wait to be written down, at most."""
PCM = 48_000
G711 = 8_000
"""Bytes of a second: 24,000 samples of two bytes, and 8,000 of one."""
_QUIET = frozenset({"input_audio_buffer.append", "input_audio_buffer.clear"})
_COMMIT = "input_audio_buffer.commit"


class Produced(Struct):
    """What an answer has brought so far, in bytes."""

    text: int = 0
    sound: int = 0

    def units(self, rate: int) -> dict[str, int]:
        """About how many tokens that is; `rate` is the sound's bytes a second."""
        return {
            Unit.OUTPUT.value: -(-self.text // 3),
            Unit.AUDIO_OUTPUT.value: -(-self.sound * SPOKEN_PER_SECOND // rate),
        }


class Meter:
    """Reads a session's events along."""

    def __init__(self, context: int) -> None:
        """Begin with an empty conversation; `context` is the model's, 0 unknown."""
        self._context = context
        self._text = 0
        self._sound = 0
        self._appended = 0
        self._committed = 0.0
        """Seconds of what the client has ended, until the provider has taken it."""
        self._heard: dict[str, float] = {}
        """By item, the seconds of sound that are not yet written down."""
        self._speech_began: float | None = None
        self._spoken_ms = 0.0
        self._heard_at = PCM
        self.spoken_at = PCM
        """Bytes of a second of the answers' sound."""
        self.output_limit: int | None = None
        """Tokens of an answer, as the session has it; None: there is no limit."""

    def prompt(self) -> dict[str, int]:
        """About what the next answer will have to read, in tokens."""
        text, sound = self._text, self._sound
        if self._context:
            sound = min(sound, self._context)
            text = min(text, self._context - sound)
        return {Unit.INPUT.value: text, Unit.AUDIO_INPUT.value: sound}

    def sent(self, event: ClientEvent) -> None:
        """The client has sent an event."""
        if event.type not in _QUIET:
            self._text += -(-len(event.raw) // BYTES_PER_TOKEN)
        elif "audio" in event.members:
            size = max(len(bytes(event.members["audio"])) - len('""'), 0)
            self._appended += size * 3 // 4
        else:
            self._appended = 0
        if event.type == _COMMIT:
            self._committed += self._appended / self._heard_at
            self._sound += self._appended * HEARD_PER_SECOND // self._heard_at + 1
            self._appended = 0

    def seen(self, event: ServerEvent) -> None:
        """The provider has sent an event."""
        kind = event.type
        if kind in SESSIONS:
            self._configure(event.table("session"))
        elif kind == SPEECH_STARTED:
            self._speech_began = event.number("audio_start_ms")
        elif kind == SPEECH_STOPPED and self._speech_began is not None:
            ended = event.number("audio_end_ms") or 0.0
            self._spoken_ms = max(ended - self._speech_began, 0.0)
            self._speech_began = None
        elif kind == COMMITTED:
            self._take(event.text("item_id"))
        elif kind == CLEARED:
            self._appended = 0

    def _take(self, item: str) -> None:
        """What was said is a piece of the conversation now."""
        if self._committed and not self._spoken_ms:
            # It was counted when the client ended it; more may have come since.
            self.note(item, self._committed)
            self._committed = 0.0
            return
        seconds = self._spoken_ms / 1000 or self._appended / self._heard_at
        self._sound += int(seconds * HEARD_PER_SECOND)
        self.note(item, seconds)
        self._appended, self._spoken_ms, self._committed = 0, 0.0, 0.0

    @property
    def waiting(self) -> float:
        """Seconds of sound that were sent and are no whole piece yet."""
        return self._appended / self._heard_at + self._committed

    def note(self, item: str, seconds: float) -> None:
        """Remember how long a piece of what the user says is."""
        if len(self._heard) >= MOST_PIECES:
            del self._heard[next(iter(self._heard))]
        self._heard[item] = seconds

    def heard(self, item: str) -> float:
        """Give the seconds of a piece, once; 0 where nobody knows."""
        return self._heard.pop(item, 0.0)

    def answered(self, usage: ReportedUsage) -> None:
        """An answer of the conversation is over: its whole is the next one's prompt."""
        made, sound_made = usage.output or 0, usage.audio_output or 0
        read, sound_read = usage.input or 0, usage.audio_input or 0
        self._text = max(read - sound_read, 0) + max(made - sound_made, 0)
        self._sound = max(sound_read, 0) + max(sound_made, 0)

    def _configure(self, session: Mapping[str, Any]) -> None:
        self.output_limit = output_limit(session)
        audio = session.get("audio")
        sides = audio if isinstance(audio, dict) else {}
        self._heard_at = _bytes_a_second(
            sides.get("input"), session.get("input_audio_format")
        )
        self.spoken_at = _bytes_a_second(
            sides.get("output"), session.get("output_audio_format")
        )


def _bytes_a_second(side: Any, older: Any) -> int:
    """Read a sound's format, as it is named now or was in the beta."""
    form = side.get("format") if isinstance(side, dict) else older
    name = form.get("type") if isinstance(form, dict) else form
    if isinstance(name, str) and ("pcmu" in name or "pcma" in name or "g711" in name):
        return G711
    return PCM

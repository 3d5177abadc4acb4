"""What a provider says in a realtime session: read along for usage and models.

Nothing here raises: an event that cannot be read passes like any other, and what
it may have cost is estimated from what was seen.
"""

from typing import Any

from msgspec import Raw, Struct

from posthouse.dialects.openai_realtime.client_events import (
    SESSION_MODELS,
    TRANSCRIPTION_MODELS,
)
from posthouse.model.usage import ReportedUsage
from posthouse.wire import json
from posthouse.wire.json import Envelope, MalformedJSON

CREATED = "response.created"
DONE = "response.done"
TRANSCRIBED = "conversation.item.input_audio_transcription.completed"
TRANSCRIPTION_FAILED = "conversation.item.input_audio_transcription.failed"
_TRANSCRIPT_DELTA = "conversation.item.input_audio_transcription.delta"
COMMITTED = "input_audio_buffer.committed"
CLEARED = "input_audio_buffer.cleared"
SPEECH_STARTED = "input_audio_buffer.speech_started"
SPEECH_STOPPED = "input_audio_buffer.speech_stopped"
SESSIONS = frozenset(
    {
        "session.created",
        "session.updated",
        "transcription_session.created",
        "transcription_session.updated",
    }
)
TRANSCRIPTS = frozenset(
    {COMMITTED, TRANSCRIBED, TRANSCRIPTION_FAILED, _TRANSCRIPT_DELTA}
)
"""What is said of the sound that the user has sent."""
_AUDIO_DELTAS = frozenset({"response.output_audio.delta", "response.audio.delta"})


class _Event(Struct):
    type: Any = None
    response_id: Raw = Raw()
    response: Raw = Raw()
    session: Raw = Raw()
    delta: Raw = Raw()
    usage: Raw = Raw()
    error: Raw = Raw()
    audio_start_ms: Raw = Raw()
    audio_end_ms: Raw = Raw()
    item_id: Raw = Raw()


_decoder = json.decoder(_Event)


class ServerEvent(Struct, frozen=True):
    """One event of a provider's."""

    type: str
    """"" where it cannot be read."""
    event: _Event

    def table(self, name: str) -> dict[str, Any]:
        """A member that is an object; empty where it is none."""
        found = _value(getattr(self.event, name))
        return found if isinstance(found, dict) else {}

    def number(self, name: str) -> float | None:
        """A member that is a number."""
        found = _value(getattr(self.event, name))
        return found if isinstance(found, int | float) else None

    def text(self, name: str) -> str:
        """A member that is a text; "" where it is none."""
        found = _value(getattr(self.event, name))
        return found if isinstance(found, str) else ""

    @property
    def response_id(self) -> str:
        """The response that a delta belongs to."""
        return self.text("response_id")

    @property
    def produced(self) -> tuple[int, int]:
        """Bytes of text and of sound that a response's delta brings."""
        if not self.type.startswith("response.") or not self.type.endswith(".delta"):
            return 0, 0
        size = max(len(bytes(self.event.delta)) - 2, 0)
        return (0, size * 3 // 4) if self.type in _AUDIO_DELTAS else (size, 0)


_UNREADABLE = ServerEvent("", _Event())


def read_server(raw: bytes) -> ServerEvent:
    """Read an event."""
    try:
        event: _Event = _decoder.decode(raw)
    except json.DECODE_ERRORS:
        return _UNREADABLE
    return (
        ServerEvent(event.type, event) if isinstance(event.type, str) else _UNREADABLE
    )


class ToldUsage(Struct, frozen=True):
    """What a response says that it took."""

    usage: ReportedUsage
    cached_audio: int = 0
    """How much of the cached input was sound."""

    @property
    def empty(self) -> bool:
        """Whether it took nothing."""
        return not (self.usage.input or self.usage.output)


def usage_of(response: dict[str, Any]) -> ToldUsage | None:
    """Read the usage of a response or a transcript in tokens; None: there is none."""
    usage = response.get("usage")
    if not isinstance(usage, dict) or "input_tokens" not in usage:
        return None
    # Others who speak the same events write their details as chats have them.
    given = _table(usage, "input_token_details") or _table(
        usage, "input_tokens_details"
    )
    made = _table(usage, "output_token_details") or _table(
        usage, "output_tokens_details"
    )
    kept = _table(given, "cached_tokens_details")
    cached_audio, cached_image = (
        _count(kept, "audio_tokens"),
        _count(kept, "image_tokens"),
    )
    cached = _count(given, "cached_tokens")
    return ToldUsage(
        ReportedUsage(
            input=_total(usage, "input_tokens"),
            output=_total(usage, "output_tokens"),
            cached_input=cached or None,
            audio_input=(_count(given, "audio_tokens") - cached_audio) or None,
            image_input=(_count(given, "image_tokens") - cached_image) or None,
            audio_output=_count(made, "audio_tokens") or None,
            reasoning=_count(made, "reasoning_tokens") or None,
            odd=_total(usage, "input_tokens") is None
            or _total(usage, "output_tokens") is None,
        ),
        max(min(cached_audio, cached), 0),
    )


def with_public_names(raw: bytes, model: str | None, heard: str | None) -> bytes:
    """A session's event with the names that the client knows its models by.

    Args:
        raw: the event.
        model: the session's own; None: it has no other.
        heard: of who writes down what is said; None: likewise.
    """
    try:
        members = json.decode_envelope(raw)
    except MalformedJSON:
        return raw
    places = [(SESSION_MODELS[0], model), *((p, heard) for p in TRANSCRIPTION_MODELS)]
    changed = [_rename(members, path, name) for path, name in places if name]
    return json.encode(members) if any(changed) else raw


def _rename(members: Envelope, path: tuple[str, ...], name: str) -> bool:
    """Write a name where another one stands; false if none does."""
    first, *rest = path
    value = members.get(first)
    if value is None or not rest:
        is_named = value is not None and json.opens_with(value, b'"')
        if is_named:
            members[first] = json.raw(name)
        return is_named
    try:
        inner = json.decode_envelope(bytes(value))
    except MalformedJSON:
        return False
    changed = _rename(inner, tuple(rest), name)
    if changed:
        members[first] = Raw(json.encode(inner))
    return changed


def error_event(error: dict[str, Any], event_id: str, caused_by: str | None) -> bytes:
    """Write an event that tells of an error.

    Args:
        error: `type`, `code`, `message` and `param`, as in an HTTP reply.
        event_id: the new event's.
        caused_by: the client's event that is at fault, if one is.
    """
    told = {**error, "event_id": caused_by}
    return json.encode({"type": "error", "event_id": event_id, "error": told})


def _value(raw: Raw) -> Any:
    try:
        return json.decode(raw, object)
    except MalformedJSON:
        return None


def _table(value: dict[str, Any], name: str) -> dict[str, Any]:
    found = value.get(name)
    return found if isinstance(found, dict) else {}


def _count(value: dict[str, Any], name: str) -> int:
    return _total(value, name) or 0


def _total(value: dict[str, Any], name: str) -> int | None:
    found = value.get(name)
    return found if isinstance(found, int) and not isinstance(found, bool) else None

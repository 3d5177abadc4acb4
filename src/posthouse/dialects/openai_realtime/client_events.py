"""What a client of a realtime session sends: judged, then passed as it came.

Every model that an event names counts, wherever a session or a response may name
one. Objects are passed byte for byte unless a name stands twice in one: then as
they were judged, with the last value, so that nobody behind reads another.
"""

from typing import Any

from msgspec import Raw, Struct

from posthouse.errors import InvalidRequest
from posthouse.wire import json
from posthouse.wire.json import Envelope, MalformedJSON

SESSION_MODELS = (("session", "model"), ("response", "model"))
"""Where an event names the session's own model."""
TRANSCRIPTION_MODELS = (
    ("session", "audio", "input", "transcription", "model"),
    ("session", "input_audio_transcription", "model"),
)
"""Where it names the model that writes down what the user says."""
_MODEL_PATHS = frozenset(SESSION_MODELS + TRANSCRIPTION_MODELS)
_FREE_FORM = frozenset({"tools", "metadata", "prompt", "instructions", "tracing"})
"""Members whose own members are the caller's affair."""
_JUDGED = ("session", "response")
_MODEL = "model"

Path = tuple[str, ...]


class ClientEvent(Struct, frozen=True):
    """One event of a client's."""

    type: str
    raw: bytes
    """What is sent on."""
    members: Envelope
    event_id: str | None
    """The client's name for it, for errors."""

    def text(self, name: str) -> str | None:
        """A member that is a text."""
        return _text(self.members.get(name))


def read_client(raw: bytes) -> ClientEvent:
    """Read an event; raises InvalidRequest for what is no object with a type."""
    try:
        tight = json.compact(raw)
        canonical = _canonical(tight)
        members = json.decode_envelope(canonical)
    except MalformedJSON:
        raise InvalidRequest(
            "The message is not a JSON object.", code="invalid_json"
        ) from None
    kind = _text(members.get("type"))
    if kind is None:
        raise InvalidRequest("The event has no type.", param="type")
    return ClientEvent(
        type=kind,
        raw=raw if tight == canonical else canonical,
        members=members,
        event_id=_text(members.get("event_id")),
    )


def models_of(event: ClientEvent) -> list[tuple[Path, str]]:
    """List every model that an event names; raises InvalidRequest for odd places."""
    found: list[tuple[Path, str]] = []
    for name, value in event.members.items():
        # Some servers read names without regard to case.
        plain = name.casefold()
        if plain == _MODEL or (plain in _JUDGED and name not in _JUDGED):
            raise _odd_place((name,))
        if name in _JUDGED:
            _walk(json.decode(value, Any), (name,), found)
    return found


def with_model(event: ClientEvent, path: Path, model: str) -> ClientEvent:
    """The event with another name at one place."""
    raw = _spliced(event.raw, path, model)
    return ClientEvent(event.type, raw, json.decode_envelope(raw), event.event_id)


def output_limit(response: Any) -> int | None:
    """Read how many tokens an answer may have; None: there is no limit."""
    if not isinstance(response, dict):
        return None
    for name in ("max_output_tokens", "max_response_output_tokens"):
        value = response.get(name)
        if isinstance(value, int) and not isinstance(value, bool) and value > 0:
            return value
    return None


def _walk(value: Any, path: Path, found: list[tuple[Path, str]]) -> None:
    if not isinstance(value, dict):
        return
    for name, inner in value.items():
        if name in _FREE_FORM:
            continue
        if name.casefold() != _MODEL:
            _walk(inner, (*path, name), found)
        elif inner is not None:
            place = (*path, name)
            if place not in _MODEL_PATHS or not isinstance(inner, str):
                raise _odd_place(place)
            found.append((place, inner))


def _odd_place(path: Path) -> InvalidRequest:
    return InvalidRequest(
        "No model can be named here.", param=".".join(path), code="unknown_parameter"
    )


def _text(value: Raw | None) -> str | None:
    if value is None:
        return None
    try:
        return json.decode(value, str)
    except MalformedJSON:
        return None


def _canonical(data: bytes | Raw) -> bytes:
    """Write an object, and those in it, with every name once."""
    members = json.decode_envelope(bytes(data))
    for name, value in members.items():
        if json.opens_with(value, b"{"):
            members[name] = Raw(_canonical(value))
    return json.encode(members)


def _spliced(raw: bytes, path: Path, value: str) -> bytes:
    members = json.decode_envelope(raw)
    name, rest = path[0], path[1:]
    members[name] = (
        Raw(_spliced(bytes(members[name]), rest, value)) if rest else json.raw(value)
    )
    return json.encode(members)

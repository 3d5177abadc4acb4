"""How sessions shall begin that a browser opens: asked for before, kept in its key.

A session that answers names its model; one that only writes down what is said names
it where it says how it listens. What the beta called a transcription session is read,
and begins as one of today's.
"""

from typing import Any

from msgspec import Struct

from posthouse.dialects.openai_realtime import TRANSCRIPTION
from posthouse.errors import InvalidRequest
from posthouse.wire import json
from posthouse.wire.json import MalformedJSON

SECONDS = (10, 7200)
USUAL_SECONDS = 600
"""For which a browser's key is good."""
_FORMATS: dict[str, dict[str, Any]] = {
    "pcm16": {"type": "audio/pcm", "rate": 24_000},
    "g711_ulaw": {"type": "audio/pcmu"},
    "g711_alaw": {"type": "audio/pcma"},
}
"""Of sound, by what the beta called them."""
_OLDER = {
    "input_audio_transcription": "transcription",
    "input_audio_noise_reduction": "noise_reduction",
    "turn_detection": "turn_detection",
}
"""Members of the beta's sessions, and what they are called where sound is now."""


class Settings(Struct, frozen=True):
    """What a session begins with."""

    session: dict[str, Any]
    model: str
    param: str
    """Where the model is named."""
    seconds: int
    """For which a key of it is good."""
    kind: str
    """What a session of this type is called as an object."""


def read_object(body: bytes) -> dict[str, Any]:
    """Read a body; raises InvalidRequest."""
    try:
        return json.decode(body, dict[str, Any])
    except MalformedJSON:
        raise InvalidRequest("The body is not a JSON object.") from None


def read_settings(asked: dict[str, Any]) -> Settings:
    """Read a request for a key; raises InvalidRequest."""
    session = asked.get("session")
    given: dict[str, Any] = session if isinstance(session, dict) else {}
    kind = given.setdefault("type", "realtime")
    if kind == TRANSCRIPTION:
        param = "session.audio.input.transcription.model"
        model = _member(_member(_member(given, "audio"), "input"), TRANSCRIPTION)
        named, called = model.get("model"), "realtime.transcription_session"
        if "model" in given:
            raise InvalidRequest("No model can be named here.", param="session.model")
    elif kind == "realtime":
        param, named, called = "session.model", given.get("model"), "realtime.session"
    else:
        raise InvalidRequest(
            "Only sessions of the types 'realtime' and 'transcription' are offered.",
            param="session.type",
        )
    if not isinstance(named, str):
        raise _without_model(param)
    return Settings(given, named, param, _seconds(asked), called)


def read_older_settings(asked: dict[str, Any]) -> Settings:
    """Read a request for one of the beta's transcription sessions.

    Raises InvalidRequest.
    """
    param = "input_audio_transcription.model"
    named = _member(asked, "input_audio_transcription").get("model")
    if not isinstance(named, str):
        raise _without_model(param)
    heard = {now: asked[name] for name, now in _OLDER.items() if name in asked}
    form = asked.get("input_audio_format")
    if form is not None:
        if form not in _FORMATS:
            raise InvalidRequest(
                "The sound may be pcm16, g711_ulaw or g711_alaw.",
                param="input_audio_format",
                code="invalid_value",
            )
        heard["format"] = _FORMATS[form]
    session: dict[str, Any] = {"type": TRANSCRIPTION, "audio": {"input": heard}}
    if "include" in asked:
        session["include"] = asked["include"]
    called = "realtime.transcription_session"
    return Settings(session, named, param, USUAL_SECONDS, called)


def transcribes_from(opening: bytes) -> bool:
    """Whether a session that begins with an event only writes down what is said."""
    return bool(_member(read_object(opening), "session").get("type") == TRANSCRIPTION)


def _without_model(param: str) -> InvalidRequest:
    return InvalidRequest(
        "A session with a model is needed.",
        param=param,
        code="missing_required_parameter",
    )


def _seconds(asked: dict[str, Any]) -> int:
    after = asked.get("expires_after") or {}
    seconds = after.get("seconds", USUAL_SECONDS) if isinstance(after, dict) else None
    low, high = SECONDS
    if type(seconds) is not int or not low <= seconds <= high:
        raise InvalidRequest(
            f"A key may be good for {low} to {high} seconds.",
            param="expires_after.seconds",
            code="invalid_value",
        )
    return seconds


def _member(value: dict[str, Any], name: str) -> dict[str, Any]:
    found = value.get(name)
    return found if isinstance(found, dict) else {}

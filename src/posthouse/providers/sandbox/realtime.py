"""The sandbox's realtime sessions: events in, events out, with real sound.

A session answers as OpenAI's Realtime API does. With voice detection every whole
second of sound that is appended counts as something said, and an answer begins by
itself; without, it waits to be asked. Tools are called where one is required or
named. Directives in the model's name hold for the whole session.
"""

import base64
from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from typing import Any
from urllib.parse import parse_qsl

from msgspec import Struct

from posthouse.model.exchange import UpstreamRequest
from posthouse.model.sockets import HandshakeRefused, Saying
from posthouse.providers.sandbox import realtime_answer, tokens
from posthouse.providers.sandbox.directives import Directives, from_model
from posthouse.providers.sandbox.identity import identify
from posthouse.providers.sandbox.realtime_answer import Answer, Heard
from posthouse.providers.sandbox.refusal import RequestRefused, error_object
from posthouse.wire import json
from posthouse.wire.websocket import TEXT

RATE = 48_000
"""Bytes of a second of sound: 24,000 samples of two bytes."""
HEARD_PER_SECOND = 10
_INTERRUPTING = ("reset-mid-stream", "reset")
_CLOSED_AS_BROKEN = 1011


def talk(request: UpstreamRequest) -> "RealtimeSession":
    """Answer a handshake; raises HandshakeRefused."""
    said = dict(parse_qsl(request.target.partition("?")[2]))
    model = said.get("model", "")
    try:
        directives = from_model(model)
    except RequestRefused as refused:
        reply = refused.reply()
        body = b"".join(reply.parts)
        raise HandshakeRefused(reply.status, list(reply.headers), body) from None
    if directives.status:
        told = error_object("The sandbox was asked for this.", "server_error")
        raise HandshakeRefused(directives.status, [], json.encode(told))
    kind = "transcription" if said.get("intent") == "transcription" else "realtime"
    return RealtimeSession(model, directives, kind)


class _Refused(Exception):
    """An event cannot be done; str() tells why."""

    def __init__(self, message: str, code: str) -> None:
        super().__init__(message)
        self.code = code


class _Speech(Struct):
    """What was appended and not yet committed."""

    bytes: int = 0
    heard: int = 0
    """Bytes of all that was appended before."""


class RealtimeSession:
    """One session; a `Talker`."""

    def __init__(
        self, model: str, directives: Directives, kind: str = "realtime"
    ) -> None:
        """Begin with a session that detects voices; it has a model if it answers."""
        self._directives = directives
        self._identity = identify(model.encode())
        self._number = 0
        self._said: deque[Saying] = deque()
        self._answer: Iterator[Saying] | None = None
        self._answering: Answer | None = None
        self._heard = Heard()
        self._speech = _Speech()
        self._session: dict[str, Any] = {
            "type": kind,
            "object": "realtime.session",
            "id": self._identity.make("sess_"),
            "model": model,
            "output_modalities": ["audio"],
            "instructions": "",
            "tools": [],
            "tool_choice": "auto",
            "max_output_tokens": "inf",
            "audio": {
                "input": {
                    "format": {"type": "audio/pcm", "rate": 24_000},
                    "transcription": None,
                    "turn_detection": {"type": "server_vad", "create_response": True},
                },
                "output": {
                    "format": {"type": "audio/pcm", "rate": 24_000},
                    "voice": "alloy",
                },
            },
        }
        self._say("session.created", session=self._session)

    # --- the socket's side ----------------------------------------------------------

    @property
    def waiting(self) -> int:
        """How many sayings it has ready."""
        return len(self._said)

    def take(self, kind: int, payload: bytes) -> None:
        """Hear a message."""
        event: dict[str, Any] = {}
        with suppress(json.MalformedJSON):
            event = json.decode(payload if kind == TEXT else b"", dict[str, Any])
        handler = _HANDLERS.get(str(event.get("type")), RealtimeSession.unknown)
        try:
            handler(self, event)
        except _Refused as refused:
            error = error_object(str(refused), "invalid_request_error", refused.code)
            self._say(
                "error", error={**error["error"], "event_id": event.get("event_id")}
            )

    def next(self) -> Saying | None:
        """Give what it says next."""
        if self._said:
            return self._said.popleft()
        if self._answer is None:
            return None
        saying = next(self._answer, None)
        if saying is None:
            self._over()
            return self.next()
        return saying

    # --- events ---------------------------------------------------------------------

    def update(self, event: dict[str, Any]) -> None:
        """`session.update`: members replace members, objects are merged."""
        wanted = event.get("session")
        if not isinstance(wanted, dict):
            raise _Refused("The session is missing.", "missing_required_parameter")
        for name in ("model", "type"):
            if wanted.get(name, self._session[name]) != self._session[name]:
                raise _Refused(f"The {name} cannot be changed.", "invalid_value")
        _merge(self._session, wanted)
        self._say("session.updated", session=self._session)

    def create_item(self, event: dict[str, Any]) -> None:
        """`conversation.item.create`: something is said in writing, or a result."""
        item = event.get("item")
        if not isinstance(item, dict):
            raise _Refused("The item is missing.", "missing_required_parameter")
        item = {"id": self._name("item_"), "object": "realtime.item", **item}
        item.setdefault("status", "completed")
        self._heard.take(item)
        self._say("conversation.item.added", item=item, previous_item_id=None)
        self._say("conversation.item.done", item=item, previous_item_id=None)

    def append(self, event: dict[str, Any]) -> None:
        """`input_audio_buffer.append`: sound."""
        try:
            sound = base64.b64decode(str(event.get("audio", "")), validate=True)
        except ValueError:
            raise _Refused("The audio is not base64.", "invalid_value") from None
        speech = self._speech
        speech.bytes += len(sound)
        detection = self._session["audio"]["input"].get("turn_detection")
        if not detection or speech.bytes < RATE or self._answering is not None:
            return
        began = speech.heard * 1000 // RATE
        ended = (speech.heard + speech.bytes) * 1000 // RATE
        item = self._name("item_")
        started = {"audio_start_ms": began, "item_id": item}
        self._say("input_audio_buffer.speech_started", **started)
        stopped = {"audio_end_ms": ended, "item_id": item}
        self._say("input_audio_buffer.speech_stopped", **stopped)
        self._commit(item)
        if detection.get("create_response", True) and not self._transcribes:
            self._begin({})

    def commit(self, _: dict[str, Any]) -> None:
        """`input_audio_buffer.commit`: that was all."""
        if not self._speech.bytes:
            raise _Refused("The buffer is empty.", "input_audio_buffer_commit_empty")
        self._commit(self._name("item_"))

    def clear(self, _: dict[str, Any]) -> None:
        """`input_audio_buffer.clear`."""
        self._speech.bytes = 0
        self._say("input_audio_buffer.cleared")

    def create_response(self, event: dict[str, Any]) -> None:
        """`response.create`: an answer is wanted."""
        if self._transcribes:
            raise _Refused("This session does not answer.", "invalid_value")
        if self._answering is not None:
            raise _Refused(
                "The conversation has an answer under way.",
                "conversation_already_has_active_response",
            )
        wanted = event.get("response")
        self._begin(wanted if isinstance(wanted, dict) else {})

    def cancel(self, _: dict[str, Any]) -> None:
        """`response.cancel`: no more of it."""
        if self._answering is None:
            raise _Refused("No answer is under way.", "response_cancel_not_active")
        self._said.append(self._answering.cancelled())
        self._over()

    def unknown(self, _: dict[str, Any]) -> None:
        """Whatever else."""
        raise _Refused("This is no event that is known here.", "invalid_value")

    # --- what they have in common -----------------------------------------------------

    @property
    def _transcribes(self) -> bool:
        return bool(self._session["type"] == "transcription")

    def _commit(self, item: str) -> None:
        speech = self._speech
        seconds = speech.bytes / RATE
        speech.heard += speech.bytes
        speech.bytes = 0
        self._heard.sound += max(int(seconds * HEARD_PER_SECOND), 1)
        self._heard.last = f"{seconds:g} seconds of sound"
        committed = {"item_id": item, "previous_item_id": None}
        self._say("input_audio_buffer.committed", **committed)
        transcription = self._session["audio"]["input"].get("transcription")
        if transcription:
            told = f"about {max(int(seconds), 1)} seconds"
            used = {
                "type": "tokens",
                "input_tokens": max(int(seconds * HEARD_PER_SECOND), 1),
                "input_token_details": {
                    "audio_tokens": max(int(seconds * HEARD_PER_SECOND), 1),
                    "text_tokens": 0,
                },
                "output_tokens": tokens.count(told),
            }
            used["total_tokens"] = int(str(used["input_tokens"])) + tokens.count(told)
            self._say(
                "conversation.item.input_audio_transcription.completed",
                item_id=item,
                content_index=0,
                transcript=told,
                usage=used,
            )

    def _begin(self, wanted: dict[str, Any]) -> None:
        self._answering = Answer(
            self._name("resp_"), self._heard, {**self._session, **wanted}
        )
        sayings = realtime_answer.play(self._answering, self._directives)
        self._answer = self._broken(sayings)

    def _broken(self, sayings: Iterator[Saying]) -> Iterator[Saying]:
        """Break off in the middle where that was asked for."""
        for place, saying in enumerate(sayings):
            if place > realtime_answer.PREFACE and (
                self._directives.fault in _INTERRUPTING
            ):
                yield Saying(close_code=_CLOSED_AS_BROKEN)
            yield saying

    def _over(self) -> None:
        self._answer = self._answering = None

    def _say(self, kind: str, **members: Any) -> None:
        event = {"type": kind, "event_id": self._name("event_"), **members}
        self._said.append(Saying(TEXT, json.encode(event)))

    def _name(self, prefix: str) -> str:
        self._number += 1
        return f"{self._identity.make(prefix)[: len(prefix) + 12]}{self._number:06d}"


def _merge(table: dict[str, Any], wanted: dict[str, Any]) -> None:
    for name, value in wanted.items():
        known = table.get(name)
        if isinstance(known, dict) and isinstance(value, dict):
            _merge(known, value)
        else:
            table[name] = value


_HANDLERS = {
    "session.update": RealtimeSession.update,
    "conversation.item.create": RealtimeSession.create_item,
    "input_audio_buffer.append": RealtimeSession.append,
    "input_audio_buffer.commit": RealtimeSession.commit,
    "input_audio_buffer.clear": RealtimeSession.clear,
    "response.create": RealtimeSession.create_response,
    "response.cancel": RealtimeSession.cancel,
}

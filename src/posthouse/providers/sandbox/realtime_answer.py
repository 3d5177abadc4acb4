"""One answer of a realtime session: its events, its sound and what it took."""

import base64
from collections.abc import Iterator
from typing import Any

from msgspec import Struct

from posthouse.model.sockets import Saying
from posthouse.providers.sandbox import sound, tokens
from posthouse.providers.sandbox.directives import Directives, first_text
from posthouse.providers.sandbox.instances import instance
from posthouse.providers.sandbox.refusal import RequestRefused
from posthouse.wire import json
from posthouse.wire.websocket import TEXT

PREFACE = 4
"""Events of an answer before its first content."""
SPOKEN_PER_SECOND = 20
SOUND_STEP = 9_600
"""Bytes of one piece: a fifth of a second."""


class Heard(Struct):
    """What the conversation holds, in the sandbox's tokens."""

    text: int = 0
    sound: int = 0
    cached_text: int = 0
    cached_sound: int = 0
    """How much of it the last answer has read."""
    last: str = ""
    """What the user has said last."""
    result: str = ""
    """What a tool has given since the last answer."""

    def take(self, item: dict[str, Any]) -> None:
        """Add an item that the client has made."""
        if item.get("type") == "function_call_output":
            self.result = str(item.get("output", ""))
            self.text += tokens.count(self.result) + tokens.MESSAGE_TOKENS
            return
        said = first_text(item.get("content"))
        self.text += tokens.count(said) + tokens.MESSAGE_TOKENS
        if item.get("role") == "user":
            self.last = said


class Answer:
    """An answer under way."""

    def __init__(self, name: str, heard: Heard, wanted: dict[str, Any]) -> None:
        """Begin one; `wanted` is the session with what was asked for this answer."""
        self.name = name
        self.heard = heard
        self.wanted = wanted
        self.spoken = "audio" in (wanted.get("output_modalities") or ["audio"])
        self.made_text = 0
        self.made_sound = 0
        self.items: list[dict[str, Any]] = []
        self.number = 0

    def event(self, kind: str, delay: float = 0.0, /, **members: Any) -> Saying:
        """Write an event of it."""
        self.number += 1
        name = f"event_{self.name.removeprefix('resp_')}_{self.number}"
        event = {"type": kind, "event_id": name, **members}
        return Saying(TEXT, json.encode(event), delay)

    def response(self, status: str, *, told: bool = True) -> dict[str, Any]:
        """Write the response as it stands; `told` is whether it says what it took."""
        return {
            "object": "realtime.response",
            "id": self.name,
            "status": status,
            "status_details": None,
            "output": self.items if status != "in_progress" else [],
            "conversation_id": "conv_sandbox",
            "output_modalities": ["audio"] if self.spoken else ["text"],
            "max_output_tokens": self.wanted.get("max_output_tokens", "inf"),
            "usage": self.usage() if told and status != "in_progress" else None,
            "metadata": None,
        }

    def usage(self) -> dict[str, Any]:
        """Say what it took, as the conversation goes on with it."""
        heard = self.heard
        told = tokens.count(str(self.wanted.get("instructions", "")))
        text, heard_sound = heard.text + told, heard.sound
        usage = {
            "total_tokens": text + heard_sound + self.made_text + self.made_sound,
            "input_tokens": text + heard_sound,
            "output_tokens": self.made_text + self.made_sound,
            "input_token_details": {
                "text_tokens": text,
                "audio_tokens": heard_sound,
                "image_tokens": 0,
                "cached_tokens": heard.cached_text + heard.cached_sound,
                "cached_tokens_details": {
                    "text_tokens": heard.cached_text,
                    "audio_tokens": heard.cached_sound,
                    "image_tokens": 0,
                },
            },
            "output_token_details": {
                "text_tokens": self.made_text,
                "audio_tokens": self.made_sound,
            },
        }
        heard.cached_text, heard.cached_sound = text, heard_sound
        heard.text += self.made_text
        heard.sound += self.made_sound
        return usage

    def cancelled(self) -> Saying:
        """Write its end when it was called off."""
        return self.event("response.done", response=self.response("cancelled"))


def play(answer: Answer, directives: Directives) -> Iterator[Saying]:
    """Give the events of an answer, one after the other."""
    pace = directives.pace
    begun = answer.response("in_progress")
    yield answer.event("response.created", pace.first, response=begun)
    tool = _tool(answer)
    if tool is not None:
        yield from _call(answer, tool)
    else:
        yield from _speak(answer, directives)
    told = directives.usage != "no-usage"
    done = answer.response("completed", told=told)
    answer.heard.result = ""
    yield answer.event("response.done", response=done)


def _speak(answer: Answer, directives: Directives) -> Iterator[Saying]:
    text = _text(answer.heard, directives)
    pace = directives.pace.between
    item: dict[str, Any] = {
        "id": f"item_{answer.name.removeprefix('resp_')}",
        "object": "realtime.item",
        "type": "message",
        "role": "assistant",
        "status": "in_progress",
        "content": [],
    }
    place: dict[str, Any] = {
        "response_id": answer.name,
        "item_id": item["id"],
        "output_index": 0,
    }
    kind = "output_audio" if answer.spoken else "output_text"
    part: dict[str, Any] = {"type": kind}
    member = "transcript" if answer.spoken else "text"
    yield answer.event("response.output_item.added", item=item, **_of(place, "item"))
    yield answer.event("conversation.item.added", item=item, previous_item_id=None)
    yield answer.event(
        "response.content_part.added", part={**part, member: ""}, **_in(place)
    )
    words = "output_audio_transcript" if answer.spoken else "output_text"
    for piece in tokens.split(text):
        answer.made_text += 1
        yield answer.event(f"response.{words}.delta", pace, delta=piece, **_in(place))
    if answer.spoken:
        samples = sound.pcm(text)
        for at in range(0, len(samples), SOUND_STEP):
            step = samples[at : at + SOUND_STEP]
            answer.made_sound += -(-len(step) * SPOKEN_PER_SECOND // (sound.RATE * 2))
            delta = base64.b64encode(step).decode()
            yield answer.event(
                "response.output_audio.delta", pace, delta=delta, **_in(place)
            )
        yield answer.event("response.output_audio.done", **_in(place))
    yield answer.event(f"response.{words}.done", **{member: text}, **_in(place))
    whole = {**part, member: text}
    yield answer.event("response.content_part.done", part=whole, **_in(place))
    item = {**item, "status": "completed", "content": [whole]}
    answer.items.append(item)
    yield answer.event("response.output_item.done", item=item, **_of(place, "item"))
    yield answer.event("conversation.item.done", item=item, previous_item_id=None)


def _call(answer: Answer, tool: dict[str, Any]) -> Iterator[Saying]:
    """Call a tool, with arguments that its schema takes."""
    try:
        value = instance(tool.get("parameters") or {}, "tools")
    except RequestRefused:
        value = {}
    arguments = json.encode(value if isinstance(value, dict) else {}).decode()
    own = answer.name.removeprefix("resp_")
    item: dict[str, Any] = {
        "id": f"item_{own}",
        "object": "realtime.item",
        "type": "function_call",
        "status": "completed",
        "name": tool.get("name"),
        "call_id": f"call_{own}",
        "arguments": arguments,
    }
    answer.made_text += tokens.count(arguments)
    answer.items.append(item)
    place: dict[str, Any] = {
        "response_id": answer.name,
        "item_id": item["id"],
        "output_index": 0,
    }
    yield answer.event("response.output_item.added", item=item, **_of(place, "item"))
    told = {"call_id": item["call_id"], **place}
    name = "response.function_call_arguments"
    yield answer.event(f"{name}.delta", delta=arguments, **told)
    yield answer.event(f"{name}.done", arguments=arguments, name=item["name"], **told)
    yield answer.event("response.output_item.done", item=item, **_of(place, "item"))


def _tool(answer: Answer) -> dict[str, Any] | None:
    """Choose the tool to call, if one is to be."""
    wanted, heard = answer.wanted, answer.heard
    offered = [tool for tool in wanted.get("tools") or [] if isinstance(tool, dict)]
    if heard.result or wanted.get("tool_choice") == "none":
        return None
    named = [tool for tool in offered if str(tool.get("name")) in heard.last]
    if wanted.get("tool_choice") == "required":
        named = named or offered
    return named[0] if named else None


def _text(heard: Heard, directives: Directives) -> str:
    if heard.result:
        text = f"The tool says: {heard.result}"
    else:
        text = f"This is the sandbox. You said: {heard.last or 'nothing'}"
    if directives.length is not None:
        size = directives.length * tokens.TOKEN_CHARACTERS
        text = (text + " ") * (size // (len(text) + 1) + 1)
        text = tokens.cut(text, directives.length)
    return text


def _in(place: dict[str, Any]) -> dict[str, Any]:
    return {**place, "content_index": 0}


def _of(place: dict[str, Any], whole: str) -> dict[str, Any]:
    return {name: value for name, value in place.items() if name != f"{whole}_id"}

"""A chat stream's chunks.

Only what must have a certain shape has a type: whatever else stands in a field
passes, and is not counted.
"""

from typing import Any

from msgspec import Struct

from posthouse.dialects.openai.replies import produced_text
from posthouse.wire import json


class _Delta(Struct, gc=False):
    content: Any = None
    refusal: Any = None
    reasoning_content: Any = None
    reasoning: Any = None
    reasoning_details: Any = None
    tool_calls: Any = None
    function_call: Any = None
    audio: Any = None


class _Choice(Struct, gc=False):
    delta: _Delta | None = None
    index: Any = 0
    finish_reason: Any = None
    usage: Any = None

    def read(self) -> tuple[str, bool]:
        """Give the text that it carries, and whether it is any of the answer."""
        delta = self.delta
        if delta is None:
            return "", False
        text = delta.content
        if text and isinstance(text, str):
            return text, True
        text = _further_arguments(delta.tool_calls)
        return (text, True) if text else _read_rare(delta)


def _further_arguments(calls: Any) -> str:
    """Read the most common fragment of a tool call; "" if it is another one."""
    if not isinstance(calls, list) or len(calls) != 1 or not isinstance(calls[0], dict):
        return ""
    function = calls[0].get("function")
    if not isinstance(function, dict) or len(function) != 1:
        return ""
    arguments = function.get("arguments")
    return arguments if isinstance(arguments, str) else ""


def _read_rare(delta: _Delta) -> tuple[str, bool]:
    """Read what is not plain text: thoughts, refusals, tool calls, audio, parts."""
    parts = [
        part
        for part in (
            delta.reasoning_content or delta.reasoning or delta.reasoning_details,
            delta.content,
            delta.refusal,
            delta.tool_calls,
            delta.function_call,
        )
        if part
    ]
    if not parts:
        return "", bool(delta.audio)
    return produced_text(parts), True


class Chunk(Struct, gc=False):
    """One frame of the stream, as far as it is acted on."""

    choices: list[_Choice] | None = None
    usage: Any = None
    error: Any = None
    service_tier: Any = None


CHUNK = json.decoder(Chunk)

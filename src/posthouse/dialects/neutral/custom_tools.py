"""Tools that take text, where a dialect has only such as take JSON.

They become functions with one member of text; calls of them are read back, and
those of earlier turns written, in the same way.
"""

from typing import Any

from posthouse.model.chat import CustomTool, FunctionTool
from posthouse.wire import json
from posthouse.wire.json import MalformedJSON

_MEMBER = "input"
_object = json.decoder(dict[str, Any])


def as_function(tool: CustomTool) -> FunctionTool:
    """Write a tool that takes text as a function; a grammar becomes advice."""
    description = tool.description
    grammar = _grammar(tool)
    if grammar:
        description = f"{description}\n\n{grammar}" if description else grammar
    return FunctionTool(
        tool.name,
        description,
        {
            "type": "object",
            "properties": {_MEMBER: {"type": "string"}},
            "required": [_MEMBER],
            "additionalProperties": False,
        },
    )


def _grammar(tool: CustomTool) -> str:
    """Say in words what the text must look like; "" if anything will do."""
    found = tool.format or {}
    found = found.get("grammar") or found
    definition = found.get("definition") if isinstance(found, dict) else None
    if not isinstance(definition, str):
        return ""
    syntax = found.get("syntax")
    return f"The input must match this {syntax or ''} grammar:\n{definition}"


def wrapped(text: str) -> str:
    """The arguments that stand for a text."""
    return json.encode({_MEMBER: text}).decode()


def unwrapped(arguments: str) -> str:
    """The text that arguments stand for; what is written otherwise is the text."""
    try:
        found = json.decode_with(_object, arguments.encode(errors="replace"))
    except MalformedJSON:
        return arguments
    text = found.get(_MEMBER)
    return text if isinstance(text, str) and len(found) == 1 else arguments

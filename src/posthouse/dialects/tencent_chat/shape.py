"""OpenAI's chat in Tencent's letters, and back.

What the system says stands first; the roles of the others alternate, so neighbours
of one role are joined. There is no limit of the answer, and thoughts never go back.
"""

import re
from typing import Any

from typing_extensions import override

from posthouse.dialects.neutral.codec import Losses
from posthouse.dialects.openai.reshaped import (
    Shape,
    inner,
    objects,
    plain_text,
    refuse_several,
    taken_apart,
    tell_left_out,
)
from posthouse.dialects.tencent_chat.errors import fault_in
from posthouse.errors import UpstreamBadResponse
from posthouse.model.chat import Extras
from posthouse.wire import json

_MEMBERS = {
    "model": "Model",
    "stream": "Stream",
    "temperature": "Temperature",
    "top_p": "TopP",
    "enable_thinking": "EnableThinking",
}
_INSIDE = frozenset(
    {
        *_MEMBERS,
        "messages",
        "n",
        "tools",
        "tool_choice",
        "seed",
        "stop",
        "stream_options",
    }
)
_OF_A_MESSAGE = frozenset({"role", "content", "tool_calls", "tool_call_id"})
_SEEDS = range(1, 10_001)
_WORD = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_FINISHES = {"sensitive": "content_filter", "": None}


class TencentShape(Shape):
    """See `Shape` for what each method promises."""

    of = "openai_chat"

    @override
    def request(self, body: Extras, losses: Losses) -> Extras:
        refuse_several(body, losses)
        for name, value in body.items():
            if name not in _INSIDE and value is not None:
                losses.drop(name)
        written: Extras = {
            new: body[old] for old, new in _MEMBERS.items() if old in body
        }
        written["Messages"] = _messages(body["messages"], losses)
        written |= _tools(body, losses)
        seed = body.get("seed")
        if seed in _SEEDS:
            written["Seed"] = seed
        elif seed is not None:
            losses.drop("seed")
        stop = body.get("stop")
        if stop:
            written["Stop"] = [stop] if isinstance(stop, str) else stop
        return written

    @override
    def reply(self, value: Extras) -> Extras:
        response = value.get("Response")
        if not isinstance(response, dict):
            raise UpstreamBadResponse
        return self.chunk(response, b"")

    @override
    def chunk(self, value: Extras, event: bytes) -> Extras:
        fault = fault_in(value)
        if fault is not None:
            raise fault
        found = _as_openai(value)
        choices = objects(found.get("choices"))
        for index, choice in enumerate(choices):
            choice.setdefault("index", index)
            reason = choice.get("finish_reason")
            if isinstance(reason, str):
                choice["finish_reason"] = _FINISHES.get(reason, reason)
        return {
            "id": found.get("id"),
            "created": found.get("created"),
            "choices": choices,
            "usage": found.get("usage"),
        }


def _as_openai(value: Any) -> Any:
    """Write `PromptTokens` as `prompt_tokens`, at every depth."""
    if isinstance(value, dict):
        return {_snake(name): _as_openai(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [_as_openai(entry) for entry in value]
    return value


def _snake(name: str) -> str:
    return _WORD.sub("_", name).lower()


# --- messages -----------------------------------------------------------------------


def _messages(messages: list[Extras], losses: Losses) -> list[Extras]:
    system, others = taken_apart(messages, losses)
    written: list[Extras] = []
    if system:
        written.append({"Role": "system", "Content": system})
    for message in others:
        tell_left_out(message, _OF_A_MESSAGE, losses)
        entry = _message(message, losses)
        last = written[-1] if written else {}
        if _joins(last, entry):
            losses.change("messages")
            last["Content"] = f"{last['Content']}\n\n{entry['Content']}"
        else:
            written.append(entry)
    return written


def _joins(last: Extras, entry: Extras) -> bool:
    """Whether a message goes on in the one before: both are nothing but text."""
    only = {"Role", "Content"}
    same = last.get("Role") == entry["Role"] and entry["Role"] != "tool"
    return same and last.keys() == only == entry.keys()


def _message(message: Extras, losses: Losses) -> Extras:
    entry: Extras = {"Role": message["role"]}
    content = message.get("content")
    parts = objects(content)
    if all(part.get("type") in ("text", "refusal") for part in parts):
        entry["Content"] = plain_text(content, losses)
    else:
        entry["Contents"] = [_part(part, losses) for part in parts]
    calls = objects(message.get("tool_calls"))
    if calls:
        entry["ToolCalls"] = [_call(call, index) for index, call in enumerate(calls)]
    if message.get("tool_call_id") is not None:
        entry["ToolCallId"] = message["tool_call_id"]
    return entry


def _part(part: Extras, losses: Losses) -> Extras:
    kind = part.get("type")
    if kind == "text":
        return {"Type": "text", "Text": part.get("text")}
    if kind not in ("image_url", "video_url"):
        losses.refuse("messages.content", "This model takes text and pictures alone.")
    name = "ImageUrl" if kind == "image_url" else "VideoUrl"
    if inner(part[kind]).get("detail") is not None:
        losses.drop("messages.content.detail")
    return {"Type": kind, name: {"Url": inner(part[kind]).get("url")}}


def _call(call: Extras, index: int) -> Extras:
    function = inner(call.get("function"))
    return {
        "Id": call.get("id"),
        "Type": "function",
        "Function": {
            "Name": function.get("name"),
            "Arguments": function.get("arguments"),
        },
        "Index": index,
    }


# --- tools --------------------------------------------------------------------------


def _tools(body: Extras, losses: Losses) -> Extras:
    tools = [_tool(tool, losses) for tool in objects(body.get("tools"))]
    if not tools:
        return {}
    written: Extras = {"Tools": tools}
    choice = body.get("tool_choice")
    if choice is None:
        return written
    if choice in ("none", "auto"):
        return written | {"ToolChoice": choice}
    name = inner(inner(choice).get("function")).get("name")
    wanted = [tool for tool in tools if name in (None, tool["Function"]["Name"])]
    if len(wanted) == 1:
        return written | {"ToolChoice": "custom", "CustomTool": wanted[0]}
    losses.change("tool_choice")
    return written | {"ToolChoice": "auto"}


def _tool(tool: Extras, losses: Losses) -> Extras:
    if tool.get("type") != "function":
        losses.refuse("tools", "This model takes functions alone.")
    function = inner(tool["function"])
    known = frozenset({"name", "description", "parameters"})
    tell_left_out(function, known, losses, "tools")
    written = {
        "Name": function.get("name"),
        "Parameters": json.encode(
            function.get("parameters") or {"type": "object", "properties": {}}
        ).decode(),
    }
    if function.get("description"):
        written["Description"] = function["description"]
    return {"Type": "function", "Function": written}

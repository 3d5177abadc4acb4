"""OpenAI's chat in ERNIE's first shape, and back.

What the system says stands apart. Messages alternate and are odd in number, so
neighbours of one role are joined and what is said last is the user's. Tools are the
older functions, of which a turn calls one; what it returns is told by its name.
"""

from typing import Any

from typing_extensions import override

from posthouse.dialects.ernie_chat.errors import fault_in
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
from posthouse.errors import UpstreamBadResponse
from posthouse.model.chat import Extras

_BOUNDS = {"temperature": (0.01, 1), "top_p": (0, 1), "penalty_score": (1, 2)}
_INSIDE = frozenset(
    {
        "model",
        "messages",
        "n",
        "stream",
        "stream_options",
        "max_tokens",
        "stop",
        "tools",
        "tool_choice",
        "user",
    }
)
_OWN = frozenset({"disable_search", "enable_citation"})
_OF_A_MESSAGE = frozenset({"role", "content", "tool_calls", "tool_call_id"})
_MOST_STOPS = 4
_LEAST_OUTPUT = 2
_FINISHES = {"normal": "stop", "function_call": "tool_calls"}


class ErnieShape(Shape):
    """See `Shape` for what each method promises."""

    of = "openai_chat"

    @override
    def request(self, body: Extras, losses: Losses) -> Extras:
        refuse_several(body, losses)
        system, others = taken_apart(body["messages"], losses)
        written: Extras = {"messages": _messages(others, losses)}
        if system:
            written["system"] = system
        for name, value in body.items():
            if name in _BOUNDS:
                written[name] = _bounded(name, value, losses)
            elif name in _OWN:
                written[name] = value
            elif name not in _INSIDE and value is not None:
                losses.drop(name)
        if body.get("stream"):
            written["stream"] = True
        if body.get("user") is not None:
            written["user_id"] = body["user"]
        return written | _limits(body, losses) | _functions(body, losses)

    @override
    def reply(self, value: Extras) -> Extras:
        message = _said(value) | {"role": "assistant"}
        reason = _reason(value) or "stop"
        choice = {"index": 0, "message": message, "finish_reason": reason}
        return _outside(value, choice)

    @override
    def chunk(self, value: Extras, event: bytes) -> Extras:
        delta = _said(value)
        for index, call in enumerate(objects(delta.get("tool_calls"))):
            call["index"] = index
        # Every frame has a reason; only the last one's is meant.
        reason = (_reason(value) or "stop") if value.get("is_end") else None
        choice = {"index": 0, "delta": delta, "finish_reason": reason}
        return _outside(value, choice)

    @override
    def ends(self, value: Extras) -> bool:
        return value.get("is_end") is True


def _bounded(name: str, value: Any, losses: Losses) -> Any:
    low, high = _BOUNDS[name]
    if not isinstance(value, int | float) or low <= value <= high:
        return value
    losses.change(name)
    return low if value < low else high


def _limits(body: Extras, losses: Losses) -> Extras:
    written: Extras = {}
    limit = body.get("max_tokens")
    if isinstance(limit, int):
        if limit < _LEAST_OUTPUT:
            losses.change("max_tokens")
        written["max_output_tokens"] = max(limit, _LEAST_OUTPUT)
    stop = body.get("stop")
    stops = [stop] if isinstance(stop, str) else list(stop or ())
    if len(stops) > _MOST_STOPS:
        losses.refuse("stop", "This model takes at most four stop sequences.")
    return written | ({"stop": stops} if stops else {})


# --- messages -----------------------------------------------------------------------


def _messages(messages: list[Extras], losses: Losses) -> list[Extras]:
    called: dict[str, str] = {}
    """The names of the tools that were called, by the calls' ids."""
    written: list[Extras] = []
    for message in messages:
        tell_left_out(message, _OF_A_MESSAGE, losses)
        entry = _message(message, called, losses)
        last = written[-1] if written else {}
        if last.get("role") == entry["role"] and "function_call" not in last:
            losses.change("messages")
            last |= entry | {"content": f"{last['content']}\n\n{entry['content']}"}
        else:
            written.append(entry)
    if written and written[0]["role"] != "user":
        losses.change("messages")
        written.insert(0, {"role": "user", "content": "..."})
    if written and written[-1]["role"] == "assistant":
        losses.change("messages")
        written.append({"role": "user", "content": "..."})
    return written


def _message(message: Extras, called: dict[str, str], losses: Losses) -> Extras:
    content = plain_text(message.get("content"), losses)
    role = message["role"]
    if role == "tool":
        name = called.get(str(message.get("tool_call_id")), "")
        return {"role": "function", "name": name, "content": content}
    calls = objects(message.get("tool_calls"))
    if not calls:
        return {"role": role, "content": content}
    if len(calls) > 1:
        losses.refuse("messages.tool_calls", "This model calls one tool at a time.")
    function = inner(calls[0].get("function"))
    called[str(calls[0].get("id"))] = str(function.get("name"))
    call = {"name": function.get("name"), "arguments": function.get("arguments")}
    return {"role": role, "content": content, "function_call": call}


def _functions(body: Extras, losses: Losses) -> Extras:
    choice = body.get("tool_choice")
    tools = objects(body.get("tools"))
    if not tools or choice == "none":
        return {}
    functions = [_function(tool, losses) for tool in tools]
    written: Extras = {"functions": functions}
    if isinstance(choice, dict):
        written["tool_choice"] = choice
    elif choice == "required":
        if len(functions) > 1:
            losses.change("tool_choice")
            return written
        name = {"name": functions[0]["name"]}
        written["tool_choice"] = {"type": "function", "function": name}
    return written


def _function(tool: Extras, losses: Losses) -> Extras:
    if tool.get("type") != "function":
        losses.refuse("tools", "This model takes functions alone.")
    function = inner(tool["function"])
    known = frozenset({"name", "description", "parameters"})
    tell_left_out(function, known, losses, "tools")
    return {
        "name": function.get("name"),
        "description": function.get("description") or str(function.get("name")),
        "parameters": function.get("parameters")
        or {"type": "object", "properties": {}},
    }


# --- replies ------------------------------------------------------------------------


def _said(value: Extras) -> Extras:
    """Give what a reply or a frame says; raises UpstreamFault."""
    fault = fault_in(value)
    if fault is not None:
        raise fault
    if "result" not in value and "function_call" not in value:
        raise UpstreamBadResponse
    said: Extras = {"content": value.get("result") or ""}
    call = value.get("function_call")
    if isinstance(call, dict):
        function = {name: call.get(name) for name in ("name", "arguments")}
        name = f"call_{value.get('id') or 0}"
        said["tool_calls"] = [{"id": name, "type": "function", "function": function}]
    return said


def _reason(value: Extras) -> str | None:
    reason = value.get("finish_reason")
    if isinstance(value.get("function_call"), dict):
        return "tool_calls"
    if value.get("is_truncated"):
        return "length"
    if not isinstance(reason, str) or not reason:
        return None
    return _FINISHES.get(reason, reason)


def _outside(value: Extras, choice: Extras) -> Extras:
    return {
        "id": value.get("id"),
        "created": value.get("created"),
        "choices": [choice],
        "usage": value.get("usage"),
    }

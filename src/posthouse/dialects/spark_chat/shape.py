"""OpenAI's chat in Spark's shape, and back.

A reply always comes in pieces, of which the last one has the status 2 and the usage.
There is no message for what a tool returns: calls and results of earlier turns are
told in words.
"""

from typing import Any, ClassVar

from typing_extensions import override

from posthouse.dialects.neutral.codec import Losses
from posthouse.dialects.openai.errors import ErrorObject, judge
from posthouse.dialects.openai.reshaped import (
    Shape,
    inner,
    objects,
    plain_text,
    refuse_several,
    tell_left_out,
)
from posthouse.errors import UpstreamBadResponse, UpstreamFault
from posthouse.model.chat import Extras

_PARAMETERS = frozenset({"temperature", "top_k", "max_tokens"})
_INSIDE = frozenset(
    {"model", "messages", "n", "stream", "stream_options", "tools", "tool_choice"}
    | {"user"}
)
_OF_A_MESSAGE = frozenset({"role", "content", "tool_calls", "tool_call_id"})
_TOP_K = (1, 6)
_LAST = 2
_STATUS = (
    dict.fromkeys((10003, 10004, 10005, 10163, 10907), 400)
    | dict.fromkeys((10013, 10014, 10019, 10021), 400)
    | dict.fromkeys((10015, 10016, 11200), 401)
    | dict.fromkeys((10006, 10007, 11201, 11202, 11203), 429)
)
"""By code; what is not here is the provider's own trouble. What they mean is said at
https://xfyun.cn/doc/spark/%E6%8E%A5%E5%8F%A3%E8%AF%B4%E6%98%8E.html."""
_CODES = {
    10013: "content_filter",
    10014: "content_filter",
    10019: "content_filter",
    10021: "content_filter",
    10907: "context_length_exceeded",
}


class SparkShape(Shape):
    """See `Shape` for what each method promises."""

    of = "openai_chat"
    in_pieces: ClassVar[bool] = True

    @override
    def request(self, body: Extras, losses: Losses) -> Extras:
        refuse_several(body, losses)
        chat: Extras = {"domain": body["model"]}
        for name, value in body.items():
            if name in _PARAMETERS:
                chat[name] = _bounded(name, value, losses)
            elif name not in _INSIDE and value is not None:
                losses.drop(name)
        texts = [_message(message, losses) for message in body["messages"]]
        payload: Extras = {"message": {"text": texts}}
        functions = _functions(body, losses)
        if functions:
            payload["functions"] = {"text": functions}
        user = body.get("user")
        header = {} if user is None else {"uid": str(user)[:32]}
        return {"header": header, "parameter": {"chat": chat}, "payload": payload}

    @override
    def reply(self, value: Extras) -> Extras:
        return self.chunk(value, b"")

    @override
    def chunk(self, value: Extras, event: bytes) -> Extras:
        header = inner(value.get("header"))
        fault = _fault_in(header)
        if fault is not None:
            raise fault
        payload = inner(value.get("payload"))
        if not header:
            raise UpstreamBadResponse
        delta: Extras = {"content": ""}
        for text in objects(inner(payload.get("choices")).get("text")):
            _say(delta, text, header)
        reason = None
        if self.ends(value):
            reason = "tool_calls" if "tool_calls" in delta else "stop"
        return {
            "id": header.get("sid"),
            "choices": [{"index": 0, "delta": delta, "finish_reason": reason}],
            "usage": inner(payload.get("usage")).get("text"),
        }

    @override
    def ends(self, value: Extras) -> bool:
        return inner(value.get("header")).get("status") == _LAST


def _bounded(name: str, value: Any, losses: Losses) -> Any:
    if not isinstance(value, int | float):
        return value
    low, high = _TOP_K if name == "top_k" else (0.01, 1)
    if name == "max_tokens" or low <= value <= high:
        return value
    losses.change(name)
    return low if value < low else high


def _message(message: Extras, losses: Losses) -> Extras:
    tell_left_out(message, _OF_A_MESSAGE, losses)
    content = plain_text(message.get("content"), losses)
    role = message["role"]
    calls = objects(message.get("tool_calls"))
    if role == "tool" or calls:
        losses.change("tool_calls")
    if role == "tool":
        return {"role": "user", "content": content}
    said = [content] if content else []
    for call in calls:
        function = inner(call.get("function"))
        said.append(f"{function.get('name')}({function.get('arguments')})")
    return {"role": role, "content": "\n\n".join(said)}


def _functions(body: Extras, losses: Losses) -> list[Extras]:
    choice = body.get("tool_choice")
    tools = objects(body.get("tools"))
    if choice == "none":
        return []
    if tools and choice not in (None, "auto"):
        losses.change("tool_choice")
    return [_function(tool, losses) for tool in tools]


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


def _say(delta: Extras, text: Extras, header: Extras) -> None:
    """Add one of a piece's texts."""
    delta["content"] += str(text.get("content") or "")
    thought = text.get("reasoning_content")
    if thought:
        delta["reasoning_content"] = thought
    call = text.get("function_call")
    if isinstance(call, dict):
        function = {name: call.get(name) for name in ("name", "arguments")}
        name = f"call_{header.get('sid') or 0}"
        delta["tool_calls"] = [
            {"index": 0, "id": name, "type": "function", "function": function}
        ]


def _fault_in(header: Extras) -> UpstreamFault | None:
    code = header.get("code")
    if not isinstance(code, int) or code == 0:
        return None
    named = ErrorObject(header.get("message"), code=_CODES.get(code, str(code)))
    fault = judge(_STATUS.get(code, 500), named)
    fault.stands_for = getattr(fault, "upstream_status", fault.status)
    return fault

"""OpenAI's chat in DashScope's own shape, and back.

A reason that is the text "null" is none yet. What stands in `parameters` is named as
in the compatible mode; other members are left out.
"""

from typing import Any

from typing_extensions import override

from posthouse.dialects.neutral.codec import Losses
from posthouse.dialects.openai.errors import fault_in
from posthouse.dialects.openai.reshaped import (
    Shape,
    inner,
    objects,
    plain_text,
    tell_left_out,
)
from posthouse.errors import UpstreamBadResponse
from posthouse.model.chat import Extras

_PARAMETERS = frozenset(
    {
        "enable_search",
        "enable_thinking",
        "logprobs",
        "max_tokens",
        "n",
        "parallel_tool_calls",
        "presence_penalty",
        "repetition_penalty",
        "response_format",
        "search_options",
        "seed",
        "stop",
        "temperature",
        "thinking_budget",
        "tool_choice",
        "tools",
        "top_k",
        "top_logprobs",
        "top_p",
        "translation_options",
    }
)
_INSIDE = frozenset({"model", "messages", "stream", "stream_options"})
_OF_A_MESSAGE = frozenset(
    {"role", "content", "tool_calls", "tool_call_id", "name", "partial"}
    | {"reasoning_content"}
)
_BELOW = {"temperature": 1.9999, "top_p": 0.9999}
"""What must stay below two and one."""


class DashScopeShape(Shape):
    """See `Shape` for what each method promises."""

    of = "openai_chat"

    @override
    def request(self, body: Extras, losses: Losses) -> Extras:
        parameters: Extras = {"result_format": "message"}
        if body.get("stream"):
            parameters["incremental_output"] = True
        for name, value in body.items():
            if name in _PARAMETERS:
                parameters[name] = _bounded(name, value, losses)
            elif name not in _INSIDE and value is not None:
                losses.drop(name)
        messages = [_message(message, losses) for message in body["messages"]]
        return {
            "model": body["model"],
            "input": {"messages": messages},
            "parameters": parameters,
        }

    @override
    def reply(self, value: Extras) -> Extras:
        return self._read(value, "message")

    @override
    def chunk(self, value: Extras, event: bytes) -> Extras:
        if event == b"error":
            raise fault_in(value, told=True) or UpstreamBadResponse()
        return self._read(value, "delta")

    def _read(self, value: Extras, said: str) -> Extras:
        output = value.get("output")
        if not isinstance(output, dict):
            raise fault_in(value) or UpstreamBadResponse()
        choices = objects(output.get("choices")) or [_from_text(output)]
        return {
            "id": value.get("request_id"),
            "choices": [
                _choice(choice, index, said) for index, choice in enumerate(choices)
            ],
            "usage": _usage(value.get("usage")),
        }


def _bounded(name: str, value: Any, losses: Losses) -> Any:
    most = _BELOW.get(name)
    if most is None or not isinstance(value, int | float) or value <= most:
        return value
    losses.change(name)
    return most


def _message(message: Extras, losses: Losses) -> Extras:
    tell_left_out(message, _OF_A_MESSAGE, losses)
    kept = {name: message[name] for name in message if name in _OF_A_MESSAGE}
    return kept | {"content": plain_text(message.get("content"), losses)}


# --- replies ------------------------------------------------------------------------


def _from_text(output: Extras) -> Extras:
    """The choice of a reply in the older format."""
    message = {"role": "assistant", "content": output.get("text")}
    return {"message": message, "finish_reason": output.get("finish_reason")}


def _choice(choice: Extras, index: int, said: str) -> Extras:
    message = dict(inner(choice.get("message")))
    content = message.get("content")
    if isinstance(content, list):
        message["content"] = "".join(
            str(part.get("text") or "") for part in objects(content)
        )
    reason = choice.get("finish_reason")
    logprobs = choice.get("logprobs")
    return {
        "index": choice.get("index", index),
        said: message,
        "finish_reason": None if reason == "null" else reason,
    } | ({} if logprobs is None else {"logprobs": logprobs})


def _usage(usage: Any) -> Extras | None:
    if not isinstance(usage, dict):
        return None
    return {
        "prompt_tokens": usage.get("input_tokens"),
        "completion_tokens": usage.get("output_tokens"),
        "total_tokens": usage.get("total_tokens"),
        "prompt_tokens_details": usage.get("prompt_tokens_details"),
        "completion_tokens_details": usage.get("output_tokens_details"),
    }

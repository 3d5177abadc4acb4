"""A response but for its answer: what it says again of what was asked.

Sources: `Response` of OpenAI's Python SDK, 3.54.
"""

from typing import Any

from posthouse.dialects.neutral.codec import Identity, Losses
from posthouse.dialects.openai_responses.tools import write_choice, write_tools
from posthouse.dialects.openai_responses.write_request import (
    is_instruction,
    write_format,
)
from posthouse.model.chat import ChatRequest, Finish, FinishReason, Text
from posthouse.wire import json

Body = dict[str, Any]

_INCOMPLETE = {
    FinishReason.LENGTH: "max_output_tokens",
    FinishReason.CONTEXT_LENGTH: "max_output_tokens",
    FinishReason.CONTENT_FILTER: "content_filter",
    FinishReason.REFUSAL: "content_filter",
}


def echo_of(chat: ChatRequest) -> Body:
    """What every state of a response says of its request.

    What may be long stands encoded, for a stream says it three times.
    """
    extras, served = chat.extras, chat.served
    reasoning = chat.reasoning
    nothing = Losses()
    return {
        "background": False,
        "error": None,
        "instructions": json.raw(_instructions(chat)),
        "max_output_tokens": chat.output_limit,
        "max_tool_calls": extras.get("max_tool_calls"),
        "metadata": served.get("metadata", {}),
        "parallel_tool_calls": chat.parallel_tool_calls is not False,
        "previous_response_id": served.get("previous_response_id"),
        "prompt_cache_key": chat.cache_key,
        "reasoning": {
            "effort": None if reasoning is None else reasoning.effort,
            "summary": None if reasoning is None else reasoning.summary,
        },
        "safety_identifier": chat.user,
        "store": served.get("store") is not False,
        "temperature": chat.sampling.temperature,
        "text": json.raw(_text(chat)),
        "tool_choice": write_choice(chat, nothing, custom=True) or "auto",
        "tools": json.raw(write_tools(chat, nothing, custom=True)),
        "top_logprobs": chat.sampling.top_logprobs or 0,
        "top_p": chat.sampling.top_p,
        "truncation": extras.get("truncation", "disabled"),
        "user": None,
    }


def _instructions(chat: ChatRequest) -> str | None:
    """The first message, if it stood in `instructions` or could have."""
    if chat.messages and is_instruction(chat.messages[0]):
        part = chat.messages[0].parts[0]
        return part.text if isinstance(part, Text) else None
    return None


def _text(chat: ChatRequest) -> Body:
    form = chat.output_format
    written: Body = {"format": {"type": "text"} if form is None else write_format(form)}
    if "verbosity" in chat.extras:
        written["verbosity"] = chat.extras["verbosity"]
    return written


def head_of(
    chat: ChatRequest,
    identity: Identity,
    *,
    own_id: str | None,
    model: str | None,
    created: int | None,
) -> Body:
    """What a response is called; `own_id` is a name that a provider has given it."""
    return {
        "id": f"resp_{identity.id}" if own_id is None else own_id,
        "object": "response",
        "created_at": identity.created if created is None else created,
        "model": identity.model or model or chat.model,
    }


def status_of(finish: Finish | None, *, refused: bool) -> Body:
    """How a response has ended.

    `refused` says that the model's refusal is part of the answer.
    """
    reason = None if finish is None else _INCOMPLETE.get(finish.reason)
    if finish is not None and finish.reason is FinishReason.REFUSAL and refused:
        reason = None
    details = None if finish is None else finish.extras.get("incomplete_details")
    if reason is not None:
        details = {"reason": reason}
    status = "completed" if details is None else "incomplete"
    return {"status": status, "incomplete_details": details}

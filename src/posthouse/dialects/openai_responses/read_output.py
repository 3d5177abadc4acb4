"""The output of a response, read into the parts of an answer.

Normal form: ids and statuses of items are left out but for those of reasoning, as
in requests; the probabilities of all texts are joined.

Source: `ResponseOutputItem` of OpenAI's Python SDK, 3.54.
"""

from typing import Any

from msgspec import structs

from posthouse.dialects.neutral.members import Members, unlike
from posthouse.dialects.openai_responses.names import Namespaces
from posthouse.dialects.openai_responses.parts import read_part, read_picture
from posthouse.dialects.openai_responses.read_items import HARMLESS, read_call
from posthouse.dialects.openai_responses.reasoning import read_reasoning
from posthouse.model.chat import (
    Extras,
    Finish,
    FinishReason,
    Foreign,
    Part,
    Refusal,
    Text,
)

CALLS = {"function_call": "arguments", "custom_tool_call": "input"}
"""Items that are calls of the caller's tools, and what holds that they are given."""
_REASONS = {
    "max_output_tokens": FinishReason.LENGTH,
    "content_filter": FinishReason.CONTENT_FILTER,
}


def read_item(value: Any) -> tuple[list[Part], list[Extras] | None]:
    """Read one item: its parts, and the probabilities of its tokens, if any."""
    item = Members(value, "output", unlike)
    kind = item.text("type") or ""
    if kind == "message":
        return _read_message(item)
    if kind == "reasoning":
        return [*read_reasoning(item)], None
    member = CALLS.get(kind)
    if member is not None:
        custom = kind == "custom_tool_call"
        return [read_call(item, member, Namespaces(), custom=custom)], None
    picture = read_picture(item) if kind == "image_generation_call" else None
    if picture is not None:
        return [picture], None
    return [Foreign(kind, {"type": kind, **item.extras()}, kind in HARMLESS)], None


def _read_message(item: Members) -> tuple[list[Part], list[Extras] | None]:
    parts: list[Part] = []
    logprobs: list[Extras] | None = None
    for part in item.each("content"):
        tokens = read_logprobs(part.peek("logprobs"))
        if tokens:
            logprobs = [*(logprobs or ()), *tokens]
        parts.append(read_part(part))
    extras = message_extras(item)
    if extras and parts and isinstance(parts[0], Text | Refusal):
        first = parts[0]
        parts[0] = structs.replace(first, extras={**extras, **first.extras})
    return parts, logprobs


def message_extras(item: Members) -> Extras:
    """What else is said of a message: its phase."""
    for name in ("type", "id", "status", "role", "content"):
        item.take(name)
    return item.extras()


def read_logprobs(value: Any) -> tuple[Extras, ...]:
    """Read the probabilities of tokens; none if they are not what they should be."""
    if not isinstance(value, list):
        return ()
    return tuple(entry for entry in value if isinstance(entry, dict))


def read_finish(
    response: dict[str, Any], *, calls: bool, refused: bool
) -> Finish | None:
    """Why a response has ended; None if it has not.

    Args:
        response: whole.
        calls: it calls a tool of the caller's.
        refused: the model declined in words.
    """
    status = response.get("status")
    if status in ("in_progress", "queued"):
        return None
    details = response.get("incomplete_details")
    if status == "incomplete" or details:
        reason = details.get("reason") if isinstance(details, dict) else None
        if isinstance(reason, str) and reason in _REASONS:
            return Finish(_REASONS[reason])
        extras = {"incomplete_details": details} if isinstance(details, dict) else {}
        return Finish(FinishReason.OTHER, extras=extras)
    if calls:
        return Finish(FinishReason.TOOL_CALLS)
    return Finish(FinishReason.REFUSAL if refused else FinishReason.STOP)

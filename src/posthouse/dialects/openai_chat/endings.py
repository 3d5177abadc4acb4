"""How answers end, and what they have used, both ways.

Sources: OpenAI's API description, `CreateChatCompletionResponse` and
`CompletionUsage` (openapi, 2026-08); reasons of Zhipu's, DeepSeek's, OpenRouter's
and Mistral's; vLLM's `stop_reason`, the string that was met.
"""

from typing import Any

from posthouse.errors import UpstreamOverloaded
from posthouse.model.chat import Extras, Finish, FinishReason
from posthouse.model.usage import ReportedUsage

_REASONS = {
    "stop": FinishReason.STOP,
    "eos": FinishReason.STOP,
    "end_turn": FinishReason.STOP,
    "length": FinishReason.LENGTH,
    "max_tokens": FinishReason.LENGTH,
    "model_length": FinishReason.CONTEXT_LENGTH,
    "model_context_window_exceeded": FinishReason.CONTEXT_LENGTH,
    "tool_calls": FinishReason.TOOL_CALLS,
    "function_call": FinishReason.TOOL_CALLS,
    "content_filter": FinishReason.CONTENT_FILTER,
    "sensitive": FinishReason.CONTENT_FILTER,
}
FINISHES = {word: Finish(reason) for word, reason in _REASONS.items()}
"""What a reason means if nothing else tells more."""
_STOP = FinishReason.STOP
_FAILURES = frozenset({"network_error", "insufficient_system_resource", "error"})
"""The provider has failed, whatever it has said before."""

_NAMES = {
    FinishReason.STOP: "stop",
    FinishReason.STOP_SEQUENCE: "stop",
    FinishReason.LENGTH: "length",
    FinishReason.CONTEXT_LENGTH: "length",
    FinishReason.TOOL_CALLS: "tool_calls",
    FinishReason.CONTENT_FILTER: "content_filter",
    FinishReason.REFUSAL: "content_filter",
    FinishReason.PAUSE: "stop",
    FinishReason.MALFORMED_CALL: "stop",
    FinishReason.OTHER: "stop",
}


def read_finish(reason: Any, met: Any, *, called: bool, refused: bool) -> Finish | None:
    """Read why an answer ended; None if it has not.

    Args:
        reason: `finish_reason`.
        met: vLLM's `stop_reason`.
        called: a tool was called.
        refused: the model declined in words.

    Raises:
        UpstreamFault: the provider says that it has failed.
    """
    found = FINISHES.get(reason) if isinstance(reason, str) else None
    if found is None:
        return _read_other(reason)
    if found.reason is _STOP:
        if called:
            # OpenAI says so of a call that was forced, others of every call.
            return Finish(FinishReason.TOOL_CALLS)
        if refused:
            return Finish(FinishReason.REFUSAL)
        if met and isinstance(met, str):
            return Finish(FinishReason.STOP_SEQUENCE, met)
    return found


def _read_other(reason: Any) -> Finish | None:
    """Read a word that is no reason which others know."""
    # DashScope's native way of saying nothing is the word itself.
    if not isinstance(reason, str) or reason in ("", "null"):
        return None
    if reason in _FAILURES:
        raise UpstreamOverloaded
    return Finish(FinishReason.OTHER, extras={"finish_reason": reason})


def finish_name(finish: Finish, *, legacy: bool, refused: bool) -> str:
    """Write why an answer ended.

    Args:
        finish: the reason.
        legacy: a call was told as a `function_call`.
        refused: the words of a refusal were told.
    """
    if legacy and finish.reason is FinishReason.TOOL_CALLS:
        return "function_call"
    if refused and finish.reason is FinishReason.REFUSAL:
        return "stop"
    return _NAMES[finish.reason]


def write_usage(usage: ReportedUsage) -> Extras:
    """Write a `usage` object."""
    prompt = usage.input or 0
    completion = usage.output or 0
    written = (usage.cache_write_5m or 0) + (usage.cache_write_1h or 0)
    prompt_details = {
        "cached_tokens": usage.cached_input or 0,
        "audio_tokens": usage.audio_input or 0,
    }
    if written:
        prompt_details["cache_write_tokens"] = written
    if usage.image_input:
        prompt_details["image_tokens"] = usage.image_input
    completion_details = {
        "reasoning_tokens": usage.reasoning or 0,
        "audio_tokens": usage.audio_output or 0,
        "accepted_prediction_tokens": 0,
        "rejected_prediction_tokens": 0,
    }
    if usage.image_output:
        completion_details["image_tokens"] = usage.image_output
    return {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
        "prompt_tokens_details": prompt_details,
        "completion_tokens_details": completion_details,
    }


_TIERS = frozenset({"auto", "default", "flex", "scale", "priority", "fast"})


def write_tier(tier: str | None, *, own: bool) -> str | None:
    """Write the tier that was used, if clients would know it."""
    if tier is None or own or tier in _TIERS:
        return tier
    lower = tier.lower()
    if lower == "standard":
        return "default"
    return lower if lower in _TIERS else None

"""What a request says about its answer, written for a provider.

How much a model thinks is told in one of two ways: the newest models decide for
themselves and are told an effort, older ones get a number of tokens. Effort and
number stand for one another by `BUDGETS`. With thinking on, the temperature cannot
be chosen and no tool be forced. Source:
https://platform.claude.com/docs/en/build-with-claude/thinking (2026-11).
"""

from typing import Any

from msgspec import to_builtins

from posthouse.dialects.anthropic_messages.caching import NAME
from posthouse.dialects.anthropic_messages.schema import fitted
from posthouse.dialects.neutral.claude_thinking import (
    BUDGETS,
    LEAST_BUDGET,
    display,
    effort_of,
    is_off,
)
from posthouse.dialects.neutral.codec import Losses
from posthouse.model.chat import (
    ChatRequest,
    Extras,
    OutputFormat,
    OutputKind,
    Reasoning,
    ToolUse,
)
from posthouse.model.traits import ThinkingOff, ThinkingStyle, Traits
from posthouse.wire import json

USUAL_OUTPUT = 8_192
"""Tokens, where neither the caller nor the catalogue says a limit."""


def write_options(chat: ChatRequest, traits: Traits, losses: Losses) -> dict[str, Any]:
    """Write all but the prompt and its tools.

    What has no member but must be said in words is under `advice`.
    """
    own = chat.dialect == NAME
    _refuse_impossible(chat, losses)
    limit = _limit(chat, traits, losses)
    body: dict[str, Any] = {"max_tokens": limit}
    thinking = _Thinking(chat, traits, losses, limit)
    body |= thinking.members()
    body |= _write_sampling(chat, traits, losses, thinks=thinking.is_on)
    _write_format(chat, traits, losses, body)
    config = chat.extras.get("output_config") if own else None
    if isinstance(config, dict):
        body["output_config"] = body.get("output_config", {}) | config
    metadata = {} if chat.user is None else {"user_id": chat.user}
    further = chat.extras.get("metadata") if own else None
    metadata |= further if isinstance(further, dict) else {}
    if metadata:
        body["metadata"] = metadata
    _write_tier(chat, losses, body, own=own)
    if chat.cache_key is not None:
        losses.drop("prompt_cache_key")
    return body


def _refuse_impossible(chat: ChatRequest, losses: Losses) -> None:
    if chat.choices is not None and chat.choices > 1:
        losses.change("n")
    for kind in chat.modalities:
        if kind != "text":
            losses.refuse("modalities", f"This model answers in text, not {kind!r}.")
    if chat.audio is not None:
        losses.drop("audio")


def _limit(chat: ChatRequest, traits: Traits, losses: Losses) -> int:
    limit, most = chat.output_limit, traits.max_output
    if limit is None:
        return most or USUAL_OUTPUT
    if most and limit > most and chat.dialect != NAME:
        losses.change("max_tokens")
        return most
    return limit


# --- thinking -----------------------------------------------------------------------


class _Thinking:
    """Decides how a model is told what to think."""

    def __init__(
        self, chat: ChatRequest, traits: Traits, losses: Losses, limit: int
    ) -> None:
        self._chat = chat
        self._own = chat.dialect == NAME
        self._traits = traits
        self._losses = losses
        self._limit = limit
        self.is_on = False

    def members(self) -> Extras:
        """Give `thinking` and `output_config`, as far as they are told."""
        reasoning = self._chat.reasoning
        if reasoning is None:
            return {}
        if self._own:
            return self._as_it_stood(reasoning)
        if is_off(reasoning):
            return self._off()
        if self._cannot():
            self._losses.drop("reasoning")
            return {}
        self.is_on = True
        if self._traits.thinking is ThinkingStyle.NATIVE:
            return self._by_effort(reasoning)
        return self._by_budget(reasoning)

    def _cannot(self) -> bool:
        """Whether there is no way to tell, or a tool is forced instead."""
        if self._traits.thinking is ThinkingStyle.NONE:
            return True
        choice = self._chat.tool_choice
        forced = choice is not None and choice.use is ToolUse.REQUIRED
        return forced and bool(self._chat.tools) and self._traits.forced_tools

    def _as_it_stood(self, reasoning: Reasoning) -> Extras:
        body: Extras = {}
        whole = self._chat.extras.get("thinking")
        if isinstance(whole, dict):
            body["thinking"] = whole
        elif reasoning.enabled is not None:
            on = "adaptive" if reasoning.adaptive else "enabled"
            thinking = {"type": on if reasoning.enabled else "disabled"}
            if reasoning.budget is not None:
                thinking |= {"budget_tokens": reasoning.budget}  # type: ignore[dict-item]  # a number beside texts
            body["thinking"] = thinking | display(reasoning)
        if reasoning.effort is not None:
            body["output_config"] = {"effort": reasoning.effort}
        return body

    def _off(self) -> Extras:
        """Have it not think; the models that always do, little."""
        off = self._traits.thinking_off
        if self._traits.thinking is ThinkingStyle.NONE:
            return {}
        if off is not ThinkingOff.DISABLED:
            self._losses.change("reasoning")
        if off is ThinkingOff.NEVER:
            return {"output_config": {"effort": "low"}}
        return {"thinking": {"type": off.value}}

    def _by_effort(self, reasoning: Reasoning) -> Extras:
        effort = reasoning.effort
        if effort is None and reasoning.budget is not None and reasoning.budget > 0:
            self._losses.change("reasoning")
            effort = effort_of(reasoning.budget)
        if effort == "minimal":
            self._losses.change("reasoning")
            effort = "low"
        body: Extras = {"thinking": {"type": "adaptive"} | display(reasoning)}
        if effort is not None:
            body["output_config"] = {"effort": effort}
        return body

    def _by_budget(self, reasoning: Reasoning) -> Extras:
        budget = reasoning.budget
        if budget is None or budget < 0:
            budget = BUDGETS.get(reasoning.effort or "medium", BUDGETS["medium"])
            self._losses.change("reasoning")
        low, high = self._traits.thinking_range or (LEAST_BUDGET, self._limit)
        bounded = min(max(budget, low, LEAST_BUDGET), high, self._limit - 1)
        if bounded < LEAST_BUDGET:
            # The answer's limit leaves no room for thoughts.
            self._losses.drop("reasoning")
            self.is_on = False
            return {}
        if bounded != budget:
            self._losses.change("reasoning")
        told = {"type": "enabled", "budget_tokens": bounded} | display(reasoning)
        return {"thinking": told}


# --- sampling -----------------------------------------------------------------------

_NOT_SAMPLED = ("frequency_penalty", "presence_penalty", "seed", "logit_bias")
_TOLD = ("logprobs", "top_logprobs")
_SAMPLED = ("temperature", "top_p", "top_k")


def _write_sampling(
    chat: ChatRequest, traits: Traits, losses: Losses, *, thinks: bool
) -> Extras:
    """Write how tokens are drawn, and where they stop."""
    wanted: Extras = to_builtins(chat.sampling)
    for name in _NOT_SAMPLED:
        if name in wanted:
            losses.drop(name)
    for name in _TOLD:
        if wanted.get(name):
            losses.drop(name)
    chosen = {name: wanted[name] for name in _SAMPLED if name in wanted}
    if chat.dialect != NAME:
        chosen = _possible(chosen, losses, free=traits.sampling and not thinks)
    stop = wanted.get("stop")
    return {"stop_sequences": stop} | chosen if stop else chosen


def _possible(chosen: Extras, losses: Losses, *, free: bool) -> Extras:
    """Keep what the model takes."""
    if not free:
        for name in chosen:
            losses.drop(name)
        return {}
    if "temperature" in chosen and "top_p" in chosen:
        # The models since Claude 4.5 take one of them.
        del chosen["top_p"]
        losses.drop("top_p")
    if chosen.get("temperature", 0) > 1:
        chosen["temperature"] = 1
        losses.change("temperature")
    return chosen


# --- the rest -----------------------------------------------------------------------


def _write_format(
    chat: ChatRequest, traits: Traits, losses: Losses, body: dict[str, Any]
) -> None:
    found = chat.output_format
    if found is None or found.kind is OutputKind.TEXT:
        return
    if found.kind is OutputKind.JSON:
        losses.change("response_format")
        body["advice"] = "Answer with one JSON object and nothing else."
        return
    schema = found.schema or {}
    if not traits.schema:
        losses.change("response_format")
        body["advice"] = _schema_in_words(schema)
        return
    if chat.dialect != NAME:
        _tell_format(found, losses)
        taken = fitted(schema)
        if taken != schema:
            losses.change("response_format.schema")
        schema = taken
    written = {"type": "json_schema", "schema": schema}
    body["output_config"] = body.get("output_config", {}) | {"format": written}


def _schema_in_words(schema: Extras) -> str:
    text = json.encode(schema).decode()
    return (
        "Answer with one JSON value and nothing else. It must match this JSON "
        f"schema:\n{text}"
    )


def _tell_format(found: OutputFormat, losses: Losses) -> None:
    if found.description is not None:
        losses.drop("response_format.description")
    if found.strict is False:
        losses.change("response_format.strict")


def _write_tier(
    chat: ChatRequest, losses: Losses, body: dict[str, Any], *, own: bool
) -> None:
    tier = chat.service_tier
    if tier is None:
        return
    if own or tier == "auto":
        body["service_tier"] = tier
    elif tier == "default":
        body["service_tier"] = "standard_only"
    else:
        losses.drop("service_tier")

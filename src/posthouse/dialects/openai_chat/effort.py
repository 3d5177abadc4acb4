"""How much the model shall think, both ways.

Sources: OpenAI's `reasoning_effort` (openapi, 2026-08); `thinking` of Zhipu,
Moonshot, Ark and DeepSeek (`type`: `enabled`, `disabled`, `auto`; Moonshot's
`budget_tokens`); `enable_thinking` and `thinking_budget` of DashScope;
https://openrouter.ai/docs/use-cases/reasoning-tokens (`reasoning`, 2026-10).
"""

from posthouse.dialects.neutral.codec import Losses
from posthouse.dialects.neutral.members import Members
from posthouse.model.chat import Extras, Reasoning
from posthouse.model.traits import ThinkingStyle, Traits

_SWITCH = "thinking"
_SWITCHED = ("enabled", "disabled", "auto", "adaptive")
_NOT_AT_ALL = "none"
_EFFORTS = frozenset({_NOT_AT_ALL, "minimal", "low", "medium", "high", "xhigh", "max"})

_MIDDLING = "medium"

_BUDGETS = {
    "minimal": 512,
    "low": 2_048,
    "medium": 8_192,
    "high": 24_576,
    "xhigh": 49_152,
    "max": 65_536,
}
"""Tokens that an effort stands for, where only a number can be told."""


# --- reading ------------------------------------------------------------------------


def read_reasoning(members: Members) -> Reasoning | None:
    """Take whatever says how much to think; None if nothing does."""
    effort = members.text("reasoning_effort")
    enabled = members.flag("enable_thinking")
    budget = members.whole("thinking_budget")
    show = members.flag("include_reasoning")
    adaptive = False
    switch = members.inner(_SWITCH)
    if switch is not None:
        kind = switch.text("type")
        adaptive = kind in ("auto", "adaptive")
        if kind in ("enabled", "disabled"):
            enabled = kind == "enabled"
        elif kind is not None and not adaptive:
            raise switch.not_one_of("type", _SWITCHED)
        budget = switch.whole("budget_tokens") if budget is None else budget
        members.put_back(_SWITCH, switch.extras() or None)
    inner = members.inner("reasoning")
    summary = None
    if inner is not None:
        effort = inner.text("effort") or effort
        tokens = inner.whole("max_tokens")
        budget = tokens if budget is None else budget
        on = inner.flag("enabled")
        enabled = on if enabled is None else enabled
        hidden = inner.flag("exclude")
        show = (not hidden) if hidden is not None else show
        summary = inner.text("summary")
        members.put_back("reasoning", inner.extras() or None)
    found = Reasoning(enabled, effort, budget, adaptive, show, summary)
    return None if found == Reasoning() else found


# --- writing ------------------------------------------------------------------------


def write_reasoning(reasoning: Reasoning, traits: Traits, losses: Losses) -> Extras:
    """Give the members that tell a model how much to think."""
    if reasoning.summary is not None:
        losses.drop("reasoning.summary")
    if reasoning.show is not None:
        losses.drop("reasoning.show")
    match traits.thinking:
        case ThinkingStyle.NATIVE:
            return _effort(reasoning, losses)
        case ThinkingStyle.SWITCH:
            return _switch(reasoning, losses)
        case ThinkingStyle.FLAG:
            return _flag(reasoning, traits, losses)
        case ThinkingStyle.BUDGET:
            return _budget(reasoning, traits, losses)
        case ThinkingStyle.NONE:
            losses.drop("reasoning")
            return {}


def is_off(reasoning: Reasoning) -> bool:
    """Whether the model shall not think."""
    return (
        reasoning.enabled is False
        or reasoning.effort == _NOT_AT_ALL
        or reasoning.budget == 0
    )


def _effort(reasoning: Reasoning, losses: Losses) -> Extras:
    """Tell by a word."""
    if is_off(reasoning):
        return {"reasoning_effort": _NOT_AT_ALL}
    if reasoning.effort is not None:
        if reasoning.budget is not None:
            losses.drop("reasoning.budget")
        return {"reasoning_effort": reasoning.effort}
    if reasoning.budget is not None and reasoning.budget > 0:
        losses.change("reasoning.budget")
        return {"reasoning_effort": _word_for(reasoning.budget)}
    if not (reasoning.enabled or reasoning.adaptive or reasoning.budget):
        return {}
    # Some models do not think unless they are told how much.
    losses.change("reasoning")
    return {"reasoning_effort": _MIDDLING}


def _word_for(budget: int) -> str:
    """The effort that a number of tokens comes to."""
    if budget < 2_048:
        return "low"
    return "medium" if budget < 8_192 else "high"


def _switch(reasoning: Reasoning, losses: Losses) -> Extras:
    """Tell by `thinking.type`."""
    if is_off(reasoning):
        return {_SWITCH: {"type": "disabled"}}
    if reasoning.effort is not None:
        losses.change("reasoning.effort")
    if reasoning.budget is not None and reasoning.budget > 0:
        losses.change("reasoning.budget")
    return {_SWITCH: {"type": "enabled"}}


def _flag(reasoning: Reasoning, traits: Traits, losses: Losses) -> Extras:
    """Tell by `enable_thinking` and a number of tokens."""
    if is_off(reasoning):
        return {"enable_thinking": False}
    budget = _tokens(reasoning, traits, losses)
    found: Extras = {"enable_thinking": True}
    return found if budget is None else found | {"thinking_budget": budget}


def _budget(reasoning: Reasoning, traits: Traits, losses: Losses) -> Extras:
    """Tell by `thinking` with a number of tokens."""
    if is_off(reasoning):
        return {_SWITCH: {"type": "disabled"}}
    budget = _tokens(reasoning, traits, losses)
    found: Extras = {"type": "enabled"}
    return {_SWITCH: found if budget is None else found | {"budget_tokens": budget}}


def _tokens(reasoning: Reasoning, traits: Traits, losses: Losses) -> int | None:
    """A number of tokens within the model's bounds; None leaves it to the model."""
    wanted = reasoning.budget
    if wanted is None and reasoning.effort in _BUDGETS:
        losses.change("reasoning.effort")
        wanted = _BUDGETS[reasoning.effort]
    if wanted is None or wanted < 0:
        return None
    if traits.thinking_range is None:
        return wanted
    least, greatest = traits.thinking_range
    found = min(max(wanted, least), greatest)
    if found != wanted and reasoning.budget is not None:
        losses.change("reasoning.budget")
    return found

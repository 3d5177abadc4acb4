"""How much a model shall think, in the words of its generation.

From the third on Gemini takes a level, before that a number of tokens; never
both. What a model cannot do is brought to the nearest that it can.

Source: https://ai.google.dev/gemini-api/docs/thinking (2026-11).
"""

from posthouse.dialects.gemini_generate.signatures import generation
from posthouse.dialects.gemini_generate.writing import Writing
from posthouse.model.chat import Extras, Reasoning
from posthouse.model.traits import ThinkingStyle, Traits

_LEVELS = {
    "minimal": "MINIMAL",
    "low": "LOW",
    "medium": "MEDIUM",
    "high": "HIGH",
    "xhigh": "HIGH",
    "max": "HIGH",
}
_SHARES = {"minimal": 5, "low": 20, "medium": 50, "high": 80, "xhigh": 100, "max": 100}
"""Of the greatest budget, in percent."""
_RANGES = (
    ("gemini-2.5-pro", (128, 32_768)),
    ("gemini-2.5-flash-lite", (512, 24_576)),
    ("gemini-2.5-flash", (0, 24_576)),
)
_USUAL_RANGE = (0, 24_576)
_LOW_BELOW = 2_048
_MEDIUM_BELOW = 8_192
_DYNAMIC = -1
_FIRST_WITH_LEVELS = 3


def write_thinking(reasoning: Reasoning | None, writing: Writing) -> Extras:
    """Write `thinkingConfig`; nothing where it says nothing."""
    if reasoning is None:
        return {}
    traits = writing.traits
    if traits.thinking is ThinkingStyle.NONE and not writing.own:
        writing.losses.drop("reasoning")
        return {}
    config: Extras = {}
    show = _shown(reasoning, writing)
    if show is not None:
        config["includeThoughts"] = show
    if writing.own:
        config |= _as_it_was(reasoning)
    elif _takes_budget(traits):
        config |= _budget(reasoning, writing)
    else:
        config |= _level(reasoning, writing)
    return {"thinkingConfig": config} if config else {}


def _shown(reasoning: Reasoning, writing: Writing) -> bool | None:
    """Whether thoughts are wanted; Gemini gives none unasked."""
    if reasoning.show is not None or writing.own:
        return reasoning.show
    wanted = (
        reasoning.summary is not None
        or reasoning.enabled
        or reasoning.adaptive
        or bool(reasoning.budget)
    )
    return True if wanted and not _is_off(reasoning) else None


def _is_off(reasoning: Reasoning) -> bool:
    return (
        reasoning.enabled is False
        or reasoning.effort == "none"
        or reasoning.budget == 0
    )


def _as_it_was(reasoning: Reasoning) -> Extras:
    config: Extras = {}
    if reasoning.budget is not None:
        config["thinkingBudget"] = reasoning.budget
    if reasoning.effort is not None:
        config["thinkingLevel"] = reasoning.effort.upper()
    return config


def _takes_budget(traits: Traits) -> bool:
    if traits.thinking is not ThinkingStyle.NATIVE:
        return True
    found = generation(traits.model)
    return found is not None and found < _FIRST_WITH_LEVELS


# --- by level -----------------------------------------------------------------------


def _level(reasoning: Reasoning, writing: Writing) -> Extras:
    """Tell by a word."""
    losses = writing.losses
    least = "LOW" if "-pro" in writing.traits.model else "MINIMAL"
    if _is_off(reasoning):
        losses.change("reasoning.effort")
        return {"thinkingLevel": least}
    effort = reasoning.effort
    if effort is None:
        effort = _word_for(reasoning.budget)
        if effort is None:
            return {}
        losses.change("reasoning.budget")
    level = _LEVELS.get(effort)
    if level is None:
        losses.drop("reasoning.effort")
        return {}
    if level == "MINIMAL":
        level = least
    if level.lower() != effort:
        losses.change("reasoning.effort")
    return {"thinkingLevel": level}


def _word_for(budget: int | None) -> str | None:
    """The effort that a number of tokens comes to; None leaves it to the model."""
    if budget is None or budget < 0:
        return None
    if budget < _LOW_BELOW:
        return "low"
    return "medium" if budget < _MEDIUM_BELOW else "high"


# --- by budget ----------------------------------------------------------------------


def _budget(reasoning: Reasoning, writing: Writing) -> Extras:
    """Tell by a number of tokens."""
    losses = writing.losses
    least, greatest = _range(writing.traits)
    if _is_off(reasoning):
        if "-pro" not in writing.traits.model:
            return {"thinkingBudget": 0}
        losses.change("reasoning.effort")
        return {"thinkingBudget": least}
    wanted = reasoning.budget
    if wanted is None:
        share = _SHARES.get(reasoning.effort or "")
        if share is None:
            if reasoning.effort is not None:
                losses.drop("reasoning.effort")
            return {"thinkingBudget": _DYNAMIC} if reasoning.adaptive else {}
        losses.change("reasoning.effort")
        wanted = greatest * share // 100
    if wanted < 0:
        return {"thinkingBudget": _DYNAMIC}
    found = min(max(wanted, least), greatest)
    if found != wanted and reasoning.budget is not None:
        losses.change("reasoning.budget")
    return {"thinkingBudget": found}


def _range(traits: Traits) -> tuple[int, int]:
    """The least and the greatest number of tokens."""
    if traits.thinking_range is not None:
        return traits.thinking_range
    for name, found in _RANGES:
        if name in traits.model:
            return found
    return _USUAL_RANGE

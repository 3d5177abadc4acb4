"""How much Claude shall think: budgets and efforts, whoever serves it.

Anthropic and Bedrock take the same values under different members.
"""

from posthouse.model.chat import Extras, Reasoning

LEAST_BUDGET = 1_024
BUDGETS = {
    "minimal": 1_024,
    "low": 2_048,
    "medium": 8_192,
    "high": 16_384,
    "xhigh": 24_576,
    "max": 32_768,
}
"""Tokens of thought that an effort stands for."""


def is_off(reasoning: Reasoning) -> bool:
    """Whether it shall not think at all."""
    return (
        reasoning.enabled is False
        or reasoning.effort == "none"
        or reasoning.budget == 0
    )


def effort_of(budget: int) -> str:
    """The least effort that stands for that many tokens."""
    for effort in ("low", "medium", "high", "xhigh"):
        if budget <= BUDGETS[effort]:
            return effort
    return "max"


def display(reasoning: Reasoning) -> Extras:
    """Write whether the thoughts shall be shown; {} leaves it to the model."""
    show = reasoning.show
    if show is None and reasoning.summary is not None:
        show = True
    if show is None:
        return {}
    return {"display": "summarized" if show else "omitted"}

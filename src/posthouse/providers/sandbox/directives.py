"""Directives: what a request asks of the sandbox beside its answer.

They stand after the model's name (`sandbox:delay-2s`) or at the very start of
the prompt (`sandbox:error-500 Hello`); several are joined by colons. A model
whose name does not begin with `sandbox` carries none, so that any name may be
sent here. Those in the prompt are added to the model's and win over them.
"""

import re
from collections.abc import Callable
from typing import Any

from msgspec import Struct, structs

from posthouse.providers.sandbox.faults import FAULTS
from posthouse.providers.sandbox.refusal import RequestRefused
from posthouse.providers.sandbox.reply import Pace

PREFIX = "sandbox"
MAX_DELAY = 3600.0
MAX_LENGTH = 100_000
MAX_PARALLEL = 16

BEHAVIOURS = frozenset({"refusal", "content-filter", "no-tools", "echo", "reasoning"})
"""Directives without an argument that change an answer and break nothing."""

USAGES = frozenset(
    {
        "no-usage",
        "usage-only",
        "usage-twice",
        "usage-cumulative",
        "usage-negative",
        "usage-fraction",
        "usage-huge",
        "usage-zero",
    }
)
"""Directives that distort what the reply says it consumed."""


class Directives(Struct, frozen=True):
    """What was asked for; the defaults are an honest, prompt reply."""

    pace: Pace = Pace()
    length: int | None = None
    """Tokens that the answer's text is made to have."""
    parallel: int = 0
    """Tool calls to make at once; 0 leaves it to the prompt."""
    status: int = 0
    """An HTTP error to answer with; 0 is none."""
    behaviours: frozenset[str] = frozenset()
    usage: str = ""
    fault: str = ""


SLOW = Pace(first=1.0, between=0.05)


def seconds(match: re.Match[str]) -> float:
    """Read `2s`, `0.5s` or `20ms`, no more than an hour."""
    value = float(match[1]) / (1000 if match[2] == "ms" else 1)
    return min(value, MAX_DELAY)


def set_delay(found: Directives, match: re.Match[str]) -> Directives:
    """Wait before the first byte."""
    pace = Pace(seconds(match), found.pace.between)
    return structs.replace(found, pace=pace)


def set_pace(found: Directives, match: re.Match[str]) -> Directives:
    """Wait between a stream's events."""
    pace = Pace(found.pace.first, seconds(match))
    return structs.replace(found, pace=pace)


def set_length(found: Directives, match: re.Match[str]) -> Directives:
    """Make the answer so many tokens long."""
    return structs.replace(found, length=min(int(match[1]), MAX_LENGTH))


def set_parallel(found: Directives, match: re.Match[str]) -> Directives:
    """Make so many tool calls."""
    return structs.replace(found, parallel=min(int(match[1]), MAX_PARALLEL))


def set_status(found: Directives, match: re.Match[str]) -> Directives:
    """Answer with an HTTP error."""
    return structs.replace(found, status=int(match[1]))


Setter = Callable[[Directives, "re.Match[str]"], Directives]

ARGUMENTS: tuple[tuple[re.Pattern[str], Setter], ...] = (
    (re.compile(r"delay-(\d{1,6}(?:\.\d{1,3})?)(ms|s)"), set_delay),
    (re.compile(r"pace-(\d{1,6}(?:\.\d{1,3})?)(ms|s)"), set_pace),
    (re.compile(r"length-(\d{1,9})"), set_length),
    (re.compile(r"parallel-(\d{1,4})"), set_parallel),
    (re.compile(r"error-([45]\d\d)"), set_status),
)


def add(found: Directives, name: str) -> Directives | None:
    """Add one directive; None when there is none of that name."""
    if name in BEHAVIOURS:
        return structs.replace(found, behaviours=found.behaviours | {name})
    if name in USAGES:
        return structs.replace(found, usage=name)
    if name in FAULTS:
        return structs.replace(found, fault=name)
    for pattern, setter in ARGUMENTS:
        if match := pattern.fullmatch(name):
            return setter(found, match)
    return None


def from_model(model: str) -> Directives:
    """Read the directives of a model's name; an unknown one is an unknown model."""
    base, *names = model.split(":")
    found = Directives()
    if not base.startswith(PREFIX):
        return found
    if base == "sandbox-slow":
        found = structs.replace(found, pace=SLOW)
    if base == "sandbox-reasoning":
        found = structs.replace(found, behaviours=frozenset({"reasoning"}))
    for name in names:
        added = add(found, name)
        if added is None:
            raise RequestRefused(
                f"The model '{model}' does not exist: the sandbox has no '{name}'.",
                code="model_not_found",
                status=404,
            )
        found = added
    return found


def from_prompt(prompt: str, found: Directives) -> tuple[Directives, str]:
    """Add the directives at a prompt's start; give the rest of the prompt."""
    text = prompt.lstrip()
    if not text.startswith(PREFIX + ":"):
        return found, prompt
    first, *rest = text.split(maxsplit=1)
    for name in first.split(":")[1:]:
        added = add(found, name)
        if added is None:
            raise RequestRefused(
                f"The sandbox has no directive '{name}'.", code="invalid_value"
            )
        found = added
    return found, rest[0] if rest else ""


def first_text(value: Any) -> str:
    """Give the first string of a prompt or input, however it is nested."""
    while isinstance(value, list) and value:
        value = value[0]
    if isinstance(value, dict):
        value = value.get("text")
    return value if isinstance(value, str) else ""

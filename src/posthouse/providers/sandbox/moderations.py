"""Moderations: an input is flagged for the words in it, and for nothing else."""

import re
from typing import Any

from posthouse.providers.sandbox import checks
from posthouse.providers.sandbox.checks import Body
from posthouse.providers.sandbox.identity import Identity
from posthouse.providers.sandbox.refusal import RequestRefused

WORDS: dict[str, tuple[str, ...]] = {
    "harassment": ("harass", "bully"),
    "harassment/threatening": ("threaten",),
    "hate": ("hate",),
    "hate/threatening": ("exterminate",),
    "illicit": ("steal", "launder"),
    "illicit/violent": ("bomb",),
    "self-harm": ("self-harm",),
    "self-harm/intent": ("suicide",),
    "self-harm/instructions": ("overdose",),
    "sexual": ("porn",),
    "sexual/minors": ("lolita",),
    "violence": ("kill", "bomb", "stab"),
    "violence/graphic": ("gore",),
}
"""Category → the beginnings of words that flag it."""
IMAGES = frozenset(
    {
        "self-harm",
        "self-harm/intent",
        "self-harm/instructions",
        "sexual",
        "violence",
        "violence/graphic",
    }
)
"""Categories that judge images too; the sandbox finds nothing in them."""
FLAGGED = 0.97
CLEAN = 0.0003
DEFAULT_MODEL = "omni-moderation-latest"

MAX_CHARACTERS = 500_000
FLAGGING = re.compile(
    r"\b(?:"
    + "|".join(sorted({word for some in WORDS.values() for word in some}))
    + ")",
    re.IGNORECASE,
)


def answer(body: Body, identity: Identity) -> dict[str, Any]:
    """Answer a moderation request; raises RequestRefused."""
    inputs = read_inputs(body)
    if sum(len(text) for text, _ in inputs) > MAX_CHARACTERS:
        raise RequestRefused(
            f"The sandbox judges at most {MAX_CHARACTERS} characters at once.",
            code="invalid_value",
            param="input",
        )
    return {
        "id": identity.make("modr-"),
        "model": checks.string(body, "model") or DEFAULT_MODEL,
        "results": [judge(text, kinds) for text, kinds in inputs],
    }


def read_inputs(body: Body) -> list[tuple[str, list[str]]]:
    """Read every input's text and kinds; parts together are one input."""
    value = body.get("input")
    if value is None:
        raise checks.missing("input")
    if isinstance(value, str):
        return [(value, ["text"])]
    items = checks.array(body, "input") or []
    if all(isinstance(item, str) for item in items):
        return [(item, ["text"]) for item in items]
    texts = []
    kinds = []
    for index, part in enumerate(items):
        if not isinstance(part, dict):
            raise checks.wrong_type(f"input[{index}]", "an object", part)
        kind = checks.option(part, "type", ("text", "image_url"))
        if kind == "text":
            texts.append(checks.string(part, "text") or "")
            kinds.append("text")
        else:
            kinds.append("image")
    return [("\n".join(texts), sorted(set(kinds), reverse=True))]


def judge(text: str, kinds: list[str]) -> dict[str, Any]:
    """Judge one input."""
    found = {word.lower() for word in FLAGGING.findall(text)}
    categories = {
        category: not found.isdisjoint(words) for category, words in WORDS.items()
    }
    return {
        "flagged": any(categories.values()),
        "categories": categories,
        "category_scores": {
            category: FLAGGED if found else CLEAN
            for category, found in categories.items()
        },
        "category_applied_input_types": {
            category: [kind for kind in kinds if kind == "text" or category in IMAGES]
            for category in categories
        },
    }

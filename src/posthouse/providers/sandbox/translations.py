"""Translations: every text comes back whole, marked with the language asked for.

Nothing is really translated; whoever tests with it sees which text went where.
"""

import re
from typing import Any

from posthouse.providers.sandbox import checks
from posthouse.providers.sandbox.checks import Body
from posthouse.providers.sandbox.refusal import RequestRefused

MAX_TEXTS = 50
MAX_CHARACTERS = 100_000
HAN = re.compile(r"[\u4e00-\u9fff]")


def answer(body: Body) -> dict[str, Any]:
    """Answer a translation request in DeepL's form; raises RequestRefused."""
    target = checks.string(body, "target_lang")
    if not target:
        raise checks.missing("target_lang")
    texts = checks.array(body, "text", MAX_TEXTS)
    if not texts:
        raise checks.missing("text")
    for index, text in enumerate(texts):
        if not isinstance(text, str):
            raise checks.wrong_type(f"text[{index}]", "a text", text)
    if sum(map(len, texts)) > MAX_CHARACTERS:
        raise RequestRefused(
            f"The sandbox takes at most {MAX_CHARACTERS} characters at once.",
            code="invalid_value",
            param="text",
        )
    source = checks.string(body, "source_lang")
    shown = checks.boolean(body, "show_billed_characters")
    translations = []
    for text in texts:
        translation: dict[str, Any] = {
            "detected_source_language": source or detected(text),
            "text": f"[{target}] {text}",
        }
        if shown:
            translation["billed_characters"] = len(text)
        translations.append(translation)
    return {"translations": translations}


def detected(text: str) -> str:
    """Tell two languages apart, which is enough to see that it was done."""
    return "ZH" if HAN.search(text) else "EN"

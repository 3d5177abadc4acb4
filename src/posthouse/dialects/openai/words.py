"""A provider's own words, made fit for a client.

Rules: at most ERROR_TEXT_LIMIT bytes; no character that is not text; nothing
that looks like a key, an account or an address. What is removed leaves a mark,
so that nobody wonders at the gap. Time is linear in the text.
"""

import re
from typing import Any

ERROR_TEXT_LIMIT = 2048
"""Bytes of a provider's own words that a client may see."""
NAME_LIMIT = 128
"""Characters of a code, type or parameter."""

_REMOVED = "[removed]"
# Controls of both ranges, zero-width and direction marks, line separators, and
# halves of surrogate pairs, which no encoder takes.
_NOT_TEXT = re.compile(
    "[\x00-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\ud800-\udfff]+"
)
_PRIVATE = re.compile(
    r"\b(?:sk|pk|rk)[-_][\w*.-]{6,}"
    r"|\b(?:ak|key|org|proj|token)-(?=[\w*.-]{0,64}[\d*])[\w*.-]{6,}"
    r"|\b(?:bearer|basic)\s+[^\s,;\"']{8,}"
    r"|\b[a-z][a-z0-9+.-]{1,9}://[^\s\"'<>)]+"
    r"|(?<![\w.-])(?:[a-z0-9-]{1,63}\.){1,8}"
    r"(?:ai|cloud|cn|com|dev|internal|io|lan|local|net|org)(?![\w-])"
    r"(?::\d+)?(?:/[^\s\"'<>)]*)?"
    r"|(?<![\w.])\d{1,3}(?:\.\d{1,3}){3}(?!\w|\.\w)(?::\d+)?",
    re.IGNORECASE,
)
_TOKEN = re.compile(r"[\w.-]{20,}")
_RANDOM_RUN = re.compile(r"[A-Za-z0-9]{20,}")


def clean_text(value: Any) -> str:
    """Cut and clean a provider's words; "" if there are none."""
    if not isinstance(value, str):
        return ""
    text = _NOT_TEXT.sub(" ", value[: 4 * ERROR_TEXT_LIMIT])
    text = _TOKEN.sub(_without_secret, _PRIVATE.sub(_REMOVED, text))
    return text.encode()[:ERROR_TEXT_LIMIT].decode(errors="ignore").strip()


def clean_name(value: Any) -> str | None:
    """Clean a code, a type or a parameter's name; None if there is none."""
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value) if abs(value) < 10**18 else ""
    return clean_text(value)[:NAME_LIMIT] or None


def _without_secret(match: re.Match[str]) -> str:
    """Drop a token that holds a long run of letters mixed with digits.

    Names of models and UUIDs have short runs between their hyphens.
    """
    token = match.group()
    for run in _RANDOM_RUN.findall(token):
        if not run.isalpha() and not run.isdecimal():
            return _REMOVED
    return token

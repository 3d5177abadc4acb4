"""Secrets kept out of logs: the one place that knows what one looks like.

Everything that is logged passes `redact` last before it is rendered: fields
named like a secret lose their value, and texts lose whatever looks like a key,
wherever it stands (messages, nested values, tracebacks). Bodies are never
logged in the first place.
"""

import re
from collections.abc import Mapping, MutableMapping
from typing import Any

MASK = "[redacted]"
_DEPTH = 6

_NAMES = re.compile(
    r"(?:^|[_\-.])(?:authorization|cookie|password|passwd|secret|pepper|dsn|token"
    r"|credentials?|signature|(?:api|access|private|provider|customer|master)[_\-]?key"
    r"|x-goog-api-key|key)$",
    re.IGNORECASE,
)
_COUNTS = re.compile(r"(?:^|_)(?:max_|n_|total_)?tokens$", re.IGNORECASE)

_SHAPES = re.compile(
    r"""
    (?P<bearer>\b(?:bearer|basic)[ ]+)[A-Za-z0-9._~+/=\-]{6,}
    | (?P<url>\b[a-z][a-z0-9+.\-]*://[^\s/:@]*:)[^\s/@]+(?=@)
    | (?P<parameter>[?&;](?:key|api[_-]?key|access_token|token|sig(?:nature)?)=)
        [^&\s"'\#]+
    | (?P<field>["']?\b(?:authorization|x-api-key|api[_-]?key|x-goog-api-key|password
        |secret|set-cookie|cookie|access[_-]?token)["']?\s*[:=]\s*["']?
        (?:(?:bearer|basic)[ ]+)?)(?!\[redacted)
        [^\s"',;&}]{4,}
    | \b(?:sk|pk|rk|ak|whsec|xox[abps]|gh[pousr]|hf|gsk|xai|nvapi|r8|AKIA|AIza)
        [-_A-Za-z0-9](?:[A-Za-z0-9_\-.]{8,})
    | \beyJ[A-Za-z0-9_\-]{8,}(?:\.[A-Za-z0-9_\-]+){1,2}
    | (?<![A-Za-z0-9])[0-9a-fA-F]{40,}(?![A-Za-z0-9])
    """,
    re.VERBOSE | re.IGNORECASE,
)


def redact_text(text: str) -> str:
    """Give `text` with everything masked that looks like a secret."""
    return _SHAPES.sub(_mask, text)


def _mask(match: re.Match[str]) -> str:
    kept = next((group for group in match.groups() if group), "")
    return kept + MASK


def is_secret_name(name: str) -> bool:
    """Whether a field of this name holds a secret, whatever its value."""
    return bool(_NAMES.search(name)) and not _COUNTS.search(name)


def redact_value(value: Any, depth: int = _DEPTH) -> Any:
    """Give a copy of a value with every text in it redacted.

    Numbers, booleans and None stay; anything unknown becomes its redacted
    `str`, and so does what is nested too deeply.
    """
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, str):
        return redact_text(value)
    if isinstance(value, bytes | bytearray | memoryview):
        return f"[{len(value)} bytes]"
    if depth:
        if isinstance(value, Mapping):
            return {
                redact_text(str(name)): MASK
                if is_secret_name(str(name))
                else redact_value(item, depth - 1)
                for name, item in value.items()
            }
        if isinstance(value, list | tuple | set | frozenset):
            return [redact_value(item, depth - 1) for item in value]
    return redact_text(str(value))


def redact(
    _logger: Any, _method: str, event: MutableMapping[str, Any]
) -> MutableMapping[str, Any]:
    """Redact one log entry; a structlog processor."""
    for name, value in event.items():
        event[name] = MASK if is_secret_name(name) else redact_value(value)
    return event

"""The strings in a JSON value, for counting where nobody else has counted."""

from collections.abc import Set as AbstractSet
from typing import Any


def texts_in(value: Any, skipped: AbstractSet[str]) -> list[str]:
    """Collect the strings of a decoded value, in order.

    Members named in `skipped` are left out with all that is below them; names
    do not count. However deep the value is, nothing recurses.
    """
    texts = []
    left = [value]
    while left:
        part = left.pop()
        if isinstance(part, str):
            texts.append(part)
        elif isinstance(part, dict):
            left += [part[name] for name in reversed(part) if name not in skipped]
        elif isinstance(part, list):
            left.extend(reversed(part))
    return texts

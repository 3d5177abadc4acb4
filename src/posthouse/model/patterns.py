"""Names with wildcards: `*` stands for any run of characters, also none.

The most specific of several matching patterns wins: an exact name before any
pattern, then the one with more literal characters.
"""

import re
from functools import lru_cache


def is_pattern(name: str) -> bool:
    """Whether a name has a wildcard."""
    return "*" in name


@lru_cache(maxsize=4096)
def _compiled(pattern: str) -> re.Pattern[str]:
    literal = [re.escape(part) for part in pattern.split("*")]
    return re.compile(".*".join(literal), re.DOTALL)


def matches(pattern: str, name: str) -> bool:
    """Whether a pattern, or an exact name, covers `name`."""
    if pattern in ("*", name):
        return True
    return is_pattern(pattern) and _compiled(pattern).fullmatch(name) is not None


def specificity(pattern: str) -> tuple[bool, int]:
    """A sort key: the greater, the more specific."""
    return not is_pattern(pattern), len(pattern.replace("*", ""))

"""Names with wildcards: `*` stands for any run of characters, also none.

The most specific of several matching patterns wins: an exact name before any
pattern, then the one with the longer text before its first `*`, then the one
with the longer text altogether.
"""


def is_pattern(name: str) -> bool:
    """Whether a name has a wildcard."""
    return "*" in name


def matches(pattern: str, name: str) -> bool:
    """Whether a pattern, or an exact name, covers `name`.

    Time is linear in both, whoever chose them: a pattern is no regular
    expression, and the leftmost place for each of its texts is the best one.
    """
    first, *texts = pattern.split("*")
    if not texts:
        return pattern == name
    last = texts.pop()
    position, end = len(first), len(name) - len(last)
    if position > end or not name.startswith(first) or not name.endswith(last):
        return False
    for text in texts:
        found = name.find(text, position, end)
        if found < 0:
            return False
        position = found + len(text)
    return True


def specificity(pattern: str) -> tuple[bool, int, int]:
    """A sort key: the greater, the more specific."""
    before = pattern.partition("*")[0]
    return not is_pattern(pattern), len(before), len(pattern.replace("*", ""))

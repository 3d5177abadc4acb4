"""Which models a principal may name.

A list is split once into names and wildcards, so that a look-up does not grow
with the names on the list. The caller has refused names that are no names.
"""

from functools import lru_cache

from posthouse.access.principal import Principal
from posthouse.model.patterns import is_pattern, matches

REMEMBERED_LISTS = 1024
"""Distinct allow-lists kept in split form; another is split again."""


def allows(principal: Principal, model: str) -> bool:
    """Whether the principal may use a model by this public name."""
    models = principal.models
    if models is None:
        return True
    names, patterns = _split(models)
    if model in names:
        return True
    return any(matches(pattern, model) for pattern in patterns)


@lru_cache(maxsize=REMEMBERED_LISTS)
def _split(models: tuple[str, ...]) -> tuple[frozenset[str], tuple[str, ...]]:
    """Part a list into names and wildcards."""
    patterns = tuple(name for name in models if is_pattern(name))
    return frozenset(models).difference(patterns), patterns

"""What a setting means and what it takes: the annotation of each.

Bounds are inclusive but for `above`.
"""

import math
from collections.abc import Callable
from decimal import Decimal
from typing import Final

from msgspec import Struct
from typing_extensions import override

_DAY: Final = 86_400
COUNTABLE: Final = 2**53


class Rule(Struct, frozen=True):
    """What a setting means and what it takes."""

    meaning: str
    above: int | None = None
    """The number must be greater."""
    least: int | None = None
    most: int | None = None
    places: int | None = None
    """Digits after the point at most."""
    item: Callable[[str], None] | None = None
    """Raises ValueError for a text, or an item of a list, that cannot be used."""
    shortest: int | None = None
    """Characters of a secret at least."""

    @override
    def __str__(self) -> str:
        found = []
        if self.above is not None:
            found.append(f"above {self.above:,}")
        if self.least is not None:
            found.append(f"from {self.least:,}")
        if self.most is not None and self.most != COUNTABLE:
            found.append(f"up to {self.most:,}")
        return ", ".join(found)

    def admits(self, number: float | Decimal) -> bool:
        """Whether a number is finite and within the bounds."""
        if not math.isfinite(number):
            return False
        return (
            (self.above is None or number > self.above)
            and (self.least is None or number >= self.least)
            and (self.most is None or number <= self.most)
            and (self.places is None or number == round(number, self.places))
        )


def seconds(meaning: str) -> Rule:
    """A duration, in seconds."""
    return Rule(meaning, above=0, most=_DAY)


def count(meaning: str) -> Rule:
    """A number of things, at least one."""
    return Rule(meaning, least=1, most=COUNTABLE)

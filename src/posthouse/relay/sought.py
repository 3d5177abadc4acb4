"""A place that is looked for: where a provider's own batch can answer a line."""

from msgspec import Struct

from posthouse.tasks.records import Place


class Sought(Struct):
    """What is known of it, and the place once it is found."""

    affinity: bytes
    """What the lines of one batch have in common: they go the same way."""
    without: frozenset[str]
    """Channels that take none."""
    found: Place | None = None

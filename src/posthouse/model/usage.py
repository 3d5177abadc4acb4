"""What a call consumed, in disjoint buckets.

Every unit counts once: `input` excludes cached, written and audio tokens;
`output` excludes reasoning and audio tokens. Billing prices the buckets, so a
token that stood in two of them would be paid twice.
"""

from enum import StrEnum

from msgspec import Struct


class Unit(StrEnum):
    """A bucket of usage and, under the same name, what a price is quoted for."""

    INPUT = "input"
    CACHED_INPUT = "cached_input"
    CACHED_AUDIO_INPUT = "cached_audio_input"
    CACHE_WRITE_5M = "cache_write_5m"
    CACHE_WRITE_1H = "cache_write_1h"
    AUDIO_INPUT = "audio_input"
    IMAGE_INPUT = "image_input"
    OUTPUT = "output"
    REASONING = "reasoning"
    AUDIO_OUTPUT = "audio_output"
    IMAGE_OUTPUT = "image_output"
    IMAGE = "image"
    SECOND = "second"
    CHARACTER = "character"
    PAGE = "page"
    SEARCH = "search"
    TASK = "task"
    REQUEST = "request"


class UsageSource(StrEnum):
    """Who counted."""

    PROVIDER = "provider"
    MEASURED = "measured"
    """Counted here, exactly: pictures, characters, seconds."""
    ESTIMATED = "estimated"
    RECOVERED = "recovered"
    NONE = "none"


class Usage(Struct, frozen=True):
    """Quantities by unit (only those above zero) and who counted them."""

    quantities: dict[str, int]
    source: UsageSource


NO_USAGE = Usage({}, UsageSource.NONE)


class ReportedUsage(Struct, frozen=True):
    """What a provider's reply said, before the one normaliser has judged it.

    Totals include their parts, as OpenAI reports them: `cached_input`,
    `cache_write_*`, `audio_input` and `image_input` are parts of `input`;
    `reasoning`, `audio_output` and `image_output` are parts of `output`.
    A dialect that reports disjoint counts adds them up first. None: absent.
    Values are what stood there: possibly negative or absurd.
    """

    input: int | None = None
    output: int | None = None
    cached_input: int | None = None
    cache_write_5m: int | None = None
    cache_write_1h: int | None = None
    audio_input: int | None = None
    image_input: int | None = None
    reasoning: int | None = None
    audio_output: int | None = None
    image_output: int | None = None
    searches: int | None = None
    counted: dict[str, int] = {}
    """By unit, what is no token: pictures, seconds, characters, searches of a
    rerank …; a unit that stands here is charged as it says."""
    estimated: bool = False
    """Its tokens are worked out of what was sent and made; nobody has told them."""
    odd: bool = False
    """A total was something else than a whole number, and counts as absent."""

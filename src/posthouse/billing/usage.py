"""The one normaliser: what a provider reported becomes what is charged.

Rules, for every provider and endpoint: buckets are disjoint, never negative,
and add up to the totals. A total that is missing is estimated, and the usage
then says so. A total that cannot be true is replaced by the estimate and named
as suspicious, so that finance may look at it; nothing here raises.
"""

from collections.abc import Callable, Mapping
from operator import attrgetter

from msgspec import Struct

from posthouse.model.usage import ReportedUsage, Unit, Usage, UsageSource

ABSURD_CONTEXTS = 4
"""A total above this many context windows, and this many times what we count
ourselves, is no count of tokens."""

UNKNOWN_CONTEXT = 2_000_000
"""Tokens; stands for the window of a model of which nothing is known."""

ABSURD_COUNTS = 100
"""Times what was asked for, from which a count of pictures or seconds is none."""

SECONDS_APART = 5
"""Seconds, and a tenth of what was measured: a reply that tells of more or less sound
than that cannot be true."""

MOST_SEARCHES = 1_000
"""Searches of one call; more is no count of searches."""


class _Side(Struct, frozen=True):
    """A total and its parts, which reports and buckets name alike.

    Where the parts together exceed the total, the dearer kinds keep theirs and
    the later ones yield.
    """

    total: str
    parts: tuple[str, ...]
    read: Callable[[ReportedUsage], tuple[int | None, ...]]


def _side(total: str, *parts: str) -> _Side:
    return _Side(total, parts, attrgetter(*parts))


_INPUT = _side(
    "input",
    "cache_write_1h",
    "cache_write_5m",
    "audio_input",
    "image_input",
    "cached_input",
)
_OUTPUT = _side("output", "audio_output", "image_output", "reasoning")
_beside_totals = attrgetter(
    *_INPUT.parts, *_OUTPUT.parts, "searches", "estimated", "odd"
)
_NO_REPORT = ReportedUsage()
_SECOND = Unit.SECOND.value
_PROVIDER = UsageSource.PROVIDER
"""Members of an enumeration are slow to look up for each call."""


class TokenEstimate(Struct, frozen=True):
    """What we count ourselves, for where the provider did not or cannot have.

    `input` is the prompt's estimate and `output` what was delivered, by a count
    or by its bytes; 0 says that there was none, as for an embedding's answer.
    """

    input: int
    output: int


class NormalisedUsage(Struct, frozen=True):
    """A usage to charge, and what was wrong with the report, if anything."""

    usage: Usage
    suspicious: tuple[str, ...] = ()
    each: tuple[Usage, ...] = ()
    """Of every request, where several were made; each has a price of its own."""


def normalise(
    reported: ReportedUsage | None,
    *,
    estimate: TokenEstimate,
    context: int,
    choices: int = 1,
) -> NormalisedUsage:
    """Judge a report.

    Args:
        reported: what the provider said; None is nothing.
        estimate: what to charge for a total that is missing or impossible.
        context: the model's window in tokens; 0 is not known. A list of inputs
            may fill it more than once, as far as the estimate says so.
        choices: how many answers were asked for; each has a window.
    """
    report = reported if reported is not None else _NO_REPORT
    window = (context if context > 0 else UNKNOWN_CONTEXT) * (choices or 1)
    # Most reports are two totals that may well be true, and nothing else.
    sent, made = report.input or 0, report.output or 0
    if 0 < sent <= window >= made > 0 and not any(_beside_totals(report)):
        return NormalisedUsage(Usage({"input": sent, "output": made}, _PROVIDER))
    quantities: dict[str, int] = {}
    suspicious = ["total_not_whole"] if report.odd else []
    estimated = report.estimated
    for side, value, own in (
        (_INPUT, report.input, max(estimate.input, 0)),
        (_OUTPUT, report.output, max(estimate.output, 0)),
    ):
        total = value
        plausible = value is not None and 0 < value <= window
        fault = "" if plausible else _total_fault(value, own, window)
        if fault:
            suspicious.append(f"{side.total}_{fault}")
        if fault or total is None:
            total, estimated = own, estimated or own > 0 or bool(fault)
        parts = side.read(report)
        if any(parts):
            total = _take_parts(
                side, parts, total, quantities=quantities, suspicious=suspicious
            )
        if total:
            quantities[side.total] = total
    searches = report.searches and _judge_searches(report.searches, suspicious)
    if searches:
        quantities["search"] = searches
    source = UsageSource.ESTIMATED if estimated else UsageSource.PROVIDER
    if not quantities and reported is None:
        source = UsageSource.NONE
    return NormalisedUsage(Usage(quantities, source), tuple(suspicious))


def with_counted(
    found: NormalisedUsage,
    told: Mapping[str, int],
    asked: Mapping[str, int],
    *,
    roughly: bool = False,
) -> NormalisedUsage:
    """Add what is no token: as the provider told it, else as it was asked for.

    Args:
        found: the tokens.
        told: by unit, what the provider's reply says.
        asked: by unit, what the request comes to.
        roughly: that is an estimate.
    """
    quantities = dict(found.usage.quantities)
    suspicious = list(found.suspicious)
    for unit in {**asked, **told}:
        own, count = asked.get(unit, 0), told.get(unit)
        if count is not None and not _is_possible(unit, count, own, roughly=roughly):
            suspicious.append(f"{unit}_impossible")
            count = None
        quantities[unit] = own if count is None else count
    source = found.usage.source
    if source is UsageSource.NONE:
        source = UsageSource.PROVIDER if told else UsageSource.MEASURED
    if roughly and not told:
        source = UsageSource.ESTIMATED
    usage = Usage({unit: n for unit, n in quantities.items() if n}, source)
    return NormalisedUsage(usage, tuple(suspicious))


def _is_possible(unit: str, count: int, own: int, *, roughly: bool) -> bool:
    """Whether a reply's count of something may be true."""
    if unit == _SECOND and own and not roughly:
        return abs(count - own) <= SECONDS_APART + own // 10
    return 0 <= count <= max(own, 1) * ABSURD_COUNTS


def _total_fault(value: int | None, own: int, window: int) -> str:
    """Name what is impossible about a total; empty where it may be true."""
    if value is None:
        return ""
    if value < 0:
        return "negative"
    if value > ABSURD_CONTEXTS * window and value > ABSURD_CONTEXTS * own:
        return "absurd"
    return "zero" if value == 0 and own else ""


def _take_parts(
    side: _Side,
    values: tuple[int | None, ...],
    total: int,
    *,
    quantities: dict[str, int],
    suspicious: list[str],
) -> int:
    """Take the parts out of a total; give what remains of it."""
    left = total
    exceeded = False
    for name, value in zip(side.parts, values, strict=True):
        if not value:
            continue
        if value < 0:
            suspicious.append(f"{name}_negative")
            continue
        taken = min(value, left)
        exceeded = exceeded or taken < value
        if taken:
            quantities[name] = taken
            left -= taken
    if exceeded:
        suspicious.append(f"{side.total}_parts_exceed_total")
    return left


def _judge_searches(value: int, suspicious: list[str]) -> int:
    if 0 <= value <= MOST_SEARCHES:
        return value
    suspicious.append("searches_impossible")
    return 0

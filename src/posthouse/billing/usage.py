"""The one normaliser: what a provider reported becomes what is charged.

Rules, for every provider and endpoint: buckets are disjoint, never negative,
and add up to the totals. A total that is missing is estimated, and the usage
then says so. A total that cannot be true is replaced by the estimate and named
as suspicious, so that finance may look at it; nothing here raises.
"""

from msgspec import Struct, structs

from posthouse.model.usage import ReportedUsage, Unit, Usage, UsageSource

ABSURD_CONTEXTS = 4
"""A total above this many context windows, and this many times what we count
ourselves, is no count of tokens."""

UNKNOWN_CONTEXT = 2_000_000
"""Tokens; stands for the window of a model of which nothing is known."""

MOST_SEARCHES = 1_000
"""Searches of one call; more is no count of searches."""

# Each is a part of its total. Where the parts together exceed the total, the
# dearer kinds keep theirs and the later ones yield.
_INPUT_PARTS: tuple[tuple[str, Unit], ...] = (
    ("cache_write_1h", Unit.CACHE_WRITE_1H),
    ("cache_write_5m", Unit.CACHE_WRITE_5M),
    ("audio_input", Unit.AUDIO_INPUT),
    ("image_input", Unit.IMAGE_INPUT),
    ("cached_input", Unit.CACHED_INPUT),
)
_OUTPUT_PARTS: tuple[tuple[str, Unit], ...] = (
    ("audio_output", Unit.AUDIO_OUTPUT),
    ("image_output", Unit.IMAGE_OUTPUT),
    ("reasoning", Unit.REASONING),
)


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
    report = reported if reported is not None else ReportedUsage()
    window = (context if context > 0 else UNKNOWN_CONTEXT) * max(choices, 1)
    suspicious: list[str] = []
    quantities: dict[str, int] = {}
    estimated = False
    for unit, value, own, parts in (
        (Unit.INPUT, report.input, max(estimate.input, 0), _INPUT_PARTS),
        (Unit.OUTPUT, report.output, max(estimate.output, 0), _OUTPUT_PARTS),
    ):
        total = value
        fault = _total_fault(value, own, ABSURD_CONTEXTS * max(window, own))
        if fault or total is None:
            total, estimated = own, estimated or own > 0 or bool(fault)
            suspicious += [f"{unit}_{fault}"] if fault else []
        quantities |= _split(report, total, unit, parts=parts, suspicious=suspicious)
    searches = _judge_searches(report.searches, suspicious)
    if searches:
        quantities[Unit.SEARCH.value] = searches
    source = UsageSource.ESTIMATED if estimated else UsageSource.PROVIDER
    if not quantities and reported is None:
        source = UsageSource.NONE
    return NormalisedUsage(Usage(quantities, source), tuple(suspicious))


def _total_fault(value: int | None, own: int, limit: int) -> str:
    """Name what is impossible about a total; empty where it may be true."""
    if value is None:
        return ""
    if value < 0:
        return "negative"
    if value > limit:
        return "absurd"
    return "zero" if value == 0 and own else ""


def _split(
    report: ReportedUsage,
    total: int,
    remainder: Unit,
    *,
    parts: tuple[tuple[str, Unit], ...],
    suspicious: list[str],
) -> dict[str, int]:
    """Divide a total into its parts and what remains of it."""
    quantities: dict[str, int] = {}
    left = total
    exceeded = False
    for field, unit in parts:
        value = getattr(report, field)
        if not value:
            continue
        if value < 0:
            suspicious.append(f"{field}_negative")
            continue
        taken = min(value, left)
        exceeded = exceeded or taken < value
        if taken:
            quantities[unit.value] = taken
            left -= taken
    if exceeded:
        suspicious.append(f"{remainder}_parts_exceed_total")
    if left:
        quantities[remainder.value] = left
    return quantities


def _judge_searches(value: int | None, suspicious: list[str]) -> int:
    if value is None or 0 <= value <= MOST_SEARCHES:
        return value or 0
    suspicious.append("searches_impossible")
    return 0


def merge(previous: ReportedUsage | None, new: ReportedUsage) -> ReportedUsage:
    """Join two reports of one call, field by field.

    The later report wins where it says something: reports in a stream are
    cumulative. An absent field or a zero says nothing, so a partial report,
    or one that was cut short, erases no earlier count.
    """
    if previous is None:
        return new
    fields = ReportedUsage.__struct_fields__
    later = {
        name: value
        for name in fields
        if (value := getattr(new, name)) or getattr(previous, name) is None
    }
    merged: ReportedUsage = structs.replace(previous, **later)
    return merged

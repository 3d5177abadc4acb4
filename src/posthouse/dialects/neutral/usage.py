"""What streams tell of their usage, again and again, and several replies together."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

from posthouse.model.usage import ReportedUsage


def merged_usage(
    old: ReportedUsage | None, new: ReportedUsage | None
) -> ReportedUsage | None:
    """Join two reports of one stream, field by field.

    The later one wins where it says something: reports are cumulative. An
    absent field or a zero says nothing, so a partial report, or one that was
    cut short, erases no earlier count.
    """
    if old is None or new is None:
        return new or old
    return ReportedUsage(
        *(
            later if later or earlier is None else earlier
            for name in ReportedUsage.__struct_fields__
            for earlier, later in ((getattr(old, name), getattr(new, name)),)
        )
    )


def summed_usage(usages: Sequence[ReportedUsage | None]) -> ReportedUsage | None:
    """Add up the usages of several replies.

    A total that one of them lacks is not known of all; a part that one lacks is
    none of its own.
    """
    told = [usage for usage in usages if usage is not None]
    if not told:
        return None
    whole = len(told) == len(usages)
    found: dict[str, Any] = {}
    for name in _COUNTS:
        counts = [getattr(usage, name) for usage in told]
        known = [count for count in counts if count is not None]
        if name in _TOTALS and not (whole and len(known) == len(counts)):
            known = []
        found[name] = sum(known) if known else None
    counted: Counter[str] = Counter()
    for usage in told:
        counted.update(usage.counted)
    odd = any(usage.odd for usage in told)
    return ReportedUsage(**found, counted=dict(counted), odd=odd)


_TOTALS = frozenset({"input", "output"})
_COUNTS = tuple(
    name for name in ReportedUsage.__struct_fields__ if name not in ("odd", "counted")
)

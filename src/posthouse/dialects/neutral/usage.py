"""What streams tell of their usage, again and again."""

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

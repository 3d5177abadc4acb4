"""Bedrock's counts, which are disjoint, into ours, which are not.

Source: `TokenUsage` of botocore 1.44.5: `inputTokens` lacks what was read from the
cache and written to it, which langchain-aws and the AI SDK add up alike.
"""

from typing import Any

from posthouse.model.usage import ReportedUsage

_COUNTS = ("inputTokens", "cacheReadInputTokens", "cacheWriteInputTokens")


def reported_usage(usage: Any) -> ReportedUsage | None:
    """Add the counts up; None if it is no usage."""
    if not isinstance(usage, dict):
        return None
    plain, cached, written = (_whole(usage.get(name)) for name in _COUNTS)
    given = [count for count in (plain, cached, written) if count is not None]
    hour = _of_an_hour(usage.get("cacheDetails"))
    return ReportedUsage(
        input=sum(given) if given else None,
        output=_whole(usage.get("outputTokens")),
        cached_input=cached,
        cache_write_5m=None if written is None else written - min(hour, written),
        cache_write_1h=min(hour, written or 0) or None,
        odd=any(
            usage.get(name) is not None and _whole(usage[name]) is None
            for name in (*_COUNTS, "outputTokens")
        ),
    )


def tier_of(value: Any) -> str | None:
    """The service tier that was used; None is the usual one."""
    tier = value.get("type") if isinstance(value, dict) else None
    return tier if isinstance(tier, str) and tier != "default" else None


def _of_an_hour(details: Any) -> int:
    found = 0
    for detail in details if isinstance(details, list) else ():
        if isinstance(detail, dict) and detail.get("ttl") == "1h":
            found += max(_whole(detail.get("inputTokens")) or 0, 0)
    return found


def _whole(value: Any) -> int | None:
    return value if type(value) is int else None

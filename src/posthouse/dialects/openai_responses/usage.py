"""What a response has used, read and written.

Sources: `ResponseUsage` and `ToolUsage` of OpenAI's Python SDK, 3.54. Writes to the
cache that live 30 minutes stand as those of 5, those of 12 hours as those of one,
as prices have them.
"""

from typing import Any

from posthouse.model.usage import ReportedUsage

_NOTHING: dict[str, Any] = {}


def read_usage(response: dict[str, Any]) -> ReportedUsage | None:
    """Read the usage of a response; None if it tells none."""
    usage = response.get("usage")
    if not isinstance(usage, dict):
        return None
    read = _object(usage, "input_tokens_details")
    written = _object(usage, "output_tokens_details")
    lives = _object(read, "cache_write_tokens_details")
    total = _whole(usage.get("input_tokens"))
    output = _whole(usage.get("output_tokens"))
    if total is None and output is None:
        total = _whole(usage.get("total_tokens"))
    long = _whole(lives.get("ttl_12h_tokens"))
    short = _whole(lives.get("ttl_30m_tokens"))
    if short is None:
        short = _whole(read.get("cache_write_tokens"))
        if short is not None and long is not None:
            short -= long
    return ReportedUsage(
        input=total,
        output=output,
        cached_input=_whole(read.get("cached_tokens")),
        cache_write_5m=short,
        cache_write_1h=long,
        audio_input=_whole(read.get("audio_tokens")),
        image_input=_whole(read.get("image_tokens")),
        reasoning=_whole(written.get("reasoning_tokens")),
        audio_output=_whole(written.get("audio_tokens")),
        image_output=_whole(written.get("image_tokens")),
        searches=_searches(response),
        odd=any(
            usage.get(name) is not None and _whole(usage[name]) is None
            for name in ("input_tokens", "output_tokens")
        ),
    )


def _searches(response: dict[str, Any]) -> int | None:
    """How often the web was searched; opening a page is no search."""
    told = _object(_object(response, "tool_usage"), "web_search").get("num_requests")
    if _whole(told) is not None:
        return _whole(told)
    output = response.get("output")
    found = 0
    for item in output if isinstance(output, list) else ():
        if isinstance(item, dict) and item.get("type") == "web_search_call":
            kind = _object(item, "action").get("type", "search")
            found += 1 if kind == "search" else 0
    return found or None


def write_usage(usage: ReportedUsage | None) -> dict[str, Any] | None:
    """Write a usage, with all members that OpenAI's has."""
    if usage is None:
        return None
    total, output = usage.input or 0, usage.output or 0
    short, long = usage.cache_write_5m or 0, usage.cache_write_1h or 0
    details: dict[str, Any] = {
        "cached_tokens": usage.cached_input or 0,
        "cache_write_tokens": short + long,
    }
    if long:
        details["cache_write_tokens_details"] = {
            "ttl_30m_tokens": short,
            "ttl_12h_tokens": long,
        }
    return {
        "input_tokens": total,
        "input_tokens_details": details,
        "output_tokens": output,
        "output_tokens_details": {"reasoning_tokens": usage.reasoning or 0},
        "total_tokens": total + output,
    }


_TIERS = frozenset(
    {"auto", "default", "flex", "scale", "priority", "fast", "ultrafast"}
)
_OTHER_TIERS = {"standard": "default", "standard_only": "default"}


def write_tier(tier: str | None, *, own: bool) -> str | None:
    """Write a service tier, asked for or used; None if there is no word for it.

    `own` says that it was read from this dialect.
    """
    if tier is None or own or tier in _TIERS:
        return tier
    lower = tier.lower()
    return lower if lower in _TIERS else _OTHER_TIERS.get(lower)


def _object(value: dict[str, Any], name: str) -> dict[str, Any]:
    found = value.get(name)
    return found if isinstance(found, dict) else _NOTHING


def _whole(value: Any) -> int | None:
    return value if type(value) is int else None

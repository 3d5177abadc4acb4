"""Usage in Anthropic's counts, which are disjoint, and in ours, which are not.

Source: `Usage` and `MessageDeltaUsage` of anthropic 2.12.0 (2026-11): the whole
prompt is `input_tokens`, `cache_creation_input_tokens` and
`cache_read_input_tokens` together. Counts of a stream are cumulative. Fast mode
and processing in one country have prices of their own
(https://platform.claude.com/docs/en/about-claude/pricing): they count as service
tiers.
"""

from typing import Any

from posthouse.model.chat import Extras
from posthouse.model.usage import ReportedUsage

_COUNTS = ("input_tokens", "cache_creation_input_tokens", "cache_read_input_tokens")
_READ = frozenset(
    {
        *_COUNTS,
        "output_tokens",
        "cache_creation",
        "output_tokens_details",
        "server_tool_use",
        "service_tier",
    }
)


def reported_usage(usage: Any) -> ReportedUsage | None:
    """Add the counts up; None if it is no usage."""
    if not isinstance(usage, dict):
        return None
    plain, written, cached = (_whole(usage.get(name)) for name in _COUNTS)
    split = _object(usage.get("cache_creation"))
    hour = _whole(split.get("ephemeral_1h_input_tokens")) or 0
    five = _whole(split.get("ephemeral_5m_input_tokens"))
    if five is None or five + hour != (written or 0):
        # The total counts; what nobody has told the lifetime of has the shorter.
        five = None if written is None else written - min(hour, written)
    given = [count for count in (plain, written, cached) if count is not None]
    output = _whole(usage.get("output_tokens"))
    searches = _object(usage.get("server_tool_use")).get("web_search_requests")
    if searches is None and output is not None:
        # What is used is told; nothing told at the end is nothing.
        searches = 0
    thinking = _object(usage.get("output_tokens_details")).get("thinking_tokens")
    return ReportedUsage(
        input=sum(given) if given else None,
        output=output,
        cached_input=cached,
        cache_write_5m=five,
        cache_write_1h=hour or None,
        reasoning=_whole(thinking),
        searches=_whole(searches),
        odd=any(
            usage.get(name) is not None and _whole(usage[name]) is None
            for name in (*_COUNTS, "output_tokens")
        ),
    )


def tier_of(usage: Any) -> str | None:
    """The service tier that was used, as far as prices depend on it."""
    members = _object(usage)
    fast = members.get("speed") == "fast"
    national = members.get("inference_geo") == "us"
    if fast or national:
        return "fast-us" if fast and national else "fast" if fast else "us"
    tier = members.get("service_tier")
    return tier if isinstance(tier, str) else None


def usage_extras(usage: Any) -> Extras:
    """What a usage tells that has no counterpart."""
    members = _object(usage)
    rest = {name: value for name, value in members.items() if name not in _READ}
    tools = _object(members.get("server_tool_use"))
    further = {
        name: value for name, value in tools.items() if name != "web_search_requests"
    }
    if further:
        rest["server_tool_use"] = further
    tier = members.get("service_tier")
    if tier is not None and tier != tier_of(usage):
        rest["service_tier"] = tier
    return {"usage": rest} if rest else {}


def first_counts(usage: Any) -> Any:
    """What a stream's beginning tells, without what is only known at its end.

    One token of output stands there, whatever will come: if the stream breaks off,
    nobody has counted them.
    """
    if not isinstance(usage, dict):
        return None
    return {name: usage[name] for name in usage if name not in _AT_THE_END}


_AT_THE_END = ("output_tokens", "output_tokens_details", "server_tool_use")


def merged_counts(old: Extras, new: Any) -> Extras:
    """Join what a stream told of its usage with what it tells later.

    As they stand: the lifetimes of what was written are told at the beginning
    only, and their total again at the end. A zero or null erases nothing.
    """
    told = {name: value for name, value in _object(new).items() if value}
    return {**_object(new), **old, **told}


def write_usage(
    usage: ReportedUsage | None, tier: str | None = None, extras: Extras | None = None
) -> Extras:
    """Take the counts apart, as the SDK's `Usage` has them.

    Args:
        usage: as it was reported; None counts as nothing.
        tier: the service tier of a provider of this dialect.
        extras: what `usage_extras` gave for one of this dialect.
    """
    usage = usage or NOTHING
    plain, cached, five, hour = input_apart(usage)
    written: Extras = {
        "input_tokens": plain,
        "cache_creation_input_tokens": five + hour,
        "cache_read_input_tokens": cached,
        "cache_creation": {
            "ephemeral_5m_input_tokens": five,
            "ephemeral_1h_input_tokens": hour,
        },
        "output_tokens": usage.output or 0,
    }
    if usage.reasoning is not None:
        written["output_tokens_details"] = {"thinking_tokens": usage.reasoning}
    rest: Extras = dict(extras["usage"]) if extras and "usage" in extras else {}
    tools = rest.pop("server_tool_use", {}) if rest else {}
    if usage.searches or tools:
        searches = {"web_search_requests": usage.searches or 0}
        written["server_tool_use"] = {"web_fetch_requests": 0} | searches | tools
    if tier in TIERS:
        written["service_tier"] = tier
    return written | rest if rest else written


def input_apart(usage: ReportedUsage) -> tuple[int, int, int, int]:
    """The prompt: plain, from the cache, written to it for 5 minutes, for an hour."""
    cached = usage.cached_input or 0
    five, hour = usage.cache_write_5m or 0, usage.cache_write_1h or 0
    plain = (usage.input or 0) - cached - five - hour
    return max(0, plain), cached, five, hour


NOTHING = ReportedUsage()
TIERS = frozenset({"standard", "priority", "batch"})
"""What this dialect's clients know."""


def _object(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _whole(value: Any) -> int | None:
    return value if type(value) is int else None

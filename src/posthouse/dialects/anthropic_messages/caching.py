"""Marks of what a provider shall keep of a prompt, read and written.

Source: `CacheControlEphemeralParam` of anthropic 2.12.0 (2026-11); what else stands
in a mark stays in the `extras` of what it marks.
"""

from posthouse.dialects.neutral.members import Members
from posthouse.model.chat import CacheMark, Extras

NAME = "anthropic_messages"
"""The dialect's."""

_MARK = "cache_control"


def take_cache(members: Members) -> tuple[CacheMark | None, Extras]:
    """Take a mark, and the extras that it brings."""
    mark = members.inner(_MARK)
    if mark is None:
        return None, {}
    kind, ttl = mark.text("type"), mark.text("ttl")
    rest = mark.extras()
    if kind not in (None, "ephemeral"):
        rest["type"] = kind
    return CacheMark(ttl), {_MARK: rest} if rest else {}


def write_cache(mark: CacheMark | None, extras: Extras) -> Extras:
    """Write a mark as a member; nothing where there is none."""
    if mark is None:
        return {}
    ttl = {} if mark.ttl is None else {"ttl": mark.ttl}
    rest = extras.get(_MARK)
    further = rest if isinstance(rest, dict) else {}
    return {_MARK: {"type": "ephemeral"} | ttl | further}

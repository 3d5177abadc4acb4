"""Whether a Valkey or Redis can do what sharing limits asks of it, as a stranger."""

import secrets
from typing import Any, Final, Literal

from msgspec import Struct

from posthouse.access.counters import Ask
from posthouse.access.ports import CountersUnavailable
from posthouse.access.windows import Rates
from posthouse.settings.coordination import Coordination
from posthouse.storage.coordination.valkey import (
    CALL_SECONDS,
    CONNECT_CALLS,
    ValkeyCounters,
)
from posthouse.storage.coordination.valkey_link import connect, make_context

_EVICTS_NOTHING: Final = "noeviction"


class Seen(Struct, frozen=True):
    """What was found."""

    result: Literal["ok", "warning", "fault"]
    detail: str


async def look(place: Coordination, seconds: float = CALL_SECONDS) -> Seen:
    """Count one call, take it back, and ask the server what it is.

    `seconds` are for each of these.
    """
    mark = f"check-{secrets.token_hex(4)}"
    counters = ValkeyCounters(place, mark, seconds=seconds)
    try:
        await counters.exchange([Ask("key", Rates(concurrency=1), 1, 1)])
        facts = await _facts(place, seconds)
    except CountersUnavailable as error:
        detail = f"{place}: {error}; each process keeps to its part of the limits"
        return Seen("fault", detail)
    finally:
        await counters.close()
    name = "Valkey" if "valkey_version" in facts else "Redis"
    version = facts.get("valkey_version") or facts.get("redis_version", "")
    detail = f"{place}: {name} {version}".rstrip()
    policy = facts.get("maxmemory_policy", _EVICTS_NOTHING)
    if policy != _EVICTS_NOTHING:
        detail += f"; with maxmemory-policy {policy} it may forget who has used what"
        return Seen("warning", detail)
    return Seen("ok", detail)


async def _facts(place: Coordination, seconds: float) -> dict[str, str]:
    """What the server tells of itself; nothing if it does not want to."""
    context = make_context(place)
    address = (place.host, place.port)
    link = await connect(place, address, context, seconds=CONNECT_CALLS * seconds)
    try:
        replies: list[Any] = await link.call(
            [("INFO", section) for section in ("server", "memory")], seconds
        )
    finally:
        link.close()
    lines = [
        line
        for reply in replies
        if isinstance(reply, bytes)
        for line in reply.decode(errors="replace").splitlines()
    ]
    return dict(line.split(":", 1) for line in lines if ":" in line)

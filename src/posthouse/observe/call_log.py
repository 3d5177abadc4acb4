"""One line in the log for each call that has ended, where the operator asks for it.

Written by the reporter's thread, so a slow log holds up no call.
"""

from collections.abc import Sequence

from posthouse.observe.facts import CallFacts, LogEntry
from posthouse.observe.logs import logger

COMPONENT = "posthouse.calls"
_log = logger(COMPONENT)


class CallLog:
    """Writes the lines."""

    def take(self, items: Sequence[CallFacts | LogEntry]) -> int:
        """Write what is a call; give how many could not be."""
        for item in items:
            if isinstance(item, CallFacts):
                _log.info("call", **call_fields(item))
        return 0

    def idle(self) -> None:
        """Nothing is due."""

    def finish(self) -> None:
        """Nothing is due."""

    def close(self) -> None:
        """Nothing is open."""


def call_fields(call: CallFacts) -> dict[str, object]:
    """Give a call's fields in a line: names, numbers, no content."""
    return {
        "call": call.id,
        "key_id": call.key_id,
        "operation": call.operation,
        "dialect": call.dialect,
        "streamed": call.streamed,
        "model": call.requested_model,
        "channel": call.channel,
        "provider": call.provider,
        "upstream_model": call.upstream_model,
        "status": call.status,
        "outcome": call.outcome,
        "error": call.error,
        "usage": call.usage,
        "usage_source": call.usage_source,
        "price_usd": call.price_usd,
        "cost_usd": call.cost_usd,
        "attempts": len(call.attempts),
        "total_ms": round((call.ended_ns - call.began_ns) / 1e6, 3),
        "first_token_ms": call.first_token_ms,
        "upstream_ms": round(call.upstream_seconds * 1e3, 3),
        "own_ms": round(call.own_seconds * 1e3, 3),
    }

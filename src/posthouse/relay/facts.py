"""From a call's record to what is told of it: for spans, metrics and log lines.

`Ended` is kept until a thread finds time for it, so it holds the record and a
few numbers and nothing of the request. `facts_of` does the work, in that thread.
"""

from collections.abc import Mapping

from msgspec import Struct

from posthouse.model.call import AttemptRecord, CallRecord, Outcome
from posthouse.model.money import format_usd
from posthouse.model.usage import Unit
from posthouse.observe.facts import AttemptFacts, CallFacts
from posthouse.observe.trace_context import TraceContext
from posthouse.routing.table import Channel

INPUT = (
    Unit.INPUT,
    Unit.CACHED_INPUT,
    Unit.CACHED_AUDIO_INPUT,
    Unit.CACHE_WRITE_5M,
    Unit.CACHE_WRITE_1H,
    Unit.AUDIO_INPUT,
    Unit.IMAGE_INPUT,
)
CACHE_WRITES = (Unit.CACHE_WRITE_5M, Unit.CACHE_WRITE_1H)
OUTPUT = (Unit.OUTPUT, Unit.REASONING, Unit.AUDIO_OUTPUT, Unit.IMAGE_OUTPUT)
_FAULTS = frozenset({Outcome.FAILED, Outcome.INTERRUPTED})
_MS = 1_000_000
"""Nanoseconds."""


class Ended(Struct, frozen=True):
    """A call that has ended."""

    record: CallRecord
    trace: TraceContext | None
    elapsed: float
    """Seconds from its begin until it was settled."""
    upstream: float
    """Seconds of them in which an attempt was under way."""
    channels: Mapping[str, Channel]
    """Those of the configuration that it began with."""


def facts_of(ended: Ended) -> CallFacts:
    """Give what is told of a call."""
    record = ended.record
    began_ns = record.created_ms * _MS
    usage = record.usage
    channel = ended.channels.get(record.channel)
    first = record.first_token_ms if record.streamed else 0
    return CallFacts(
        id=record.id,
        key_id=record.key_id,
        operation=record.operation,
        dialect=record.dialect,
        streamed=record.streamed,
        requested_model=record.requested_model,
        channel=record.channel,
        provider=_provider(channel),
        upstream_model=record.upstream_model,
        status=record.status,
        outcome=record.outcome,
        failed=record.outcome in _FAULTS,
        error=record.error_code,
        began_ns=began_ns,
        ended_ns=began_ns + int(ended.elapsed * 1e9),
        first_token_ms=first,
        upstream_first_ms=record.upstream_first_ms,
        own_seconds=max(0.0, ended.elapsed - ended.upstream),
        upstream_seconds=ended.upstream,
        usage=usage,
        input_tokens=_sum(usage, INPUT),
        cached_tokens=usage.get(Unit.CACHED_INPUT, 0)
        + usage.get(Unit.CACHED_AUDIO_INPUT, 0),
        cache_written_tokens=_sum(usage, CACHE_WRITES),
        output_tokens=_sum(usage, OUTPUT),
        reasoning_tokens=usage.get(Unit.REASONING, 0),
        usage_source=record.usage_source,
        price_usd=format_usd(record.price),
        cost_usd=None if record.cost is None else format_usd(record.cost),
        attempts=tuple(
            _attempt(began_ns, attempt, ended.channels.get(attempt.channel))
            for attempt in record.attempts
        ),
        trace=ended.trace,
    )


def _attempt(
    call_ns: int, attempt: AttemptRecord, channel: Channel | None
) -> AttemptFacts:
    began_ns = call_ns + attempt.started_ms * _MS
    return AttemptFacts(
        channel=attempt.channel,
        credential=attempt.credential,
        provider=_provider(channel),
        origin=channel.origin if channel else "",
        model=attempt.upstream_model,
        began_ns=began_ns,
        ended_ns=began_ns + attempt.duration_ms * _MS,
        outcome=attempt.outcome,
        error=attempt.error_code,
        status=attempt.upstream_status,
    )


def _sum(usage: Mapping[str, int], units: tuple[Unit, ...]) -> int:
    return sum(usage.get(unit, 0) for unit in units)


def _provider(channel: Channel | None) -> str:
    """Name a channel's provider as OpenTelemetry's conventions do."""
    if channel is None:
        return ""
    return channel.provider.telemetry_name or channel.provider.name

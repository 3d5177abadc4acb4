"""What is told of a call that has ended: plain values, no content, no secret."""

from msgspec import Struct

from posthouse.observe.trace_context import TraceContext


class AttemptFacts(Struct, frozen=True, array_like=True):
    """One try on one channel."""

    channel: str
    credential: int
    provider: str
    """The catalogue's name of it; empty when the channel is gone."""
    origin: str
    """Scheme, host and port that were asked."""
    model: str
    began_ns: int
    """Unix time."""
    ended_ns: int
    outcome: str
    error: str
    """Our code; empty when the attempt served the call."""
    status: int
    """HTTP status; 0 when none arrived."""


class CallFacts(Struct, frozen=True, array_like=True, tag="call"):
    """One call."""

    id: str
    key_id: str
    operation: str
    dialect: str
    streamed: bool
    requested_model: str
    channel: str
    provider: str
    upstream_model: str
    status: int
    outcome: str
    failed: bool
    """Whether that is a fault of ours or of a provider, not the caller's wish."""
    error: str
    began_ns: int
    ended_ns: int
    first_token_ms: int
    """From the call's begin to its first content; 0 is none."""
    upstream_first_ms: int
    """From the begin of the attempt that brought it."""
    own_seconds: float
    upstream_seconds: float
    usage: dict[str, int]
    """Billed units by bucket."""
    input_tokens: int
    """All of them, cached or not."""
    cached_tokens: int
    cache_written_tokens: int
    output_tokens: int
    """All of them, reasoning included."""
    reasoning_tokens: int
    usage_source: str
    price_usd: str
    cost_usd: str | None
    """None is not known."""
    attempts: tuple[AttemptFacts, ...]
    trace: TraceContext | None
    """None: traces are off."""


class LogEntry(Struct, frozen=True, array_like=True, tag="entry"):
    """One entry of the process's log, redacted."""

    time_ns: int
    level: str
    component: str
    event: str
    fields: dict[str, str | int | float | bool]

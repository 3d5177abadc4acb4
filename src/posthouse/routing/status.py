"""How channels stand in one process, for people; and several processes as one.

Times are seconds from now, ahead or ago, so that no clock is compared.
"""

from collections.abc import Iterable, Mapping

from msgspec import Struct

from posthouse.routing.health import BreakerState, ChannelHealth, HealthTable, Verdict
from posthouse.routing.latency import LatencyTable
from posthouse.routing.table import Channel

_WORST = (BreakerState.CLOSED, BreakerState.HALF_OPEN, BreakerState.OPEN)


class RestStatus(Struct, frozen=True):
    """A credential that is not used."""

    reason: str
    seconds: float
    """Until it is tried again."""


class ErrorStatus(Struct, frozen=True):
    """What went wrong last."""

    code: str
    status: int
    """The provider's, 0 when none arrived."""
    ago: float


class ProbeStatus(Struct, frozen=True):
    """What came of the last look at a channel."""

    code: str
    """Our error's; empty when all was well."""
    seconds: float
    ago: float


class ChannelStatus(Struct, frozen=True, omit_defaults=True):
    """How one channel stands."""

    breaker: str = BreakerState.CLOSED.value
    open_for: float = 0.0
    """Seconds until the breaker lets a call try."""
    failures: int = 0
    """In a row."""
    in_flight: int = 0
    resting: dict[str, RestStatus] = {}
    """By the credential's index."""
    latency: dict[str, float] = {}
    """Seconds to the first content, by model, where a policy asks for it."""
    last_error: ErrorStatus | None = None
    probe: ProbeStatus | None = None


IDLE = ChannelStatus()


def describe(
    channels: Iterable[Channel],
    health: HealthTable,
    latencies: LatencyTable,
    now: float,
) -> dict[str, ChannelStatus]:
    """How channels stand, by name; those of which there is nothing to say left out."""
    times = latencies.by_channel(now)
    found = {}
    for channel in channels:
        entry = health.find(channel.name)
        if entry is None and not channel.load.in_flight and channel.name not in times:
            continue
        status = _status(channel, entry or ChannelHealth(), times, now)
        if status != IDLE:
            found[channel.name] = status
    return found


def _status(
    channel: Channel,
    entry: ChannelHealth,
    times: Mapping[str, dict[str, float]],
    now: float,
) -> ChannelStatus:
    error, probe = entry.last_error, entry.last_probe
    return ChannelStatus(
        breaker=entry.state(now).value,
        open_for=max(0.0, entry.open_until - now) if entry.ejections else 0.0,
        failures=entry.consecutive,
        in_flight=channel.load.in_flight,
        resting={
            str(index): RestStatus(rest.reason.value, max(0.0, rest.until - now))
            for index, rest in entry.resting.items()
            if now < rest.until or rest.reason is Verdict.REFUSED
        },
        latency=times.get(channel.name, {}),
        last_error=None
        if error is None
        else ErrorStatus(error.code, error.status, now - error.at),
        probe=None
        if probe is None
        else ProbeStatus(probe.code, probe.seconds, now - probe.at),
    )


def join(statuses: Iterable[ChannelStatus]) -> ChannelStatus:
    """How a channel stands in several processes together.

    Of breakers the worst counts, of rests the longest, of latencies the mean, of
    errors and looks the latest.
    """
    given = list(statuses)
    resting: dict[str, RestStatus] = {}
    times: dict[str, list[float]] = {}
    for one in given:
        for index, rest in one.resting.items():
            present = resting.get(index)
            if present is None or present.seconds < rest.seconds:
                resting[index] = rest
        for model, seconds in one.latency.items():
            times.setdefault(model, []).append(seconds)
    probes = [one.probe for one in given if one.probe is not None]
    errors = [one.last_error for one in given if one.last_error is not None]
    return ChannelStatus(
        breaker=max(
            (BreakerState(one.breaker) for one in given),
            key=_WORST.index,
            default=BreakerState.CLOSED,
        ).value,
        open_for=max((one.open_for for one in given), default=0.0),
        failures=max((one.failures for one in given), default=0),
        in_flight=sum(one.in_flight for one in given),
        resting=dict(sorted(resting.items())),
        latency={
            model: sum(values) / len(values) for model, values in sorted(times.items())
        },
        last_error=min(errors, key=lambda error: error.ago, default=None),
        probe=min(probes, key=lambda probe: probe.ago, default=None),
    )

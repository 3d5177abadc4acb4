"""What a scrape of the metrics finds out when it is made: how the process stands."""

import time
from collections.abc import Callable, Iterator

from msgspec import Struct

from posthouse.app.realtime import Sessions
from posthouse.app.refusals import Refusals
from posthouse.billing.holds import HoldManager
from posthouse.observe import logs
from posthouse.observe.loop_lag import LoopLag
from posthouse.observe.metrics import Metrics
from posthouse.relay.snapshot import Snapshot
from posthouse.relay.waiting import FairQueue
from posthouse.routing.health import BreakerState, HealthTable
from posthouse.upstream.sender import Upstream

_BREAKER_NUMBERS = {
    BreakerState.CLOSED: 0,
    BreakerState.HALF_OPEN: 1,
    BreakerState.OPEN: 2,
}
"""How a breaker stands in the metrics."""


class Watched(Struct, frozen=True):
    """What is looked at."""

    lag: LoopLag
    holds: HoldManager
    queue: FairQueue
    upstream: Upstream
    sessions: Sessions
    health: HealthTable
    refusals: Refusals
    snapshot: Callable[[], Snapshot]
    """Gives the configuration as it is now."""
    shares_limits: Callable[[], bool]
    """Whether limits hold over all processes."""


class _Channels:
    """How the channels stand, each by its name."""

    def __init__(self, watched: Watched) -> None:
        self._watched = watched

    def breakers(self) -> Iterator[tuple[str, float]]:
        now = time.monotonic()
        for name in self._watched.snapshot().table.channels:
            yield name, _BREAKER_NUMBERS[self._watched.health.breaker(name, now)]

    def resting(self) -> Iterator[tuple[str, float]]:
        now = time.monotonic()
        for name in self._watched.snapshot().table.channels:
            yield name, self._watched.health.resting(name, now)

    def refused(self) -> Iterator[tuple[str, float]]:
        for name, channel in self._watched.snapshot().table.channels.items():
            yield name, len(self._watched.refusals.of_channel(channel))


def export_gauges(metrics: Metrics, watched: Watched) -> None:
    """Have every scrape look."""
    worst, high = watched.lag.gauges()
    holds, queue = watched.holds, watched.queue
    gauge = metrics.gauge
    gauge("posthouse_loop_lag_max_seconds", "Longest loop lag since.", worst)
    gauge("posthouse_loop_lag_p999_seconds", "99.9th percentile of it.", high)
    gauge("posthouse_ready", "Whether calls can be served.", lambda: holds.available)
    gauge("posthouse_holds_open", "Holds not ended.", lambda: holds.open_holds)
    gauge(
        "posthouse_calls_waiting",
        "Calls that wait for room because they asked to.",
        lambda: queue.waiting,
    )
    metrics.counter(
        "posthouse_log_entries_dropped_total",
        "Log entries that nobody took in time.",
        logs.dropped,
    )
    gauge(
        "posthouse_journal_backlog_segments",
        "Files of the journal by which the ledger is behind.",
        lambda: holds.backlog_segments,
    )
    gauge(
        "posthouse_upstream_connections",
        "Open connections to providers.",
        lambda: watched.upstream.open_connections,
    )
    gauge(
        "posthouse_realtime_sessions",
        "Realtime sessions that are open.",
        lambda: watched.sessions.open,
    )
    gauge(
        "posthouse_limits_shared",
        "Whether limits hold over all processes; else each keeps to its part.",
        watched.shares_limits,
    )
    channels = _Channels(watched)
    metrics.states(
        "posthouse_breaker_state",
        "A channel's breaker: 0 closed, 1 half open, 2 open.",
        "channel",
        channels.breakers,
    )
    metrics.states(
        "posthouse_credentials_resting",
        "Credentials of a channel that are not used for a while.",
        "channel",
        channels.resting,
    )
    metrics.states(
        "posthouse_credentials_refused",
        "Credentials of a channel that its provider does not accept.",
        "channel",
        channels.refused,
    )

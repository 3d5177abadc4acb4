"""What settings and a stored configuration mean for the parts of a process."""

import socket
from collections.abc import Callable, Mapping
from hashlib import blake2b

from msgspec import structs

from posthouse.access.authenticator import Bounds
from posthouse.billing.prices import PriceBook
from posthouse.model.catalog import ProviderRow
from posthouse.model.exchange import Timeouts
from posthouse.observe.telemetry import TelemetryOptions
from posthouse.relay.choosing import supplier_costs
from posthouse.relay.snapshot import Snapshot
from posthouse.routing.latency import LatencyTable, LowestLatency
from posthouse.routing.policies import LeastBusy, LowestCost, PolicyBook
from posthouse.routing.rules import RuleBook
from posthouse.routing.table import ChannelDefaults, Load, RoutingTable, make_channel
from posthouse.server.limits import ServerLimits
from posthouse.server.run import DrainTimes, RunOptions, Server
from posthouse.settings.environment import Settings
from posthouse.storage.configuration import StoredConfiguration
from posthouse.upstream.egress import Egress
from posthouse.upstream.egress_addresses import make_policy


def make_egress(settings: Settings) -> Egress:
    """Make the way out for URLs that callers give."""
    return Egress(
        make_policy(
            allow=settings.egress_allow,
            deny=settings.egress_deny,
            ports=settings.egress_ports,
        )
    )


def key_bounds(settings: Settings) -> Bounds:
    """How much is remembered of keys."""
    return Bounds(
        principals=settings.principal_cache,
        failures_per_minute=settings.failures_per_minute,
    )


def host_mark() -> str:
    """Name this host for replies without telling its name."""
    return blake2b(socket.gethostname().encode(), digest_size=4).hexdigest()


def build_snapshot(
    catalog: Mapping[str, ProviderRow],
    stored: StoredConfiguration,
    settings: Settings,
    *,
    latencies: LatencyTable | None = None,
    loads: dict[str, Load] | None = None,
) -> Snapshot:
    """Join the catalogue with a stored configuration.

    `latencies` and `loads`, by channel, outlive configurations. Raises ValueError
    when a channel names no provider or has no base URL.
    """
    defaults = ChannelDefaults(
        Timeouts(
            connect=settings.connect_seconds,
            first_byte=settings.first_byte_seconds,
            idle=settings.idle_seconds,
            total=settings.total_seconds,
        ),
        settings.stream_seconds,
    )
    channels = []
    for channel in stored.channels:
        spec = channel.spec
        if not spec.enabled:
            continue
        keys = (spec.api_key,) if isinstance(spec.api_key, str) else spec.api_key
        provider = catalog.get(spec.provider)
        if provider is None:
            raise ValueError(
                f"channel {spec.name!r} names an unknown provider {spec.provider!r}"
            )
        bare = structs.replace(spec, api_key=())
        load = None if loads is None else loads.setdefault(spec.name, Load())
        channels.append(make_channel(bare, provider, keys, defaults, load=load))
    prices = PriceBook(catalog, stored.prices)
    policies = PolicyBook(
        stored.policies,
        {
            "lowest_cost": LowestCost(supplier_costs(prices)),
            "lowest_latency": LowestLatency(latencies or LatencyTable()),
            "least_busy": LeastBusy(),
        },
    )
    table = RoutingTable(
        channels,
        {fallback.model: fallback.to for fallback in stored.fallbacks},
        policies.choice,
    )
    return Snapshot(table, prices, RuleBook(stored.rules, policies))


def telemetry_options(settings: Settings) -> TelemetryOptions:
    """What the settings say of telemetry."""
    return TelemetryOptions(
        endpoint=settings.telemetry_endpoint,
        signals=settings.telemetry_signals,
        sample=settings.telemetry_sample,
        propagate=settings.telemetry_propagate == "on",
        call_log=settings.call_log == "on",
        queue=settings.telemetry_queue,
    )


def run_options(
    settings: Settings,
    *,
    started: Callable[[Server], None],
    reload: Callable[[], None],
) -> RunOptions:
    """What the server is told: the settings, and whom to call back."""
    return RunOptions(
        started=started,
        reload=reload,
        limits=ServerLimits(
            connections=settings.max_connections,
            header_timeout=settings.header_seconds,
            head_bytes=settings.max_header_bytes,
            head_fields=settings.max_headers,
            body_window=settings.body_seconds,
            body_window_bytes=settings.body_min_bytes,
            idle_timeout=settings.keep_alive_seconds,
            stall_timeout=settings.stalled_client_seconds,
            buffered_bodies=settings.max_buffered_bytes,
            # Times are told to within a sweep, which is why it is the finer
            # the shorter they are.
            sweep_interval=min(
                1.0, settings.header_seconds / 4, settings.body_seconds / 4
            ),
        ),
        drain=DrainTimes(
            grace=settings.drain_grace_seconds, finish=settings.drain_seconds
        ),
    )

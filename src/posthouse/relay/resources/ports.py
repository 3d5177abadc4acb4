"""What relaying requests about kept things works with, and what it is asked."""

from collections.abc import Callable

from msgspec import Struct

from posthouse.access.ports import Limiter
from posthouse.billing.holds import HoldManager
from posthouse.dialects.resources.names import Named
from posthouse.dialects.resources.paths import ResourcePath
from posthouse.model.call import CallRecord
from posthouse.observe.trace_context import TraceContext
from posthouse.relay.attempt import AttemptLoop
from posthouse.relay.call import Call
from posthouse.relay.resources.file_copies import FileCopies
from posthouse.relay.resources.lookup import Caller, Lookup
from posthouse.relay.resources.money import OPERATION
from posthouse.routing.health import HealthTable
from posthouse.routing.plan import Plan
from posthouse.routing.ring import Ring
from posthouse.routing.table import Channel, Member, ModelRoutes, Tier
from posthouse.upstream.ports import Sender

Headers = tuple[tuple[bytes, bytes], ...]


class Asked(Struct, frozen=True):
    """A request that is relayed."""

    method: str
    """In capitals; a HEAD is asked like a GET."""
    path: ResourcePath
    query: str
    content_type: bytes | None
    headers: Headers
    """Those of the caller's that go to providers."""
    body: bytes
    named: Named
    """What all of it names."""
    id: str
    """The call's."""
    caller: Caller
    trace: TraceContext | None = None
    """Its place in a trace; None: there are no traces."""


class ResourcePorts(Struct, frozen=True):
    """What relaying works with; made once per process."""

    limits: Limiter
    holds: HoldManager
    attempts: AttemptLoop
    health: HealthTable
    sender: Sender
    lookup: Lookup
    copies: FileCopies
    call_ended: Callable[[Call, CallRecord, tuple[str, ...]], None]
    """Told every call, its record, and what was suspicious about its usage."""
    hold_max: int
    """Nano-dollars that one call may hold."""
    unpriced: bool
    """Whether routes that have no price are relayed all the same."""


def plan_for(
    ports: ResourcePorts,
    channels: tuple[Channel, ...],
    credential: int | None,
    tenant: str,
) -> Plan:
    """Plan a call to some channels' credentials, or to the only one, by priority."""
    tiers: dict[int, list[Member]] = {}
    for channel in channels:
        indexes = range(len(channel.credentials))
        tiers.setdefault(channel.spec.priority, []).extend(
            Member(channel, index, "")
            for index in (indexes if credential is None else (credential,))
        )
    routes = ModelRoutes(
        "",
        OPERATION,
        tuple(
            Tier(tuple(members), Ring(tuple(map(_share, members))))
            for _, members in sorted(tiers.items(), reverse=True)
        ),
    )
    return Plan((routes,), (b"", tenant.encode()), ports.health, stream=True)


def _share(member: Member) -> tuple[str, float]:
    channel = member.channel
    share = channel.spec.weight / len(channel.credentials)
    return f"{channel.name}#{member.credential}", share

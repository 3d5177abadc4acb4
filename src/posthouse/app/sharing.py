"""Limits as several processes share them: of one machine, or of all nodes."""

from hashlib import blake2b
from typing import Final

from posthouse.access.ports import CounterStore
from posthouse.access.shared import SharedLimits
from posthouse.access.windows import Refusal
from posthouse.relay.attempt import AdmitShared, Release
from posthouse.routing.plan import Target
from posthouse.settings.coordination import read_coordination
from posthouse.settings.environment import Settings
from posthouse.storage.coordination.local import SqliteCounters

PATIENCE_CALLS: Final = 10
"""Round trips that an exchange may take, if it has much to tell."""


def shared_limits(settings: Settings, pepper: bytes) -> SharedLimits | None:
    """The limits of all processes; None if there is but one.

    Args:
        settings: say whether there is a Valkey, and how many workers.
        pepper: all nodes of an installation have the same; what they keep in a
            Valkey bears a mark made of it, apart from other installations.
    """
    if settings.coordination is not None:
        counters = _counters(settings, settings.coordination, pepper)
        patience = PATIENCE_CALLS * settings.coordination_seconds
        return SharedLimits(counters, settings.workers, patience=patience)
    if settings.workers > 1:
        return SharedLimits(SqliteCounters(settings.data), settings.workers)
    return None


def _counters(settings: Settings, url: str, pepper: bytes) -> CounterStore:
    # Its driver is loaded only where it is used.
    from posthouse.storage.coordination.valkey import (  # noqa: PLC0415 - see above
        ValkeyCounters,
    )

    mark = blake2b(pepper, digest_size=6, person=b"coordination").hexdigest()
    seconds = settings.coordination_seconds
    return ValkeyCounters(read_coordination(url), mark, seconds=seconds)


def shared_places(limits: SharedLimits | None) -> AdmitShared | None:
    """How attempts take places on channels; None if nobody else does."""
    if limits is None:
        return None

    async def admit(target: Target) -> Release | None:
        channel = target.member.channel
        permit = await limits.admit_channel(channel.name, channel.spec.limits)
        return None if isinstance(permit, Refusal) else permit.release

    return admit

"""Limits as the workers of one machine share them; nothing of this with one."""

from posthouse.access.shared import SharedLimits
from posthouse.access.windows import Refusal
from posthouse.relay.attempt import AdmitShared, Release
from posthouse.routing.plan import Target
from posthouse.settings.environment import Settings
from posthouse.storage.coordination import SqliteCounters


def shared_limits(settings: Settings) -> SharedLimits | None:
    """The limits of all workers; None if there is but one."""
    if settings.workers == 1:
        return None
    return SharedLimits(SqliteCounters(settings.data), settings.workers)


def shared_places(limits: SharedLimits | None) -> AdmitShared | None:
    """How attempts take places on channels; None if nobody else does."""
    if limits is None:
        return None

    async def admit(target: Target) -> Release | None:
        channel = target.member.channel
        permit = await limits.admit_channel(channel.name, channel.spec.limits)
        return None if isinstance(permit, Refusal) else permit.release

    return admit

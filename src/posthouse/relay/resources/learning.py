"""Takes note of what an answer tells of: it is the caller's from then on."""

import time
from collections.abc import Callable

from posthouse.dialects.resources.answers import Told
from posthouse.dialects.resources.paths import ResourcePath
from posthouse.dialects.resources.routes import made_by
from posthouse.relay.call import Call
from posthouse.relay.resources.lookup import SHARED, Caller, Lookup
from posthouse.relay.resources.objects import Owned
from posthouse.routing.plan import Target


class Learner:
    """Learns from the answers to one request."""

    def __init__(
        self,
        lookup: Lookup,
        call: Call,
        caller: Caller,
        route: tuple[str, ResourcePath],
        *,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        """Learn for a caller.

        Args:
            lookup: remembers what is learnt.
            call: the call.
            caller: whose it will be.
            route: the request's method and path.
            wall_clock: seconds since 1970.
        """
        self._lookup = lookup
        self._call = call
        self._caller = caller
        self._made = made_by(*route)
        self._path = route[1]
        self._clock = wall_clock
        self._known: set[str] = set(route[1].ids)

    async def heed(self, target: Target, told: Told) -> None:
        """Take note; raises StorageUnavailable."""
        channel = target.member.channel
        if channel.spec.resources == SHARED:
            return
        new = {name: kind for name, kind in told.ids.items() if name not in self._known}
        if not new:
            return
        if told.top in new and self._made:
            new[told.top] = self._made
        now = int(self._clock() * 1000)
        digest = self._lookup.digest(channel.credentials[target.member.credential])
        await self._lookup.store.learn(
            [
                Owned(
                    id=name,
                    channel=channel.name,
                    account_id=self._caller.principal.account_id,
                    family=self._caller.family,
                    kind=kind,
                    credential=digest,
                    created_ms=now,
                )
                for name, kind in new.items()
            ]
        )
        self._known |= new.keys()

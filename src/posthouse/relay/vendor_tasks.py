"""Tasks that a maker of pictures gives in place of a picture, and what comes of them.

A request for one is a call like any other, and is paid for when the maker has taken
it. Whose the task is, and where, is remembered before it is charged and told: nobody
pays for what he could not ask for. Asking for its result costs nothing.
"""

import time
from collections.abc import Callable

from msgspec import Struct, structs

from posthouse.access.principal import Principal
from posthouse.dialects.base import Dialect, Headers
from posthouse.errors import NoChannel, NotFound
from posthouse.relay.asking import ask
from posthouse.relay.call import Incoming, KeepFirst
from posthouse.relay.prepare import channel_request
from posthouse.relay.resources.lookup import Lookup
from posthouse.relay.resources.objects import Owned
from posthouse.relay.served import Served
from posthouse.relay.snapshot import Snapshot
from posthouse.routing.table import Channel
from posthouse.upstream.ports import Sender

_ANSWERED = (200, 202)


class Result(Struct, frozen=True):
    """What a maker answers who is asked what has come of a task."""

    status: int
    """200, or 202 while nothing has."""
    headers: Headers
    """Names in lower case."""
    body: bytes


class VendorTasks:
    """Knows whose tasks are, and asks for their results."""

    def __init__(
        self,
        lookup: Lookup,
        sender: Sender,
        *,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        """Remember by `lookup`, ask by `sender`; `wall_clock` gives Unix seconds."""
        self._lookup = lookup
        self._sender = sender
        self._clock = wall_clock

    def keeper(
        self, incoming: Incoming, family: str, read_id: Callable[[bytes], str]
    ) -> KeepFirst:
        """Make what remembers the task that a call begins.

        Args:
            incoming: the call.
            family: whose tasks these are.
            read_id: reads a reply for the task's id; raises UpstreamFault.
        """

        async def keep(served: Served) -> None:
            """Raises StorageUnavailable and UpstreamFault."""
            member = served.target.member
            secret = member.channel.credentials[member.credential]
            task = Owned(
                read_id(served.body),
                member.channel.name,
                incoming.principal.account_id,
                family,
                "",
                self._lookup.digest(secret),
                int(self._clock() * 1000),
            )
            await self._lookup.store.learn([task])

        return keep

    async def result(
        self,
        snapshot: Snapshot,
        principal: Principal,
        task: tuple[str, str],
        dialect: Dialect,
        *,
        path: str,
        accept: bytes,
    ) -> Result:
        """Ask what has come of a caller's own task; raises PosthouseError.

        Args:
            snapshot: whose channels are asked.
            principal: who asks.
            task: its family and its id.
            dialect: judges errors.
            path: behind the channel's base path.
            accept: what the result shall be.
        """
        channel, credential = await self._place(snapshot, principal, task)
        request = channel_request(channel, credential, "GET", path)
        headers = dict(request.headers) | {b"accept": accept}
        request = structs.replace(request, headers=tuple(headers.items()))
        response, body = await ask(
            self._sender, channel, request, dialect, answers=_ANSWERED
        )
        return Result(response.status, tuple(response.headers), body)

    async def _place(
        self, snapshot: Snapshot, principal: Principal, task: tuple[str, str]
    ) -> tuple[Channel, int]:
        """The channel that has a task and the credential that reaches it.

        Raises NotFound and NoChannel.
        """
        family, name = task
        own = [
            row
            for row in await self._lookup.store.find([name])
            if (row.family, row.account_id) == (family, principal.account_id)
        ]
        if not own:
            raise NotFound
        channel = snapshot.table.channels.get(own[0].channel)
        if channel is None:
            raise NoChannel
        return channel, self._lookup.credential(channel, tuple(own[:1])) or 0

"""Things that chats and the like name and leave behind: whose they are holds here, too.

A call that names things goes to the channel that has them; what its answer tells of
is the caller's from then on.
"""

import time
from collections.abc import Callable
from contextlib import suppress

from msgspec import structs
from typing_extensions import override

from posthouse.access.principal import Principal
from posthouse.dialects.resources.answers import Told, read_answer
from posthouse.dialects.resources.names import VOICE, Named
from posthouse.dialects.resources.treated import is_stored, read_things
from posthouse.errors import InvalidRequest, NotFound, StorageUnavailable
from posthouse.observe.logs import logger
from posthouse.relay.call import Incoming
from posthouse.relay.keeping import Keeper
from posthouse.relay.resources.lookup import SHARED, Caller, Lookup, by_model, not_there
from posthouse.relay.resources.objects import Owned
from posthouse.routing.plan import Target
from posthouse.routing.table import RoutingTable
from posthouse.wire.sse import FrameTooLarge, SSEDecoder

MOST_LEFT = 1_000
"""Things that one answer leaves."""
STORED_CHATS = "/chat/completions"
SOUND = "audio_"
"""With this the id of an answer's sound begins, which the next chat may name."""

log = logger("posthouse")


def family_of(dialect: str) -> str:
    """The API of things that a dialect's calls name."""
    return "anthropic" if dialect == "anthropic_messages" else "openai"


class Guard:
    """Looks at calls before they are served."""

    def __init__(
        self, lookup: Lookup, *, wall_clock: Callable[[], float] = time.time
    ) -> None:
        """Ask `lookup` whose things are; `wall_clock` gives Unix seconds."""
        self._lookup = lookup
        self._clock = wall_clock

    async def pinned(self, incoming: Incoming, table: RoutingTable) -> Incoming:
        """Give a call with the place of what it names; raises PosthouseError."""
        named = read_things(incoming.request)
        if not (named.ids or named.texts):
            return incoming
        caller = Caller(incoming.principal, family_of(incoming.dialect.name))
        self._judge_voices(incoming, table, named)
        try:
            place = await self._lookup.find(table, caller, named)
        except NotFound:
            if not named.ids:
                candidates = self._lookup.channels.of_family(
                    table, caller.family, sandbox=caller.principal.sandbox
                )
                if not candidates:
                    return incoming
            raise
        if not place.owned:
            return incoming
        [channel] = place.channels
        if incoming.channel not in (None, channel.name):
            raise InvalidRequest(
                "The things that the request names are not on one channel",
                code="objects_on_several_channels",
            )
        return structs.replace(
            incoming, channel=channel.name, credential=place.credential
        )

    def _judge_voices(
        self, incoming: Incoming, table: RoutingTable, named: Named
    ) -> None:
        """Take voices for everybody's whose model nobody serves who keeps things."""
        voices = {name for name in named.ids if name.startswith(VOICE)}
        if not voices:
            return
        family = family_of(incoming.dialect.name)
        sandbox = incoming.principal.sandbox
        keepers = self._lookup.channels.of_family(table, family, sandbox=sandbox)
        if not by_model(keepers, (incoming.request.model,)):
            named.ids -= voices
            named.texts |= voices

    async def require_own(
        self, principal: Principal, target: Target, family: str, named: Named
    ) -> None:
        """Hold what goes to one target to a caller's own; raises NotFound."""
        channel = target.member.channel
        if channel.spec.resources == SHARED:
            return
        rows = await self._lookup.store.find(named.ids | named.texts)
        digest = self._lookup.digest(channel.credentials[target.member.credential])
        own = {
            row.id
            for row in rows
            if row.account_id == principal.account_id
            and row.channel == channel.name
            and row.credential in (b"", digest)
        }
        refused = {row.id for row in rows}
        if family in channel.provider.resources and channel.spec.resources != "off":
            refused |= named.ids
        for name in sorted(refused - own):
            raise not_there(name)

    async def credential(
        self, table: RoutingTable, channel_name: str, account_id: str, thing: str
    ) -> int | None:
        """Which of a channel's credentials reaches a thing; None: any does."""
        channel = table.channels.get(channel_name)
        if channel is None or len(channel.credentials) == 1:
            return None
        rows = await self._lookup.store.find([thing])
        own = tuple(
            row
            for row in rows
            if row.channel == channel_name and row.account_id == account_id
        )
        return self._lookup.credential(channel, own)

    async def learn(
        self, incoming: Incoming, target: Target, ids: dict[str, str]
    ) -> None:
        """Remember what an answer has told of; what cannot be is told to the log."""
        channel = target.member.channel
        family = family_of(incoming.dialect.name)
        if channel.spec.resources == SHARED or family not in channel.provider.resources:
            return
        now = int(self._clock() * 1000)
        digest = self._lookup.digest(channel.credentials[target.member.credential])
        account = incoming.principal.account_id
        with suppress(StorageUnavailable):
            await self._lookup.store.learn(
                [
                    Owned(name, channel.name, account, family, kind, digest, now)
                    for name, kind in ids.items()
                ]
            )
            return
        log.warning("what an answer left could not be remembered", account=account)


class Leavings(Keeper):
    """Remembers what one call's answer leaves, beside what else is kept of it."""

    def __init__(self, guard: Guard, incoming: Incoming) -> None:
        """Learn for the caller of `incoming`."""
        self._guard = guard
        self._incoming = incoming
        self._ids: dict[str, str] = {}
        self._frames = SSEDecoder()

    def read_along(self, data: bytes) -> None:
        """Read a piece of a stream."""
        try:
            frames = self._frames.feed(data)
        except FrameTooLarge:
            self._frames = SSEDecoder()
            return
        for _, payload in frames:
            self._note(read_answer(payload))

    def _note(self, told: Told | None) -> None:
        if told is None or len(self._ids) > MOST_LEFT:
            return
        kinds = dict(told.ids)
        if "messages" in self._incoming.request.envelope:
            if not is_stored(self._incoming.request):
                kinds = {name: "" for name in kinds if name.startswith(SOUND)}
            elif told.top in kinds:
                kinds[told.top] = STORED_CHATS
        self._ids |= {
            name: kind or self._ids.get(name, "") for name, kind in kinds.items()
        }

    @override
    async def keep(self, target: Target, reply: bytes, *, translated: bool) -> None:
        inner = self._incoming.keeper
        if not translated:
            if reply.lstrip()[:1] == b"{":
                self._note(read_answer(reply))
            else:
                self.read_along(reply)
            if self._ids:
                await self._guard.learn(self._incoming, target, self._ids)
        if inner is not None:
            await inner.keep(target, reply, translated=translated)

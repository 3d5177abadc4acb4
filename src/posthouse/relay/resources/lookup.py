"""Where a request about kept things goes: who owns them, and which channel has them.

All things that a request names must be the caller's own and on one channel. Only
where a channel's things are everybody's, nobody is asked who owns them.
"""

from collections.abc import Callable, Iterable

from msgspec import Struct

from posthouse.access.models import allows
from posthouse.access.principal import Principal
from posthouse.dialects.resources.names import Named
from posthouse.errors import InvalidRequest, ModelNotFound, NotFound
from posthouse.relay.resources.channels import ResourceChannels
from posthouse.relay.resources.objects import ObjectStore, Owned
from posthouse.routing.table import Channel, RoutingTable, offered_as

Digest = Callable[[str], bytes]
"""Names a credential without telling it."""
SHARED = "shared"


class Place(Struct, frozen=True):
    """Where a request goes."""

    channels: tuple[Channel, ...]
    """One of them, the best one first."""
    credential: int | None = None
    """The only one of the channel's that reaches what is named; None: any does."""
    owned: tuple[Owned, ...] = ()
    """What is named and known."""

    @property
    def shared(self) -> bool:
        """Whether everything there is everybody's."""
        return self.channels[0].spec.resources == SHARED


class Caller(Struct, frozen=True):
    """Who asks, and in which API."""

    principal: Principal
    family: str
    channel: str | None = None
    """The channel that the caller names."""


class Lookup:
    """Finds the place of requests."""

    def __init__(
        self, store: ObjectStore, channels: ResourceChannels, digest: Digest
    ) -> None:
        """Ask `store` for owners; `digest` names credentials."""
        self.store = store
        self.channels = channels
        self.digest = digest

    def candidates(self, table: RoutingTable, caller: Caller) -> tuple[Channel, ...]:
        """The channels that may be asked at all; raises NotFound if none may."""
        found = self.channels.of_family(
            table, caller.family, sandbox=caller.principal.sandbox
        )
        if not found:
            raise NotFound
        if caller.channel is None:
            return found
        named = tuple(one for one in found if one.name == caller.channel)
        if not named:
            raise InvalidRequest(
                "There is no such channel for this", code="channel_not_found"
            )
        return named

    async def find(self, table: RoutingTable, caller: Caller, named: Named) -> Place:
        """Find the place of a request; raises PosthouseError."""
        candidates = self.candidates(table, caller)
        home = by_model(candidates, named.models[:1]) or candidates[:1]
        owned: tuple[Owned, ...] = ()
        if not all(one.spec.resources == SHARED for one in candidates):
            owned = await self.owned(candidates, caller.principal, named)
        if home[0].spec.resources != SHARED:
            _require_known(named.ids, owned)
        own = {one.id for one in owned}
        for model in named.models:
            served = owned or home[0].spec.resources == SHARED
            if model not in own:
                check_model(caller.principal, model, () if served else candidates)
        if not owned:
            return Place(home)
        channel = _common(candidates, named, owned)
        there = tuple(one for one in owned if one.channel == channel.name)
        return Place((channel,), self.credential(channel, there), there)

    async def owned(
        self, candidates: Iterable[Channel], principal: Principal, named: Named
    ) -> tuple[Owned, ...]:
        """What a request names that is the caller's.

        Raises NotFound if any of it is somebody else's.
        """
        texts = named.ids | named.texts | set(named.models)
        rows = await self.store.find(texts) if texts else []
        names = {channel.name for channel in candidates}
        own = tuple(
            row
            for row in rows
            if row.account_id == principal.account_id and row.channel in names
        )
        foreign = {row.id for row in rows} - {row.id for row in own}
        # A model's name is nobody's secret: it may be everybody's as well.
        for text in sorted(foreign - (set(named.models) - named.ids)):
            raise not_there(text)
        return own

    def credential(self, channel: Channel, owned: tuple[Owned, ...]) -> int | None:
        """Which of the channel's credentials reaches some things; None: any."""
        wanted = {one.credential for one in owned if one.credential}
        for index, secret in enumerate(channel.credentials):
            if wanted and self.digest(secret) in wanted:
                return index
        return None


def not_there(name: str) -> NotFound:
    """What is said of a thing that is another's, or nobody's."""
    return NotFound(f"There is nothing with the id '{name[:128]}'.")


def _require_known(ids: set[str], owned: tuple[Owned, ...]) -> None:
    known = {one.id for one in owned}
    for name in sorted(ids - known):
        raise not_there(name)


def _common(
    candidates: Iterable[Channel], named: Named, owned: tuple[Owned, ...]
) -> Channel:
    """The channel that has all that is named; raises InvalidRequest."""
    places: dict[str, set[str]] = {}
    for one in owned:
        places.setdefault(one.id, set()).add(one.channel)
    left = {channel.name: channel for channel in candidates}
    for name, there in sorted(places.items(), key=lambda e: e[0] not in named.ids):
        fitting = {key: value for key, value in left.items() if key in there}
        if fitting:
            left = fitting
        elif name in named.ids:
            raise InvalidRequest(
                "The things that the request names are not on one channel",
                code="objects_on_several_channels",
            )
    return next(iter(left.values()))


def by_model(
    candidates: tuple[Channel, ...], models: Iterable[str]
) -> tuple[Channel, ...]:
    """Those of the channels that serve a model; empty if none does."""
    for model in models:
        return tuple(one for one in candidates if offered_as(one, model) is not None)
    return ()


def check_model(
    principal: Principal, model: str, candidates: tuple[Channel, ...]
) -> None:
    """Hold a model to what the key may use, and to what one of the channels serves.

    Without channels the provider judges that. Raises ModelNotFound.
    """
    if allows(principal, model) and (not candidates or by_model(candidates, (model,))):
        return
    raise ModelNotFound(
        f"The model '{model[:128]}' does not exist or you do not have access to it.",
        param="model",
    )

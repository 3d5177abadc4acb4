"""The routing table: an immutable snapshot of channels and the models they serve.

Built whole from the configuration and the catalogue, and swapped whole. A
look-up is one dictionary read for a model named outright; names that match
wildcards are resolved once and remembered in a bounded table.

The most specific configured name that covers a model decides: channels that
only offer it under a wider one take no part, not even when the others fail.
How a model's channels are chosen among is looked up once, with its routes.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Protocol
from urllib.parse import urlsplit

from msgspec import Struct
from typing_extensions import override

from posthouse.model.catalog import ProviderRow
from posthouse.model.exchange import Timeouts
from posthouse.model.patterns import is_pattern, matches, specificity
from posthouse.routing.ring import Ring
from posthouse.settings.file import ChannelLimits, ChannelSpec, ModelEntry

REMEMBERED_NAMES = 4096
"""Wildcard resolutions kept; a stranger's names cannot fill the memory."""
SANDBOX_SCHEME = "sandbox"


class ChannelDefaults(Struct, frozen=True):
    """What a channel has where its configuration says nothing; seconds."""

    timeouts: Timeouts = Timeouts()
    stream_total: float = 1800.0


class Load:
    """How many attempts are under way on a channel, for whatever model."""

    __slots__ = ("in_flight",)

    def __init__(self) -> None:
        """Begin idle."""
        self.in_flight = 0


class Channel(Struct, frozen=True):
    """One account at a provider, ready to be used."""

    name: str
    provider: ProviderRow
    origin: str
    base_path: str
    credentials: tuple[str, ...]
    """Never empty: "" stands for a provider that takes none."""
    spec: ChannelSpec
    timeouts: Timeouts
    stream_total: float
    """Seconds that a stream may last; whole replies keep `timeouts.total`."""
    sandbox: bool
    limited: bool
    """Whether it has limits of its own."""
    load: Load

    @override
    def __repr__(self) -> str:
        """Name the channel; its credentials stay out of logs."""
        return f"Channel({self.name!r})"


Offer = tuple[Channel, str]
"""A channel, and what it calls a model; a wildcard calls it what it is asked."""


class Member(Struct, frozen=True):
    """One credential of a channel serving one model."""

    channel: Channel
    credential: int
    upstream_model: str
    """Empty in a tier of a wildcard: then it is the name that was asked for."""


class Tier:
    """Members of equal priority, and the load that is on them."""

    __slots__ = ("in_flight", "members", "ring", "shares", "sole", "total")

    def __init__(self, members: tuple[Member, ...], ring: Ring) -> None:
        """Take the members in the order in which the ring has them."""
        self.members = members
        self.sole = members[0] if len(members) == 1 else None
        """The only one, if there is no other to choose."""
        self.ring = ring
        self.shares = ring.shares
        self.in_flight = [0] * len(members)
        """Attempts under way by member, where there are several."""
        self.total = 0
        """Attempts under way on all of them."""


class Asked(Struct, frozen=True, gc=False):
    """What policies weigh of one call."""

    model: str
    """The name that a wildcard's members are asked for."""
    stream: bool
    prompt_tokens: int
    """As many as are likely."""
    output_tokens: int
    """As many as are usual."""
    now: float
    """Monotonic seconds."""


class Policy(Protocol):
    """Chooses among the members of a tier that can be used."""

    def best(self, tier: Tier, usable: list[int], asked: Asked) -> list[int]:
        """Give those that come first, at least one, in the order given."""

    def observe(
        self, member: Member, seconds: float, now: float, *, stream: bool, failed: bool
    ) -> None:
        """An attempt has brought content, or failed, after so many seconds."""


class Choice(Struct, frozen=True):
    """How a model's channels are chosen among, where that is not by weight alone."""

    policy: Policy | None
    """None: by weight."""
    only: frozenset[str] | None = None
    """The channels that may serve; None allows all."""
    hedge: float | None = None
    """Seconds after which a second attempt begins beside the first; None: never."""
    credential: int | None = None
    """The only one of a channel's that may serve; None allows all."""

    def allows(self, member: Member) -> bool:
        """Whether a member may serve at all."""
        if self.credential is not None and member.credential != self.credential:
            return False
        return self.only is None or member.channel.name in self.only


Choose = Callable[[str], Choice | None]
"""How the channels of a public model are chosen among; None: by weight alone."""


class ModelRoutes(Struct, frozen=True):
    """Everything that can serve one public model."""

    model: str
    pattern: str
    """The configured name or wildcard that led here; bounded in number."""
    tiers: tuple[Tier, ...]
    choice: Choice | None = None

    @property
    def first(self) -> Member:
        """The first member of the highest tier, which stands for the model."""
        return self.member(self.tiers[0], 0)

    def member(self, tier: Tier, index: int) -> Member:
        """A member of one of the tiers, its upstream model filled in."""
        member = tier.members[index]
        if member.upstream_model:
            return member
        return Member(member.channel, member.credential, self.model)


def by_weight(_model: str) -> None:
    """Choose every model's channels by weight alone."""


class RoutingTable:
    """Channels by model, priority and weight."""

    def __init__(
        self,
        channels: Iterable[Channel],
        fallbacks: Mapping[str, tuple[str, ...]],
        choose: Choose = by_weight,
    ) -> None:
        """Index the channels.

        Args:
            channels: the enabled ones.
            fallbacks: other models to serve when one has failed.
            choose: how a model's channels are chosen among.
        """
        self._choose = choose
        self.channels = {channel.name: channel for channel in channels}
        self.fallbacks = fallbacks
        self._offers: dict[str, list[Offer]] = {}
        for channel in self.channels.values():
            for public, upstream in offered_models(channel):
                self._offers.setdefault(public, []).append((channel, upstream))
        self.linked = frozenset(
            entry.public
            for channel in self.channels.values()
            for entry in channel.spec.models or ()
            if isinstance(entry, ModelEntry) and entry.links
        )
        """Models whose callers' links are followed."""
        self._names = sorted(name for name in self._offers if not is_pattern(name))
        self._wildcards = sorted(
            filter(is_pattern, self._offers), key=specificity, reverse=True
        )
        self._tiers: dict[tuple[str, str, bool], tuple[Tier, ...]] = {}
        self._rings: dict[tuple[tuple[str, float], ...], Ring] = {}
        self._routes: dict[tuple[str, str, bool], ModelRoutes] = {}
        """Of models named outright: as many as the configuration has."""
        self._remembered: dict[tuple[str, str, bool], ModelRoutes] = {}
        """Of names that matched a wildcard: as many as we choose to keep."""

    def listed(self, *, sandbox: bool) -> list[tuple[str, str]]:
        """The models that are named outright, sorted, each with its provider.

        Wildcards list nothing. `sandbox` lists only what the sandbox serves.
        """
        return [
            (name, owner)
            for name in self._names
            if (owner := self.owner(name, sandbox=sandbox)) is not None
        ]

    def owner(self, model: str, *, sandbox: bool) -> str | None:
        """The provider that serves a model first; None if nothing serves it."""
        for pattern in self._covering(model):
            offers = _of_one_kind(self._offers[pattern], sandbox=sandbox)
            if offers:
                channels = [channel for channel, _ in offers]
                return max(channels, key=_priority).provider.name
        return None

    def first_routes(self, model: str) -> ModelRoutes | None:
        """The routes of a model's first operation, whichever that is."""
        operations = {
            operation
            for channel, _ in self._offers.get(model, ())
            for operation in channel.provider.operations
        }
        for operation in sorted(operations):
            routes = self.resolve(model, operation, sandbox=False)
            if routes is not None:
                return routes
        return None

    def resolve(
        self, model: str, operation: str, *, sandbox: bool
    ) -> ModelRoutes | None:
        """Find the routes of a model; None if nothing serves it.

        Args:
            model: the public name that was asked for.
            operation: what is asked of it.
            sandbox: whether only the sandbox may answer.
        """
        key = (model, operation, sandbox)
        routes = self._routes.get(key) or self._remembered.get(key)
        if routes is not None:
            return routes
        for pattern in self._covering(model):
            tiers = self._tiers_of(pattern, operation, sandbox=sandbox)
            if tiers:
                routes = ModelRoutes(model, pattern, tiers, self._choose(model))
                return self._keep(key, routes)
        return None

    def _keep(self, key: tuple[str, str, bool], routes: ModelRoutes) -> ModelRoutes:
        if not is_pattern(routes.pattern):
            self._routes[key] = routes
            return routes
        if len(self._remembered) >= REMEMBERED_NAMES:
            del self._remembered[next(iter(self._remembered))]
        self._remembered[key] = routes
        return routes

    def _covering(self, model: str) -> Iterator[str]:
        """The configured names that cover a model, most specific first."""
        if model in self._offers and not is_pattern(model):
            yield model
        for pattern in self._wildcards:
            if matches(pattern, model):
                yield pattern

    def _tiers_of(
        self, pattern: str, operation: str, *, sandbox: bool
    ) -> tuple[Tier, ...]:
        """The tiers of a configured name; all models that match it share them."""
        key = (pattern, operation, sandbox)
        tiers = self._tiers.get(key)
        if tiers is None:
            tiers = self._tiers[key] = self._make_tiers(
                pattern, operation, sandbox=sandbox
            )
        return tiers

    def _make_tiers(
        self, pattern: str, operation: str, *, sandbox: bool
    ) -> tuple[Tier, ...]:
        offers = [
            offer
            for offer in self._offers[pattern]
            if operation in offer[0].provider.operations
        ]
        by_priority: dict[int, list[Member]] = {}
        for channel, upstream in _of_one_kind(offers, sandbox=sandbox):
            by_priority.setdefault(channel.spec.priority, []).extend(
                Member(channel, index, "" if is_pattern(upstream) else upstream)
                for index in range(len(channel.credentials))
            )
        return tuple(
            Tier(tuple(members), self._ring(members))
            for _, members in sorted(by_priority.items(), reverse=True)
        )

    def _ring(self, members: list[Member]) -> Ring:
        """Make the ring of some members; many models share one."""
        key = tuple(
            (f"{member.channel.name}#{member.credential}", _share(member))
            for member in members
        )
        ring = self._rings.get(key)
        if ring is None:
            ring = self._rings[key] = Ring(key)
        return ring


def _priority(channel: Channel) -> int:
    return channel.spec.priority


def _of_one_kind(offers: list[Offer], *, sandbox: bool) -> list[Offer]:
    """Leave out the sandbox beside real channels: it is no failover for them.

    Where only the sandbox may answer, leave out all others.
    """
    only_sandbox = sandbox or all(channel.sandbox for channel, _ in offers)
    return [offer for offer in offers if offer[0].sandbox == only_sandbox]


def _share(member: Member) -> float:
    """A member's weight: its channel's, divided among the credentials."""
    return member.channel.spec.weight / len(member.channel.credentials)


def offered_models(channel: Channel) -> list[tuple[str, str]]:
    """The (public, upstream) names that a channel serves.

    Without a list of its own a channel serves its provider's models, or
    whatever is asked where the catalogue knows none.
    """
    entries = channel.spec.models
    if entries is None:
        known = channel.provider.models
        return [(name, name) for name in known] or [("*", "*")]
    return [
        (entry.public, entry.upstream)
        if isinstance(entry, ModelEntry)
        else (entry, entry)
        for entry in entries
    ]


def offered_as(channel: Channel, model: str) -> str | None:
    """What a channel calls a public model; None: it does not offer it."""
    offers = offered_models(channel)
    covering = [offer for offer in offers if matches(offer[0], model)]
    if not covering:
        return None
    _, upstream = max(covering, key=lambda offer: specificity(offer[0]))
    return model if is_pattern(upstream) else upstream


def make_channel(
    spec: ChannelSpec,
    provider: ProviderRow,
    credentials: tuple[str, ...],
    default: ChannelDefaults,
    *,
    load: Load | None = None,
) -> Channel:
    """Join a configured channel with its provider's row and the defaults.

    `load` is that of the channel's namesake in an older configuration. Raises
    ValueError when neither row nor channel names a base URL.
    """
    base_url = spec.base_url or provider.base_url
    parts = urlsplit(base_url)
    if not parts.scheme or not parts.netloc:
        raise ValueError(f"channel {spec.name!r} needs a base_url")
    own = spec.timeouts
    return Channel(
        name=spec.name,
        provider=provider,
        origin=f"{parts.scheme}://{parts.netloc}",
        base_path=parts.path.rstrip("/"),
        credentials=credentials or ("",),
        spec=spec,
        timeouts=Timeouts(
            connect=own.connect or default.timeouts.connect,
            first_byte=own.first_byte or default.timeouts.first_byte,
            idle=own.idle or default.timeouts.idle,
            total=own.total or default.timeouts.total,
        ),
        stream_total=own.total or default.stream_total,
        sandbox=parts.scheme == SANDBOX_SCHEME,
        limited=spec.limits != ChannelLimits(),
        load=Load() if load is None else load,
    )

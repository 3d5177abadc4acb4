"""The plan of one call: which target comes next.

Within a tier the ring's order decides, starting at the call's affinity point:
targets that are excluded, blocked or loaded beyond their share are passed
over; a target beyond its share is still taken before the next tier. Models
that stand in for the first come after its last tier. Routes that have a choice
of their own leave less to the ring: what a policy holds for equally good.
"""

from math import ceil

from msgspec import Struct
from typing_extensions import override

from posthouse.model.call import Affinity
from posthouse.routing.health import Blocked, HealthTable
from posthouse.routing.ring import hash_point
from posthouse.routing.table import Asked, Choice, Member, ModelRoutes, Tier

LOAD_FACTOR = 1.25
"""A target takes at most this multiple of its share of a tier's load."""


class Target(Struct, frozen=True, gc=False):
    """Where one attempt goes."""

    routes: ModelRoutes
    tier: Tier
    index: int
    member: Member

    def begin(self) -> None:
        """Count the attempt in its tier's load."""
        tier = self.tier
        tier.total += 1
        if tier.sole is None:
            tier.in_flight[self.index] += 1
        self.member.channel.load.in_flight += 1

    def end(self) -> None:
        """The attempt is over."""
        tier = self.tier
        tier.total -= 1
        if tier.sole is None:
            tier.in_flight[self.index] -= 1
        self.member.channel.load.in_flight -= 1


class Plan(Struct, eq=False):
    """Hands out the targets of one call, best first."""

    routes: tuple[ModelRoutes, ...]
    """Of the model asked for, then of those that stand in for it."""
    affinity: tuple[Affinity, bytes]
    """What the call has in common with others of its conversation, and a salt that
    keeps tenants apart."""
    health: HealthTable
    """What can be used now."""
    stream: bool = False
    """Whether the answer is to be streamed, which may take longer."""
    tokens: tuple[int, int] = (0, 0)
    """How many the prompt and the answer are likely to have, for routes with a
    choice."""
    blocked: list[Blocked] = []
    """Why targets were passed over at the last call of next()."""
    _point: int | None = None
    """Where on the rings the call is; found out when there is a choice."""
    _excluded: frozenset[str | tuple[str, int]] = frozenset()
    """Channels, and credentials of channels, that are not tried any more."""

    @override
    def __repr__(self) -> str:
        """Name the model; what the call is about stays out of logs."""
        return f"Plan({self.routes[0].model!r})"

    @property
    def group(self) -> str:
        """Calls that share routes, for the budget of retries."""
        return self.routes[0].pattern

    def seconds(self, target: Target) -> float:
        """How long all attempts may take together that begin with `target`."""
        channel = target.member.channel
        return channel.stream_total if self.stream else channel.timeouts.total

    def in_flight(self) -> int:
        """How many attempts, of any call, are on the tiers of this plan."""
        return sum(tier.total for routes in self.routes for tier in routes.tiers)

    def exclude_channel(self, name: str) -> None:
        """Try a channel no more in this call."""
        self._excluded |= {name}

    def exclude_credential(self, channel: str, credential: int) -> None:
        """Try one credential of a channel no more in this call."""
        self._excluded |= {(channel, credential)}

    def next(self, now: float) -> Target | None:
        """The best target that is left at `now`; None if there is none."""
        if self.blocked:
            self.blocked = []
        for routes in self.routes:
            for tier in routes.tiers:
                sole = tier.sole
                if routes.choice is not None:
                    target = self._choose_by(routes.choice, routes, tier, now)
                elif sole is None:
                    target = self._choose(routes, tier, now)
                elif self._is_usable(sole, now):
                    # There was nothing to choose, and no share to exceed.
                    member = sole if sole.upstream_model else routes.member(tier, 0)
                    return Target(routes, tier, 0, member)
                else:
                    continue
                if target is not None:
                    return target
        return None

    def _choose(self, routes: ModelRoutes, tier: Tier, now: float) -> Target | None:
        if self._point is None:
            self._point = self._find_point()
        overloaded: int | None = None
        for index in tier.ring.walk(self._point):
            if not self._is_usable(tier.members[index], now):
                continue
            bound = ceil(LOAD_FACTOR * (tier.total + 1) * tier.shares[index])
            if tier.in_flight[index] < bound:
                return Target(routes, tier, index, routes.member(tier, index))
            if overloaded is None:
                overloaded = index
        if overloaded is None:
            return None
        return Target(routes, tier, overloaded, routes.member(tier, overloaded))

    def _choose_by(
        self, choice: Choice, routes: ModelRoutes, tier: Tier, now: float
    ) -> Target | None:
        """Choose by a policy, among the channels that may serve."""
        if self._point is None:
            self._point = self._find_point()
        members = tier.members
        usable = [
            index
            for index in tier.ring.walk(self._point)
            if choice.allows(members[index]) and self._is_usable(members[index], now)
        ]
        if not usable:
            return None
        if choice.policy is not None and len(usable) > 1:
            asked = Asked(routes.model, self.stream, *self.tokens, now)
            usable = choice.policy.best(tier, usable, asked)
        index = _within_share(tier, usable)
        return Target(routes, tier, index, routes.member(tier, index))

    def _find_point(self) -> int:
        """Hash what the call has in common; only where there is a choice."""
        common, salt = self.affinity
        if callable(common):
            common = common()
        if isinstance(common, tuple):
            common = "\n".join(common).encode(errors="replace")
        return hash_point(common, salt)

    def _is_usable(self, member: Member, now: float) -> bool:
        """Whether a member can be tried; notes why where its health forbids it."""
        if not self._excluded and not self.health.ailing:
            return True
        name = member.channel.name
        if name in self._excluded or (name, member.credential) in self._excluded:
            return False
        blocked = self.health.blocked(name, member.credential, now)
        if blocked is None:
            return True
        self.blocked.append(blocked)
        return False


def _within_share(tier: Tier, members: list[int]) -> int:
    """The first of some members whose load is within its share of theirs."""
    load = tier.in_flight
    factor = (
        LOAD_FACTOR
        * (sum(load[index] for index in members) + 1)
        / sum(tier.shares[index] for index in members)
    )
    for index in members:
        if load[index] < ceil(factor * tier.shares[index]):
            return index
    return members[0]
